"""What is wrong with VMs: each finding where it belongs, and none where it does not."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from engine.vms import findings
from engine.vms.findings import VmFinding, check
from tests.vm_trees import OTHER, REPO, config, dashed, image, look, repo_path


def found(tree: Path, kind: str = "") -> list[VmFinding]:
    """The findings of a tree, or those of one kind."""
    return [finding for finding in check(look(tree)) if not kind or finding.kind == kind]


def healthy(tree: Path) -> None:
    config(tree, 1, disk=[f"file:{image(tree, '1.img')},xvda,w", ",xvdb:cdrom,r"])
    config(tree, 2, disk=[f"file:{image(tree, '2.img', repository=OTHER)},xvda,w"])
    config(tree, 3, repository=OTHER, template=True, disk=[f"file:{image(tree, '3.img', repository=OTHER)},xvda,w"])
    image(tree, "spare.iso", part="ISOs")


def test_nothing_to_say(tmp_path: Path) -> None:
    healthy(tmp_path)
    assert found(tmp_path) == []


def test_a_missing_disk(tmp_path: Path) -> None:
    healthy(tmp_path)
    config(tmp_path, 4, disk=["file:/OVS/Repositories/x/gone.img,xvda,w", "file:/gone.iso,xvdb:cdrom,r"])
    disk, iso = found(tmp_path, findings.MISSING)
    assert (disk.machines, disk.path, disk.level) == (("vm4",), b"OVS/Repositories/x/gone.img", "warning")
    assert "gone.img" in disk.text and "gone.iso" in iso.text and disk.hint != iso.hint


def test_an_orphan(tmp_path: Path) -> None:
    healthy(tmp_path)
    target = image(tmp_path, "orphan.img", size=1 << 30, data=8192)
    (orphan,) = found(tmp_path)
    assert orphan.kind == findings.ORPHAN and orphan.path == os.fsencode(target[1:])
    assert "1.0 GiB, 8.0 KiB on the disk" in orphan.text and "no vm.cfg" in orphan.hint and "before" not in orphan.hint
    path = config(tmp_path, 5)
    path.write_text(path.read_text() + f"# disk = ['file:{target},xvda,w']\n")
    (orphan,) = found(tmp_path)
    assert "its name stands in a vm.cfg" in orphan.hint


@pytest.mark.parametrize("doubt", ["disk = [f('x')]", "import os", "disk = ['nonsense']"])
def test_an_orphan_is_in_doubt_where_something_could_not_be_read(tmp_path: Path, doubt: str) -> None:
    healthy(tmp_path)
    image(tmp_path, "orphan.img")
    path = config(tmp_path, 6)
    path.write_text(path.read_text() + doubt + "\n")
    (orphan,) = found(tmp_path, findings.ORPHAN)
    assert "not everything could be read" in orphan.hint
    (unread,) = found(tmp_path, findings.UNREAD_STATEMENT)
    assert unread.machines == ("vm6",) and "line 9:" in unread.text


@pytest.mark.parametrize("settings", [
    {"disk": ["file:IMAGE,xvda,w"]}, {"disk": ["file:IMAGE,xvda,nonsense"]}, {"nvram": "IMAGE"}, {"kernel": "IMAGE"},
    {"disk": ["vdev=xvda,target=IMAGE"]}, {"disk": "file:IMAGE,xvda,w"}])
def test_what_some_vm_uses_in_some_way_is_no_orphan(tmp_path: Path, settings: dict[str, object]) -> None:
    target = image(tmp_path, "used.img")
    given: dict[str, Any] = {key: [v.replace("IMAGE", target) for v in value] if isinstance(value, list)
                             else str(value).replace("IMAGE", target) for key, value in settings.items()}
    config(tmp_path, 1, **given)
    assert found(tmp_path, findings.ORPHAN) == []


@pytest.mark.parametrize(("modes", "level", "word"), [
    (("w!", "w!"), "info", "on purpose"), (("r", "r"), "info", "only read"), (("w", "w"), "warning", "none of them"),
    (("w!", "w"), "warning", "not all"), (("w", "r"), "warning", "none of them"),
    (("w!", "w!", "r"), "warning", "not all")])
def test_shared_disks(tmp_path: Path, modes: tuple[str, ...], level: str, word: str) -> None:
    target = image(tmp_path, "shared.img")
    for number, mode in enumerate(modes, 1):
        config(tmp_path, number, disk=[f"file:{target},xvda,{mode}"])
    (shared,) = found(tmp_path)
    assert (shared.kind, shared.level) == (findings.SHARED_DISK, level) and word in shared.text
    assert shared.machines == tuple(f"vm{number}" for number in range(1, len(modes) + 1))


def test_sharing_under_other_names(tmp_path: Path) -> None:
    target = image(tmp_path, "a.img")
    (tmp_path / "b.img").symlink_to(target)
    config(tmp_path, 1, disk=[f"file:{target},xvda,w", "phy:/dev/vg/lv-1,xvdb,w"])
    config(tmp_path, 2, disk=["tap:aio:/b.img,xvda,w", "phy:/dev/mapper/vg-lv--1,xvdb,w"])
    one, two = found(tmp_path, findings.SHARED_DISK)
    assert "also called /b.img" in one.text and "also called /dev/mapper/vg-lv--1" in two.text


def test_one_iso_in_many_drives_is_not_shared(tmp_path: Path) -> None:
    iso = image(tmp_path, "a.iso", part="ISOs")
    for number in (1, 2):
        config(tmp_path, number, disk=[f"file:{iso},xvdb:cdrom,r"])
    config(tmp_path, 3, repository=OTHER, template=True, disk=[f"file:{iso},xvdb:cdrom,r"])
    assert [(f.kind, f.machines) for f in found(tmp_path)] == [(findings.ISO_ATTACHED, ("vm1",)),
                                                               (findings.ISO_ATTACHED, ("vm2",))]


def test_one_disk_twice_in_a_machine(tmp_path: Path) -> None:
    target = image(tmp_path, "a.img")
    config(tmp_path, 1, disk=[f"file:{target},xvda,w", f"file:{target},xvdb,w"])
    (twice,) = found(tmp_path)
    assert twice.kind == findings.TWICE and "xvda and xvdb" in twice.text


def test_disks_outside_a_repository(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/a.img").touch()
    config(tmp_path, 1, disk=["phy:/dev/mapper/3600144f0c17a765000004bd1a0b30001,xvda,w", "file:/srv/a.img,xvdb,w",
                              f"file:{image(tmp_path, 'in.img')},xvdc,w", ",xvdd:cdrom,r", "drbd:res,xvde,w"])
    assert [f.text.split("(")[1][:4] for f in found(tmp_path, findings.OUTSIDE)] == ["xvda", "xvdb", "xvde"]
    (tmp_path / "etc/xen").mkdir(parents=True)
    (tmp_path / "etc/xen/a.cfg").write_text("name = 'plain'\nmemory = 5\ndisk = ['file:/srv/a.img,xvda,r']\n")
    assert not any("plain" in f.machines for f in found(tmp_path, findings.OUTSIDE))


def test_ids_that_are_there_twice(tmp_path: Path) -> None:
    config(tmp_path, 1, uuid="0004FB00-0006-0000-0000-00000000000A", vif=["mac=00:21:F6:00:00:01,bridge=a"])
    config(tmp_path, 2, uuid="0004fb0000060000000000000000000a", vif=["mac=00:21:f6:00:00:01", "bridge=b"])
    config(tmp_path, 3, uuid="", vif=["", ""])
    config(tmp_path, 4, uuid=None, vif=["mac=00:00:00:00:00:00"])
    config(tmp_path, 5, uuid=dashed("0" * 32), vif=["mac=00:00:00:00:00:00"])
    assert [(f.kind, f.machines) for f in found(tmp_path)] == [
        (findings.SAME_UUID, ("vm1", "vm2")), (findings.SAME_MAC, ("vm1", "vm2"))]


def test_guests_and_templates_in_one_repository(tmp_path: Path) -> None:
    config(tmp_path, 1)
    config(tmp_path, 2, template=True)
    config(tmp_path, 3, repository=OTHER)
    (mixed,) = found(tmp_path)
    assert mixed.kind == findings.MIXED and mixed.path.endswith(os.fsencode(REPO)) and mixed.machines == ("vm2",)


def test_what_cannot_be_read_comes_first(tmp_path: Path) -> None:
    healthy(tmp_path)
    folder = repo_path(tmp_path) / "VirtualMachines/broken"
    folder.mkdir()
    (folder / "vm.cfg").symlink_to("nowhere")
    first, *_ = found(tmp_path)
    assert first.kind == findings.UNREADABLE and first.path.endswith(b"broken/vm.cfg") and first.hint


def test_texts_hold_no_secrets_and_are_printable(tmp_path: Path) -> None:
    config(tmp_path, 1, OVM_simple_name="\x1b[31m‮vncpasswd=g3heim",
           disk=["vdev=xvda,target=rbd:pool/x:key=g3heim", "file:/a\nvncpasswd=g3heim,xvda,w"])
    for finding in found(tmp_path):
        assert "g3heim" not in finding.text + finding.hint + str(finding.machines)
        assert (finding.text + finding.hint).isprintable()


def test_a_large_repository_exactly(tmp_path: Path) -> None:
    """300 VMs and 1,000 disks with known faults among them: those are found, and nothing else."""
    rng = random.Random(7)
    numbers = list(range(1, 301))
    disks: dict[int, list[str]] = {number: [] for number in numbers}
    for index in range(1000 - len(numbers)):
        disks[rng.choice(numbers)].append(f"d{index}.img")
    for number in numbers:
        disks[number].append(f"own{number}.img")
    paths = {name: image(tmp_path, name, size=4096) for own in disks.values() for name in own}
    missing, shared, purpose, aliased = rng.sample(numbers, 9), rng.sample(numbers, 8), rng.sample(numbers, 6), \
        rng.sample(numbers, 4)
    specs = {number: [f"file:{paths[name]},xvd{chr(97 + at)},w" for at, name in enumerate(own)]
             for number, own in disks.items()}
    for number in missing:
        specs[number].append(f"file:/OVS/Repositories/{REPO}/VirtualDisks/gone{number}.img,xvdx,w")
    for pair in zip(shared[::2], shared[1::2], strict=True):
        both = image(tmp_path, f"shared{pair[0]}.img", size=4096)
        for number in pair:
            specs[number].append(f"file:{both},xvdy,w")
    for pair in zip(purpose[::2], purpose[1::2], strict=True):
        both = image(tmp_path, f"purpose{pair[0]}.img", size=4096)
        for number in pair:
            specs[number].append(f"file:{both},xvdz,w!")
    for one, two in zip(aliased[::2], aliased[1::2], strict=True):
        alias = repo_path(tmp_path) / f"VirtualDisks/alias{one}.img"
        alias.symlink_to(os.path.basename(paths[f"own{one}.img"]))
        specs[two].append(f"file:/OVS/Repositories/{REPO}/VirtualDisks/alias{one}.img,xvdw,w")
    for index in range(12):
        image(tmp_path, f"orphan{index}.img", size=4096)
    for number in numbers:
        config(tmp_path, number, disk=specs[number])
    told = {(f.kind, f.level, f.machines if f.kind == findings.SHARED_DISK else (f.machines, f.path))
            for f in found(tmp_path)}
    base = f"OVS/Repositories/{REPO}/VirtualDisks/".encode()
    def pairs(of: list[int]) -> list[tuple[str, ...]]:
        # in the order of the list of machines, which is by name
        return [tuple(sorted((f"vm{one}", f"vm{two}"))) for one, two in zip(of[::2], of[1::2], strict=True)]
    wanted: set[tuple[str, str, object]] = set()
    wanted |= {(findings.MISSING, "warning", ((f"vm{n}",), base + f"gone{n}.img".encode())) for n in missing}
    wanted |= {(findings.SHARED_DISK, "warning", pair) for pair in pairs(shared) + pairs(aliased)}
    wanted |= {(findings.SHARED_DISK, "info", pair) for pair in pairs(purpose)}
    wanted |= {(findings.ORPHAN, "warning", ((), base + f"orphan{n}.img".encode())) for n in range(12)}
    assert told == wanted
