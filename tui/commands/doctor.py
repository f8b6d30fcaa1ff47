"""`doctor`: is everything here that Rollpoint needs, and how is the store."""

from __future__ import annotations

import os
import re
import shutil
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.errors import DamageError, ToolError
from engine.results import Finding
from engine.text import message, plural
from tui.commands import Answer, Command

if TYPE_CHECKING:
    from engine.points import RestorePoint
    from engine.results import StoreStatus
    from tui.commands._context import Context

_RSYNC = (3, 2)                     # --mkpath, %C with xxh128, and the fixes of --hard-links come with it
_OLD = 7 * 86400                    # a last good point older than this (seconds) is worth a word
_LITTLE = 0.05                      # so is less free room than this share of the tree's size


def configure(_parser: ArgumentParser) -> None:
    """`doctor` has no arguments."""


def run(context: Context, _args: Namespace) -> Answer:
    """Check tools, configuration and store: 3 with warnings; damage, and what stops the checks, is raised."""
    checks: list[dict[str, str]] = []
    context.partial["checks"] = checks
    for finding in _checks(context):
        checks.append({"level": finding.level, "text": finding.text, "hint": finding.hint})
        if finding.level == "info":
            context.out.info(f"ok: {message(finding.text)}")
            continue
        context.warn(finding.text)
        if finding.hint:
            context.out.note(f"  {finding.hint}")
    if not context.warnings:
        context.out.info("All is well.")
    return Answer({"checks": checks})


def _checks(context: Context) -> Iterator[Finding]:
    """Yield findings, the tools' first; raises what the configuration and the store raise."""
    yield from _tools()
    yield from _kernel()
    config = context.config
    yield Finding("info", f"configuration read: store {config.store}, tree {config.root}")
    yield from (Finding("warning", note) for note in config.notes)
    status = context.engine.status()
    yield from _store(status)
    yield from _storage(context)
    if status.exists:
        yield from _points(context)


# --- tools and kernel ---------------------------------------------------------------------------------------

def _tools() -> Iterator[Finding]:
    yield from _rsync()
    for name, why in (("tar", "packs old versions"), ("zstd", "compresses them")):
        version = _version_text(name)
        if version:
            yield Finding("info", version)
        else:
            yield Finding("warning", f"{name} is missing; it {why}", f"install {name}")


def _rsync() -> Iterator[Finding]:
    from engine.run import call

    try:
        shown = call(["rsync", "--version"]).decode("utf-8", "replace")
    except ToolError as error:
        yield Finding("warning", f"rsync cannot be used: {error.message}", error.hint)
        return
    number = re.search(r"version\s+v?(\d+)\.(\d+)(\S*)", shown)
    version = (int(number[1]), int(number[2])) if number else (0, 0)
    if version < _RSYNC:
        yield Finding("warning", f"rsync {version[0]}.{version[1]} is too old", "install rsync 3.2 or newer")
    lacking = [word for word in ("ACLs", "xattrs", "hardlinks", "xxh128")
               if not re.search(rf"(?<!no ){word}\b", shown)]
    if lacking:
        yield Finding("warning", f"this rsync was built without {', '.join(lacking)}",
                      "install the rsync of your distribution")
    if version >= _RSYNC and not lacking and number:
        yield Finding("info", f"rsync {number[1]}.{number[2]}{number[3]}: ACLs, xattrs, hard links, xxh128")


def _version_text(name: str) -> str:
    """Return the line in which a tool names itself, "" when it cannot be run."""
    from engine.run import call

    try:
        lines = call([name, "--version"]).decode("utf-8", "replace").strip().splitlines()
    except ToolError:
        return ""
    return lines[0].strip("* ") if lines else name


def _kernel() -> Iterator[Finding]:
    """What opening older points as overlay mounts needs; without root a hard-link farm takes its place
    anyway."""
    if os.geteuid() != 0:
        yield Finding("info", "not root: no mount namespaces; older points open as trees of hard links")
        return
    missing = [name for name in ("unshare", "nsenter", "mount") if shutil.which(name) is None]
    if missing:
        yield Finding("warning", f"missing: {', '.join(missing)}", "install util-linux and mount")
    try:
        with open("/proc/filesystems", encoding="ascii", errors="replace") as file:
            known = file.read().split()
    except OSError:
        known = []
    if "overlay" in known:
        yield Finding("info", "the kernel has overlayfs")
    else:
        yield Finding("warning", "the kernel has no overlayfs: older points open more slowly",
                      "`modprobe overlay` loads it where it is a module")


# --- the store ----------------------------------------------------------------------------------------------

def _store(status: StoreStatus) -> Iterator[Finding]:
    from engine.text import human_size

    if not status.exists:
        yield Finding("warning", f"there is no store at {status.path} yet", "`rollpoint snapshot` makes it")
        return
    taken, tree, free = map(human_size, (status.store_bytes, status.tree_bytes, status.free_bytes))
    yield Finding("info", f"store {status.path}: {plural(status.points, 'point')}, {taken} (newest tree {tree}), "
                          f"{free} free")
    if status.read_only:
        yield Finding("warning", "the store is read-only: no points can be taken", "mount it read-write")
    if status.limit_bytes is not None and status.store_bytes > status.limit_bytes:
        yield Finding("warning", f"the store exceeds its limit of {human_size(status.limit_bytes)}",
                      "`rollpoint prune --dry-run` shows what can go")
    if status.free_bytes < status.tree_bytes * _LITTLE:
        yield Finding("warning", f"little room is left for the store: {free}",
                      "free some there, or remove points with `rollpoint prune`")
    if status.unfinished:
        yield Finding("warning", f"unfinished: {status.unfinished}",
                      "`rollpoint repair` finishes or undoes it")
    if status.rollback:
        yield Finding("warning", f"a rollback was interrupted: {status.rollback}",
                      "`rollpoint rollback --resume` finishes it, `--undo` takes it back")
    if status.ordered:
        yield Finding("warning", status.ordered, "`rollpoint rollback --undo` takes the order back")
    if status.holder:
        yield Finding("info", f"in use now by {status.holder}")


def _storage(context: Context) -> Iterator[Finding]:
    """Yield how each kind of storage stands, how full what snapshots live in is, what is pending, and which cannot be
    asked."""
    from tui.storagewords import level_hint, level_line

    listing = context.engine.storage_points()
    for state in context.engine.backend_states():
        if not state.asked:
            yield Finding("info", f"{state.backend}: {state.why}")
            continue
        mine = [point for point in listing.points if point.backend == state.backend]
        if state.fault:
            yield Finding("warning", f"{state.backend}: snapshots can neither be taken nor removed: {state.fault}",
                          state.hint)
            if not mine:
                continue        # whether there are any, nobody could say
        yield Finding("info", f"{state.backend}: {state.tool or 'its version is not known'}; {_snapshots(mine)}")
        yield from (Finding("warning", f"{state.backend}: point {point.id} is {point.state}"
                                       f"{': ' + point.problems[0] if point.problems else ''}",
                            "`rollpoint show` says more of it") for point in mine if point.state == "damaged")
    levels, pending, troubles = context.engine.levels()
    for level in levels:
        yield Finding("info" if level.state == "ok" else "warning", level_line(level), level_hint(level))
    yield from (Finding("warning", text) for text in pending)
    every = {(t.backend, t.reason): t for t in (*listing.troubles, *troubles)}
    yield from (Finding("warning", f"{t.backend} cannot be asked: {t.reason}", t.hint) for t in every.values())


def _snapshots(points: Sequence[RestorePoint]) -> str:
    """Return in words which points a kind of storage keeps."""
    from engine.text import human_age

    if not points:
        return "no snapshot is there"
    owners = Counter(point.owner for point in points if point.owner)
    others = "".join(f", {count} of them {'of unknown origin' if name == 'unknown' else name + chr(39) + 's'}"
                     for name, count in sorted(owners.items()))
    good = [point for point in points if point.state == "ok"]
    newest = f", the newest good one taken {human_age(min(point.age() for point in good))}" if good else ""
    return f"{len(points)} snapshot{'s' * (len(points) != 1)}{others}{newest}"


def _points(context: Context) -> Iterator[Finding]:
    """Yield what is to be said about the points; raises DamageError at the end when one is damaged."""
    from engine.text import human_age

    points = context.engine.points()
    good = [point for point in points if point.state == "ok"]
    if good:
        age = max(good, key=lambda point: point.created).age()
        level = "warning" if age > _OLD else "info"
        yield Finding(level, f"the last good point was taken {human_age(age)}",
                      "`rollpoint snapshot` takes a new one" if level == "warning" else "")
    elif points:
        yield Finding("warning", "there is no good point", "`rollpoint snapshot` takes one")
    bad = [point for point in points if point.state != "ok"]
    if bad:
        names = ", ".join(f"{point.number} ({point.id})" for point in bad)
        raise DamageError(f"damaged points: {names}", hint="`rollpoint verify` says what is wrong with them")


COMMANDS = (Command("doctor", "are the tools here, and how is the store", 190, configure, run),)
