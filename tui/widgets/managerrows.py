"""The rows of Oracle VM Manager's own backups, and of what makes file systems anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from engine.text import short_age, shown_path
from engine.vms.manager import KEPT, SETTINGS, Manager, ManagerBackup
from engine.vms.recipes import Recipe
from tui.text import Segment, brief_age, fit, plural, safe, size, stamp
from tui.widgets.rows import Row
from tui.widgets.viewlist import Findings

_NARROW = 70


class BackupRows:
    """A `RowSource`: each backup of the Manager's database, newest first, with the time since the automatic one before
    it. What the engine has remarked upon stands out."""

    def __init__(self, found: Manager, now: datetime) -> None:
        self.backups, self._now = found.backups, now
        self._remarks = found.remarks
        automatic = [backup for backup in found.backups if backup.automatic]
        self._since = {newer.path: newer.taken - older.taken
                       for newer, older in pairwise(automatic)}

    def __len__(self) -> int:
        return len(self.backups)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        return [(fit(f" {fit('Name', self._name(width))} {'Kind':<8} {self._when(None, width)} {'Age':>6}  "
                     f"{'Since':>6} {'Size':>9}", width), "head")]

    @staticmethod
    def _name(width: int) -> int:
        return max(12, min(60, width - (44 if width < _NARROW else 55)))

    @staticmethod
    def _when(backup: ManagerBackup | None, width: int) -> str:
        if backup is None:
            return f"{'Taken':<{5 if width < _NARROW else 16}}"
        return backup.taken.astimezone().strftime("%m-%d" if width < _NARROW else "%Y-%m-%d %H:%M")

    def _remark(self, backup: ManagerBackup) -> str:
        return next((remark for remark in self._remarks if backup.name in remark), "")

    def row(self, index: int, width: int) -> Row:
        """One backup."""
        backup = self.backups[index]
        since = self._since.get(backup.path)
        return [(f" {fit(safe(backup.name), self._name(width), keep_end=backup.automatic)} ",
                 "warn" if self._remark(backup) else "strong"),
                (f"{'daily' if backup.automatic else 'by hand':<8} ", "" if backup.automatic else "accent"),
                (f"{self._when(backup, width)} ", ""),
                (f"{short_age((self._now - backup.taken).total_seconds()):>6}  ", "dim"),
                (f"{'' if since is None else short_age(since.total_seconds()):>6} ", ""),
                (f"{size(backup.size):>9}", "")]

    def line(self, index: int) -> list[Segment]:
        """One backup in full, with what was remarked upon."""
        backup = self.backups[index]
        return [(safe(shown_path(backup.path)), "strong"), (f"   {stamp(backup.taken)}   {size(backup.size)}", "dim"),
                (f"   {safe(self._remark(backup))}" if self._remark(backup) else "", "warn")]


def manager_rows(found: Manager, now: datetime) -> Findings:
    """Return what is known of a Manager as lines; those to look into count."""
    if not found.present:
        looked = f"Neither {shown_path(SETTINGS)} nor anything in {shown_path(found.place)} is there."
        return Findings([("There is no Oracle VM Manager here, nor backups of one.", "dim"), (looked, "dim")], 0)
    rows: list[Segment] = [(f"To look into: {remark}", "warn") for remark in found.remarks]
    if not found.remarks:
        rows.append(("Its backups are as they should be: daily, none missing, none empty.", "good"))
    automatic = sum(backup.automatic for backup in found.backups)
    rows += [("", ""), (f"UUID        {found.uuid or 'not known'}", ""),
             (f"Backups in  {shown_path(found.place)}", ""),
             (f"Backups     {automatic} daily of the {KEPT} that the Manager keeps, "
              f"{len(found.backups) - automatic} by hand", "")]
    if found.backups:
        rows.append((f"Newest      {found.backups[0].name}, "
                     f"{brief_age((now.astimezone(UTC) - found.backups[0].taken).total_seconds())}", ""))
    rows.append((f"They take   {size(sum(backup.size for backup in found.backups))}", ""))
    if found.forecast is not None:
        rows.append((f"Forecast    about {size(found.forecast)} for all that are kept, as it has grown so far", ""))
    if found.settings:
        rows += [("", ""), ("/etc/sysconfig/ovmm; what may be secret is not shown:", "head"),
                 *((f"  {key}={value}", "") for key, value in found.settings)]
    return Findings(rows, len(found.remarks))


def recipe_rows(recipes: Sequence[Recipe]) -> Findings:
    """Return what makes file systems anew as lines: commands stand out, and so does what is not known."""
    rows: list[Segment] = []
    for one in recipes:
        rows += [("", "")] if rows else []
        rows += [(line, "strong" if line == one.command else "dim" if line.startswith("#") else "")
                 for line in one.lines]
        rows += [(remark, "warn") for remark in one.remarks]
        if not one.command and not one.remarks:
            rows.append((f"There is no recipe for {one.kind}: make it as any file system of that kind.", "dim"))
    return Findings(rows or [("No repository is a file system of its own.", "dim")], len(recipes))


def told(found: Manager, now: datetime) -> list[Segment]:
    """Return how a Manager stands, in one line."""
    if not found.present:
        return [("There is no Oracle VM Manager here, nor backups of one.", "dim")]
    parts: list[Segment] = [("Oracle VM Manager ", "head"), (plural(len(found.backups), "backup"), "strong")]
    if found.backups:
        age = (now.astimezone(UTC) - found.backups[0].taken).total_seconds()
        parts.append((f", the newest {brief_age(age)}", ""))
    if found.forecast is not None:
        parts.append((f"   about {size(found.forecast)} for all that are kept", "dim"))
    if found.remarks:
        parts.append((f"   {len(found.remarks)} TO LOOK INTO", "bad"))
    return parts
