"""What the lab's tests share: the image, and for each layout a system with a restore point, made once and copied."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import PREFIX, cannot_run, sweep, unmount_below, why_no_root
from tests.engine.debian import cache_dir
from tests.lab.guest import guest_files
from tests.lab.image import Image, image
from tests.lab.machine import QEMU
from tests.lab.steps import Taken, program, taken

_NEEDED = (QEMU, "debootstrap", "mkfs.vfat", "sfdisk", "mcopy", "mdeltree", "setfacl", "setcap")
_FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
Lab = Callable[[str], Taken]


@cache
def why_no_lab() -> str:
    """Return why no machine of the lab can be made and run here, or ""."""
    missing = [name for name in _NEEDED if not shutil.which(name)]
    if not os.path.exists(_FIRMWARE):
        missing.append("ovmf")
    if "\nID=debian\n" not in "\n" + Path("/etc/os-release").read_text(encoding="utf-8"):
        return "the lab's machines are made from the package sources of a Debian, which this is not"
    return why_no_root() or ("not installed: " + ", ".join(missing) if missing else "")


@pytest.fixture(scope="session")
def lab_image() -> Image:
    """The lab's Debian system."""
    if why := why_no_lab():
        cannot_run(f"lab ({why})")
    return image()


@pytest.fixture(scope="session")
def guest_image(lab_image: Image) -> Image:
    """The guest with ZFS and LVM; see guest.py."""
    return guest_files(lab_image)


@pytest.fixture(scope="session")
def lab_place(lab_image: Image) -> Iterator[str]:
    """A directory for disk images beside their masters (where the file system can share blocks), removed at the end."""
    sweep(cache_dir())
    place = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=cache_dir())
    yield place
    unmount_below(place)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def masters(lab_image: Image, lab_place: str) -> Lab:
    """Return the one system of a layout with a point in its store; tests must not change it."""

    @cache
    def make(layout: str) -> Taken:
        place = os.path.join(lab_place, layout)
        os.mkdir(place)
        case = taken(lab_image, layout, place)
        times = ", ".join(f"{what} {seconds} s" for what, seconds in case.seconds.items())
        print(f"{layout}: rollpoint.pyz of {len(program()) / 1e6:.1f} MB; {times}")
        return case

    return make


@pytest.fixture
def lab(masters: Lab, lab_place: str) -> Iterator[Lab]:
    """Give a test copies of its own: `lab("bios-mbr")` is a system, its store, and the record of its point."""
    places = []

    def make(layout: str) -> Taken:
        places.append(tempfile.mkdtemp(dir=lab_place))
        return masters(layout).copied(places[-1])

    yield make
    for place in places:
        unmount_below(place)
        shutil.rmtree(place, ignore_errors=True)


def in_group(layout: str) -> object:
    """Return a test parameter whose tests run in one process, so that the layout's system is made once."""
    return pytest.param(layout, marks=pytest.mark.xdist_group(layout))
