"""Make a tree exactly what the catalog says: after a crash, before a point is removed, when something was damaged.

Every step may be repeated: a second run after an interrupted first one ends in the same state.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator

from engine.entries import Entry, Kind
from engine.events import Job
from engine.replica.catalog import Row
from engine.replica.disk import apply_attributes, clone_file, make_node, read_entry, remove_any, walk
from engine.text import shown_path

Pair = tuple[Row | None, bytes, os.stat_result | None]


def join(root: bytes, rows: Iterable[Row]) -> Iterator[Pair]:
    """Walk `root` and `rows` (in walk order) together: yield (row or None, path, lstat or None) for each path."""
    have, want = walk(root), iter(rows)
    disk, row = next(have, None), next(want, None)
    while disk is not None or row is not None:
        a = disk[0].replace(b"/", b"\0") if disk else None
        b = row.entry.path.replace(b"/", b"\0") if row else None
        if disk is not None and (b is None or (a is not None and a < b)):
            yield None, disk[0], disk[1]
            disk = next(have, None)
        elif row is not None and (a is None or (b is not None and b < a)):
            yield row, row.entry.path, None
            row = next(want, None)
        else:
            assert disk is not None and row is not None
            yield row, disk[0], disk[1]
            disk, row = next(have, None), next(want, None)


def reconcile(root: bytes, rows: Iterable[Row], spare: bytes, job: Job) -> list[str]:
    """Make the tree at `root` what `rows` say, taking the contents of files from the directory `spare`.

    A file that `spare` does not have keeps its content (nothing ever writes into a file of the tree). What could
    not be put right comes back as sentences. Raises OSError.
    """
    extra: list[bytes] = []
    wrong: list[tuple[Row, bool]] = []
    inodes: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    links: dict[int, list[bytes]] = defaultdict(list)
    kept: dict[bytes, Entry] = {}
    dirs: dict[bytes, Entry] = {}
    for number, (row, path, info) in enumerate(join(root, rows)):
        if number % 256 == 0:
            job.progress("comparing", number, current=path)
        if row is None:
            extra.append(path)
            continue
        entry = row.entry
        if entry.kind is Kind.DIR:
            dirs[path] = entry
        if entry.link is not None:
            links[entry.link].append(path)
            kept[path] = entry
        if info is not None and info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            inodes[info.st_dev, info.st_ino].append(path)
            kept[path] = entry
        if info is None or _replace(root, spare, entry, info):
            wrong.append((row, True))
        elif not same_attributes(read_entry(os.path.join(root, path), path, info), entry):
            wrong.append((row, False))
    touched = [*extra, *(r.entry.path for r, _ in wrong), *kept]
    parents = _open_parents(root, touched, dirs)
    problems = _mend(root, spare, extra, wrong, job)
    _mend_links(root, links, inodes, kept, {r.entry.path for r, replaced in wrong if replaced})
    _settle(root, parents, dirs, wrong)
    return problems


def same_attributes(have: Entry, want: Entry) -> bool:
    """Whether two entries agree in all but checksum and hard-link number."""
    return dataclasses.replace(have, csum=want.csum, link=want.link) == want


def _replace(root: bytes, spare: bytes, entry: Entry, info: os.stat_result) -> bool:
    if Kind.of(info.st_mode) is not entry.kind:
        return True
    if entry.kind is Kind.FILE:
        return os.path.lexists(os.path.join(spare, entry.path)) or info.st_size != entry.size
    if entry.kind is Kind.LINK:
        return os.readlink(os.path.join(root, entry.path)) != entry.target
    return entry.kind in (Kind.BLOCK, Kind.CHAR) and info.st_rdev != entry.rdev


def _mend(root: bytes, spare: bytes, extra: list[bytes], wrong: list[tuple[Row, bool]], job: Job) -> list[str]:
    problems = []
    for path in reversed(extra):  # first make room
        remove_any(os.path.join(root, path))
    for number, (row, replace) in enumerate(wrong):
        job.progress("putting back", number, len(wrong), current=row.entry.path)
        full, kind = os.path.join(root, row.entry.path), row.entry.kind
        if replace and kind is Kind.FILE:
            source = os.path.join(spare, row.entry.path)
            if os.path.lexists(source):
                if os.path.isdir(full) and not os.path.islink(full):
                    remove_any(full)
                os.rename(source, full)
                remove_any(source)  # both names of one inode: rename leaves them alone
            else:
                problems.append(f"the content of {shown_path(row.entry.path)} is lost")
                continue
        elif replace and not (kind is Kind.DIR and os.path.isdir(full) and not os.path.islink(full)):
            remove_any(full)
            make_node(full, row.entry)
        if kind is not Kind.DIR:
            apply_attributes(full, row.entry)
    return problems


def _mend_links(root: bytes, links: dict[int, list[bytes]], inodes: dict[tuple[int, int], list[bytes]],
                kept: dict[bytes, Entry], replaced: set[bytes]) -> None:
    for paths in inodes.values():
        groups = {kept[p].link if kept[p].link is not None else p for p in paths}
        if len(groups) > 1:
            for path in paths:
                if path not in replaced:
                    clone_file(os.path.join(root, path), kept[path])
    for members in links.values():
        present = [p for p in members if os.path.lexists(os.path.join(root, p))]
        for path in present[1:]:
            leader, full = os.path.join(root, present[0]), os.path.join(root, path)
            if os.lstat(leader).st_ino != os.lstat(full).st_ino:
                temporary = os.path.join(os.path.dirname(full), b".rollpoint-%d" % os.getpid())
                remove_any(temporary)
                os.link(leader, temporary, follow_symlinks=False)
                os.rename(temporary, full)


def _open_parents(root: bytes, touched: Iterable[bytes], dirs: dict[bytes, Entry]) -> set[bytes]:
    """Return the directories that will be written to; an ordinary user gets the right to do so first."""
    parents = {os.path.dirname(p) for p in touched}
    if os.geteuid() != 0:
        for path in sorted(parents & dirs.keys()):
            full = os.path.join(root, path)
            if os.path.isdir(full) and not os.path.islink(full):
                os.chmod(full, 0o700)
    return parents


def _settle(root: bytes, parents: set[bytes], dirs: dict[bytes, Entry], wrong: list[tuple[Row, bool]]) -> None:
    """Give directories that were written to, or were wrong, their attributes, the deepest first."""
    paths = parents | {r.entry.path for r, _ in wrong}
    for path in sorted(paths & dirs.keys(), reverse=True):
        apply_attributes(os.path.join(root, path), dirs[path])
