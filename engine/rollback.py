"""Going back: plan -> preview -> confirm -> journal -> apply -> verify; interrupted ones are resumed or undone.

Applying is one rsync pass from the opened point onto the target view, deletions after the copies. It can be repeated
at any time and always ends in the same state, so resuming is applying again, and undoing is rolling back to the
safety point that was taken first.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine import adopting, bootpieces, nextboot, reboot, software, targets
from engine.adopting import Adoption
from engine.config import Config
from engine.entries import Diff, Entry, Kind, Status
from engine.errors import DamageError, RefusedError
from engine.events import Job, step
from engine.machine.mounts import Space, private_space
from engine.points import RestorePoint
from engine.replica import bootsaved, query, rsync
from engine.replica.catalog import Catalog
from engine.replica.disk import apply_attributes, clone_file, read_entry, walk
from engine.replica.layout import Store, machine_id, read_document, user_name, write_document
from engine.replica.opened import open_point
from engine.replica.source import View, filters, view
from engine.rescue import lifeboat
from engine.results import Finding, RollbackPlan, Verdict
from engine.run import scratch
from engine.scopes import Scope
from engine.text import human_size, message, printable, shown_path

JOURNAL = b"rollback.yaml"
_SPARE = 16 << 20


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying came to: how many entries changed, what still differs (printable lines), seconds, the boot sectors
    that were written, whether the system will boot now (None: it has no bearing on that), and the lines that were
    adjusted to other file systems than the recorded ones."""

    count: int
    differences: tuple[str, ...]
    seconds: float
    boot: tuple[str, ...]
    verdict: Verdict | None
    adjusted: tuple[str, ...] = ()


def plan(store: Store, config: Config, catalog: Catalog, point: RestorePoint, scope: Scope, job: Job, *,
         adopt: bool = False, merged: Sequence[bytes] = ()) -> RollbackPlan:
    """Return what going back to `point` would change; nothing is touched. `adopt`: onto other file systems than the
    recorded ones, or another machine; those in `merged` become directories."""
    target = targets.look(config, catalog, point, scope, adopt=adopt, merged=merged)
    scope = targets.sparing(scope, target)
    adoption = adopting.look(store, config, catalog, point, scope, merged) if adopt else adopting.Adoption((), ())
    config = sparing(config, point, scope, target.places)
    root = os.path.realpath(os.fsencode(config.root))
    now = query.diff_live(store, config, catalog, point, scope.paths, job)
    now = Diff(now.older, now.newer, tuple(c for c in now.changes if not scope.spares(c.path)))
    hidden = unreadable(now, root)
    diff = inverted(Diff(now.older, now.newer, tuple(c for c in now.changes if c.path not in hidden)))
    listed = query.points(store)
    findings = [*_machine(store, config, point, adopt), *_findings(store, config, catalog, point, scope, diff, root),
                *target.findings, *adopting.findings(adoption, root)]
    findings += [Finding("warning", f"{shown_path(p)} cannot be read, so no point can hold it: it stays as it is",
                         "roll back as root") for p in hidden]
    changed = software.compare(software.LiveFiles(root), software.PointFiles(store, catalog, point.number),
                               [c.path for c in diff.changes])
    findings += [Finding("warning", note) for note in changed.notes]
    pieces = bootpieces.plan(store, config, point, scope)
    findings += [*pieces.findings, *bootpieces.foresee(store, config, catalog, point, scope, pieces)]
    return RollbackPlan(
        point, printable(root), scope.words, diff, tuple(p for p in listed if p.number > point.number),
        tuple(printable(os.fsencode(p)) for p in config.excludes),
        tuple(shown_path(os.fsencode(d).strip(b"/")) for d in config.databases), tuple(findings),
        _commands(store, config, point, scope), changed.packages, changed.kernels, pieces.words, tuple(hidden),
        reboot.reasons(root, pieces.words, changed.kernels, changed.packages), adopt, adoption.words, tuple(merged),
        target.missing)


def sparing(config: Config, point: RestorePoint, scope: Scope, places: Sequence[bytes]) -> Config:
    """Return the configuration with what was left out of the point added to what is excluded now: a rollback must not
    delete what the point never held. What the scope leaves alone is excluded too, and the view is made of the root and
    the file systems at `places` alone."""
    return targets.limited(scope.narrowed(excluding(config, point)), places)


def excluding(config: Config, point: RestorePoint) -> Config:
    """Return the configuration with what was left out of the point excluded too."""
    excludes = dict.fromkeys((*config.excludes, *point.doc.get("excludes", ())))
    databases = dict.fromkeys((*config.databases, *point.doc.get("databases", ())))
    return dataclasses.replace(config, excludes=tuple(excludes), databases=tuple(databases))


def unreadable(diff: Diff, root: bytes) -> list[bytes]:
    """Return the live files that a rollback would replace or delete although nobody could read them into a point."""
    return [c.path for c in diff.changes if c.new is not None and c.new.kind is Kind.FILE
            and not os.access(os.path.join(root, c.path), os.R_OK)]


def inverted(diff: Diff) -> Diff:
    """Return the difference in the other direction."""
    back = {Status.CREATED: Status.DELETED, Status.DELETED: Status.CREATED}
    changes = tuple(type(c)(c.path, back.get(c.status, c.status), c.new, c.old, c.what) for c in diff.changes)
    return Diff(diff.newer, diff.older, changes)


def _machine(store: Store, config: Config, point: RestorePoint, adopt: bool) -> Iterator[Finding]:
    try:
        targets.check_machine(store, config, point)
    except RefusedError as error:
        if adopt:
            yield Finding("warning", f"adopted: {error.message}")
        else:
            yield Finding("blocker", error.message, error.hint)


def _findings(store: Store, config: Config, catalog: Catalog, point: RestorePoint, scope: Scope, diff: Diff,
              root: bytes) -> Iterator[Finding]:
    if bootsaved.only_boot(point):
        yield Finding("warning", f"point {point.id} is damaged, but not its files: {point.problems[0]}",
                      "a later point may have boot pieces that are whole")
    elif point.state != "ok":
        yield Finding("blocker", f"point {point.id} is damaged: {point.problems[0] if point.problems else ''}",
                      "choose another point; `rollpoint verify` says what is damaged")
    left = interrupted(store)
    if left:
        yield Finding("blocker", left, "finish it with `rollpoint rollback --resume` or `--undo` first")
    if config.read_only:
        yield Finding("blocker", "the configuration says read_only", "take `read_only` out of the configuration")
    for path in scope.paths:
        if catalog.at(path, point.number) is None and not os.path.lexists(os.path.join(root, path)):
            yield Finding("blocker", f"{shown_path(path)} is neither in the point nor on the system",
                          "check the path")
    tops = _tops(diff, root)
    for place in sorted(set(tops.values())):
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            yield Finding("blocker", f"{printable(place)} is mounted read-only, and something in it would change",
                          f"mount -o remount,rw {printable(place)}")
    yield from _room(diff, tops)


def _tops(diff: Diff, root: bytes) -> dict[bytes, bytes]:
    """Return for each directory in which something changes the top of the file system that it lies on, or will."""
    return {parent: _top(root, parent) for parent in {os.path.dirname(change.path) for change in diff.changes}}


def _room(diff: Diff, tops: Mapping[bytes, bytes]) -> Iterator[Finding]:
    """Yield a blocker for each file system (a small /boot too) that could not hold what is put back: deletions come
    after the copies, and a file that is replaced is there twice for a moment."""
    grows: dict[bytes, int] = defaultdict(int)
    largest: dict[bytes, int] = defaultdict(int)
    for change in diff.changes:
        if change.new is None or change.status is Status.ATTRS:
            continue
        place = tops[os.path.dirname(change.path)]
        grows[place] += change.new.size - (change.old.size if change.old else 0)
        if change.old is not None:
            largest[place] = max(largest[place], change.new.size)
    for place in sorted(grows):
        room = os.statvfs(place)
        free, all_of_it = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
        needed = max(0, grows[place]) + largest[place] + min(_SPARE, all_of_it // 50)
        if needed > free and (grows[place] > 0 or largest[place]):
            yield Finding("blocker", f"not enough room on {printable(place)}: {human_size(needed)} are needed while "
                          f"files are put back, {human_size(free)} are free",
                          f"free {human_size(needed - free)} first, or roll back some paths only")


def _top(root: bytes, path: bytes) -> bytes:
    """Return the top directory of the file system that a path of the target lies on, or will."""
    place = os.path.join(root, path) if path else root
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    device = os.stat(place).st_dev
    while place != root and os.stat(os.path.dirname(place)).st_dev == device:
        place = os.path.dirname(place)
    return place


def _options(config: Config, scope: Scope) -> list[str]:
    options = ["--delete-after", *(["--checksum"] if config.compare_checksums else [])]
    return [*options, "--relative", "--no-implied-dirs", "--delete-missing-args", "--force"] if scope.paths else options


def _argv(config: Config, scope: Scope, source: bytes, target: View, listed: bytes, extra: Sequence[str] = ()
          ) -> list[str | bytes]:
    argv = rsync.copy_argv(source, target.inside, [*_options(config, scope), *target.options, *extra], listed)
    if scope.paths:
        argv[-2:-1] = [os.path.join(source, b".", p) for p in scope.paths]
    return target.space.wrap(argv)


def _commands(store: Store, config: Config, point: RestorePoint, scope: Scope) -> tuple[str, ...]:
    root = os.path.realpath(os.fsencode(config.root))
    shown = View(Space(), root, root, (), (), filters(config, store, root))
    opened = store.tree if point.newest else b"POINT"
    argv = _argv(config, scope, opened, shown, b"EXCLUDES")
    lines = [] if point.newest else [f"mount -t overlay -o ro,lowerdir=STAGING:{printable(store.tree)} POINT"]
    lines.append(" ".join(printable(a) for a in argv if not str(a).startswith("--out-format")))
    lines += [f"EXCLUDES: {printable(p)}" for p in shown.filters]
    return tuple(lines)


# --- the journal ---------------------------------------------------------------------------------------------------


def read_journal(store: Store) -> dict[str, Any] | None:
    """Return the last rollback's journal, or None when there was none. Raises DamageError."""
    try:
        return read_document(store.place(JOURNAL))
    except FileNotFoundError:
        return None


def interrupted(store: Store) -> str:
    """Return a sentence about a rollback that was not finished, or ""."""
    try:
        entry = read_journal(store)
    except DamageError as error:
        return error.message
    if entry is None or entry["phase"] != "applying":
        return ""
    verb = "undoing a rollback" if entry.get("undo") else f"a rollback to point {entry['point']}"
    return f"{verb} of {entry['root']} was interrupted (begun {entry['started']} by {entry['user']})"


def safety_of_interrupted(store: Store) -> str:
    """Return the id of the safety point that an interrupted rollback can be undone to, "" where there is none."""
    try:
        entry = read_journal(store)
    except DamageError:
        return ""       # `interrupted` says so
    return str(entry["safety"] or "") if entry is not None and entry["phase"] == "applying" else ""


def protected(store: Store) -> dict[str, str]:
    """Return the points that an unfinished rollback, or one that is ordered, needs, with the reason."""
    entry = read_journal(store)
    ordered = nextboot.needed(store)
    if entry is None or entry["phase"] != "applying":
        return ordered
    return ordered | {i: "needed by an interrupted rollback" for i in (entry["point"], entry["safety"]) if i}


def begin(store: Store, config: Config, point: RestorePoint, scope: Scope, safety: str | None,
          keep: Sequence[bytes] = (), *, undo: bool = False, of: str = "", reboot: Sequence[str] = (),
          adoption: Adoption | None = None, merged: Sequence[bytes] = ()) -> dict[str, Any]:
    """Write the journal of a rollback that is about to change the target, and return it. `of` is the id of the rollback
    that this one undoes, `reboot` why a reboot will be due, `adoption` what is adjusted to other file systems (None:
    they are the recorded ones), `merged` those that become directories."""
    now, root = datetime.now(UTC), os.path.realpath(os.fsencode(config.root))
    entry = {"id": of or f"{now:%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(4)}", "phase": "applying", "point": point.id,
             "root": printable(root), "root_uuid": targets.identity(root), "machine": machine_id(root),
             "scope": [printable(os.fsencode(w)) for w in scope.words], "paths": _hex(scope.paths),
             "but": _hex(scope.but), "mounts": _hex(scope.mounts), "boot": scope.boot, "keep": _hex(keep),
             "safety": safety, "undo": undo, "reboot": list(reboot),
             "adopt": None if adoption is None else adoption.document(), "merged": _hex(merged),
             "user": user_name(), "pid": os.getpid(),
             "started": now.strftime("%Y-%m-%d %H:%M:%S UTC")}
    write_document(store.place(JOURNAL), entry)
    bootpieces.tidy(store, str(entry["id"]))
    return entry


def _hex(paths: Sequence[bytes]) -> list[str]:
    return [p.hex() for p in paths]


def scope_of(entry: dict[str, Any]) -> Scope:
    """Return the scope that a journal holds."""
    paths, but, mounts = (tuple(bytes.fromhex(p) for p in entry.get(k, ())) for k in ("paths", "but", "mounts"))
    return Scope(tuple(entry["scope"]), paths, but, mounts, bool(entry.get("boot")))


# --- applying ------------------------------------------------------------------------------------------------------


def apply(store: Store, config: Config, point: RestorePoint, scope: Scope, entry: dict[str, Any], job: Job,
          expected: int | None = None) -> Applied:
    """Make the target what the point holds, as far as the scope goes: files, then boot sectors; undoing goes the other
    way round. The caller holds the write lock and has written the journal.

    Raises RollpointError; the journal then stays and the rollback can be resumed or undone.
    """
    started = time.monotonic()
    step("rollback-begun")
    # Resumed after a restart, other disks may be mounted, or none.
    merged = [bytes.fromhex(p) for p in entry.get("merged", ())]
    targets.check(config, point, scope, adopt=entry.get("adopt") is not None, merged=merged)
    config = sparing(config, point, scope, targets.places(point, scope, merged))
    lifeboat.cast_off()
    undo = bool(entry["undo"])
    boot, left = bootpieces.restore(store, config, entry, job) if undo else ((), ())
    count, differences, adjusted = _apply_files(store, config, point, scope, entry, job, expected)
    os.sync()
    if not undo:
        boot, left = bootpieces.restore(store, config, entry, job)
    verdict = bootpieces.verdict(config, scope.paths)
    write_document(store.place(JOURNAL), entry | {"phase": "undone" if undo else "done"})
    if undo:
        bootpieces.tidy(store)
    step("rollback-done")
    return Applied(count, (*differences, *left), time.monotonic() - started, boot, verdict, adjusted)


def _apply_files(store: Store, config: Config, point: RestorePoint, scope: Scope, entry: dict[str, Any], job: Job,
                 expected: int | None) -> tuple[int, list[str], tuple[str, ...]]:
    """Return how many entries changed, what still differs, and what was adjusted afterwards."""
    with Catalog.open(store) as catalog, _opened(
            store, config, catalog, point, entry, job) as (source, target, listed):
        _split_links(catalog, point, target.path, scope, job)
        parents = _missing_parents(catalog, point, target.path, scope)
        step("rollback-opened")
        count, unwritten = _run(_argv(config, scope, source, target, listed), job, "putting back", expected)
        differences: list[str] = []
        # Once more where something is not right yet: what could not be written at first, or what rsync did to another
        # name of a file that it had already looked at (see snapshot.py).
        for again in (False, True):
            if again or unwritten:
                _, unwritten = _run(_argv(config, scope, source, target, listed), job, "putting back", None)
            for entry_of_parent in reversed(parents):
                apply_attributes(os.path.join(target.path, entry_of_parent.path), entry_of_parent)
            step("rollback-copied")
            differences.clear()
            _run(_argv(config, scope, source, target, listed, ["--dry-run"]), job, "verifying", None, differences,
                 lambda item: item.only_access and target.ownerless(item.path))
            if not differences:
                break
        for problem in unwritten if differences else ():
            job.warn(message(problem))
        step("rollback-verified")
        adjusted = adopting.apply(target.path, entry["adopt"]) if entry.get("adopt") else []
        step("rollback-adjusted")
    return count, differences, tuple(adjusted)


@contextmanager
def _opened(store: Store, config: Config, catalog: Catalog, point: RestorePoint, entry: dict[str, Any], job: Job
            ) -> Iterator[tuple[bytes, View, bytes]]:
    job.progress("opening the point")
    with private_space() as space, open_point(store, catalog, point, space, config.staging, job) as source, \
            view(config, store, target_in=space) as target, scratch() as place:
        keep = [rsync.escape_pattern(bytes.fromhex(p)) for p in entry["keep"]]
        patterns = [*keep, *target.filters]
        yield source, target, rsync.write_filters(os.path.join(os.fsencode(place), b"filters"), patterns)


def _run(argv: list[str | bytes], job: Job, phase: str, expected: int | None, seen: list[str] | None = None,
         overlook: Callable[[rsync.Item], bool] = lambda _: False) -> tuple[int, tuple[str, ...]]:
    """Run rsync; returns how many entries it named and what it said it could not write. What it names goes to `seen`,
    less what `overlook` says."""
    count = 0

    def note(item: rsync.Item) -> None:
        nonlocal count
        count += 1
        if seen is not None and len(seen) < 1000 and not overlook(item):
            seen.append(f"{item.code.decode('ascii', 'replace')} {shown_path(item.path)}")
        job.progress(phase, count, expected, current=item.path)

    job.progress(phase, 0, expected)
    outcome = rsync.run(argv, note, job)
    for problem in outcome.problems:
        job.warn(message(problem))
    return count, outcome.unwritten


def _split_links(catalog: Catalog, point: RestorePoint, target: bytes, scope: Scope, job: Job) -> None:
    """Break hard links in the target that the point does not have: rsync only ever adds links (rsync(1), -H)."""
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
            row = catalog.at(path, point.number)
            if row is not None:
                groups[row.entry.link if row.entry.link is not None else path].append(row.entry)
        for apart in sorted(groups.values(), key=len)[:-1]:
            for entry in apart:
                full = os.path.join(target, entry.path)
                clone_file(full, read_entry(full, entry.path))


def _missing_parents(catalog: Catalog, point: RestorePoint, target: bytes, scope: Scope) -> list[Entry]:
    """Return the directories that must be made for the chosen paths, outermost first."""
    found = []
    for path in scope.paths:
        parts = path.split(b"/")
        for parent in (b"/".join(parts[:n]) for n in range(1, len(parts))):
            row = catalog.at(parent, point.number)
            if row is not None and not os.path.lexists(os.path.join(target, parent)):
                found.append(row.entry)
    return list(dict.fromkeys(found))


def same_boot(store: Store, config: Config, plan_: RollbackPlan, scope: Scope) -> None:
    """Raise RefusedError when the boot sectors that would change are no longer those that the plan has shown."""
    if bootpieces.plan(store, config, plan_.point, scope).words != plan_.boot:
        raise RefusedError("the boot sectors are not as they were when this was planned; nothing was changed",
                           hint="look at the plan again")


def check(findings: Sequence[Finding]) -> None:
    """Raise RefusedError when there is a blocker among these."""
    for finding in findings:
        if finding.level == "blocker":
            raise RefusedError(f"the rollback is blocked: {finding.text}", hint=finding.hint)
