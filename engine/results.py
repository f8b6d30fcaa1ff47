"""What the engine's verbs return: plain frozen data, for the command line and the screens alike."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.entries import Diff
from engine.points import RestorePoint

# A package that comes or goes with its state alone; the states are those of dpkg(1).
_FINISHED = re.compile(r"\S+ (\S+) \((half-configured|half-installed|unpacked)\) -> \1")

@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Health and size of the store, measured. `limit_bytes` is the size rule's limit (None: no limit known yet),
    `holder` who holds the write lock now ("" for nobody), `unfinished` the operation a crash left ("" for none),
    `rollback` the state of an interrupted rollback ("" for none), `safety` the id of the safety point that it can be
    undone to ("" for none: it can only be gone on with), `ordered` a rollback that waits for the next boot, `unmounted`
    where a disk is to be mounted that may have the store ("" where there is none to wait for)."""

    path: str
    root: str
    exists: bool
    read_only: bool
    store_bytes: int
    tree_bytes: int
    free_bytes: int
    limit_bytes: int | None
    points: int
    holder: str
    unfinished: str
    rollback: str
    safety: str = ""
    ordered: str = ""
    unmounted: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """What the admin wants to remember of a point. `when` (aware) stands in for the clock in demos and tests."""

    comment: str = ""
    tags: tuple[str, ...] = ()
    pin: bool = False
    reason: str = "manual"  # manual, schedule, safety, hook
    when: datetime | None = None


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """A point that was taken: entries by what happened to them, bytes, and what went or stayed out for it."""

    point: RestorePoint
    created: int                # entries
    changed: int
    deleted: int
    attrs: int
    bytes_copied: int
    diff_bytes: int             # what the reverse difference takes on disk
    pruned: tuple[str, ...]     # ids removed to make room
    excluded: tuple[str, ...]   # patterns
    databases: tuple[str, ...]  # by name
    seconds: float


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a plan, verify or doctor has to say. level: ``info``, ``warning`` or ``blocker``."""

    level: str
    text: str
    hint: str = ""


YES, DOUBTFUL, NO = "yes", "doubtful", "no"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Will it boot? The answer (``yes``: nothing speaks against it; ``doubtful``; ``no``) and why: findings of level
    ``info``, ``warning`` and ``blocker`` (that alone keeps it from booting). `kernel` is the release that starts by
    itself, "" where nobody can say."""

    answer: str
    findings: tuple[Finding, ...]
    kernel: str = ""

    @property
    def words(self) -> str:
        """The verdict in one line."""
        count = sum(f.level != "info" for f in self.findings)
        return {YES: "it will boot, as far as can be seen", DOUBTFUL: "it may not boot",
                NO: "it will not boot"}[self.answer] + (f": {count} reasons" if count > 1 else "")


@dataclass(frozen=True, slots=True)
class Software:
    """What becomes of packages (``openssl 3.0.11 -> 3.0.15``) and kernel images from one state to another, in words;
    `notes` say what could not be found out."""

    packages: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScopeChoice:
    """Something a rollback to a point can be limited to: the word for `Engine.plan`, and what it means."""

    word: str       # "system"; "path=" is to be completed with a path
    text: str


@dataclass(frozen=True, slots=True)
class Measure:
    """How much some paths of a point are: entries, and bytes of regular files (a hard-linked one counts each time)."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FileContent:
    """The beginning of a regular file's content, `data`, and its whole `size` in bytes."""

    data: bytes
    size: int

    @property
    def whole(self) -> bool:
        """Whether `data` is all of it."""
        return len(self.data) == self.size


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback will do, all of it, before anything is touched. `diff` leads from the live state to the point."""

    point: RestorePoint
    root: str
    scope: tuple[str, ...]              # ("system",) or ("path=/etc", …): see engine/scopes.py
    diff: Diff                          # older="live" -> newer=point: what rolling back will do to each path
    newer: tuple[RestorePoint, ...]     # points taken after it (roll forward stays possible)
    excluded: tuple[str, ...]
    databases: tuple[str, ...]
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]           # the exact commands, printable
    packages: tuple[str, ...] = ()      # "openssl 3.0.15 -> 3.0.11"
    kernels: tuple[str, ...] = ()
    boot: tuple[str, ...] = ()          # boot sectors that change: "/dev/sda: boot code: zeroes -> GRUB 2 (…)"
    keep: tuple[bytes, ...] = ()        # live files that nobody can read, and that therefore stay
    reboot: tuple[str, ...] = ()        # why one is due afterwards; none for a tree that does not run
    adopt: bool = False                 # onto other file systems than the recorded ones, or another machine
    adjustments: tuple[str, ...] = ()   # lines adjusted to those afterwards: "/etc/fstab: UUID=… -> UUID=…"
    merged: tuple[bytes, ...] = ()      # recorded file systems that become directories of the one around them
    missing: tuple[bytes, ...] = ()     # those at whose place nothing is mounted, and that could become directories

    @property
    def package_words(self) -> tuple[str, ...]:
        """The packages for people: those whose version stays, and that were only not installed to their end, are
        counted in a line (after an upgrade that broke off they can be hundreds)."""
        states = Counter(match[2] for line in self.packages if (match := _FINISHED.fullmatch(line)))
        listed = [line for line in self.packages if not _FINISHED.fullmatch(line)]
        return (*listed, *(f"and {count:,} {state}" for state, count in states.items()))

    @property
    def empty(self) -> bool:
        """Whether nothing differs, no file and no boot sector, and nothing is to be adjusted."""
        return not self.diff.changes and not self.boot and not self.adjustments

    @property
    def blocked(self) -> bool:
        """Whether something forbids this rollback."""
        return any(f.level == "blocker" for f in self.findings)


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """What a rollback did, and what still differs from the point (excluded things never count)."""

    point: RestorePoint
    safety_point: RestorePoint | None
    applied: int
    verified: bool
    differences: tuple[str, ...]        # printable lines: what still differs after it (excluded things never count)
    seconds: float
    boot: Verdict | None = None         # whether the system will boot now; None where that was not touched
    boot_applied: tuple[str, ...] = ()  # boot sectors that were written, a line each
    reboot: tuple[str, ...] = ()        # why a reboot is due: until then the machine runs on as it was
    adjusted: tuple[str, ...] = ()      # lines that were adjusted to other file systems after verifying


@dataclass(frozen=True, slots=True)
class Fate:
    """Whether a point stays, and the rule that decided it (``newest``, ``pinned``, ``younger than 86400 s``, …)."""

    point: RestorePoint
    keep: bool
    rule: str


@dataclass(frozen=True, slots=True)
class PruneResult:
    """Which points went, which could not be removed and why, and the disk space in bytes that gave back."""

    removed: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]  # (id, why)
    freed: int


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not what was recorded: in a point, or (point "") in the store itself; `path` b"" if none."""

    point: str       # id, or "" for the store itself
    path: bytes      # path in the point, or b""
    text: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification looked at (points, entries, bytes of content) and what it found. `unsummed` are contents that
    were to be compared and have no checksum: of those it is known only that they are there."""

    points: int
    entries: int
    bytes_read: int
    damage: tuple[Damage, ...]
    unsummed: int = 0

    def plus(self, other: VerifyReport) -> VerifyReport:
        """Return both as one."""
        return VerifyReport(self.points + other.points, self.entries + other.entries,
                            self.bytes_read + other.bytes_read, (*self.damage, *other.damage),
                            self.unsummed + other.unsummed)


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, as sentences, and the damage that it could not mend."""

    done: tuple[str, ...]      # sentences: what was finished, undone or rebuilt
    left: tuple[Damage, ...]   # what cannot be mended


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What was copied out of a point: entries, bytes of content, seconds."""

    point: RestorePoint
    entries: int
    bytes: int
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)
