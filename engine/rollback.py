"""Going back: plan -> preview -> confirm -> journal -> apply -> verify; interrupted ones are resumed or undone.

Applying is one rsync pass from the opened point onto the target view, deletions after the copies. It can be repeated
at any time and always ends in the same state, so resuming is applying again, and undoing is rolling back to the
safety point that was taken first.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine import adapted, adopting, bootmaking, bootpieces, nextboot, putback, reboot, software, targets
from engine.adapted import Adapted
from engine.bootmaking import Making
from engine.config import Config
from engine.entries import Diff, Entry, Kind, Status
from engine.errors import DamageError, RefusedError
from engine.events import Job, step
from engine.machine.mounts import Space, private_space
from engine.points import RestorePoint
from engine.replica import bootsaved, intact, query, rsync
from engine.replica.catalog import Catalog
from engine.replica.layout import ROLLBACK, Store, machine_id, read_document, user_name, write_document
from engine.replica.opened import open_point
from engine.replica.source import View, filters, view
from engine.rescue import lifeboat
from engine.results import Finding, RollbackPlan, Verdict
from engine.run import scratch
from engine.scopes import Scope
from engine.text import printable, shown_path

JOURNAL = ROLLBACK
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying came to: how many entries changed, what still differs (printable lines), seconds, the boot sectors
    that were written, whether the system will boot now (None: it has no bearing on that), and the lines that were
    adjusted to other file systems than the recorded ones, with the commands that were run for them."""

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
    whole = config
    config = sparing(config, point, scope, target.places)
    root = os.path.realpath(os.fsencode(config.root))
    now = query.diff_live(store, config, catalog, point, scope.paths, job)
    now = Diff(now.older, now.newer, tuple(c for c in now.changes if not scope.spares(c.path)))
    hidden = unreadable(now, root)
    diff = inverted(Diff(now.older, now.newer, tuple(c for c in now.changes if c.path not in hidden)))
    listed = query.points(store)
    findings = [*_machine(store, config, point, adopt), *_lost(store, catalog, point, scope, job),
                *_findings(store, config, catalog, point, scope, diff, root), *target.findings]
    findings += [Finding("warning", f"{shown_path(p)} cannot be read, so no point can hold it: it stays as it is",
                         "roll back as root") for p in hidden]
    changed = software.compare(software.LiveFiles(root), software.PointFiles(store, catalog, point.number),
                               [c.path for c in diff.changes])
    findings += [Finding("warning", note) for note in changed.notes]
    new = adapted.look(store, whole, catalog, point, scope, merged, adopt=adopt)
    findings += new.findings(store, config, point, scope)
    pieces = new.pieces
    return RollbackPlan(
        point, printable(root), scope.words, diff, tuple(p for p in listed if p.number > point.number),
        tuple(printable(os.fsencode(p)) for p in config.excludes),
        tuple(shown_path(os.fsencode(d).strip(b"/")) for d in config.databases), tuple(findings),
        _commands(store, config, point, scope), changed.packages, changed.kernels, pieces.words, tuple(hidden),
        reboot.reasons(root, pieces.words, changed.kernels, changed.packages), adopt, new.words, tuple(merged),
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


def _lost(store: Store, catalog: Catalog, point: RestorePoint, scope: Scope, job: Job) -> Iterator[Finding]:
    """Yield blockers for what the store has lost of a point, or does not let us look at; nothing while somebody else
    moves its files."""
    before = store.writer()
    found = intact.Found() if before[0] else intact.look(store, catalog, point, scope.paths, scope.spares, job)
    if store.writer() != before:
        return
    for words, hint in ((found.lost, intact.HINT), (found.unseen, intact.AS_ROOT)):
        if words:
            yield Finding("blocker", words, hint)


def _findings(store: Store, config: Config, catalog: Catalog, point: RestorePoint, scope: Scope, diff: Diff,
              root: bytes) -> Iterator[Finding]:
    if bootsaved.only_boot(point):
        yield Finding("warning", f"point {point.id} is damaged, but not its files: {point.problems[0]}",
                      "a later point may have boot pieces that are whole")
    elif point.state != "ok":
        yield _damaged(point, scope)
    left = interrupted(store)
    if left:
        yield Finding("blocker", left, "finish it with `rollpoint rollback --resume` or `--undo` first")
    if config.read_only:
        yield Finding("blocker", "the configuration says read_only", "take `read_only` out of the configuration")
    for path in scope.paths:
        if catalog.at(path, point.number) is None and not os.path.lexists(os.path.join(root, path)):
            yield Finding("blocker", f"{shown_path(path)} is neither in the point nor on the system",
                          "check the path")
    yield from putback.obstacles(diff, root, store.tree)


def _damaged(point: RestorePoint, scope: Scope) -> Finding:
    """Return what to say of damage that is known of a point: only a warning where the scope has no part in it."""
    first = point.problems[0] if point.problems else ""
    marked = intact.marked(point)
    if marked and not any(map(scope.may_reach, marked)):
        more = f" and {len(marked) - _NAMED} more" if len(marked) > _NAMED else ""
        return Finding("warning", f"point {point.id} is damaged, but not where this rollback goes: "
                       f"{', '.join(marked[:_NAMED])}{more}", "`rollpoint verify` says how, `rollpoint repair` puts "
                       "right what it can")
    return Finding("blocker", f"point {point.id} is damaged: {first}",
                   "choose another point; `rollpoint verify` says what is damaged")


def _commands(store: Store, config: Config, point: RestorePoint, scope: Scope) -> tuple[str, ...]:
    root = os.path.realpath(os.fsencode(config.root))
    shown = View(Space(), root, root, (), (), filters(config, store, root))
    opened = store.tree if point.newest else b"POINT"
    argv = putback.copy_argv(config, scope, opened, shown, b"EXCLUDES")
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


def begin(store: Store, config: Config, point: RestorePoint, scope: Scope, safety: RestorePoint | None,
          keep: Sequence[bytes] = (), *, undo: bool = False, of: str = "", reboot: Sequence[str] = (),
          new: Adapted | None = None, merged: Sequence[bytes] = ()) -> dict[str, Any]:
    """Write the journal of a rollback that is about to change the target, and return it. `of` is the id of the rollback
    that this one undoes, `reboot` why a reboot will be due, `new` what is adjusted to other file systems (None:
    they are the recorded ones), `merged` those that become directories."""
    now, root = datetime.now(UTC), os.path.realpath(os.fsencode(config.root))
    entry = {"id": of or f"{now:%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(4)}", "phase": "applying", "point": point.id,
             "backend": point.backend,
             "root": printable(root), "root_uuid": targets.identity(root), "machine": machine_id(root),
             "scope": [printable(os.fsencode(w)) for w in scope.words], "paths": _hex(scope.paths),
             "but": _hex(scope.but), "mounts": _hex(scope.mounts), "boot": scope.boot, "keep": _hex(keep),
             "safety": safety.id if safety else None, "safety_backend": safety.backend if safety else "",
             "undo": undo, "reboot": list(reboot),
             "adopt": None if new is None else new.document(), "merged": _hex(merged),
             "user": user_name(), "pid": os.getpid(),
             "started": now.strftime("%Y-%m-%d %H:%M:%S UTC")}
    write_document(store.place(JOURNAL), entry)
    bootpieces.tidy(store, str(entry["id"]))
    return entry


def _hex(paths: Sequence[bytes]) -> list[str]:
    return [p.hex() for p in paths]


def backend_of(entry: dict[str, Any], which: str) -> str:
    """Return which backend keeps the ``point`` or the ``safety`` of a journal (older ones say nothing: the replica)."""
    return str(entry.get("backend" if which == "point" else "safety_backend") or "replica")


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
    undo, making = bool(entry["undo"]), Making()
    if entry.get("adopt") is not None:
        with Catalog.open(store) as catalog:
            making = adapted.look(store, config, catalog, point, scope, merged).making
    config = sparing(config, point, scope, targets.places(point, scope, merged))
    lifeboat.cast_off()
    boot, left = bootpieces.restore(store, config, entry, job) if undo else ((), ())
    count, differences, adjusted = _apply_files(store, config, point, scope, entry, job, expected)
    os.sync()
    if not undo:
        boot, left = bootpieces.restore(store, config, entry, job, making.disks)
    made = bootmaking.apply(making, config, store, job)
    step("rollback-made")
    verdict = bootpieces.verdict(config, scope.paths)
    write_document(store.place(JOURNAL), entry | {"phase": "undone" if undo else "done"})
    if undo:
        bootpieces.tidy(store)
    step("rollback-done")
    return Applied(count, (*differences, *left), time.monotonic() - started, boot, verdict,
                   (*adjusted, *made))


def _apply_files(store: Store, config: Config, point: RestorePoint, scope: Scope, entry: dict[str, Any], job: Job,
                 expected: int | None) -> tuple[int, list[str], tuple[str, ...]]:
    """Return how many entries changed, what still differs, and what was adjusted afterwards."""
    with Catalog.open(store) as catalog, _opened(
            store, config, catalog, point, entry, job) as (source, target, listed):
        intact.require(store, catalog, point, scope.paths, scope.spares, job)

        def held(path: bytes) -> Entry | None:
            row = catalog.at(path, point.number)
            return row.entry if row is not None else None

        tree = putback.Source(source, held, str(store.identity["checksum"]))
        count, differences = putback.put_back(tree, target, listed, config, scope, job, expected)
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
