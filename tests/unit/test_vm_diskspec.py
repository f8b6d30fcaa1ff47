"""Disk specifications of both dialects, against xl-disk-configuration(5) and xm's rules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.vms.diskspec import DiskSpec, disk


def short(spec: DiskSpec) -> tuple[str, str, str, str]:
    return spec.target, spec.format, spec.vdev, spec.access


@pytest.mark.parametrize("text", [
    "/dev/vg/guest-volume,,hda", "/dev/vg/guest-volume,raw,hda,rw", "raw:/dev/vg/guest-volume,hda,w",
    "format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume", "phy:/dev/vg/guest-volume,hda,w",
    "phy:vg/guest-volume,hda,w", "vg/guest-volume,,hda", "tap:aio:/dev/vg/guest-volume,ioemu:hda,w",
    "tap2:tapdisk:aio:/dev/vg/guest-volume,hda:disk,w", "file://///dev/vg//guest-volume,hda",
    "/dev/vg/guest-volume,hda,w", "vdev=hda,access=w,/dev/vg/guest-volume,raw"])
def test_ways_to_say_the_same_disk(text: str) -> None:
    spec = disk(text)
    assert short(spec) == ("/dev/vg/guest-volume", "", "hda", "w") and not spec.cdrom and not spec.problem
    assert spec.is_path and spec.source == text


@pytest.mark.parametrize("text", [
    "devtype=cdrom,,,hdc", ",,hdc:cdrom,r", ",hdc:cdrom,r", "vdev=hdc,access=r,devtype=cdrom,target=",
    ",empty,hdc:cdrom,r", "cdrom,,,hdc"])
def test_ways_to_say_an_empty_drive(text: str) -> None:
    spec = disk(text)
    assert short(spec) == ("", "", "hdc", "r") and spec.cdrom and not spec.problem and not spec.is_path


@pytest.mark.parametrize("text", [
    "/root/image.iso,,hdc,cdrom", "/root/image.iso,,hdc,,cdrom", "/root/image.iso,raw,hdc,devtype=cdrom",
    "format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso", "raw:/root/image.iso,hdc:cdrom,ro",
    "/root/image.iso,raw,devtype=cdrom,hdc,r", "file:/root/image.iso,hdc,cdrom,r", "file:/root/image.iso,hdc:cdrom,r"])
def test_ways_to_say_an_iso(text: str) -> None:
    spec = disk(text)
    assert short(spec) == ("/root/image.iso", "", "hdc", "r") and spec.cdrom and not spec.problem


@pytest.mark.parametrize(("mode", "access"), [("r", "r"), ("ro", "r"), ("w", "w"), ("rw", "w"), ("w!", "w!"),
                                              ("", "w")])
def test_access(mode: str, access: str) -> None:
    spec = disk(f"phy:/dev/x,xvda,{mode}")
    assert spec.access == access and not spec.problem


def test_target_swallows_the_rest() -> None:
    spec = disk("vdev=xvda,format=qcow2,target=/a, b=c:d,raw,xvdb ")
    assert short(spec) == ("/a, b=c:d,raw,xvdb ", "qcow2", "xvda", "w") and not spec.problem


def test_formats_prefixes_scripts_and_domains() -> None:
    assert short(disk("tap:qcow2:/x.img,xvda,w")) == ("/x.img", "qcow2", "xvda", "w")
    assert disk("tap:qcow2:/x.img,xvda,w").prefixes == ("tap", "qcow2")
    drbd = disk("drbd:web-disk,xvda,w")
    assert (drbd.script, drbd.target, drbd.is_path) == ("block-drbd", "web-disk", False)
    script = disk("format=raw,vdev=xvda,script=block-foo,target=a b")
    assert (script.script, script.target, script.is_path) == ("block-foo", "a b", False)
    legacy = disk("phy:/dev/x,xvda,w,storage,x86_64")
    assert legacy.backend == "storage" and legacy.others == (("protocol", "x86_64"),) and not legacy.problem
    assert disk("/x,raw,xvda,w,backendtype=qdisk,discard,backend=5").others == (("discard", ""),)
    rbd = disk("vdev=xvda,backendtype=qdisk,target=rbd:pool/image:id=admin")
    assert rbd.target.startswith("rbd:") and not rbd.is_path and not rbd.problem


@pytest.mark.parametrize("text", [
    "", ",", "foo", "/x", "/x,raw", "file:/x,xvda,q", "/x,raw,xvda,w,a,b,c", "/x,what,xvda", "file:/x,not a device,w",
    "/x,raw,xvda,devtype=floppy", "/x,raw,xvda,nonsense=1", "vdev=xvda,vdev=xvdb,target=/x", "foo:/x,xvda,w",
    "/x,raw,xvda,rw,target=/y", ",xvda,w", "format=raw,/x,qcow2,xvda", "/x" + "," * 9000])
def test_what_is_no_disk(text: str) -> None:
    assert disk(text).problem and disk(text).source == text


@settings(deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(
    ["/x", ",", "=", "raw", "xvda", ":cdrom", "target=", "phy:", "w!", " ", "vdev=", "cdrom", "tap:", "\0", "\udcff"])
    ).map("".join))
def test_anything_is_taken(text: str) -> None:
    spec = disk(text)
    assert spec.source == text and spec.access in ("r", "w", "w!")
    if not spec.problem:
        assert spec.vdev and (spec.target or spec.cdrom)
        assert not spec.is_path or spec.target.startswith("/")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters=",\0", exclude_categories=["Cc", "Z"]), min_size=1,
                max_size=20)


@settings(deadline=None)
@given(NAMES, st.sampled_from(["xvda", "hdc", "sda1", "0x301"]), st.sampled_from(["r", "w", "w!"]),
       st.sampled_from(["file:", "phy:", "tap:aio:", "tap2:aio:"]))
def test_any_path_of_xm(name: str, vdev: str, mode: str, prefix: str) -> None:
    spec = disk(f"{prefix}/d/{name},{vdev},{mode}")
    assert not spec.problem and (spec.vdev, spec.access) == (vdev, mode)
    while "//" in name:
        name = name.replace("//", "/")
    assert spec.target == f"/d/{name.removeprefix('/')}"


@settings(deadline=None)
@given(NAMES, st.permutations(["format=qcow2", "vdev=xvdb", "access=ro", "backendtype=qdisk"]))
def test_any_order_of_xl(name: str, words: list[str]) -> None:
    spec = disk(f"{', '.join(words)}, target=/{name.replace('/', '_')},x")
    assert short(spec) == (f"/{name.replace('/', '_')},x", "qcow2", "xvdb", "r") and not spec.problem


def test_long_ones_are_not_looked_at() -> None:
    """Each field takes a copy of the rest."""
    for text in ("," * 250_000, "discard," * 30_000, "tap:" * 60_000, " " * 250_000, "a=" * 100_000):
        assert "longer than" in disk(text).problem
