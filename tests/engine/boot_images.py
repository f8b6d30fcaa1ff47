"""Disks for the tests of boot pieces: image files with real partition tables, GRUB put in by hand, loop devices.

Everything is written into files that the test made; a loop device is used only after a look that it is one of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import PREFIX, cannot_run

MIB = 1 << 20
GRUB = Path("/usr/lib/grub/i386-pc")
MBR_SCRIPT = """label: dos
label-id: 0xcafe1234
start=2048, size=8192, type=83, bootable
start=10240, size=20480, type=5
start=12288, size=4096, type=83
start=18432, size=8192, type=82
"""
GPT_SCRIPT = """label: gpt
label-id: 01234567-89AB-CDEF-0123-456789ABCDEF
start={bios}, size={size}, type=21686148-6449-6E6F-744E-656564454649, name="bios"
start=10240, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="esp \u00fc"
start=20480, size=8192, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
"""


def need(*tools: str) -> None:
    """Skip, loudly, without these programs."""
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        cannot_run("boot pieces (not installed: " + ", ".join(missing) + ")")


def image(path: Path, size: int, script: str) -> Path:
    """Make an image of `size` bytes with the partition table that a script of sfdisk describes."""
    need("sfdisk")
    with path.open("wb") as file:
        file.truncate(size)
    table(path, script)
    return path


def table(path: Path | str, script: str) -> None:
    """Give an image or device of ours a partition table."""
    done = subprocess.run(
        ["sfdisk", "--quiet", "--no-reread", "--wipe", "never", str(path)],
        input=script.encode(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def mbr(path: Path, size: int = 32 * MIB) -> Path:
    """Make an MBR disk of which every byte that no table holds is random: boot code, gap, contents."""
    return noise(image(path, size, MBR_SCRIPT), [(0, 440), (512, MIB), (MIB + 4096, 2 * MIB)])


def gpt(path: Path, size: int = 32 * MIB, bios: int = 2048, count: int = 2048) -> Path:
    """Make a GPT disk with a BIOS boot partition (in sectors of 512) and the same noise."""
    image(path, size, GPT_SCRIPT.format(bios=bios, size=count))
    return noise(path, [(0, 440), (34 * 512, MIB), (bios * 512, (bios + count) * 512)])


def noise(path: Path, ranges: list[tuple[int, int]], seed: int = 1) -> Path:
    """Fill ranges of bytes of an image of ours with random bytes."""
    source = random.Random(seed)
    with path.open("r+b") as file:
        for start, end in ranges:
            file.seek(start)
            file.write(source.randbytes(end - start))
    return path


def put(path: Path | str, offset: int, data: bytes) -> None:
    """Overwrite bytes of an image of ours."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def ranges_that_differ(one: bytes, other: bytes) -> list[tuple[int, int]]:
    """Return (start, end) of each run of blocks of 8 bytes that differ: an oracle that reads whole disks."""
    assert len(one) == len(other)
    found: list[tuple[int, int]] = []
    for base in range(0, len(one), 65536):
        if one[base : base + 65536] == other[base : base + 65536]:
            continue
        for at in range(base, min(base + 65536, len(one)), 8):
            if one[at : at + 8] != other[at : at + 8]:
                if found and found[-1][1] == at:
                    found[-1] = (found[-1][0], at + 8)
                else:
                    found.append((at, at + 8))
    return found


def sfdisk_json(path: Path | str) -> dict[str, Any]:
    """Return what sfdisk says of a disk: the independent reader of partition tables."""
    out = subprocess.run(["sfdisk", "--json", str(path)], capture_output=True, check=True).stdout
    found: dict[str, Any] = json.loads(out)["partitiontable"]
    return found


def grub_images(where: Path, config: str = "") -> tuple[bytes, bytes]:
    """Return GRUB's own boot.img and a core.img made for the BIOS, which runs the commands of `config` at its start."""
    need("grub-mkimage")
    if not (GRUB / "boot.img").exists():
        cannot_run("GRUB in boot sectors (not installed: grub-pc-bin)")
    core, early = where / "core.img", where / "early.cfg"
    early.write_text(config)
    subprocess.run(
        ["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,1)/grub", "-c", str(early), "-o", str(core)]
        + ["biosdisk", "part_msdos", "part_gpt", "ext2", "normal", "serial", "terminal", "echo", "halt"],
        check=True,
        capture_output=True,
    )
    return (GRUB / "boot.img").read_bytes(), core.read_bytes()


def install_grub(path: Path, where: Path, sector: int = 1, config: str = "") -> bytes:
    """Put GRUB's boot code and core.img (from `sector` on) into an image, as grub-bios-setup does; returns core.img."""
    boot, core = grub_images(where, config)
    core = core[:500] + struct.pack("<Q", sector + 1) + core[508:]
    code = bytearray(boot[:440])
    code[0x5C:0x64] = struct.pack("<Q", sector)
    put(path, 0, bytes(code))
    put(path, sector * 512, core)
    return core


@contextlib.contextmanager
def loop(path: Path, sector: int = 512) -> Iterator[str]:
    """Attach an image of ours as a loop device, and detach it in every case. Needs root."""
    with open(os.path.join(tempfile.gettempdir(), PREFIX + "loop-lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["losetup", "--find", "--show", "--sector-size", str(sector), str(path)],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        cannot_run(f"loop devices with sectors of {sector} bytes ({done.stderr.strip()})")
    device = done.stdout.strip()
    try:
        backing = Path(f"/sys/block/{os.path.basename(device)}/loop/backing_file").read_text().strip()
        assert device.startswith("/dev/loop") and backing == str(path), "this is not our loop device"
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
