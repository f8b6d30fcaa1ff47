"""Modes and owners on a FAT are made up from mount options: they are no difference that a rollback could put right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.events import Job
from engine.machine.mounts import Space
from engine.replica import rsync
from engine.replica.source import View


def _view(*sources: tuple[str, str]) -> View:
    return View(Space(), b"/", b"/", (), tuple({"mount": mount, "type": kind} for mount, kind in sources), ())


@pytest.mark.parametrize(("path", "ownerless"), [
    (b"boot/efi", True), (b"boot/efi/EFI/BOOT/BOOTX64.EFI", True), (b"boot/efi-not", False), (b"boot", False),
    (b"boot/efi/real/file", False), (b"", False), (b"etc/passwd", False),
])
def test_what_lies_on_a_fat_is_found_by_the_innermost_file_system(path: bytes, ownerless: bool) -> None:
    view = _view(("/", "ext4"), ("/boot", "ext4"), ("/boot/efi", "vfat"), ("/boot/efi/real", "ext4"))
    assert view.ownerless(path) is ownerless


def test_a_root_that_is_a_fat_has_no_owners_at_all() -> None:
    assert _view(("/", "vfat")).ownerless(b"EFI/BOOT")
    assert not _view().ownerless(b"EFI/BOOT")


def test_rsync_tells_a_mode_that_differs_from_all_else(tmp_path: Path) -> None:
    """The codes are those that the rsync of this machine writes."""
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        place.mkdir()
        for name in ("same", "mode", "time", "content", "both"):
            (place / name).write_text(name, encoding="ascii")
            os.chmod(place / name, 0o644)
            os.utime(place / name, ns=(1, 10**18))
    (other / "only there").mkdir()
    os.utime(other / "time", ns=(1, 2 * 10**18))
    (other / "content").write_text("other words", encoding="ascii")
    for name in ("mode", "both"):
        os.chmod(other / name, 0o600)
    os.utime(other / "both", ns=(1, 3 * 10**18))
    for place in (one, other):
        os.utime(place, ns=(1, 10**18))
    seen: dict[bytes, bool] = {}

    def note(item: rsync.Item) -> None:
        seen[item.path] = item.only_access

    rsync.run(rsync.copy_argv(os.fsencode(one), os.fsencode(other), ["--dry-run", "--delete"], _no_filters(tmp_path)),
              note, Job())
    assert seen == {b"mode": True, b"both": False, b"time": False, b"content": False, b"only there": False}


def _no_filters(tmp_path: Path) -> bytes:
    return rsync.write_filters(os.fsencode(tmp_path / "filters"), ())
