"""Making a target what an opened tree holds, as far as a scope goes: one rsync pass, deletions after the copies.

It can be repeated at any time and always ends in the same state. Whose tree it is does not matter: that of a point of
the replica, or the snapshots of a file system.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.config import Config
from engine.entries import Diff, Entry, Kind, Status
from engine.events import Job, step
from engine.replica import rsync
from engine.replica.disk import apply_attributes, clone_file, data_ranges, read_entry, walk
from engine.replica.source import View
from engine.results import Finding
from engine.scopes import Scope
from engine.text import human_size, message, printable, shown_path

_SPARE = 16 << 20
_LARGE = 1 << 20       # holes of smaller files do not matter
_MOST = 1000          # differences that are kept to be named


@dataclass(frozen=True, slots=True)
class Source:
    """An opened tree: `path` is what a program in the target's space calls it, `at` returns what it holds at a path
    (hard-linked entries share their number `link`), `checksum` is rsync's name of what their checksums are ("": they
    have none)."""

    path: bytes
    at: Callable[[bytes], Entry | None]
    checksum: str = ""

    def other_content(self, item: rsync.Item) -> bool:
        """Whether rsync has just copied another content than was recorded: a flipped bit in the store."""
        entry = self.at(item.path) if item.csum and not item.deleted else None
        return entry is not None and bool(entry.csum) and entry.csum != item.csum


def put_back(source: Source, target: View, listed: bytes, config: Config, scope: Scope, job: Job,
             expected: int | None = None) -> tuple[int, list[str]]:
    """Make the target what the source holds; `listed` is the file of exclusions, `expected` how many entries will
    change. Returns how many did and, looked at afterwards, what still differs (printable lines)."""
    _split_links(source, target.path, scope, job)
    parents = _missing_parents(source, target.path, scope)
    step("rollback-opened")
    sums = rsync.checksum_option(source.checksum)
    argv = copy_argv(config, scope, source.path, target, listed, sums)
    flipped: list[str] = []

    def copied(item: rsync.Item) -> None:
        if sums and source.other_content(item):
            flipped.append(f"{shown_path(item.path)}: its content in the store is damaged")

    count, unwritten = _run(argv, job, "putting back", expected, copied)
    differences: list[str] = []
    # Once more where something is not right yet: what could not be written at first, or what rsync did to another
    # name of a file that it had already looked at (see snapshot.py).
    for again in (False, True):
        if again or unwritten:
            _, unwritten = _run(argv, job, "putting back", None, copied)
        for parent in reversed(parents):
            apply_attributes(os.path.join(target.path, parent.path), parent)
        step("rollback-copied")
        differences.clear()
        _run(copy_argv(config, scope, source.path, target, listed, ["--dry-run"]), job, "verifying", None,
             lambda item: _remember(differences, item, target))
        if not differences:
            break
    for problem in unwritten if differences else ():
        job.warn(message(problem))
    step("rollback-verified")
    return count, list(dict.fromkeys(flipped)) + differences


def _remember(differences: list[str], item: rsync.Item, target: View) -> None:
    """Note what still differs, less what a FAT makes up."""
    if len(differences) < _MOST and not (item.only_access and target.ownerless(item.path)):
        differences.append(f"{item.code.decode('ascii', 'replace')} {shown_path(item.path)}")


def touched(source: bytes, target: View, listed: bytes, config: Config, scope: Scope, job: Job, phase: str
            ) -> set[bytes]:
    """Return the paths that `put_back` would change; nothing is written."""
    found: set[bytes] = set()

    def note(item: rsync.Item) -> None:
        found.add(item.path)
        job.progress(phase, len(found), current=item.path)

    job.progress(phase)
    rsync.run(copy_argv(config, scope, source, target, listed, ["--dry-run"]), note, job)
    return found


def copy_argv(config: Config, scope: Scope, source: bytes, target: View, listed: bytes, extra: Sequence[str] = ()
              ) -> list[str | bytes]:
    """Return the command that makes the target what the source holds."""
    argv = rsync.copy_argv(source, target.inside, [*_options(config, scope), *target.options, *extra], listed)
    if scope.paths:
        argv[-2:-1] = [os.path.join(source, b".", p) for p in scope.paths]
    return target.space.wrap(argv)


def _options(config: Config, scope: Scope) -> list[str]:
    options = ["--delete-after", *(["--checksum"] if config.compare_checksums else [])]
    return [*options, "--relative", "--no-implied-dirs", "--delete-missing-args", "--force"] if scope.paths else options


def _run(argv: list[str | bytes], job: Job, phase: str, expected: int | None, see: Callable[[rsync.Item], None]
         ) -> tuple[int, tuple[str, ...]]:
    """Run rsync; returns how many entries it named and what it said it could not write. `see` is told of each."""
    count = 0

    def note(item: rsync.Item) -> None:
        nonlocal count
        count += 1
        see(item)
        job.progress(phase, count, expected, current=item.path)

    job.progress(phase, 0, expected)
    outcome = rsync.run(argv, note, job)
    for problem in outcome.problems:
        job.warn(message(problem))
    return count, outcome.unwritten


def _split_links(source: Source, target: bytes, scope: Scope, job: Job) -> None:
    """Break hard links in the target that the source does not have: rsync only ever adds links (rsync(1), -H)."""
    inodes: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for top in scope.paths or (b"",):
        base = os.path.join(target, top)
        if os.path.lexists(base):
            for path, info in walk(base):
                if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                    inodes[info.st_dev, info.st_ino].append(b"/".join(p for p in (top, path) if p))
    job.progress("comparing hard links")
    for paths in inodes.values():
        groups: dict[int | bytes, list[Entry]] = defaultdict(list)
        for path in paths:
            entry = source.at(path)
            if entry is not None:
                groups[entry.link if entry.link is not None else path].append(entry)
        for apart in sorted(groups.values(), key=len)[:-1]:
            for entry in apart:
                full = os.path.join(target, entry.path)
                clone_file(full, read_entry(full, entry.path))


def _missing_parents(source: Source, target: bytes, scope: Scope) -> list[Entry]:
    """Return the directories that must be made for the chosen paths, outermost first."""
    found = []
    for path in scope.paths:
        parts = path.split(b"/")
        for parent in (b"/".join(parts[:n]) for n in range(1, len(parts))):
            entry = source.at(parent)
            if entry is not None and not os.path.lexists(os.path.join(target, parent)):
                found.append(entry)
    return list(dict.fromkeys(found))


# --- what stands in the way ------------------------------------------------------------------------------------------


def obstacles(diff: Diff, root: bytes, source: bytes) -> Iterator[Finding]:
    """Yield a blocker for each file system below the root that could not be written to, or not hold what is put back;
    `diff` leads from the live tree to the source. `source` is a tree with the point's files, or newer ones."""
    tops = {parent: _top(root, parent) for parent in {os.path.dirname(change.path) for change in diff.changes}}
    for place in sorted(set(tops.values())):
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            yield Finding("blocker", f"{printable(place)} is mounted read-only, and something in it would change",
                          f"mount -o remount,rw {printable(place)}")
    yield from _room(diff, tops, root, source)


def _room(diff: Diff, tops: Mapping[bytes, bytes], root: bytes, source: bytes) -> Iterator[Finding]:
    """Yield a blocker for each file system (a small /boot too) that could not hold what is put back: deletions come
    after the copies, and a file that is replaced is there twice for a moment."""
    grows: dict[bytes, int] = defaultdict(int)
    largest: dict[bytes, int] = defaultdict(int)
    for change in diff.changes:
        if change.new is None or change.status is Status.ATTRS:
            continue
        place, new = tops[os.path.dirname(change.path)], _data(change.new, source)
        grows[place] += new - (_data(change.old, root) if change.old else 0)
        if change.old is not None:
            largest[place] = max(largest[place], new)
    for place in sorted(grows):
        room = os.statvfs(place)
        free, all_of_it = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
        needed = max(0, grows[place]) + largest[place] + min(_SPARE, all_of_it // 50)
        if needed > free and (grows[place] > 0 or largest[place]):
            yield Finding("blocker", f"not enough room on {printable(place)}: {human_size(needed)} are needed while "
                          f"files are put back, {human_size(free)} are free",
                          f"free {human_size(needed - free)} first, or roll back some paths only")


def _data(entry: Entry, tree: bytes) -> int:
    """Return how many bytes of a file are no hole, where a tree has it as it is; else its size. Blocks in use say
    nothing: a file system may compress."""
    with contextlib.suppress(OSError):
        if entry.kind is Kind.FILE and entry.size >= _LARGE:
            fd = os.open(os.path.join(tree, entry.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(fd, "rb", buffering=0):
                info = os.fstat(fd)
                if (info.st_size, info.st_mtime_ns) == (entry.size, entry.mtime):
                    return sum(end - start for start, end in data_ranges(fd, 0, info.st_size))
    return entry.size


def _top(root: bytes, path: bytes) -> bytes:
    """Return the top directory of the file system that a path of the target lies on, or will."""
    place = os.path.join(root, path) if path else root
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    device = os.stat(place).st_dev
    while place != root and os.stat(os.path.dirname(place)).st_dev == device:
        place = os.path.dirname(place)
    return place
