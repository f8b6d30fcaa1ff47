"""Where the configurations of VMs are, and the disk images beside them.

Layouts (Oracle VM 3.4 Concepts 4.2; Oracle VM 2 Server User's Guide ch. 7 and 9; Exadata 5.1):

- Oracle VM 3: ``/OVS/Repositories/ID/{VirtualMachines,Templates}/ID/vm.cfg``, disks of all mixed in ``VirtualDisks``,
  ``.ovsrepo`` with the name people use. A directory without a vm.cfg (the pool's own) is normal there.
- Oracle VM 2: ``running_pool/NAME/vm.cfg`` with the disks beside it, ``seed_pool`` for templates, ``sharedDisk``.
- Any other directory (/etc/xen, Exadata's GuestImages): configurations in it, and ``*/vm.cfg``.

A configuration that is a symbolic link counts only where it leads into one of the repositories that are looked at:
a repository can be a share that others write to.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.errors import UsageError
from engine.machine.tree import Tree
from engine.text import printable, shown_path
from engine.vms.places import find

OVM3, OVM2, DIRECTORY = "Oracle VM 3", "Oracle VM 2", "directory"
AUTO = "auto"
_AUTO_PARENTS = (b"OVS/Repositories", b"var/ovs/mount")
_AUTO_PLACES = (b"OVS", b"EXAVMIMAGES/GuestImages", b"etc/xen", b"etc/xen/domU", b"xen", b"xen_local")
_OVM3_PARTS = (b"VirtualMachines", b"VirtualDisks", b"Templates", b".ovsrepo")
_OVM2_PARTS = (b"running_pool", b"seed_pool", b"sharedDisk")
_IMAGE = re.compile(rb"[^.].*\.(?:img|raw|qcow2?|vhd|vmdk|vdi|qed)", re.DOTALL | re.IGNORECASE)
# Files of /etc/xen that are no VM's: Xen ships the examples.
_NOT_CONFIGS = re.compile(rb"(?:x[ml]example|README|auto$|scripts$|\.).*", re.DOTALL)
_MOST = 100_000         # names in one directory
_OVSREPO_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that is, or may be (`certain` False: by its name alone), the configuration of a VM or a template."""

    path: bytes
    template: bool = False
    certain: bool = True


@dataclass(slots=True)
class Repository:
    """A place with configurations. Paths are relative to the root; `path` has all links followed. `images` are files
    that look like virtual disks; `troubles` say what could not be listed."""

    path: bytes
    kind: str
    alias: str = ""
    configs: list[ConfigFile] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def repositories(tree: Tree, wanted: Sequence[str]) -> list[Repository]:
    """Return the repositories that are `wanted`: directories as the tree sees them, or ``auto`` for those that are at
    the usual places. Each is listed once. Raises UsageError for a directory that is not there."""
    found: dict[bytes, Repository] = {}
    for name in wanted:
        for place in _usual(tree) if name == AUTO else [_given(tree, name)]:
            if place not in found:
                found[place] = _listed(tree, place)
    return list(found.values())


def _given(tree: Tree, name: str) -> bytes:
    inner, info, trouble = find(tree, os.fsencode(name))
    if info is None or not stat.S_ISDIR(info.st_mode):
        why = trouble or ("there is no such directory" if info is None else "it is no directory")
        raise UsageError(f"the repository {printable(name)} cannot be used: {why}",
                         hint="name a directory with --repository, or in the configuration under vms.repositories")
    return inner


def _usual(tree: Tree) -> Iterator[bytes]:
    for parent in _AUTO_PARENTS:
        for name in tree.names(parent):
            place = tree.inner(os.path.join(parent, name))
            if place is not None and _kind(tree, place) != DIRECTORY:
                yield place
    for name in _AUTO_PLACES:
        place = tree.inner(name)
        if place is not None and os.path.isdir(os.path.join(tree.root, place)) and (
                name != b"OVS" or _kind(tree, place) == OVM2):
            yield place


def _kind(tree: Tree, place: bytes) -> str:
    names = set(tree.names(place))
    if names.intersection(_OVM3_PARTS):
        return OVM3
    return OVM2 if names.intersection(_OVM2_PARTS) else DIRECTORY


def _listed(tree: Tree, place: bytes) -> Repository:
    repository = Repository(place, _kind(tree, place))
    if repository.kind == OVM3:
        _configs_below(tree, repository, b"VirtualMachines")
        _configs_below(tree, repository, b"Templates", template=True)
        _config_in(tree, repository, place, template=False)
        _images_in(tree, repository, b"VirtualDisks", any_name=True)
        repository.alias = _alias(tree, place)
    elif repository.kind == OVM2:
        for pool, template in ((b"running_pool", False), (b"seed_pool", True)):
            _configs_below(tree, repository, pool, template=template)
            _images_below(tree, repository, pool)
        _images_in(tree, repository, b"sharedDisk", any_name=True)
    else:
        _configs_below(tree, repository, b"")
        _config_in(tree, repository, place, template=False)
        _loose_configs(tree, repository)
        _images_below(tree, repository, b"")
        _images_in(tree, repository, b"")
    return repository


def _names(tree: Tree, repository: Repository, part: bytes) -> list[bytes]:
    """The names in a directory of a repository; one that cannot be read is a trouble, one that is missing is not."""
    folder = os.path.join(repository.path, part) if part else repository.path
    inner, info, trouble = find(tree, folder)
    try:
        if info is None or not stat.S_ISDIR(info.st_mode):
            names = list[bytes]()
        else:
            names = sorted(os.listdir(os.path.join(tree.root, inner)))
    except OSError as error:
        names, trouble = [], error.strerror or str(error)
    if len(names) > _MOST:
        names, trouble = names[:_MOST], f"only the first {_MOST:,} names are looked at"
    if trouble:
        repository.troubles.append(f"{shown_path(folder)}: {trouble}")
    return names


def _configs_below(tree: Tree, repository: Repository, part: bytes, *, template: bool = False) -> None:
    for name in _names(tree, repository, part):
        _config_in(tree, repository, os.path.join(repository.path, part, name), template=template)


def _config_in(tree: Tree, repository: Repository, folder: bytes, *, template: bool) -> None:
    inner, info, trouble = find(tree, folder)
    if info is None or not stat.S_ISDIR(info.st_mode):
        if trouble:
            repository.troubles.append(f"{shown_path(folder)}: {trouble}")
        return
    path = os.path.join(folder, b"vm.cfg")
    # A link that leads nowhere, or what may not be looked at, is listed too: whoever reads it says what is wrong.
    if tree.exists_as(os.path.join(inner, b"vm.cfg"))[0] or find(tree, path)[2]:
        repository.configs.append(ConfigFile(path, template))


def _loose_configs(tree: Tree, repository: Repository) -> None:
    """Configurations that lie in the directory itself, as in /etc/xen: NAME.cfg, or NAME without any suffix."""
    for name in _names(tree, repository, b""):
        named = name.endswith(b".cfg")
        if name == b"vm.cfg" or _NOT_CONFIGS.match(name) or not (named or b"." not in name):
            continue
        path = os.path.join(repository.path, name)
        _inner, info, _trouble = find(tree, path)
        if (info is None and named) or (info is not None and stat.S_ISREG(info.st_mode)):
            repository.configs.append(ConfigFile(path, certain=False))


def _images_below(tree: Tree, repository: Repository, part: bytes) -> None:
    for name in _names(tree, repository, part):
        folder = os.path.join(part, name) if part else name
        _inner, info, _trouble = find(tree, os.path.join(repository.path, folder))
        if info is not None and stat.S_ISDIR(info.st_mode):
            _images_in(tree, repository, folder)


def _images_in(tree: Tree, repository: Repository, part: bytes, *, any_name: bool = False) -> None:
    for name in _names(tree, repository, part):
        if _IMAGE.fullmatch(name) or (any_name and not name.startswith(b".")):
            repository.images.append(os.path.join(repository.path, part, name))


def _alias(tree: Tree, place: bytes) -> str:
    data = tree.read(os.path.join(place, b".ovsrepo"), _OVSREPO_LIMIT) or b""
    found = re.search(r"^\s*OVS_REPO_ALIAS\s*=\s*(.*?)\s*$", data.decode("utf-8", "surrogateescape"), re.MULTILINE)
    return found[1].strip("'\"") if found else ""
