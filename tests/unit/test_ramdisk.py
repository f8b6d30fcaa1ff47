"""Which modules an initramfs holds: archives made by cpio's own layout, in every compression, and cut short."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.machine.ramdisk import names, root_fault, without
from tests.conftest import cannot_run

RELEASE = "6.1.0-test"
MODULE = f"usr/lib/modules/{RELEASE}/kernel/drivers/md/dm-snapshot.ko"


def archive(*files: str, size: int = 3000) -> bytes:
    """A cpio archive ("newc", as in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = b""
    for name in [*files, "TRAILER!!!"]:
        data = b"x" * (0 if name == "TRAILER!!!" else size)
        numbers = [0, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % n for n in numbers) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return out


def tool(name: str, *options: str) -> Callable[[bytes], bytes]:
    if not shutil.which(name):
        cannot_run(f"initramfs packed by {name} (not installed)")
    return lambda data: subprocess.run([name, *options, "-c"], input=data, capture_output=True, check=True).stdout


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    (tmp_path / "boot").mkdir()
    (tmp_path / f"lib/modules/{RELEASE}").mkdir(parents=True)
    (tmp_path / f"lib/modules/{RELEASE}/modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    return tmp_path


@pytest.mark.parametrize("how", ["plain", "gzip", "xz", "bzip2", "zstd", "lz4"])
def test_found_whatever_it_is_packed_with(boot: Path, how: str) -> None:
    pack: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
        "plain": lambda: bytes, "gzip": lambda: gzip.compress, "xz": lambda: lzma.compress,
        "bzip2": lambda: bz2.compress,
        "zstd": lambda: tool("zstd", "-q"), "lz4": lambda: tool("lz4", "-q", "-l")}
    early = archive("kernel/x86/microcode/GenuineIntel.bin", size=40000) + bytes(300)
    many = [f"usr/bin/{number}" for number in range(800)]
    path = boot / f"boot/initrd.img-{RELEASE}"
    path.write_bytes(early + pack[how]()(archive(*many, MODULE, "init")) + bytes(64))
    assert list(names(str(path)))[-2:] == [MODULE.encode(), b"init"]
    assert without("dm-snapshot", RELEASE, str(boot)) == ""
    path.write_bytes(early + pack[how]()(archive(*many, MODULE.replace("snapshot", "thin"), "init")))
    assert without("dm-snapshot", RELEASE, str(boot)) == str(path)


@pytest.mark.parametrize("name", ["dm-snapshot.ko.xz", "dm_snapshot.ko", "dm-snapshot.ko.zst"])
def test_a_module_has_several_spellings(boot: Path, name: str) -> None:
    (boot / f"boot/initramfs-{RELEASE}.img").write_bytes(archive(f"lib/modules/{RELEASE}/extra/{name}"))
    assert without("dm-snapshot", RELEASE, str(boot)) == ""


def test_what_is_built_in_is_in_no_initramfs(boot: Path) -> None:
    (boot / f"boot/initrd.img-{RELEASE}").write_bytes(archive("init"))
    assert without("dm-snapshot", RELEASE, str(boot)) == f"{boot}/boot/initrd.img-{RELEASE}"
    (boot / f"lib/modules/{RELEASE}/modules.builtin").write_text("kernel/drivers/md/dm-snapshot.ko\n")
    assert without("dm-snapshot", RELEASE, str(boot)) == ""


@pytest.mark.parametrize("content", [
    b"", b"no archive at all", archive("init")[:200], gzip.compress(archive("a", "b"))[:60],
    lzma.compress(archive("a", "b"))[:60], b"\x28\xb5\x2f\xfdrubbish", b"070701" + b"zz" * 60],
    ids=["empty", "text", "cut", "gzip-cut", "xz-cut", "zstd-rubbish", "no-numbers"])
def test_where_nobody_can_say_nothing_is_said(boot: Path, content: bytes) -> None:
    assert without("dm-snapshot", RELEASE, str(boot)) is None
    path = boot / f"boot/initrd.img-{RELEASE}"
    path.write_bytes(content)
    assert without("dm-snapshot", RELEASE, str(boot)) == (None if content else str(path))


def test_a_root_is_refused_only_where_it_is_known_to_fail(boot: Path) -> None:
    assert root_fault(RELEASE, str(boot)) is None
    path = boot / f"boot/initrd.img-{RELEASE}"
    path.write_bytes(archive("init"))
    fault = root_fault(RELEASE, str(boot))
    assert fault and f"{path} has no dm-snapshot: the machine would not start" in fault[0]
    assert "update-initramfs -u" in fault[1]
    path.write_bytes(archive("init", MODULE))
    assert root_fault(RELEASE, str(boot)) == ()
