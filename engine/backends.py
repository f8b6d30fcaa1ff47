"""The kinds of restore points beside the replica, and the one list of all points.

A kind is asked where the configuration names something of it, or where it says ``auto``, the root is the running
system's and there is something of the kind at all: a machine without a zpool, a volume group or a btrfs starts no
program and imports nothing for it. All kinds are asked at once. One that fails, has no tools or does not answer is a
`Trouble` with the reason, and harms nothing else.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from engine.backend import Backend
from engine.config import Config
from engine.errors import RefusedError, RollpointError, ToolError, UsageError
from engine.machine.mounts import mounts
from engine.points import RestorePoint
from engine.run import call
from engine.text import message, printable

LIMIT = 45.0
"""Seconds within which a kind has to list its points; its tools should have a shorter limit of their own."""
_VERSION_SECONDS = 10.0
_NOT_INSTALLED = 127     # the status of a ToolError about a program that is not there


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of points that cannot be listed, and why."""

    backend: str
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """All points, newest first, whoever keeps them, and the kinds that could not be asked."""

    points: tuple[RestorePoint, ...]
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """How one kind of storage stands here. `asked`: its points are listed; if not, `why` says the reason. Of one that
    is asked, `tool` is what its program says of its version, or `fault` why that cannot be used, with a `hint`."""

    backend: str
    asked: bool
    why: str = ""
    tool: str = ""
    fault: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of points: its module and class, the field of its section that says which volumes, and whether there is
    something of it on this machine (asked only for ``auto``); the command that says a version, the package that it is
    in, what to say where there is nothing of it, and whether `here` is certain of that (a device mapper is no LVM)."""

    name: str
    module: str
    type_name: str
    field: str
    here: Callable[[], bool]
    version: tuple[str, ...] = ()
    package: str = ""
    absent: str = ""
    certain: bool = False

    def volumes(self, config: Config) -> tuple[str, ...]:
        """Return what the configuration names of it."""
        found: tuple[str, ...] = getattr(getattr(config, self.name), self.field)
        return found

    def wanted(self, config: Config) -> bool:
        """Whether points of this kind are listed."""
        named = self.volumes(config)
        if any(volume != "auto" for volume in named):
            return True
        return bool(named) and os.path.realpath(config.root) == "/" and self.here()

    def make(self, config: Config) -> Backend:
        """Return the backend; it touches nothing yet."""
        if not self.known:
            raise RefusedError(f"this Rollpoint was made without {self.name}", hint="use a whole one")
        made: Backend = getattr(importlib.import_module(self.module), self.type_name)(config)
        return made

    def state(self, config: Config) -> State:
        """Return how it stands on this machine."""
        if not self.known:
            return State(self.name, False, "this Rollpoint was made without it")
        if not self.volumes(config):
            return State(self.name, False, f"switched off in the configuration (`{self.name}: {{{self.field}: []}}`)")
        if not self.wanted(config):
            elsewhere = f"not asked, {printable(config.root)} is not the running system; name some under " \
                        f"`{self.name}: {{{self.field}: …}}`"
            return State(self.name, False, self.absent if os.path.realpath(config.root) == "/" else elsewhere)
        try:
            said = call(self.version, timeout=_VERSION_SECONDS).decode("utf-8", "replace").strip()
        except ToolError as error:
            named = any(volume != "auto" for volume in self.volumes(config))
            if error.status == _NOT_INSTALLED and not (named or self.certain):
                return State(self.name, False, f"{self.version[0]} is not installed")
            return State(self.name, True, fault=message(error.message), hint=f"install {self.package}")
        return State(self.name, True, tool=message(" ".join(said.partition("\n")[0].split())))

    @property
    def known(self) -> bool:
        """Whether its module is there: a rescue kit may be made without some."""
        return find_spec(self.module) is not None


@dataclass(frozen=True, slots=True)
class _KeptKind(_Kind):
    """A kind whose points lie in a directory of the store (`field`): they are listed where that is there."""

    def volumes(self, config: Config) -> tuple[str, ...]:
        return ("auto",)

    def wanted(self, config: Config) -> bool:
        return os.path.isdir(os.path.join(config.store, self.field))


def _has_btrfs() -> bool:
    return any(mount.fstype == b"btrfs" for mount in mounts())


_KINDS = (
    _Kind("zfs", "engine.volumes.zfs", "ZfsBackend", "datasets", lambda: os.path.exists("/sys/module/zfs"),
          ("zfs", "version"), "zfsutils-linux", "the kernel module is not loaded"),
    _Kind("lvm", "engine.volumes.lvm", "LvmBackend", "volumes", lambda: os.path.exists("/dev/mapper/control"),
          ("lvm", "version"), "lvm2", "the kernel has no device mapper"),
    _Kind("btrfs", "engine.volumes.btrfs", "BtrfsBackend", "subvolumes", _has_btrfs,
          ("btrfs", "--version"), "btrfs-progs", "none is mounted", certain=True),
    _KeptKind("vms", "engine.vmpoints.backends", "Inventories", "vms/points", lambda: False),
    _KeptKind("vmdisks", "engine.vmpoints.backends", "DiskCopies", "vms/disks", lambda: False),
)
NAMES = tuple(kind.name for kind in _KINDS)


def of(config: Config) -> list[Backend]:
    """Return the backends whose points are listed, besides the replica."""
    return [kind.make(config) for kind in _KINDS if kind.wanted(config) and kind.known]


def any_wanted(config: Config) -> bool:
    """Whether there is anything to ask besides the replica."""
    return any(kind.wanted(config) and kind.known for kind in _KINDS)


def states(config: Config) -> list[State]:
    """Return how each kind of storage stands on this machine; asks the programs of those that are here."""
    return [kind.state(config) for kind in _KINDS if kind.version]


def get(config: Config, name: str) -> Backend:
    """Return one backend by its name. Raises UsageError for an unknown one, RefusedError when the configuration says
    that there is to be nothing of it."""
    kind = next((k for k in _KINDS if k.name == name), None)
    if kind is None:
        raise UsageError(f"there is no backend {name!r}", hint="the backends are: replica, " + ", ".join(NAMES))
    if not kind.volumes(config):
        raise RefusedError(f"the configuration has nothing of {name}: `{name}: {{{kind.field}: []}}`",
                           hint=f"name some, or take `{kind.field}` out of the section `{name}`")
    return kind.make(config)


def of_volumes(config: Config, name: str, volumes: Sequence[str]) -> Backend:
    """Return a backend for these volumes alone, whatever the configuration names."""
    kind = next(k for k in _KINDS if k.name == name)
    section = dataclasses.replace(getattr(config, name), **{kind.field: tuple(volumes)})
    return kind.make(dataclasses.replace(config, **{name: section}))


def listing(config: Config, kept: Sequence[RestorePoint] = (), *, only: str | None = None, limit: float = LIMIT
            ) -> Listing:
    """Return the points of all backends and those `kept` in the store, newest first.

    `only` asks one backend alone, as `get`. Those that have not answered after `limit` seconds are troubles.
    """
    found = list(kept)
    troubles = []
    for answer in _ask([get(config, only)] if only else of(config), limit):
        if isinstance(answer, Trouble):
            troubles.append(answer)
        else:
            found += answer
    found.sort(key=lambda p: (p.created, p.newest, p.number, p.id), reverse=True)
    return Listing(tuple(found), tuple(troubles))


Answer = list[RestorePoint] | Trouble


def _ask(asked: Sequence[Backend], limit: float) -> list[Answer]:
    """Return each backend's points or its trouble; none is waited for longer than `limit` seconds in all."""
    answers: dict[int, Answer] = {}

    def ask(number: int, backend: Backend) -> None:
        try:
            answers[number] = backend.points()
        except RollpointError as error:
            answers[number] = Trouble(backend.name, message(error.message), message(error.hint))
        except Exception as error:      # a defect in one kind must not take the others' points out of sight
            answers[number] = Trouble(backend.name, message(f"unexpected {type(error).__name__}: {error}"))

    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in enumerate(asked)]
    until = time.monotonic() + limit
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = f"no answer after {limit:g} s"
    return [answers.get(number, Trouble(backend.name, late)) for number, backend in enumerate(asked)]
