"""A machine that no longer starts, and starts again: GRUB in a boot sector, in QEMU, before and after."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.machine import bootcode
from tests.engine.boot_case import BIOS, CODE, GAP_GPT, GAP_MBR, Case
from tests.engine.boot_images import gpt, install_grub, mbr, need, put

HELLO = "serial --unit=0\nterminal_output serial\necho IT-BOOTS\nhalt\n"


def boots(disk: Path, place: Path) -> bool:
    """Start a BIOS machine from a disk (which is not written) and return whether GRUB says hello."""
    need("qemu-system-x86_64")
    said = place / "serial"
    said.write_bytes(b"")
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-display", "none", "-monitor", "none", "-no-reboot"]
    argv += ["-nic", "none", "-serial", f"file:{said}", "-drive", f"file={disk},format=raw,snapshot=on"]
    machine = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 12
    try:
        while time.monotonic() < end and machine.poll() is None:
            if b"IT-BOOTS" in said.read_bytes():
                return True
            time.sleep(0.1)
        return b"IT-BOOTS" in said.read_bytes()
    finally:
        machine.kill()
        machine.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("make", "sector", "pieces"), [(mbr, 1, (GAP_MBR,)), (gpt, 2048, (GAP_GPT, BIOS))])
def test_a_disk_boots_again(
    tmp_path: Path, make: Callable[[Path], Path], sector: int, pieces: tuple[tuple[int, int], ...]
) -> None:
    def disk_with_grub(path: Path) -> Path:
        install_grub(make(path), tmp_path, sector, HELLO)
        return path

    case = Case(tmp_path, disk_with_grub)
    assert boots(case.disk, tmp_path), "a test that cannot tell"
    for start, end in (CODE, *pieces):
        put(case.disk, start, bytes(end - start))
    case.now = case.disk.read_bytes()
    assert not boots(case.disk, tmp_path)
    assert f"{bootcode.ZEROES} -> {bootcode.GRUB2}" in case.apply()[-1]
    case.must_be(CODE, *pieces)
    assert boots(case.disk, tmp_path)
    case.undo()
    case.must_be()
    assert os.path.getsize(case.disk) == len(case.then)
