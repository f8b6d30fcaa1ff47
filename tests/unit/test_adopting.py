"""Old names of file systems become new ones: exactly those, in every form, in one pass."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine.adopting import Renamed, apply, rewritten
from engine.machine.filesystems import parse_probed

ROOT = "1111aaaa-2222-3333-4444-555566667777"
NEW = "9999bbbb-2222-3333-4444-555566667777"
CHANGES = [Renamed("uuid", ROOT, NEW), Renamed("uuid", "AB12-CD34", "EF56-0789"),
           Renamed("label", "root fs", f"UUID={NEW}"), Renamed("label", "boot", "UUID=b"),
           Renamed("partuuid", "cafe1234-02", f"UUID={NEW}"),
           Renamed("path", "/dev/sda2", f"UUID={NEW}")]


@pytest.mark.parametrize(("old", "new"), [
    (f"UUID={ROOT} / ext4 defaults 0 1", f"UUID={NEW} / ext4 defaults 0 1"),
    (f"UUID=\"{ROOT.upper()}\" /", f"UUID=\"{NEW}\" /"),
    (f"/dev/disk/by-uuid/{ROOT}\t/ ext4", f"/dev/disk/by-uuid/{NEW}\t/ ext4"),
    (f"search --no-floppy --fs-uuid --set=root {ROOT}", f"search --no-floppy --fs-uuid --set=root {NEW}"),
    (f"linux /vmlinuz root=UUID={ROOT} ro quiet", f"linux /vmlinuz root=UUID={NEW} ro quiet"),
    ("UUID=ab12-cd34 /boot/efi vfat", "UUID=EF56-0789 /boot/efi vfat"),
    ("LABEL=boot /boot ext4", "UUID=b /boot ext4"),
    ('root=LABEL="root fs" ro', f"root=UUID={NEW} ro"),
    ("/dev/disk/by-label/boot /boot", "/dev/disk/by-uuid/b /boot"),
    ("root=PARTUUID=CAFE1234-02 rw", f"root=UUID={NEW} rw"),
    ("/dev/disk/by-partuuid/cafe1234-02 /", f"/dev/disk/by-uuid/{NEW} /"),
    ("/dev/sda2 / ext4", f"UUID={NEW} / ext4"),
    ("root=/dev/sda2 ro", f"root=UUID={NEW} ro"),
    # not these
    (f"x{ROOT}", f"x{ROOT}"), (f"{ROOT}-x", f"{ROOT}-x"), ("/dev/sda20 /x", "/dev/sda20 /x"),
    ("/mnt/dev/sda2 /x", "/mnt/dev/sda2 /x"), ("LABEL=boot2 /x", "LABEL=boot2 /x"), ("label boot", "label boot"),
    ("PARTUUID=cafe1234-021 /", "PARTUUID=cafe1234-021 /"), ("/boot/vmlinuz", "/boot/vmlinuz"),
    ("PARTLABEL=boot /boot", "PARTLABEL=boot /boot"),
])
def test_each_form_of_a_name_and_nothing_else(old: str, new: str) -> None:
    assert rewritten(old, CHANGES) == new
    assert rewritten(new, CHANGES) == new       # a second time changes nothing


def test_the_line_of_a_file_system_that_becomes_a_directory_is_put_out_of_force() -> None:
    merged = [*CHANGES, Renamed("mount", r"/my\040home", "")]
    fstab = (f"UUID={ROOT} / ext4 defaults 0 1\n#UUID=x /my\\040home ext4\nUUID=x\t/my\\040home\text4 nofail 0 2\n"
             "UUID=y /my\\040home/deeper ext4 defaults 0 2\n")
    new = (f"UUID={NEW} / ext4 defaults 0 1\n#UUID=x /my\\040home ext4\n# UUID=x\t/my\\040home\text4 nofail 0 2\n"
           "UUID=y /my\\040home/deeper ext4 defaults 0 2\n")
    assert rewritten(fstab, merged) == new and rewritten(new, merged) == new
    assert "".join(rewritten(line, merged) for line in fstab.splitlines(keepends=True)) == new


def test_two_that_have_changed_places_change_places() -> None:
    both = [Renamed("uuid", "aaaa-1111", "bbbb-2222"), Renamed("uuid", "bbbb-2222", "aaaa-1111")]
    assert rewritten("UUID=aaaa-1111 / UUID=bbbb-2222", both) == "UUID=bbbb-2222 / UUID=aaaa-1111"
    assert rewritten("anything", []) == "anything"


def test_the_environment_block_of_grub_keeps_its_size(tmp_path: Path) -> None:
    (tmp_path / "boot/grub").mkdir(parents=True)
    block = f"# GRUB Environment Block\nkernelopts=root=UUID={ROOT} ro \n".ljust(1024, "#")
    env = tmp_path / "boot/grub/grubenv"
    env.write_text(block)
    env.chmod(0o640)
    document: dict[str, list[Any]] = {"renamed": [["uuid", ROOT, "short"]], "files": [b"boot/grub/grubenv".hex()]}
    assert apply(os.fsencode(tmp_path), document) == [
        f"/boot/grub/grubenv: kernelopts=root=UUID={ROOT} ro -> kernelopts=root=UUID=short ro"]
    text = env.read_text()
    assert len(text) == 1024 and "root=UUID=short ro \n#" in text and env.stat().st_mode & 0o777 == 0o640
    assert apply(os.fsencode(tmp_path), document) == []


def test_what_blkid_prints_when_it_probes() -> None:
    out = (b"DEVNAME=/dev/sda2\nUUID=1-2\nLABEL=my\\ root\nTYPE=ext4\nPART_ENTRY_SCHEME=gpt\n"
           b"PART_ENTRY_UUID=cafe-02\nPART_ENTRY_NUMBER=2\n")
    assert parse_probed(out) == ("1-2", "my root", "cafe-02")
    assert parse_probed(b"") == ("", "", "")
