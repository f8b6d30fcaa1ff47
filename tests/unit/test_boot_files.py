"""Kernel images, initramfs files and EFI programs: whole ones are known, and cut or ruined ones told."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.machine import bootfiles
from engine.machine.bootfiles import Initramfs
from tests.boot_trees import cpio, kernel, packed, program, ramdisk

T = TypeVar("T")
MAIN = cpio({"init": b"#!/bin/sh\n" * 300, "lib/ext4.ko": random.Random(1).randbytes(300_000)})


def ask(look: Callable[[int], T], data: bytes) -> T:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return look(file.fileno())


def lz4(data: bytes) -> bytes:
    """Return lz4's legacy format with blocks of made-up content: what counts here are the lengths."""
    blocks = (data[at : at + 50_000] for at in range(0, len(data), 50_000))
    return b"\x02\x21\x4c\x18" + b"".join(len(b).to_bytes(4, "little") + b for b in blocks)


@pytest.mark.parametrize("how", ["gzip", "zstd", "zstd-check", "xz"])
@pytest.mark.parametrize("early", [b"", cpio({"kernel/x86/microcode/AuthenticAMD.bin": b"m" * 999}) + bytes(512)])
def test_real_archives_are_whole_and_every_cut_is_found(how: str, early: bytes) -> None:
    data = early + packed(MAIN, how)
    assert ask(bootfiles.initramfs, data) == Initramfs("", True)
    assert ask(bootfiles.initramfs, data + bytes(700)) == Initramfs("", True), "zeroes may follow"
    source = random.Random(how)
    for cut in [1, 2, len(data) - len(early) - 8, *(source.randrange(1, len(data) - len(early)) for _ in range(20))]:
        found = ask(bootfiles.initramfs, data[:-cut])
        assert found.fault, f"{cut} bytes are missing and nobody noticed"


def test_a_plain_archive_and_every_cut_of_it() -> None:
    assert ask(bootfiles.initramfs, MAIN) == Initramfs("", True)
    for cut in range(5, len(MAIN), 1009):
        assert ask(bootfiles.initramfs, MAIN[:-cut]).fault


def test_lz4_is_walked() -> None:
    data = lz4(MAIN)
    assert ask(bootfiles.initramfs, data) == Initramfs("", True)
    assert "lz4" in ask(bootfiles.initramfs, data[:-1]).fault


def test_microcode_alone_is_no_initramfs() -> None:
    assert ask(bootfiles.initramfs, cpio({"kernel/x86/microcode/x.bin": b"m"})) == Initramfs("", False)
    assert ask(bootfiles.initramfs, ramdisk()) == Initramfs("", True)


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "empty"), (bytes(9000), "all zeroes"), (b"garbage" * 99, "no archive")]
)
def test_what_is_no_initramfs(data: bytes, why: str) -> None:
    assert why in ask(bootfiles.initramfs, data).fault


@given(st.binary(max_size=300), st.sampled_from([b"", b"070701", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"\xfd7zXZ\0",
                                                 b"\x02\x21\x4c\x18", b"MZ", b"\x50\x2a\x4d\x18"]))
def test_nothing_makes_them_raise(data: bytes, magic: bytes) -> None:
    for look in (bootfiles.initramfs, bootfiles.kernel_fault, bootfiles.kernel_release, bootfiles.efi_fault):
        ask(look, magic + data)


def test_kernels() -> None:
    image = kernel("6.1.0-18-amd64")
    assert ask(bootfiles.kernel_fault, image) == "" and ask(bootfiles.kernel_release, image) == "6.1.0-18-amd64"
    assert ask(bootfiles.kernel_fault, image + b"a signature follows") == ""
    assert "its header announces 65536" in ask(bootfiles.kernel_fault, image[:-1])
    assert ask(bootfiles.kernel_fault, b"") == "it is empty"
    assert "zeroes" in ask(bootfiles.kernel_fault, bytes(9999))
    assert ask(bootfiles.kernel_fault, b"\x7fELF" + bytes(999)) == "", "no bzImage: nothing can be said"


def test_the_kernels_of_this_machine() -> None:
    names = [n for n in os.listdir("/boot") if n.startswith("vmlinuz-")] if os.path.isdir("/boot") else []
    if not names:
        pytest.skip("there is no kernel in /boot; made-up ones are judged above")
    for name in names:
        with open(f"/boot/{name}", "rb") as file:
            assert bootfiles.kernel_fault(file.fileno()) == ""
            assert bootfiles.kernel_release(file.fileno()) == name.removeprefix("vmlinuz-")


def test_efi_programs() -> None:
    assert ask(bootfiles.efi_fault, program()) == ""
    assert "reach to 4096" in ask(bootfiles.efi_fault, program()[:-1])
    for data in (b"MZ", b"MZ" + bytes(4000), b"\x7fELF" + bytes(4000)):
        assert ask(bootfiles.efi_fault, data) == "it is no EFI program"
    assert ask(bootfiles.efi_fault, b"") == "it is empty"
