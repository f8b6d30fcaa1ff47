"""Interfaces, consoles, PCI devices, and what a whole vm.cfg says of its VM."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.vms.devices import console, nic, pci
from engine.vms.machines import Facts, facts, is_domain, plain_id
from engine.vms.statements import read


def said(text: str) -> Facts:
    return facts(read(text.encode()))


def test_interfaces() -> None:
    one = nic("mac=00:21:F6:AA:bb:cc, bridge=10238073c2,type=ioemu,model=e1000,ip=10.0.0.1 fe80::1,vifname=v0,trunk")
    assert (one.mac, one.bridge, one.kind, one.model) == ("00:21:f6:aa:bb:cc", "10238073c2", "ioemu", "e1000")
    assert (one.ip, one.name, one.others, one.problem) == ("10.0.0.1 fe80::1", "v0", (("trunk", ""),), "")
    assert nic("") == nic("").__class__("") and not nic("").problem
    assert nic("mac=00:21").problem and nic("mac=00-21-f6-00-00-01").mac == "00:21:f6:00:00:01"
    assert nic("bridge=a,bridge=b").others == (("bridge", "b"),)


def test_consoles_and_pci_devices() -> None:
    assert console("type=vnc,vncunused=1,vncpasswd=x").kind == "vnc" and console("vnc=1").kind == "vnc"
    assert console("type=vnc,vncpasswd=x").others == (("vncpasswd", "x"),)
    assert pci("0001:0c:1b.2").address == "0001:0c:1b.2" and pci("01:13.0").address == "0000:01:13.0"
    assert (pci("3:0.*@5,msitranslate=1").address, pci("3:0.*@5,msitranslate=1").slot) == ("0000:03:00.*", "5")
    assert pci("bdf=01:13.0,permissive=1").others == (("permissive", "1"),)
    assert pci("nonsense").problem and not pci("01:13.0").problem


def test_facts_of_oracle_vm() -> None:
    known = said("name='0004fb'\nOVM_simple_name='db 1'\nuuid='0004fb00-0006'\nmemory='2048'\nmaxmem=4096\nvcpus=2\n"
                 "maxvcpus=4\nOVM_domain_type='xen_hvm_pv_drivers'\nOVM_description='x'\nbuilder='hvm'\nnvram='/n'\n"
                 "disk=['file:/a,xvda,w','file:/b,xvdb,w!']\nvif=['','mac=00:21:f6:00:00:01']\npci=['01:13.0']\n"
                 "vfb=['type=vnc']\n")
    assert (known.name, known.title, known.uuid, known.description) == ("0004fb", "db 1", "0004fb00-0006", "x")
    assert (known.memory, known.max_memory, known.vcpus, known.max_vcpus) == (2048, 4096, 2, 4)
    assert known.kind == "xen_hvm_pv_drivers" and known.host_files == (("nvram", "/n"),)
    assert [d.access for d in known.disks] == ["w", "w!"] and len(known.nics) == 2 and len(known.pci) == 1
    assert known.consoles[0].kind == "vnc" and known.problems == ()


@pytest.mark.parametrize(("text", "kind"), [
    ("builder='hvm'", "hvm"), ("type='pvh'", "pvh"), ("bootloader='/usr/bin/pygrub'", "pv"), ("", "pv"),
    ("builder='hvm'\nOVM_domain_type='xen_pvm'", "xen_pvm")])
def test_kinds(text: str, kind: str) -> None:
    assert said(text).kind == kind


@pytest.mark.parametrize(("text", "line", "key"), [
    ("a=1\nmemory='much'", 2, "memory"), ("memory=[1]", 1, "memory"), ("vcpus=-1", 1, "vcpus"),
    ("vcpus=1.5", 1, "vcpus"), ("memory=True", 1, "memory"), ("\ndisk='file:/a,xvda,w'", 2, "disk"),
    ("disk=5", 1, "disk"),
    ("disk=['/x']", 1, "disk"), ("disk=['file:/a,xvda,w', 5]", 1, "disk"), ("vif=['mac=x']", 1, "vif"),
    ("pci=['x']", 1, "pci"), ("vfb={'a': 1}", 1, "vfb")])
def test_what_is_not_understood_is_told(text: str, line: int, key: str) -> None:
    assert [(p.line, p.key) for p in said(text).problems] == [(line, key)]


def test_what_is_merely_empty_is_no_problem() -> None:
    known = said("memory=''\nvcpus=None\ndisk=None\nvif=''\nvfb=[]")
    assert known.problems == () and known.memory is None and known.disks == ()
    assert len(said("disk='file:/a,xvda,w'").disks) == 1


def test_which_files_are_about_a_vm() -> None:
    assert is_domain(read(b"name='x'\nmemory=5"))
    assert not is_domain(read(b"name='pool'\nsched='credit'")) and not is_domain(read(b"memory=5"))


def test_ids() -> None:
    assert plain_id("0004FB00-0006-0000-CFE2-DA48F9E2120E") == "0004fb0000060000cfe2da48f9e2120e"
    assert plain_id("00000000-0000-0000-0000-000000000000") == plain_id("") == plain_id("--") == ""


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["disk", "vif", "vfb", "pci", "memory", "vcpus", "name", "uuid", "builder"]),
                       st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=10),
                                    lambda inner: st.lists(inner, max_size=3), max_leaves=5)))
def test_any_values_of_any_kind(values: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    known = said(text)
    assert known.memory is None or known.memory >= 0
    assert all(problem.line >= 1 and problem.text for problem in known.problems)
