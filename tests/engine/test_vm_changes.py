"""What became of VMs from one state of a tree to another."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.vms.changes import ADDED, REMOVED, compare
from tests.vm_trees import OTHER, config, dashed, image, look, repo_path

Edit = Callable[[Path], Any]


def told(tmp_path: Path, first: Edit, second: Edit) -> list[str]:
    """The words for what `second` does to a tree that `first` made."""
    first(tmp_path / "old")
    subprocess.run(["cp", "-a", tmp_path / "old", tmp_path / "new"], check=True)     # which skips holes
    second(tmp_path / "new")
    old, new = look(tmp_path / "old"), look(tmp_path / "new")
    assert compare(old, old) == compare(new, new) == []
    changes = compare(old, new)
    assert all(change.text.isprintable() for change in changes)
    assert len(compare(new, old)) == len(changes)
    return [change.text for change in changes]


@pytest.mark.parametrize(("before", "after", "words"), [
    ({"memory": 4096}, {"memory": 8192}, ["vm1: memory 4096 MiB -> 8192 MiB"]),
    ({"memory": 4096}, {"memory": "4096"}, []),
    ({"memory": 4096}, {"memory": None}, ["vm1: memory 4096 MiB -> not set"]),
    ({}, {"maxmem": 9}, ["vm1: memory at most not set -> 9 MiB"]),
    ({"vcpus": 2, "maxvcpus": 4}, {"vcpus": 4, "maxvcpus": 8}, ["vm1: CPUs 2 -> 4", "vm1: CPUs at most 4 -> 8"]),
    ({}, {"OVM_simple_name": "web"}, ["vm1 was renamed to web"]),
    ({"name": "a"}, {"name": "b"}, ["vm1: domain a -> b"]),
    ({}, {"OVM_domain_type": "xen_pvm"}, ["vm1: OVM_domain_type xen_hvm -> xen_pvm"]),
    ({}, {"keymap": "de"}, ["vm1: keymap was set"]), ({"keymap": "de"}, {}, ["vm1: keymap was taken out"]),
    ({"keymap": ""}, {"keymap": "de"}, ["vm1: keymap (empty) -> de"]),
    ({"vfb": ["a"]}, {"vfb": ["b"]}, ["vm1: vfb changed"]),
    ({"extra": "a" * 99}, {"extra": "b" * 99}, ["vm1: extra changed"]),
    ({"vncpasswd": "g3heim"}, {"vncpasswd": "geh3im"}, ["vm1: vncpasswd changed"]),
    ({"extra": "pw=g3heim"}, {"extra": "pw=geh3im"}, ["vm1: extra changed"]),
    ({}, {"vif": ["mac=00:21:f6:00:00:01,bridge=other"]},
     ["vm1: network interface 00:21:f6:00:00:01: bridge 10238073c2 -> other"]),
    ({}, {"vif": ["mac=00:21:f6:00:00:01,bridge=10238073c2,model=e1000"]},
     ["vm1: network interface 00:21:f6:00:00:01 changed otherwise"]),
    ({}, {"vif": ["mac=00:21:f6:00:00:02,bridge=b"]}, ["vm1: network interface 00:21:f6:00:00:01 was removed",
                                                      "vm1: network interface 00:21:f6:00:00:02 was added, bridge b"]),
    ({"disk": ["file:/a,xvda,w"]}, {"disk": ["file:/b,xvda,w!"]}, ["vm1: disk xvda: /a -> /b",
                                                                  "vm1: disk xvda: access w -> w!"]),
    ({"disk": ["file:/a,xvda,w"]}, {"disk": ["phy:/a,xvda,w"]}, ["vm1: disk xvda is described otherwise"]),
    ({"disk": [",xvdb:cdrom,r"]}, {"disk": ["file:/x.iso,xvdb:cdrom,r"]}, ["vm1: drive xvdb: (empty) -> /x.iso"]),
    ({"disk": ["file:/a,xvda,w"]}, {"disk": ["file:/a,xvdb,w"]}, ["vm1: disk xvda was removed: /a",
                                                                 "vm1: disk xvdb was added: /a"])])
def test_edits_of_a_vm(tmp_path: Path, before: dict[str, Any], after: dict[str, Any], words: list[str]) -> None:
    assert told(tmp_path, lambda tree: config(tree, 1, **before), lambda tree: config(tree, 1, **after)) == words


def test_machines_that_come_and_go(tmp_path: Path) -> None:
    def first(tree: Path) -> None:
        config(tree, 1)
        config(tree, 2)

    def second(tree: Path) -> None:
        config(tree, 3, template=True)
        shutil.rmtree(config(tree, 2).parent)

    first(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    second(tmp_path / "new")
    changes = compare(look(tmp_path / "old"), look(tmp_path / "new"))
    assert [(c.kind, c.machine) for c in changes] == [(REMOVED, "vm2"), (ADDED, "vm3")]
    assert "template" in changes[1].text and "Templates/0004fb" in changes[1].text


def test_a_machine_that_moves_is_the_same(tmp_path: Path) -> None:
    def move(tree: Path) -> None:
        there = config(tree, 1, repository=OTHER)
        shutil.rmtree(repo_path(tree))
        there.write_text(there.read_text().replace("1024", "2048"))

    moved, memory = told(tmp_path, lambda tree: config(tree, 1), move)
    assert moved.startswith("vm1: its vm.cfg moved from /OVS/Repositories/") and OTHER in moved
    assert memory == "vm1: memory 1024 MiB -> 2048 MiB"


def test_a_uuid_that_two_have_tells_nobody_apart(tmp_path: Path) -> None:
    """Then the place of the vm.cfg does."""
    def first(tree: Path) -> None:
        for number in (1, 2):
            config(tree, number, uuid=dashed("a" * 32), memory=number)

    words = told(tmp_path, first, lambda tree: config(tree, 2, uuid=dashed("a" * 32), memory=5))
    assert words == ["vm2: memory 2 MiB -> 5 MiB"]


def test_disks_that_grow_shrink_and_vanish(tmp_path: Path) -> None:
    def first(tree: Path) -> None:
        config(tree, 1, disk=[f"file:{image(tree, f'{n}.img', size=10 << 30)},xvd{n},w" for n in "abcd"])

    def second(tree: Path) -> None:
        image(tree, "a.img", size=20 << 30)
        image(tree, "b.img", size=(10 << 30) + 512)
        image(tree, "c.img", size=1 << 30)
        Path(str(tree) + image(tree, "d.img")).unlink()

    words = told(tmp_path, first, second)
    assert words[:3] == ["vm1: disk xvda grew: 10 GiB -> 20 GiB",
                         "vm1: disk xvdb grew: 10,737,418,240 -> 10,737,418,752 bytes",
                         "vm1: disk xvdc shrank: 10 GiB -> 1.0 GiB"]
    assert words[3].startswith("vm1: disk xvdd is missing now: /OVS/")
