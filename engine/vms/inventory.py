"""All VMs and templates of the repositories: their configurations read, their disks looked at.

Nothing is executed, written or mounted; of a repository only the vm.cfg files (and ``.ovsrepo``) are opened, regular
files alone and with a limit on their size.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.events import Job
from engine.machine.tree import Tree
from engine.text import printable, shown_path
from engine.vms.machines import Facts, facts, is_domain, plain_id
from engine.vms.places import DiskState, Identity, allocated, file_identity, find, look, within
from engine.vms.repositories import ConfigFile, Repository, repositories
from engine.vms.secrets import hidden
from engine.vms.statements import MAX_BYTES, Document, read


class SeveralError(UsageError):
    """What an admin typed names more than one VM."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A VM or a template. `config` is its vm.cfg and `repository` the place that holds it, both relative to the root.
    `file` is where `config` leads, all links followed; `named` are the other files of the host that the VM names
    (kernel, nvram), where they exist."""

    config: bytes
    file: bytes
    repository: bytes
    template: bool
    document: Document
    facts: Facts
    disks: tuple[DiskState, ...]
    named: frozenset[Identity] = frozenset()

    @property
    def name(self) -> str:
        """The name people use, as printable text without secrets; the directory's (or file's) where none is set."""
        where = os.path.basename(os.path.dirname(self.config) if self.config.endswith(b"/vm.cfg") else self.config)
        return printable(hidden(self.facts.title or self.facts.name)) or printable(where)

    @property
    def apparent(self) -> int:
        """Bytes of the disks as their VM sees them, as far as known; media that can be taken out are not counted."""
        return sum(disk.apparent or 0 for disk in self.disks if not disk.spec.cdrom)

    @property
    def allocated(self) -> int:
        """Bytes that the disks' files take, as far as known."""
        return sum(disk.allocated or 0 for disk in self.disks if not disk.spec.cdrom)


@dataclass(frozen=True, slots=True)
class Unread:
    """A configuration of which nothing is known, and why."""

    config: bytes
    repository: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Image:
    """A file of a repository that looks like a virtual disk. Sizes in bytes."""

    path: bytes
    repository: bytes
    apparent: int
    allocated: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is. `troubles` are places that could not be listed; `skipped` files that are no VM's configuration
    after all. `complete`: every configuration was found and understood as far as disks go."""

    repositories: tuple[Repository, ...]
    machines: tuple[Machine, ...]
    unread: tuple[Unread, ...]
    images: tuple[Image, ...]
    troubles: tuple[str, ...]
    skipped: tuple[bytes, ...]

    @property
    def complete(self) -> bool:
        """Whether it is known of every disk that some configuration names: only then an orphan is one."""
        return not self.unread and not self.troubles and all(_disks_known(machine) for machine in self.machines)

    def machine(self, spec: str) -> Machine:
        """Return the VM or template that an admin names: by a name, the uuid (dashes and case do not matter), a unique
        beginning of either, or the path of its vm.cfg. Raises UsageError, of which SeveralError."""
        exact = [m for m in self.machines if _is_named(m, spec)]
        wanted = plain_id(spec)
        begun = [m for m in self.machines if spec and (
            any(name.startswith(spec) for name in _names(m)) or (wanted and plain_id(m.facts.uuid).startswith(wanted)))]
        found = exact or begun
        if len(found) == 1:
            return found[0]
        if not found:
            raise UsageError(f"there is no VM {printable(spec)}", hint="`rollpoint vms` lists them")
        places = ", ".join(shown_path(m.config) for m in found[:5]) + (", …" if len(found) > 5 else "")
        raise SeveralError(f"{printable(spec)} names {len(found)} VMs", hint=f"give the path of one: {places}")


def scan(root: str, wanted: Sequence[str], job: Job) -> Inventory:
    """Return what there is in the `wanted` repositories (directories, or ``auto``) of the system at `root`.

    Raises UsageError for a directory that is not there, and CancelledError. What cannot be read is in the inventory
    with the reason.
    """
    tree = Tree(os.fsencode(root))
    places = repositories(tree, wanted)
    inside = [place.path for place in places]
    machines, unread, skipped = list[Machine](), list[Unread](), list[bytes]()
    seen: set[tuple[int, int]] = set()
    files = [(place, config) for place in places for config in place.configs]
    for done, (place, config) in enumerate(files):
        job.progress("reading configurations", done, len(files), current=config.path)
        read_one = _read(tree, config, place, inside, seen)
        if isinstance(read_one, Unread):
            unread.append(read_one)
        elif read_one is not None and not config.certain and not is_domain(read_one):
            if read_one.problems and config.path.endswith(b".cfg"):
                unread.append(Unread(config.path, place.path, "nothing that makes a VM could be read in it"))
            else:
                skipped.append(config.path)
        elif read_one is not None:
            known = facts(read_one)
            disks = tuple(look(tree, spec, inside) for spec in known.disks)
            machines.append(Machine(config.path, tree.inner(config.path) or config.path, place.path, config.template,
                                    read_one, known, disks, _named(tree, known)))
    machines.sort(key=lambda machine: (machine.template, machine.name.lower(), machine.config))
    troubles = dict.fromkeys(trouble for place in places for trouble in place.troubles)
    return Inventory(tuple(places), tuple(machines), tuple(unread), tuple(_images(tree, places, job)), tuple(troubles),
                     tuple(skipped))


def _read(tree: Tree, config: ConfigFile, place: Repository, inside: Sequence[bytes],
          seen: set[tuple[int, int]]) -> Document | Unread | None:
    """Read a configuration; None for one that was read already under another name."""
    inner, info, trouble = find(tree, config.path)
    why = trouble
    if not why and info is None:
        why = "it is a symbolic link that leads nowhere"
    elif not why and not any(within(inner, folder) for folder in inside):
        why = "it is a symbolic link that leads out of the repository"
    elif info is not None and not stat.S_ISREG(info.st_mode):
        why = "it is no regular file"
    elif info is not None and info.st_size > MAX_BYTES:
        why = f"it is longer than {MAX_BYTES >> 10} KiB"
    if why or info is None:
        return Unread(config.path, place.path, why)
    if (info.st_dev, info.st_ino) in seen:
        return None
    seen.add((info.st_dev, info.st_ino))
    return _content(tree, inner, config, place)


def _content(tree: Tree, inner: bytes, config: ConfigFile, place: Repository) -> Document | Unread:
    try:
        with tree.open(inner) as fd:
            if fd is None:
                os.close(os.open(os.path.join(tree.root, inner), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
                return Unread(config.path, place.path, "it changed while it was looked at")
            data = bytearray()
            while len(data) <= MAX_BYTES and (chunk := os.read(fd, MAX_BYTES + 1 - len(data))):
                data += chunk
    except OSError as error:
        return Unread(config.path, place.path, error.strerror or str(error))
    return read(bytes(data))


def _named(tree: Tree, known: Facts) -> frozenset[Identity]:
    found = (find(tree, os.fsencode(path))[1] for _key, path in known.host_files if path.startswith("/"))
    return frozenset(file_identity(info) for info in found if info is not None)


def _images(tree: Tree, places: Sequence[Repository], job: Job) -> Iterator[Image]:
    seen: set[Identity] = set()
    for place in places:
        for path in place.images:
            job.check()
            _inner, info, _trouble = find(tree, path)
            if info is not None and stat.S_ISREG(info.st_mode) and file_identity(info) not in seen:
                seen.add(file_identity(info))
                yield Image(path, place.path, info.st_size, allocated(info), file_identity(info))


def _disks_known(machine: Machine) -> bool:
    """Whether all disks of a VM are known: its statement was read, and each disk in it."""
    if any(disk.spec.problem or disk.trouble for disk in machine.disks):
        return False
    return all(problem.key not in ("", "disk") for problem in machine.facts.problems)


def _names(machine: Machine) -> list[str]:
    return [name for name in (machine.name, machine.facts.title, machine.facts.name) if name]


def _is_named(machine: Machine, spec: str) -> bool:
    wanted = plain_id(spec)
    if spec.startswith("/"):
        return os.fsencode(spec).strip(b"/") in (machine.config, os.path.dirname(machine.config))
    return spec in _names(machine) or bool(wanted and plain_id(machine.facts.uuid) == wanted)
