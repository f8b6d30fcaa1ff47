"""Swap and LUKS of an adopted system: what takes whose place, from what lsblk prints, and which lines are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import unmounted
from engine.adopting import Renamed, rewritten
from engine.machine.blockids import merged, parse_blkid_lines, parse_lsblk, parse_stacks
from engine.machine.filesystems import Recorded
from engine.machine.tree import Tree
from engine.unmounted import Known


def node(name: str, fstype: str = "", uuid: str = "", *below: dict[str, Any], kind: str = "part", label: str = ""
         ) -> dict[str, Any]:
    return {"name": name, "type": kind, "fstype": fstype or None, "uuid": uuid or None, "label": label or None,
            "children": list(below)}


def known(*disks: dict[str, Any]) -> Known:
    text = json.dumps({"blockdevices": disks}).encode()
    return Known(parse_lsblk(text), parse_stacks(text))


def machine(disk: str, tag: str, *more: dict[str, Any]) -> Known:
    """A disk with a boot partition, a LUKS with the root in it, and a swap."""
    return known(node(disk, "", "", node(f"{disk}1", "ext4", f"boot-{tag}"),
                      node(f"{disk}2", "crypto_LUKS", f"luks-{tag}",
                           node(f"crypt-{tag}", "ext4", f"root-{tag}", kind="crypt")),
                      node(f"{disk}3", "swap", f"swap-{tag}"), *more, kind="disk"))


MOVED = [(Recorded(b"", "ext4", "root-a", "/dev/mapper/crypt-a"),
          Recorded(b"", "ext4", "root-b", "/dev/mapper/crypt-b"))]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "etc/initramfs-tools/conf.d").mkdir(parents=True)
    (tmp_path / "etc/fstab").write_text("UUID=root-a / ext4 rw 0 1\nUUID=swap-a none swap sw 0 0\n")
    (tmp_path / "etc/crypttab").write_text("crypt-a UUID=luks-a none luks\n")
    (tmp_path / "etc/initramfs-tools/conf.d/resume").write_text("RESUME=UUID=swap-a\n")
    return Tree(bytes(tmp_path))


def named(pairs: list[Any]) -> set[tuple[str, str]]:
    return {(old.uuid, new.uuid) for old, new in pairs}


def test_the_container_of_the_root_and_the_only_swap(tree: Tree) -> None:
    found = unmounted.pairs(machine("sda", "a"), machine("vdb", "b"), MOVED, tree)
    assert named(found) == {("luks-a", "luks-b"), ("swap-a", "swap-b")}


def test_where_there_is_a_choice_nothing_is_taken(tree: Tree) -> None:
    here = machine("vdb", "b", node("vdb4", "swap", "swap-c"))
    assert named(unmounted.pairs(machine("sda", "a"), here, MOVED, tree)) == {("luks-a", "luks-b")}


def test_what_lies_on_other_disks_is_not_taken(tree: Tree) -> None:
    """The swap of the rescue system, or of another machine's disk that is attached as well."""
    other = node("vdc", "", "", node("vdc1", "swap", "swap-x"), kind="disk")
    here = known(node("vdb", "", "", node("vdb1", "ext4", "root-b"), kind="disk"), other)
    moved = [(MOVED[0][0], Recorded(b"", "ext4", "root-b", "/dev/vdb1"))]
    assert unmounted.pairs(machine("sda", "a"), here, moved, tree) == []


def test_what_nobody_names_or_what_is_still_here_is_not_replaced(tree: Tree, tmp_path: Path) -> None:
    both = known(node("vdb", "", "", node("vdb1", "ext4", "root-b"), node("vdb3", "swap", "swap-b"),
                      node("vdb4", "swap", "swap-a"), kind="disk"))
    moved = [(MOVED[0][0], Recorded(b"", "ext4", "root-b", "/dev/vdb1"))]
    assert unmounted.pairs(machine("sda", "a"), both, moved, tree) == []
    for name in ("fstab", "initramfs-tools/conf.d/resume"):
        (tmp_path / "etc" / name).write_text("")
    assert named(unmounted.pairs(machine("sda", "a"), machine("vdb", "b"), MOVED, tree)) == {("luks-a", "luks-b")}


def test_lines_that_the_admin_must_look_at_are_named(tree: Tree, tmp_path: Path) -> None:
    here = machine("vdb", "b")
    texts = [f.text for f in unmounted.findings(tree, here, [])]
    assert len(texts) == 3 and all("UUID=" in text and "is not here" in text for text in texts)
    assert ["/etc/fstab" in texts[0], "/etc/crypttab" in texts[1], "RESUME=UUID=swap-a" in texts[2]] == [True] * 3
    (tmp_path / "etc/fstab").write_text("UUID=swap-b none swap sw 0 0\n/dev/mapper/cswap none swap sw 0 0\n")
    (tmp_path / "etc/initramfs-tools/conf.d/resume").write_text("RESUME=none\n")
    (tmp_path / "etc/crypttab").write_text("crypt-b UUID=luks-b none luks\ncswap /dev/vda3 /dev/urandom swap\n")
    texts = [f.text for f in unmounted.findings(tree, here, [])]
    assert len(texts) == 1 and "cswap /dev/vda3" in texts[0] and "writes over that device" in texts[0], texts


def test_a_container_that_crypttab_does_not_know_by_its_name_is_said(tree: Tree, tmp_path: Path) -> None:
    here = machine("vdb", "b")

    def told(crypttab: str) -> list[str]:
        (tmp_path / "etc/crypttab").write_text(crypttab)
        return [f.text for f in unmounted.findings(tree, here, MOVED) if "/dev/vdb2" in f.text]

    assert told("crypt-b UUID=luks-b none luks\n") == []
    assert told("crypt-b /dev/vdb2 none luks\n") == []
    assert len(told("")) == 1 and "does not name" in told("")[0]
    other = told("root UUID=luks-b none luks\n")
    assert len(other) == 1 and "is open as /dev/mapper/crypt-b, and crypttab calls it root" in other[0]


def test_names_of_containers_are_rewritten_where_they_are_made_of_the_uuid() -> None:
    uuid, new = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
    text = f"rd.luks.uuid=luks-{uuid} rd.luks.uuid={uuid.upper()} x-{uuid} /dev/mapper/luks-{uuid}"
    assert rewritten(text, [Renamed("uuid", uuid, new)]) == (
        f"rd.luks.uuid=luks-{new} rd.luks.uuid={new} x-{uuid} /dev/mapper/luks-{new}")


def test_blkid_as_it_prints_for_people_tells_what_lsblk_was_not_told() -> None:
    probed = parse_blkid_lines(b'/dev/vda1: LABEL="a \\"b\\"" UUID="u-1" TYPE="swap" PARTUUID="p-1"\n'
                               b"/dev/vda2: \nnoise\n")
    assert [(d.path, d.fstype, d.uuid, d.label, d.partuuid) for d in probed.all] == [
        ("/dev/vda1", "swap", "u-1", 'a "b"', "p-1")]
    listed = parse_lsblk(json.dumps({"blockdevices": [node("vda1"), node("vda2", "ext4", "u-2")]}).encode())
    assert {d.path: (d.fstype, d.uuid) for d in merged(probed, listed).all} == {
        "/dev/vda1": ("swap", "u-1"), "/dev/vda2": ("ext4", "u-2")}
