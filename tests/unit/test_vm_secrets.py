"""No output shows a password: values, texts, and the file itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.vms.literals import Pairs
from engine.vms.secrets import HIDDEN, hidden, hidden_value, is_secret, masked
from engine.vms.statements import read

SECRET = "g3heim"


@pytest.mark.parametrize("key", ["vncpasswd", "spicepasswd", "VNCPassword", "my_secret", "api_key", "rootpw_pass", "pw",
                                 "luks_key", "auth-token", "bmc_pwd", "ssh_private_key", "ipmi.passphrase"])
def test_keys_that_are_secrets(key: str) -> None:
    assert is_secret(key) and hidden_value(key, SECRET) == HIDDEN and hidden_value(key, (SECRET,)) == HIDDEN
    assert SECRET not in hidden(f"type=vnc,{key}={SECRET},keymap=de")


@pytest.mark.parametrize("text", ["keymap=de", "bypass=1", "gfx_passthru=1", "keymap", "vncpasswd", "mac=00:16:3e",
                                  "file:/a,xvda,w", "compass=n", "monkey=1", "a@b", "rbd:pool/a:id=x"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert hidden(text) == text


@pytest.mark.parametrize(("text", "shown"), [
    (f"type=vnc,vncpasswd={SECRET} with blanks,keymap=de", f"type=vnc,vncpasswd={HIDDEN},keymap=de"),
    (f"vncpasswd='{SECRET},{SECRET}',x=1", f"vncpasswd={HIDDEN},x=1"),
    (f"target=rbd:pool/i:id=admin:key={SECRET}==,x", f"target=rbd:pool/i:id=admin:key={HIDDEN},x"),
    (f"iscsi://user%{SECRET}@host/x", f"iscsi://user%{HIDDEN}@host/x"),
    (f"http://user:{SECRET}@host/x.iso", f"http://user:{HIDDEN}@host/x.iso"),
    (f"root=/dev/x ROOT_PASSWORD={SECRET}", f"root=/dev/x ROOT_PASSWORD={HIDDEN}")])
def test_secrets_in_texts(text: str, shown: str) -> None:
    assert hidden(text) == shown and hidden(shown) == shown


def test_values_of_every_shape() -> None:
    value = (f"a,vncpasswd={SECRET}", (f"x,pw={SECRET}",), Pairs((("password", SECRET), ("a", 5))), 7)
    assert SECRET not in repr(hidden_value("vfb", value))
    assert hidden_value("vncpasswd", "") == "" and hidden_value("vncpasswd", None) is None
    assert hidden_value("memory", 5) == 5 and hidden_value("vncpasswd", 12345) == HIDDEN


FILE = f"""\
# vncpasswd='{SECRET}'
name = 'x'   # the password: {SECRET}
vncpasswd = '{SECRET}'  # note
vfb = ['type=vnc,vncpasswd={SECRET},keymap=de'] # token={SECRET}
vfb2 = ['type=vnc,vncpass' 'wd={SECRET},keymap=de'
  ]
vfb3 = ['type=vnc,vncpasswd\\x3d{SECRET}']
spicepasswd = '''{SECRET}
{SECRET}'''
x = {{'password': '{SECRET}', 'a': 5}}
vncpasswd = str(
   '{SECRET}')
y = f(password='{SECRET}', z=1)
vncpasswd = '{SECRET}
memory = 5
"""


def test_the_file_is_shown_without_its_secrets() -> None:
    document = read(FILE.encode())
    shown = masked(document).decode()
    assert SECRET not in shown and "3heim" not in shown
    for line in ("name = 'x'   # the password: ********",
                 f"vfb = ['type=vnc,vncpasswd={HIDDEN},keymap=de'] # token= {HIDDEN}", "memory = 5",
                 f"vncpasswd = '{HIDDEN}'"):
        assert line in shown.splitlines()


@pytest.mark.parametrize("text", [
    "name = 'x'\r\n\r\n# comment\r\ndisk = ['file:/a=b,xvda,w']\r\nbad line\r\n", "\ufeffmemory = 5", "a='\udcff'\0",
    "keymap = 'de' ; vncpasswd = ''\n", "extra = 'root=/dev/x ro'"])
def test_a_file_without_secrets_is_shown_as_it_is(text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    assert masked(read(data)) == data


PLACES = ["vncpasswd = '{}'", "vfb = ['type=vnc,vncpasswd={}']", 'spicepasswd="{}"', "a = {{'password': '{}'}}",
          "# vncpasswd={}", "vncpasswd = f('{}')", "x = g(secret='{}')", "vfb=['vncpasswd={},keymap=de',\n'a=b'] # c",
          "vncpasswd = ('{}')", "vncpasswd += '{}'"]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PLACES, "memory = 5", "", "name = 'x' ; b = 2", "c = ["]), max_size=6),
       st.text(alphabet="abcXYZ059._/+=:@!%&*()[]{}<>?|^~ #;", min_size=1, max_size=9))
def test_no_place_shows_it(lines: list[str], noise: str) -> None:
    """Whatever stands around it, and whatever else it is made of."""
    word = f"Q7{noise}Q7"
    document = read("\n".join(line.format(word) for line in lines).encode())
    assert "Q7" not in masked(document).decode()
    for key, value in document.values.items():
        assert "Q7" not in repr(hidden_value(key, value))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert isinstance(masked(read(data)), bytes)
