"""Boot pieces for the double of the engine: a disk whose boot code was overwritten, another that is not here any more.

`text` is said wherever a string can come from."""

from __future__ import annotations

from engine.bootlook import Kept, Layout, Loader
from engine.bootpieces import BootShown, BootStatus
from engine.machine.bootcode import hex_view
from engine.machine.bootimages import Area, BootRecord, DiskRecord, Image
from engine.machine.bootrestore import BootPlan, DiskPlan, Piece
from engine.machine.collect import Text
from engine.machine.disks import Disk
from engine.machine.partitions import Table
from engine.results import Finding, Verdict

MIB = 1 << 20
CODE = bytes(range(1, 221)) * 2
"""The boot code that the points have; on the disk are zeroes."""
GAP = b"core.img" * 64
FILES = {"disk-1.sector0": CODE + b"\xfe\xca" * 35 + b"\x55\xaa", "disk-1.gap": GAP, "disk-2.sector0": CODE + bytes(72),
         "facts/df.txt": b"Filesystem 1024-blocks\n/dev/sda2 19046440\n", "facts/lspci.txt": b"00:00.0 Host bridge\n"}
THEN = b"label: dos\ndevice: /dev/sda\n\n/dev/sda1 : start=2048, size=8192, type=83, bootable\n"
NOW = b"label: dos\ndevice: /dev/sda\n\n/dev/sda1 : start=2048, size=4096, type=83, bootable\n"
LOADER = b"boot/efi/EFI/debian/grubx64.efi"


def machine(text: str) -> BootStatus:
    """How the double's machine starts."""
    disk = Disk(b"/dev/sda", 64 * MIB, 512, Table("mbr", 512, 64 * MIB, "0xcafe1234"), model=text)
    areas = (Area("sector 0", 0, 512, "zeroes"), Area("gap", 512, MIB - 512, text, "only the first 1.0 MiB"))
    return BootStatus(b"/", "bios", ((disk, areas),), (text,), Verdict("no", (
        Finding("blocker", "/dev/sda: there is no boot code in sector 0, only zeroes", "restore the boot pieces"),
        Finding("warning", text, text), Finding("info", "the kernel has its modules")), "6.1.0-26-amd64"))


def shown(text: str, damage: tuple[str, ...] = ()) -> BootShown:
    """What each of the double's points has saved."""
    code = Image("sector 0", 0, 512, "disk-1.sector0", "00" * 32, "GRUB 2")
    gap = Image("gap", 512, len(GAP), "disk-1.gap", "00" * 32, text)
    gone = Image("sector 0", 0, 512, "disk-2.sector0", "00" * 32, text)
    one = DiskRecord("disk-1", "/dev/sda", 64 * MIB, 512, text, "", "", "mbr", "0xcafe1234", MIB, (code, gap), (text,))
    two = DiskRecord("disk-2", "/dev/sdb", 64 * MIB, 512, "", "", "", "mbr", "0xbeef", MIB, (gone,), ())
    disk = machine(text).disks[0][0]
    pieces = (Piece("gap", 512, len(GAP), gap.file, text, text, 0, "", ()),
              Piece("boot code", 0, 440, code.file, "zeroes", "GRUB 2", 440, "", hex_view(bytes(440), CODE)))
    record = BootRecord(b"/st/points/1/boot", "bios", (one, two), (Text("blkid.txt", "blkid", "", 10, "00"),))
    boot = BootPlan(record, (DiskPlan(one, disk, pieces, (text,)),), ((two, f"/dev/sdb is not here: {text}"),))
    return BootShown(record, boot, "", (Text("df.txt", "df -PTl", "", 43, "00"),
                                        Text("lspci.txt", text, "it ended with status 1", 20, "00")), damage)


def kept(name: str) -> Kept:
    """A saved file."""
    return Kept(FILES[name], "")


def present(offset: int, length: int) -> bytes:
    """What is on the disk: the gap is as it was, all else is zeroes."""
    return GAP[:length] if offset == 512 else bytes(length)


def layout(text: str) -> tuple[Layout, ...]:
    """The texts about the disks."""
    return (Layout("partition table of /dev/sda", THEN, NOW), Layout("block devices", b"sda disk\n", b"sda disk\n"),
            Layout("identifiers of file systems", None, b"/dev/sda1: UUID=1\n", text))


def loaders(text: str) -> tuple[Loader, ...]:
    """The EFI programs."""
    return (Loader(LOADER, "", "", True), Loader(b"boot/efi/EFI/BOOT/BOOTX64.EFI", text or "cut short", "", False),
            Loader(b"boot/efi/EFI/old/old.efi", None, "", False))
