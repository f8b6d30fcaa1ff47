"""Oracle VM Manager on this machine: its settings, and the backups that it makes of its own database.

Oracle VM Manager 3.2 to 3.4 keeps its UUID and paths in /etc/sysconfig/ovmm and backs its MySQL database up daily into
``DBBACKUP=`` (default below), one directory AutoFullBackup-DATE_TIME each, of which it keeps 15. A backup by hand is
made by its createBackup.sh with ``-n NAME``. Without one of them, and the UUID, a lost Manager cannot be made again
with the names of all its objects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from engine.machine.tree import Tree
from engine.run import call
from engine.text import human_size, printable, short_age, shown_path
from engine.vms.secrets import HIDDEN, is_secret

SETTINGS = b"etc/sysconfig/ovmm"
KEPT = 15
"""Automatic backups that the Manager keeps."""

_DEFAULT = b"u01/app/oracle/mysql/dbbackup"
_AUTOMATIC = "AutoFullBackup-"
# 20180628_231500, 2018-06-28-23-15-00, 28062018-231500 and the like: date and time by their digits.
_STAMP = re.compile(r"(\d{4})[-_]?(\d\d)[-_]?(\d\d)(?:[-_T]?(\d\d)[-_:]?(\d\d)(?:[-_:]?(\d\d))?)?")
_LATE = timedelta(hours=36)
_PROGRAM_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class ManagerBackup:
    """A directory in the Manager's backup directory. `automatic` ones (AutoFullBackup-DATE_TIME) are made daily and 15
    are kept; `taken` is when by its name, else by its time. `size` in bytes."""

    path: bytes
    name: str
    automatic: bool
    taken: datetime
    size: int


@dataclass(frozen=True, slots=True)
class Manager:
    """What is known of a Manager; `uuid` is "" where there is none here. `settings` are those of /etc/sysconfig/ovmm
    without secrets, `backups` newest first; `forecast` are the bytes that all that are kept will take, None where
    nobody can say; `remarks` say what to look into."""

    uuid: str
    settings: tuple[tuple[str, str], ...]
    place: bytes
    backups: tuple[ManagerBackup, ...]
    forecast: int | None
    remarks: tuple[str, ...]

    @property
    def present(self) -> bool:
        """Whether there is a Manager here, or were it only its backups."""
        return bool(self.settings or self.backups)


def look(root: str, now: datetime | None = None) -> Manager:
    """Return what can be told of a Manager below `root`. Raises nothing."""
    tree = Tree(os.fsencode(root))
    settings = _settings(tree.text(SETTINGS) or "")
    place = os.fsencode(settings.get("DBBACKUP", "")).strip(b"/") or _DEFAULT
    backups = sorted(_backups(tree, place), key=lambda backup: backup.taken, reverse=True)
    automatic = [backup for backup in backups if backup.automatic]
    shown = tuple((key, HIDDEN if is_secret(key) or "pass" in key.lower() else value)
                  for key, value in settings.items())
    remarks = _remarks(settings, place, automatic, now or datetime.now(UTC)) if settings or backups else []
    return Manager(settings.get("UUID", ""), shown, place, tuple(backups), _forecast(automatic, backups),
                   tuple(remarks))


def _settings(text: str) -> dict[str, str]:
    """KEY=VALUE lines as a shell reads them, without running anything: quotes around a value go."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        pair = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(.*?)\s*", line)
        if pair:
            value = pair[2]
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[pair[1]] = value[1:-1] if quoted else value
    return found


def _backups(tree: Tree, place: bytes) -> list[ManagerBackup]:
    found = []
    for name in tree.names(place):
        inner = tree.inner(os.path.join(place, name))
        full = os.path.join(tree.root, inner) if inner is not None else b""
        if inner is None or not os.path.isdir(full):
            continue
        text = printable(name)
        taken = _stamp(text) or datetime.fromtimestamp(os.stat(full).st_mtime, UTC)
        found.append(ManagerBackup(inner, text, text.startswith(_AUTOMATIC), taken, _size(full)))
    return found


def _stamp(name: str) -> datetime | None:
    """When a backup was made, by its name, which has the Manager's local time."""
    found = _STAMP.search(name.partition("-")[2] if name.startswith(_AUTOMATIC) else name)
    if found is None:
        return None
    try:
        day = datetime(int(found[1]), int(found[2]), int(found[3]))     # noqa: DTZ001 (local time, as in the name)
        clock = timedelta(hours=int(found[4] or 0), minutes=int(found[5] or 0), seconds=int(found[6] or 0))
        return (day + clock).astimezone(UTC)
    except ValueError:
        return None


def _size(place: bytes) -> int:
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _forecast(automatic: Sequence[ManagerBackup], backups: Sequence[ManagerBackup]) -> int | None:
    """What all that are kept will take when the database grows on as it did: the newest, times its growth over those
    there are, times 15 and those made by hand (db * growth * (15 + ad hoc))."""
    if not automatic:
        return None
    oldest, newest = automatic[-1].size, automatic[0].size
    growth = max(1.0, newest / oldest) if oldest else 1.0
    return int(newest * growth * (KEPT + len(backups) - len(automatic)))


def _remarks(settings: dict[str, str], place: bytes, automatic: Sequence[ManagerBackup], now: datetime) -> list[str]:
    said = []
    if not settings.get("UUID"):
        said.append(f"{shown_path(SETTINGS)} does not say the Manager's UUID, without which a new one is a stranger to "
                    "its servers")
    if not automatic:
        return [*said, f"there is no automatic backup of the Manager's database in {shown_path(place)}"]
    age = now - automatic[0].taken
    if age > _LATE:
        said.append(f"the newest automatic backup, {automatic[0].name}, is {short_age(age.total_seconds())} old; they "
                    "are made daily")
    for newer, older in pairwise(automatic):
        if newer.taken - older.taken > _LATE:
            said.append(f"a gap of {short_age((newer.taken - older.taken).total_seconds())} between {older.name} and "
                        f"{newer.name}")
    if len(automatic) > KEPT:
        said.append(f"there are {len(automatic)} automatic backups; the Manager keeps {KEPT}, so it does not clean up")
    empty = [backup.name for backup in automatic if backup.size == 0]
    if empty:
        said.append(f"nothing is in {', '.join(empty)}")
    elif automatic[0].size * 2 < max(backup.size for backup in automatic):
        said.append(f"the newest automatic backup takes {human_size(automatic[0].size)}, far less than others: it may "
                    "not be whole")
    return said


def back_up(program: str, when: datetime | None = None) -> str:
    """Let the Manager's own program back its database up, and return the name that was given. Raises ToolError."""
    name = f"rollpoint-{(when or datetime.now(UTC)).astimezone(UTC):%Y%m%d-%H%M%S}"
    call([program, "-n", name], timeout=_PROGRAM_SECONDS)
    return name
