"""Oracle VM Manager on this machine: its settings, and the backups that it makes of its own database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ManagerBackup:
    """A directory in the Manager's backup directory. `automatic` ones (AutoFullBackup-DATE_TIME) are made daily and 15
    are kept; `taken` is when by its name, None where that says nothing. `size` in bytes."""

    path: bytes
    name: str
    automatic: bool
    taken: datetime | None
    size: int


@dataclass(frozen=True, slots=True)
class Manager:
    """What is known of a Manager; `uuid` is "" where there is none here. `settings` are those of /etc/sysconfig/ovmm,
    `backups` newest first, `forecast` the bytes that all that are kept will take, None where nobody can say; `remarks`
    say what to look into."""

    uuid: str
    settings: tuple[tuple[str, str], ...]
    place: bytes
    backups: tuple[ManagerBackup, ...]
    forecast: int | None
    remarks: tuple[str, ...]
