"""What was confirmed, and what has grown since: paths that nobody was shown stop a rollback, restless places do not."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from engine import confirmed
from engine.confirmed import Confirmed
from engine.entries import Change, Diff, Entry, Kind, Status
from engine.errors import RefusedError
from engine.points import RestorePoint
from engine.results import RollbackPlan

POINT = RestorePoint("2024-01-01_00-00-00", "replica", 3, datetime(2024, 1, 1, tzinfo=UTC))


def change(path: str, status: Status) -> Change:
    entry = Entry(path.encode(), Kind.FILE, 0o644, 0, 0, 0, 5)
    old = None if status is Status.CREATED else entry
    return Change(path.encode(), status, old, None if status is Status.DELETED else entry, ())


def plan(*changes: tuple[str, Status], boot: tuple[str, ...] = ()) -> RollbackPlan:
    made = tuple(change(path, status) for path, status in sorted(changes, key=lambda c: c[0].replace("/", "\0")))
    return RollbackPlan(POINT, "/", ("system",), Diff("live", POINT.id, made), (), (), (), (), (), boot=boot)


def sealed(made: RollbackPlan) -> Confirmed:
    """Sealed, sent as JSON, read again."""
    return confirmed.read(json.loads(json.dumps(confirmed.seal(made).document())))


SHOWN = plan(("etc/hosts", Status.CHANGED), ("etc/new", Status.DELETED), ("etc/gone", Status.CREATED),
             ("etc/mode", Status.ATTRS), ("srv", Status.TYPE))


def test_the_same_plan_holds_and_arrives_whole() -> None:
    assert sealed(SHOWN) == confirmed.seal(SHOWN) and len(sealed(SHOWN).lost) == 3
    confirmed.check(sealed(SHOWN), SHOWN)
    confirmed.check(sealed(SHOWN), plan(("etc/hosts", Status.CHANGED)))      # less is lost: nobody minds


@pytest.mark.parametrize("more", [
    ("etc/fstab", Status.CHANGED), ("home/me/thesis", Status.DELETED), ("var/spool/mail/me", Status.CHANGED),
    ("etc/mode", Status.CHANGED), ("etc/gone", Status.DELETED), ("etc/catalog", Status.TYPE), ("var/log", Status.TYPE)])
def test_what_nobody_was_shown_stops_it(more: tuple[str, Status]) -> None:
    now = plan(("etc/hosts", Status.CHANGED), more)
    with pytest.raises(RefusedError, match="not as it was when you confirmed.*/" + more[0]):
        confirmed.check(sealed(SHOWN), now)


@pytest.mark.parametrize("more", [
    ("var/log/syslog", Status.CHANGED), ("var/log/journal/1/system.journal", Status.DELETED),
    ("srv/app/logs/today", Status.DELETED), ("home/me/.cache/x", Status.DELETED), ("etc/created", Status.CREATED),
    ("etc/passwd", Status.ATTRS), ("var/lib/systemd/random-seed", Status.CHANGED), ("var/tmp/x", Status.DELETED)])
def test_what_loses_nothing_or_is_written_all_the_time_does_not(more: tuple[str, Status]) -> None:
    confirmed.check(sealed(SHOWN), plan(("etc/hosts", Status.CHANGED), more))


def test_a_new_directory_is_named_once_and_many_are_counted() -> None:
    now = plan(("opt/new", Status.DELETED), ("opt/new/a", Status.DELETED), ("opt/new/a/b", Status.DELETED))
    assert list(confirmed.unseen(sealed(SHOWN), now)) == [b"opt/new"]
    many = plan(*((f"opt/{n}", Status.DELETED) for n in range(9)))
    with pytest.raises(RefusedError, match=r"/opt/0, /opt/1, /opt/2 and 6 more would be lost too"):
        confirmed.check(sealed(SHOWN), many)


def test_boot_sectors_are_those_that_were_shown() -> None:
    with pytest.raises(RefusedError, match="the boot sectors differ"):
        confirmed.check(sealed(SHOWN), plan(("etc/hosts", Status.CHANGED), boot=("/dev/sda: boot code: x -> y",)))
