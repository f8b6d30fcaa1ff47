"""What a rollback of the running system runs from: a copy in memory of Python, of this program and of every tool.

A rollback replaces and removes files while it runs, the C library, rsync and Python's own modules among them. What is
not loaded yet would then be missing, or be that of another version. So before the first write the process that rolls
back puts copies of all that it needs into a tmpfs, and goes on from there. That tmpfs is mounted in a mount namespace
of the process's own: nobody else sees it, and it goes with the process, however that ends (an empty directory in /run
stays until the next boot: removing the directory would take the mount of a rollback of another store away).

Programs in the copy have the copy's own loader written into them (PT_INTERP) and find the copy's libraries by
LD_LIBRARY_PATH, so that one of them can start another. That needs no chroot: the root stays "/" for plans, journals,
messages and checks, and an interrupted rollback is the same one seen from a rescue CD. Bind mounts of copies over the
originals would not do: a mount goes when the file below it is replaced in another namespace (rename(2)). Whether all
of it really comes from the copy is checked before anything is written (`check`).
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from engine import run
from engine.config import Config
from engine.errors import RefusedError, RollpointError, ToolError
from engine.rescue import elf, itself, kit
from engine.text import human_size, printable

PLACE = "/run/rp"           # short: it has to fit where "/lib/ld64.so.1" stands in a program
LOADER = f"{PLACE}/ld.so"
PROGRAM = f"{PLACE}/rollpoint.pyz"
PRIVATE = "--private"       # the last word of a process that has a mount namespace of its own
NEEDED = ("rsync", "zstd", "unshare", "nsenter", "mount", "umount", "cat")
WELCOME = ("efibootmgr", "blkid", "blockdev", "lsblk", "sfdisk", "btrfs", "zfs", "zpool", "lvs", "vgs", "lvcreate",
           "lvchange", "lvremove")
_WORK = 96 << 20            # what Python and rsync take while they work
_ROOM = 8 << 20
_LEFT_OUT = frozenset({"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages",
                       "dist-packages", "pydoc_data", "distutils", "unittest"})
_ALSO = ("libnss_*.so.?", "libgcc_s.so.?")      # what the C library loads by itself, later
_HINT = "order it with --at-next-boot, or roll back from a rescue CD"


@dataclass(slots=True)
class Cargo:
    """What goes into the copy: `files` by their names in it, `programs` those of them that are started."""

    files: dict[str, str] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)
    loader: str = ""

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(os.stat(path).st_size for path in self.files.values())


# --- is it due? ----------------------------------------------------------------------------------------------------


def aboard() -> bool:
    """Whether this process runs from the copy."""
    return sys.prefix == PLACE


def due(config: Config, paths: Sequence[bytes] = ()) -> bool:
    """Whether a rollback of these paths of the configured root (none: all of it) may replace what this process runs
    from, and has to run from a copy."""
    if os.geteuid() != 0 or aboard():
        return False
    root = os.path.realpath(os.fsencode(config.root))
    chosen = [os.path.join(root, path) for path in paths] or [root]
    ours = {os.fsencode(path) for path in _ours()}
    places = {os.path.realpath(path) for path in ours} | ours
    return any(_meet(one, place) for one in chosen for place in places)


def require(config: Config, paths: Sequence[bytes]) -> None:
    """Raise RefusedError when a rollback has to run from the copy and does not."""
    if due(config, paths):
        raise RefusedError("this would replace the very files that it runs from",
                           hint="`rollpoint rollback` and the app carry it out from a copy in memory")


def _ours() -> Iterator[str]:
    """Yield where things lie that this process uses or is going to start: directories of libraries and of programs."""
    yield from (sys.executable, sys.base_prefix + "/lib", sysconfig.get_path("stdlib"))
    yield itself.archive() or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    yield from (os.path.dirname(path) for path in _mapped())
    yield from (found for name in NEEDED if (found := _which(name)))


def _meet(one: bytes, other: bytes) -> bool:
    """Whether one path is the other, or lies below it."""
    return one == other or one.startswith(other.rstrip(b"/") + b"/") or other.startswith(one.rstrip(b"/") + b"/")


def _mapped() -> set[str]:
    """Return the files whose code this process has loaded (proc_pid_maps(5))."""
    with open("/proc/self/maps", "rb") as file:
        fields = [line.rstrip(b"\n").split(None, 5) for line in file]
    return {os.fsdecode(f[5]) for f in fields if len(f) == 6 and b"x" in f[1] and f[5].startswith(b"/")}


def _which(name: str) -> str | None:
    return shutil.which(name, path=run.environment()["PATH"])


def spared(config: Config) -> Config:
    """Return the configuration with the copy's place, and that of running rollbacks, left alone also where /run is no
    file system of its own: whatever `excludes` says."""
    root = os.path.realpath(os.fsencode(config.root))
    if os.path.isdir("/run") and os.stat("/run").st_dev != os.stat(root).st_dev:
        return config
    ours = ("/run/rp", "/run/rollpoint")
    return replace(config, excludes=(*config.excludes, *(p for p in ours if p not in config.excludes)))


# --- what goes in --------------------------------------------------------------------------------------------------


def cargo() -> Cargo:
    """Find all that goes into the copy, but this program itself. Raises RollpointError when something is missing."""
    found = Cargo()
    python = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    _program(found, f"bin/{os.path.basename(python)}", python)
    for name in NEEDED:
        path = _which(name)
        if path is None:
            raise ToolError([name], 127, "not installed", hint=f"install {name}")
        _program(found, f"bin/{name}", path)
    for name in WELCOME:
        path = _which(name)
        if path is not None and _is_program(path):
            _program(found, f"bin/{name}", path)
    _modules(found)
    for directory in {os.path.dirname(p) for n, p in found.files.items() if n.startswith("lib/libc.")}:
        for pattern in _ALSO:
            for path in glob.glob(os.path.join(directory, pattern)):
                if all(elf.needs(found.loader, path).values()):     # one that could not be loaded never was
                    _library(found, os.path.basename(path), path)
    if found.loader:
        found.files["ld.so"] = found.loader
    return found


def _is_program(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            elf.interp(file.read())
    except elf.NoProgram:
        return False
    return True


def _program(found: Cargo, name: str, path: str) -> None:
    """Take a program with the libraries it needs."""
    with open(path, "rb") as file:
        try:
            wanted = elf.interp(file.read())
        except elf.NoProgram:
            raise RefusedError(f"{printable(path)} is no program but a script: it cannot be copied with all it needs",
                               hint=_HINT) from None
    found.files[name] = path
    found.programs.add(name)
    if wanted is None:
        return
    loader = os.fsdecode(wanted.name)
    if found.loader and os.path.realpath(found.loader) != os.path.realpath(loader):
        raise RefusedError(f"{printable(path)} needs the loader {printable(loader)}, others {printable(found.loader)}",
                           hint=_HINT)
    found.loader = found.loader or loader
    _needed(found, path)


def _needed(found: Cargo, path: str) -> None:
    for name, library in elf.needs(found.loader, path).items():
        if not library:
            raise RollpointError(f"{printable(path)} needs the library {printable(name)}, which is not there")
        _library(found, os.path.basename(name), library, follow=False)


def _library(found: Cargo, name: str, path: str, *, follow: bool = True) -> None:
    key = f"lib/{name}"
    if key in found.files:
        if os.path.realpath(found.files[key]) != os.path.realpath(path) and not follow:
            raise RefusedError(f"there are two libraries {printable(name)}: {printable(found.files[key])} and "
                               f"{printable(path)}", hint=_HINT)
        return
    found.files[key] = path
    if follow:
        _needed(found, path)


def _modules(found: Cargo) -> None:
    """Take Python's standard library, with the libraries that its modules need; not what only tests and windows use."""
    top = sysconfig.get_path("stdlib")
    home = f"{sys.platlibdir}/{os.path.basename(top)}"
    tag = f".{sys.implementation.cache_tag}.pyc"
    for place, directories, names in os.walk(top):
        directories[:] = [d for d in directories if d not in _LEFT_OUT and not d.startswith("config-")]
        inside = os.path.normpath(os.path.join(home, os.path.relpath(place, top)))
        for name in names:
            path = os.path.join(place, name)
            if not os.path.isfile(path) or (name.endswith(".pyc") and not name.endswith(tag)):
                continue
            if ".so" in name and not _extension(found, name, path):
                continue
            found.files[f"{inside}/{name}"] = path


def _extension(found: Cargo, name: str, path: str) -> bool:
    """Take what an extension module needs; whether it is wanted, and all of it is there."""
    if name.startswith(("_test", "_tkinter", "xx", "_ctypes_test", "_xx")):
        return False
    wanted = elf.needs(found.loader, path) if found.loader else {}
    if not all(wanted.values()):
        return False
    for library, place in wanted.items():
        _library(found, os.path.basename(library), place, follow=False)
    return True


# --- going aboard --------------------------------------------------------------------------------------------------


def board(module: str, words: Sequence[str]) -> NoReturn:
    """Make the copy and go on in it, as the same process, with a module of this program. Only from a process of its
    own, since it does not come back. `words` are the module's arguments.

    Raises RollpointError when that cannot be; nothing was changed then.
    """
    if PRIVATE not in words:
        _own_namespace()
    goods = cargo()
    program = kit.make().files[kit.PROGRAM]
    size = goods.size + len(program)
    _check_memory(size)
    os.makedirs(PLACE, mode=0o700, exist_ok=True)
    run.call(["mount", "-t", "tmpfs", "-o", f"mode=0700,size={size + len(goods.files) * 4096 + _ROOM}", "rollpoint",
              PLACE])
    fill(goods, program)
    run.use_copies(PLACE)
    python = os.path.join(PLACE, next(n for n in goods.files if n.startswith("bin/python")))
    check(goods, python)
    if itself.RUN_COPY in sys.orig_argv:
        os.unlink(itself.archive())
    run.become([python, "-IS", PROGRAM, itself.RUN, module, *words], {"LD_LIBRARY_PATH": f"{PLACE}/lib"})


def _own_namespace() -> NoReturn:
    """Begin this process anew in a mount namespace of its own; what the system mounts later is still seen in it."""
    enter = ["unshare", "--mount", "--propagation", "slave", "--"]
    try:
        run.call([*enter, "cat"])
    except ToolError as error:
        raise RefusedError(f"no mount namespace can be made here: {error.message}", hint=_HINT) from error
    run.become([*enter, sys.executable, *sys.orig_argv[1:], PRIVATE], {})


def _check_memory(size: int) -> None:
    """Raise RefusedError when the copy and the work do not fit into memory."""
    free, wanted = available(), size + _WORK
    if free is not None and free < wanted:
        raise RefusedError(f"a rollback of the running system runs from a copy in memory: {human_size(wanted)} are "
                           f"needed, {human_size(free)} are available", hint=f"stop something, or {_HINT}")


def available() -> int | None:
    """Return how many bytes of memory can be had without swapping (proc_meminfo(5)), None where nobody says."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return None


def fill(goods: Cargo, program: bytes) -> None:
    """Copy everything into PLACE, where the tmpfs is."""
    for name, path in goods.files.items():
        target = os.path.join(PLACE, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(path, "rb") as file:
            data = file.read()
        with open(target, "wb") as file:
            file.write(elf.started_by(data, os.fsencode(LOADER)) if name in goods.programs else data)
        if name in goods.programs or name == "ld.so":
            os.chmod(target, 0o700)
    with open(PROGRAM, "wb") as file:
        file.write(program)


def check(goods: Cargo, python: str) -> None:
    """Raise RefusedError when something in the copy would be loaded from outside of it."""
    for name in sorted(goods.programs):
        path = os.path.join(PLACE, name)
        with open(path, "rb") as file:
            if elf.interp(file.read()) is None:
                continue
        for library, found in elf.needs(LOADER, path).items():
            if not found.startswith(PLACE + "/"):
                raise RefusedError(f"in the copy {name} would load {printable(found or library)} from outside of it",
                                   hint=_HINT)
    said = run.call([python, "-IS", "-c", _TRIAL]).decode("utf-8", "surrogateescape").split("\0")
    strange = [path for path in said if path and not path.startswith(PLACE + "/")]
    if strange:
        raise RefusedError(f"in the copy Python would load {printable(strange[0])} from outside of it", hint=_HINT)


# What a rollback imports of extension modules; where they and everything else of Python came from.
_TRIAL = """
import sys, ctypes, fcntl, hashlib, json, select, signal, sqlite3, struct, subprocess, tempfile, threading, zlib
with open("/proc/self/maps", "rb") as file:
    fields = [line.rstrip(b"\\n").split(None, 5) for line in file]
code = {f[5].decode("utf-8", "surrogateescape") for f in fields
        if len(f) == 6 and b"x" in f[1] and f[5].startswith(b"/")}
code |= {m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)} | {sys.prefix + "/"}
sys.stdout.buffer.write("\\0".join(code).encode("utf-8", "surrogateescape"))
"""


def cast_off() -> None:
    """From now on every program that is started is the copy's, if we run from one. Until then, while only the store is
    written to, they are those of the system: there are more of them."""
    if aboard():
        run.use_copies(PLACE)
