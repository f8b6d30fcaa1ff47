"""What makes the file systems of repositories and of a server pool anew: for OCFS2 the mkfs.ocfs2 command, made of what
`tunefs.ocfs2 -Q` says of the one that is there, for others what is mounted.

The LUN's WWID must stay the same for Oracle VM; the command has the device's name, and the label and UUID with it. The
journal's size is not told by any query: mkfs.ocfs2 chooses it again. `tunefs.ocfs2 -Q %B` fails where the C library has
taken %B for itself (glibc 2.35), so the block size is where the superblock lies: in block 2.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import ToolError
from engine.machine.mounts import Mount, mount_of, mounts
from engine.machine.tree import Tree
from engine.run import call
from engine.text import human_size, message, printable, shown_path
from engine.vms.inventory import Inventory

_POOLS = b"poolfsmnt"       # where the agent mounts a pool's file system: /poolfsmnt/ID
_QUERY = {"T": "cluster", "N": "slots", "V": "label", "U": "uuid", "M": "compat", "H": "incompat", "O": "ro_compat"}
_FEATURES = frozenset({"backup-super", "sparse", "unwritten", "inline-data", "extended-slotmap", "metaecc", "refcount",
                       "xattr", "indexed-dirs", "usrquota", "grpquota", "discontig-bg", "clusterinfo", "append-dio"})
_SIGNATURE = b"OCFSV2"
_LIMIT = 30.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a file system is made anew. `place` is where it is mounted, relative to the root; `command` is "" where there
    is none to be told. `lines` are for people, the command among them; `remarks` say what could not be found out."""

    place: bytes
    kind: str
    device: str
    command: str
    lines: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def recipes(root: str, inventory: Inventory) -> list[Recipe]:
    """Return the recipes of the file systems that repositories are, and of pool file systems. Raises nothing."""
    top, table = os.path.realpath(os.fsencode(root)), mounts()
    tree = Tree(top)
    places = [repository.path for repository in inventory.repositories]
    places += [os.path.join(_POOLS, name) for name in tree.names(_POOLS)]
    found: dict[bytes, Recipe] = {}
    for place in places:
        mount = mount_of(os.path.realpath(os.path.join(top, place)), table)
        if mount.point != top and mount.point.startswith(top.rstrip(b"/") + b"/") and mount.point not in found:
            found[mount.point] = _recipe(os.path.relpath(mount.point, top), mount, tree)
    return list(found.values())


def _recipe(place: bytes, mount: Mount, tree: Tree) -> Recipe:
    kind, device = printable(mount.fstype), printable(mount.source)
    lines = [f"# {shown_path(place)}: {kind} on {device}"]
    command, remarks = "", list[str]()
    if mount.fstype == b"ocfs2":
        try:
            command = ocfs2(mount.source)
            lines += ["# the WWID of the LUN must stay the same; mkfs.ocfs2 chooses the journal's size", command]
        except (ToolError, OSError, ValueError) as error:
            remarks.append(message(f"{shown_path(place)}: how its file system was made cannot be told: {error}"))
    if place.startswith(_POOLS + b"/"):
        lines += [f"#   {text}" for text in _contents(tree, place)]
    return Recipe(place, kind, device, command, tuple(lines), tuple(remarks))


def ocfs2(device: bytes) -> str:
    """Return the command that makes an OCFS2 like the one on a device, or in an image file. Raises ToolError where
    tunefs.ocfs2 fails, OSError, ValueError."""
    told = {name: call(["tunefs.ocfs2", "-Q", f"%{letter}\\n", device], timeout=_LIMIT).decode(
        "utf-8", "surrogateescape").strip("\n") for letter, name in _QUERY.items()}
    flags = [word for name in ("compat", "incompat", "ro_compat") for word in told[name].split()]
    features = [word for word in flags if word in _FEATURES]
    words = ["mkfs.ocfs2", "-b", str(_block_size(device)), "-C", told["cluster"], "-N", told["slots"]]
    words += ["-L", told["label"]] if told["label"] else []
    words += ["-U", told["uuid"]] if told["uuid"] else []
    words += ["-M", "local"] if "local" in flags else []
    # The least, and what there is beyond it: this mkfs.ocfs2 may add others of its own accord.
    words += ["--fs-feature-level=max-compat", *(["--fs-features=" + ",".join(features)] if features else [])]
    return message(" ".join(shlex.quote(word) for word in (*words, os.fsdecode(device))))


def _block_size(device: bytes) -> int:
    with open(device, "rb", buffering=0) as file:
        for size in (512, 1024, 2048, 4096):
            if os.pread(file.fileno(), len(_SIGNATURE), 2 * size) == _SIGNATURE:
                return size
    raise ValueError("no superblock of OCFS2 is where it should be")


def _contents(tree: Tree, place: bytes) -> Iterator[str]:
    """The files of a pool's file system, with their sizes."""
    for folder, folders, names in os.walk(os.path.join(tree.root, place)):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(folder, name)
            try:
                yield f"{shown_path(os.path.relpath(full, tree.root))}, {human_size(os.lstat(full).st_size)}"
            except OSError as error:
                yield f"{shown_path(os.path.relpath(full, tree.root))}: {error.strerror}"
