"""Whether the plain tree still is what was recorded, before anything is made like it.

A rollback deletes what the point does not have. If somebody emptied the tree, or a failing disk did, the point would
seem to have had nothing; so each entry that the point shares with the tree is looked at first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.errors import DamageError, RefusedError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import listed
from engine.replica.catalog import Catalog, Row
from engine.replica.disk import as_read, read_entry
from engine.replica.layout import Store
from engine.text import shown_path

MISSING = "is missing in the tree"
DIFFERS = "differs in the tree from what was recorded"
BAD_CONTENT = "its content in the tree is damaged"
NO_CONTENT = "its content in the tree cannot be read"
_NAMED = 3
_MARKED = re.compile(f"verify: (?:(/.*): )?(?:{MISSING}|{DIFFERS}|{BAD_CONTENT}|{NO_CONTENT})", re.DOTALL)
HINT = ("nothing was changed; `rollpoint repair` puts right what it can, `rollpoint verify` names the rest, and "
        "--scope path=PATH rolls back what is whole")
AS_ROOT = "plan and roll back as root; a store on NFS must be exported with no_root_squash"


@dataclass(frozen=True, slots=True)
class Found:
    """What looking at the tree came to, in words, "" where it is fine: what of the point is `lost`, and what could not
    be looked at, because whoever looks may not."""

    lost: str = ""
    unseen: str = ""


def look(store: Store, catalog: Catalog, point: RestorePoint, paths: Sequence[bytes], spares: Callable[[bytes], bool],
         job: Job) -> Found:
    """Look at what the tree should have of a point (of these paths and what is in them, none: of all, less what
    `spares` says stays as it is). Contents are not read; size and times tell."""
    lost, unseen = [], []
    for number, row in enumerate(_shared(catalog, point, paths)):
        if number % 256 == 0:
            job.progress("checking the store", number, current=row.entry.path)
        if spares(row.entry.path):
            continue
        try:
            what = fault(store, row)
        except PermissionError:
            unseen.append(shown_path(row.entry.path))
            continue
        if what:
            lost.append(f"{shown_path(row.entry.path)} {what}")
    return Found(f"the store is damaged, so point {point.id} is not whole: {_some(lost, '; ')}" if lost else "",
                 f"nobody but root can tell whether point {point.id} is whole: in the store, {_some(unseen, ', ')} "
                 "cannot be looked at" if unseen else "")


def _some(found: Sequence[str], between: str) -> str:
    more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return between.join(found[:_NAMED]) + more


def require(store: Store, catalog: Catalog, point: RestorePoint, paths: Sequence[bytes],
            spares: Callable[[bytes], bool], job: Job) -> None:
    """Raise DamageError for what is lost of a point, RefusedError for what cannot be looked at."""
    found = look(store, catalog, point, paths, spares, job)
    if found.lost:
        raise DamageError(found.lost, hint=HINT)
    if found.unseen:
        raise RefusedError(found.unseen, hint=AS_ROOT)


def marked(point: RestorePoint) -> list[str] | None:
    """Return the paths (as `shown_path` writes them) of the entries in the tree that a verification has found damaged;
    None where that is not all that is wrong with the point, or not all of it was kept."""
    found = [_MARKED.fullmatch(problem) for problem in point.problems]
    if len(found) >= listed.MARKS:
        return None
    known = [match[1] or "/" for match in found if match]
    return known if len(known) == len(found) else None


def fault(store: Store, row: Row) -> str:
    """Return what is wrong with an entry in the tree, "" when it is as it was recorded. Raises PermissionError when it
    may not be looked at."""
    full = os.path.join(store.tree, row.entry.path) if row.entry.path else store.tree
    try:
        have = read_entry(full, row.entry.path, csum=row.entry.csum, link=row.entry.link)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except PermissionError:
        raise
    except OSError as error:
        return f"cannot be read in the tree: {error.strerror}"
    return "" if have == as_read(row.entry, full) else DIFFERS


def _shared(catalog: Catalog, point: RestorePoint, paths: Sequence[bytes]) -> Iterator[Row]:
    for top in paths or (b"",):
        for row in catalog.tree(point.number, top):
            if row.last is None:
                yield row
