"""Scripts that make a VM anew, read back by parsers of our own for the documented grammars."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.vms.recreate import TARGETS, Script, quoted, script
from tests.vm_trees import REPO, config, image, look

BRIDGE = {"10238073c2": "prod"}
CLI = [target for target in TARGETS if target != "xl"]

# The options of each command in the guides; 3.2 has its own for disks and interfaces.
VM = {"memory", "memoryLimit", "cpuCount", "cpuCountLimit", "cpuPriority", "cpuUtilizationCap", "highAvailability",
      "hugePagesEnabled", "osType", "mouseType", "domainType", "keymapName", "bootOrder", "networkInstallPath",
      "repository", "server", "startPolicy", "name", "description"}
OPTIONS = {
    "create Vm": (VM, {"memory", "domainType", "repository", "name"}, "ServerPool"),
    "create VirtualDisk": ({"name", "size", "sparse", "shareable", "description"}, {"name", "size"}, "Repository"),
    "create VmDiskMapping": ({"slot", "physicalDisk", "virtualDisk", "virtualCd", "name", "description"},
                             {"slot", "name"}, "Vm"),
    "create Vnic": ({"network", "name", "macAddress", "description"}, {"network", "name"}, "Vm")}
OPTIONS_32 = {**OPTIONS,
              "create VmDiskMapping": ({"slot", "storageDevice", "name", "description"}, {"slot", "name"}, "Vm"),
              "create Vnic": ({"network", "name", "description"}, {"name"}, ""),
              "add Vnic": ({"name"}, {"name"}, "Vm")}


def words(line: str) -> list[str]:
    """Cut a line at blanks outside of quotes, in which a slash takes the next character as it is; without them."""
    out: list[str] = []
    at, word, quote, begun = 0, "", "", False
    while at < len(line):
        char = line[at]
        if quote and char == "/":
            at += 1
            word += line[at]
        elif quote and char == quote:
            quote = ""
        elif quote:
            word += char
        elif char in "\"'":
            quote, begun = char, True
        elif char == " ":
            out, word, begun = [*out, word] if word or begun else out, "", False
        else:
            assert char not in "\\/", "bare"
            word += char
        at += 1
    assert not quote
    return [*out, word] if word or begun else out


def command(line: str, target: str) -> tuple[str, dict[str, str], str]:
    """One line by the grammar: the command, its options, the object it is done on."""
    found = words(line)
    verb = " ".join(found[:2])
    known, needed, on = (OPTIONS_32 if target == "3.2" else OPTIONS)[verb]
    rest, place = found[2:], ""
    if on:
        where = max(at for at, word in enumerate(rest) if word in ("on", "to"))
        kind, name = rest[where + 1:]
        assert kind == on
        rest, place = rest[:where], name
        assert re.match(r"(?:name|id)=.", place, re.DOTALL)
    given = dict(word.split("=", 1) for word in rest)
    assert len(given) == len(rest) and set(given) <= known and needed <= set(given), line
    return verb, given, place


def made(tree: Path, target: str = "3.4", *, pool: str = "pool", **given: Any) -> Script:
    config(tree, 1, **given)
    return script(look(tree).machines[0], target, BRIDGE, pool)


def commands(one: Script, target: str) -> list[tuple[str, dict[str, str], str]]:
    return [command(line, target) for line in one.lines]


@pytest.mark.parametrize("target", CLI)
def test_a_whole_machine(tmp_path: Path, target: str) -> None:
    disk, iso = image(tmp_path, "a.img"), image(tmp_path, "b.iso", part="ISOs")
    one = made(tmp_path, target, disk=[f"file:{disk},xvda,w", f"file:{iso},xvdb:cdrom,r", ",xvdc:cdrom,r"],
               OVM_simple_name="HR's \"VMs\" 1/2", OVM_description="a / b", maxmem=2048, maxvcpus=4, cpu_weight=27500,
               cpu_cap=0, OVM_high_availability=False, OVM_os_type="Oracle Linux 6", keymap="de", boot="dcn",
               usbdevice="tablet", OVM_domain_type="xen_hvm_pv_drivers")
    name = "HR's \"VMs\" 1/2"
    (verb, given, where), *rest = commands(one, target)
    assert verb == "create Vm" and where == "name=pool" and given == {
        "memory": "1024", "memoryLimit": "2048", "cpuCount": "2", "cpuCountLimit": "4", "cpuPriority": "50",
        "cpuUtilizationCap": "100", "highAvailability": "No", "domainType": "XEN_HVM_PV_DRIVERS",
        "osType": "Oracle Linux 6", "keymapName": "de", "mouseType": "USB_TABLET", "bootOrder": "CDROM,DISK,PXE",
        "repository": REPO, "name": name, "description": "a / b"}
    kinds = ("storageDevice", "storageDevice") if target == "3.2" else ("virtualDisk", "virtualCd")
    empty = {} if target == "3.2" else {"virtualCd": "EMPTY_CDROM"}
    assert rest[:3] == [
        ("create VmDiskMapping", {"slot": "0", kinds[0]: "a.img", "name": "xvda"}, f"name={name}"),
        ("create VmDiskMapping", {"slot": "1", kinds[1]: "b.iso", "name": "xvdb"}, f"name={name}"),
        ("create VmDiskMapping", {"slot": "2", **empty, "name": "xvdc"}, f"name={name}")]
    mac = "00:21:f6:00:00:01"
    if target == "3.2":
        assert rest[3:] == [("create Vnic", {"name": mac, "network": "prod"}, ""),
                            ("add Vnic", {"name": mac}, f"name={name}")]
    else:
        assert rest[3:] == [("create Vnic", {"name": "eth0", "network": "prod", "macAddress": mac}, f"name={name}")]
    assert len(one.unknown) == (target != "3.4")


def test_what_cannot_be_known_is_marked_and_told(tmp_path: Path) -> None:
    lun = "phy:/dev/mapper/3600144f0c17a765000004bd1a0b30001,xvdb,w"
    one = made(tmp_path, pool="", disk=["file:/gone.img,xvda,w!", lun, "phy:/dev/sdx1,xvda1,w", "nonsense"],
               memory=None, cpu_weight=1000, cpu_cap=50, vif=["bridge=other", ""], OVM_domain_type="weird")
    marks = set(re.findall(r"@\w+@", "\n".join(one.lines)))
    assert marks == {"@MEMORY@", "@MEMORYLIMIT@", "@DOMAIN_TYPE@", "@SERVER_POOL@", "@SIZE_OF_XVDA_IN_GIB@",
                     "@PHYSICAL_DISK_XVDB@", "@SLOT_OF_XVDA1@", "@PHYSICAL_DISK_XVDA1@", "@SLOT_OF@", "@DISK@",
                     "@NETWORK_OF_OTHER@", "@NETWORK_OF_INTERFACE_1@"}
    told = "\n".join(one.unknown)
    assert all(mark in told for mark in marks) and "cpu_weight is 1000" in told and "cpu_cap is 50" in told
    assert "3600144f0c17a765000004bd1a0b30001" in told and "disk 4: it names no virtual device" in told
    found = commands(one, "3.4")
    assert found[1][0] == "create VirtualDisk" and found[1][1]["shareable"] == "Yes" and found[1][2] == f"id={REPO}"
    assert found[2][1]["virtualDisk"] == found[1][1]["name"] == "vm1_xvda"


@settings(deadline=None)
@given(st.text(max_size=30))
def test_values_are_read_back(text: str) -> None:
    assert words(f"a name={quoted(text)} b") == ["a", f"name={text}", "b"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=20), about=st.text(max_size=20), target=st.sampled_from(CLI))
def test_any_names(tmp_path: Path, name: str, about: str, target: str) -> None:
    """Whatever the name: the script keeps to the grammar, and either says it or marks it; no line breaks in it."""
    path = config(tmp_path, 1, OVM_simple_name=None)
    path.write_text(path.read_text() + f"OVM_simple_name = u{name!r}\nOVM_description = u{about!r}\n")
    one = script(look(tmp_path).machines[0], target, BRIDGE, name)
    assert all(line.isprintable() for line in one.lines)
    _verb, given_, where = commands(one, target)[0]
    assert given_["name"] in (name, "@NAME@") or not name.isprintable()
    assert where in (f"name={name}", "name=@SERVER_POOL@")
    if name.isprintable() and "=" not in name and "@" not in name:
        assert given_["name"] == name
    if about.isprintable() and "=" not in about and "@" not in about:
        assert given_.get("description", "") == about


# --- xl ---
XL = re.compile(r'([a-z][._0-9a-z]*) = (.*)')
XL_STRING = re.compile(r'"((?:[^"\\\n]|\\(?:[\\\'"abfnrtv]|x[0-9a-fA-F]{2}|[0-7]{3}))*)"')


def xl_value(text: str) -> tuple[Any, str]:
    """A value by libxlu_cfg's grammar, and what follows it; strings as bytes."""
    if found := XL_STRING.match(text):
        raw = found[1].encode("utf-8", "surrogateescape")
        plain = re.sub(rb'\\(x[0-9a-f]{2}|["\\])',
                       lambda m: bytes([int(m[1][1:], 16)]) if m[1][:1] == b"x" else m[1], raw)
        return plain, text[found.end():]
    if found := re.match(r"[0-9][0-9a-fx]*", text):
        return int(found[0], 0), text[found.end():]
    assert text.startswith("[ "), text
    items, text = [], text[2:]
    while not text.startswith("]"):
        item, text = xl_value(text)
        items.append(item)
        text = text.removeprefix(",").lstrip(" ")
    return items, text[1:]


def xl_file(one: Script) -> dict[str, Any]:
    out = {}
    assert one.lines[0].startswith("# ")
    for line in one.lines[1:]:
        found = XL.fullmatch(line)
        assert found, line
        out[found[1]], rest = xl_value(found[2])
        assert rest == "", line
    return out


def test_a_file_for_xl(tmp_path: Path) -> None:
    one = made(tmp_path, "xl", disk=["file:/a,xvda,w", "tap:qcow2:/b=c.img,xvdb,r", ",xvdc:cdrom,r",
                                     "phy:vg/lv,xvdd,w!", "nonsense", "vdev=xvde,target=/x, y"],
               builder="hvm", vncpasswd="g3heim", vfb=["type=vnc,vncpasswd=g3heim"], acpi=True, rtc=-1, a={"b": 1},
               OVM_high_availability=True, extra='say "hi" \\ ☃ \x07')
    found = xl_file(one)
    assert found["disk"] == [
        b"format=raw,vdev=xvda,access=rw,target=/a", b"format=qcow2,vdev=xvdb,access=ro,target=/b=c.img",
        b"format=raw,vdev=xvdc,access=ro,devtype=cdrom,target=", b"format=raw,vdev=xvdd,access=rw,target=/dev/vg/lv",
        b"format=raw,vdev=xvde,access=rw,target=/x, y"]
    assert found["extra"] == 'say "hi" \\ ☃ \x07'.encode() and found["acpi"] == 1 and found["memory"] == 1024
    assert found["vncpasswd"] == b"@VNCPASSWD@" and found["vfb"] == [b"type=vnc,vncpasswd=@VFB@"]
    told = "\n".join(one.unknown)
    for word in ("rtc", "OVM_high_availability", "a is left out", "w!", "@VFB@", "@VNCPASSWD@", "not understood"):
        assert word in told
    assert "g3heim" not in told + "\n".join(one.lines)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=20), st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{2,8}", fullmatch=True),
                                           st.integers(0, 99) | st.lists(st.text(max_size=8), max_size=3), max_size=4))
def test_any_values_for_xl(tmp_path: Path, text: str, more: dict[str, Any]) -> None:
    path = config(tmp_path, 1)
    body = "".join(f"{key} = {value!r}\n" for key, value in more.items() if not isinstance(value, list))
    body += "".join(f"{key} = [{', '.join('u' + repr(item) for item in value)}]\n"
                    for key, value in more.items() if isinstance(value, list))
    path.write_text(path.read_text() + f"extra = u{text!r}\n" + body)
    machine = look(tmp_path).machines[0]
    found = xl_file(script(machine, "xl", {}))
    for key, value in machine.document.values.items():
        if isinstance(value, str) and key in found and b"@" not in found[key] and "=" not in value:
            assert found[key] == value.encode("utf-8", "surrogateescape")
