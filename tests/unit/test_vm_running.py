"""Whether a VM runs, by made-up and recorded answers of xl, xm and Oracle VM's lock: unknown is never stopped."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.vms import running
from engine.vms.inventory import Machine
from engine.vms.running import RUNNING, STOPPED, UNKNOWN, Domain, Unlisted, parse
from tests.vm_trees import config, dashed, look

IDENT = f"0004fb0000060000{1:016x}"
ZERO = "00000000-0000-0000-0000-000000000000"
DOM0 = {"domid": 0, "config": {"c_info": {"type": "pv", "name": "Domain-0", "uuid": ZERO}}}
SXP_ZERO = f"(domain (domid 0) (uuid {ZERO}) (name Domain-0) (state r-----) (image (linux (kernel ''))))"
SXP_VM = f"(domain\n  (domid 11)\n  (description '')\n  (uuid {dashed(IDENT)}) (name {IDENT}) (state -b----))"
TABLE = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
ROW0 = "Domain-0                                     0  1104     2     r-----    1234.5\n"


def listed(*domains: tuple[int, str, str]) -> str:
    return json.dumps([DOM0, *({"domid": number, "config": {"c_info": {"name": name, "uuid": uuid}}}
                               for number, name, uuid in domains)])


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with our programs alone (and sh's)."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr("engine.run.environment", lambda: {"PATH": f"{place}:/usr/bin:/bin"})
    return place


def tool(place: Path, name: str, script: str) -> None:
    path = place / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def says(place: Path, name: str, text: str) -> None:
    (place / f"{name}.txt").write_text(text)
    tool(place, name, f"exec /bin/cat {place}/{name}.txt")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    config(tmp_path / "root", 1)
    return look(tmp_path / "root").machines[0]


def state(machine: Machine, tmp_path: Path) -> str:
    return running.running(machine, str(tmp_path / "root")).state


@pytest.mark.parametrize(("text", "expected"), [
    (listed(), STOPPED), (listed((7, "other", dashed("1" * 32))), STOPPED),
    (listed((7, IDENT, dashed("1" * 32))), RUNNING), (listed((7, "renamed", dashed(IDENT).upper())), RUNNING),
    (listed((7, IDENT + "--incoming", dashed("1" * 32))), RUNNING),
    ("[]", UNKNOWN), ("", UNKNOWN), ("{}", UNKNOWN), ("[{}]", UNKNOWN), (listed()[:-9], UNKNOWN), ("null", UNKNOWN),
    (SXP_ZERO, STOPPED), (SXP_ZERO + "\n" + SXP_VM, RUNNING), (SXP_VM, UNKNOWN), (SXP_ZERO + SXP_VM[:-1], UNKNOWN),
    (SXP_ZERO + ")", UNKNOWN), (SXP_ZERO + SXP_VM.replace("(domid 11)", ""), STOPPED),
    (TABLE + ROW0, STOPPED), (TABLE, UNKNOWN), (TABLE + ROW0 + f"{IDENT} 5 1024 2 ---sc- 3.0\n", RUNNING),
    (TABLE + ROW0 + f"{IDENT}   1024 2   3.0\n", STOPPED), (TABLE + ROW0 + "half a li", UNKNOWN),
    (TABLE + ROW0 + f"a name  5 1024 2 --p--- 3.0 {dashed(IDENT)} - label\n", RUNNING)])
def test_what_a_listing_means(machine: Machine, tools: Path, tmp_path: Path, text: str, expected: str) -> None:
    says(tools, "xl", text)
    assert state(machine, tmp_path) == expected


def test_the_recorded_listing_of_a_server(tmp_path: Path, machine: Machine, tools: Path) -> None:
    """The shape xend writes: nested lists, empty ones, quoted texts with blanks and brackets, one after another."""
    more = ("(domain (domid 3) (cpus (() ())) (uuid 0004fb00-0006-0000-7c52-2c7d71072a52) (name b) (image (linux "
            "(notes (FEATURES '!writable|(pae') (PAE_MODE yes)))) (device (vbd (dev xvda:disk) (uname\n "
            " file:/a b.img\n) (mode w))))")
    found = list(parse(f"{more}\n{SXP_ZERO}"))
    assert [(domain.name, domain.zero) for domain in found] == [("b", False), ("Domain-0", True)]
    says(tools, "xm", f"{more}\n{SXP_ZERO}")
    assert state(machine, tmp_path) == STOPPED


def test_without_any_tool_nothing_is_known(machine: Machine, tools: Path, tmp_path: Path) -> None:
    found = running.running(machine, str(tmp_path / "root"))
    assert found.state == UNKNOWN and found.why == "xl is not installed here; xm is not installed here"


def test_a_tool_that_fails_or_hangs_says_nothing(machine: Machine, tools: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools, "xl", "echo 'cannot open privcmd' >&2; exit 1")
    found = running.running(machine, str(tmp_path / "root"))
    assert found.state == UNKNOWN and "cannot open privcmd" in found.why
    monkeypatch.setattr(running, "LIMIT", 0.3)
    tool(tools, "xl", "/bin/cat; sleep 60")
    found = running.running(machine, str(tmp_path / "root"))
    assert found.state == UNKNOWN and "still running after" in found.why


def test_the_second_tool_is_asked(machine: Machine, tools: Path, tmp_path: Path) -> None:
    tool(tools, "xl", "exit 1")
    says(tools, "xm", SXP_ZERO + SXP_VM)
    found = running.running(machine, str(tmp_path / "root"))
    assert found.state == RUNNING and found.why == f"`xm list -l` lists the domain {IDENT}"


def test_a_listing_without_uuids_does_not_acquit_a_vm_without_a_name(tmp_path: Path, tools: Path) -> None:
    config(tmp_path / "root", 1, name=None)
    one = look(tmp_path / "root").machines[0]
    says(tools, "xl", TABLE + ROW0 + "guest 5 1024 2 r----- 3.0\n")
    assert state(one, tmp_path) == UNKNOWN
    config(tmp_path / "root", 1, name=None, uuid=None)
    says(tools, "xl", listed())
    assert state(look(tmp_path / "root").machines[0], tmp_path) == UNKNOWN


@pytest.mark.parametrize(("script", "expected"), [
    ("exit 0", STOPPED), ("case $1 in --lock) exit 4;; esac", UNKNOWN), ("case $1 in --unlock) exit 1;; esac", UNKNOWN),
    (None, UNKNOWN)])
def test_on_a_shared_repository_the_lock_decides(machine: Machine, tools: Path, tmp_path: Path, script: str | None,
                                                expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_shared_on", lambda machine, root: "ocfs2")
    says(tools, "xl", listed())
    if script is not None:
        tool(tools, "ovs-agent-dlm", f"echo \"$@\" >> {tools}/asked; {script}")
    found = running.running(machine, str(tmp_path / "root"))
    assert found.state == expected
    if script is not None:
        asked = (tools / "asked").read_text().splitlines()
        assert asked[0] == f"--lock --uuid {IDENT}" and (len(asked) == 2) == ("--lock)" not in script)
    says(tools, "xl", listed((5, IDENT, dashed(IDENT))))
    assert state(machine, tmp_path) == RUNNING, "what is listed here runs, whatever the lock says"


@given(st.text(max_size=200) | st.text(alphabet="()[]{}'\"\\ domain0x\n", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert all(isinstance(domain, Domain) for domain in parse(text))
    except Unlisted as error:
        assert str(error)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Unlisted, match="nested"):
        list(parse("(" * 100_000))
    with pytest.raises(Unlisted):
        list(parse("[" * 100_000))
