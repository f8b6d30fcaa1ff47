"""The rows of a difference: what happened, path, sizes. Rows are made when they are drawn, so a million is no load."""

from __future__ import annotations

from collections.abc import Sequence

from engine.entries import Change, Kind, Status
from tui.text import Segment, content, count, fit, path, size
from tui.widgets.rows import Row

LOOKS = {Status.CREATED: "good", Status.DELETED: "bad", Status.CHANGED: "warn", Status.TYPE: "warn",
         Status.ATTRS: "dim"}
PAST = {Status.CREATED: "created", Status.DELETED: "deleted", Status.CHANGED: "changed",
        Status.TYPE: "changed its type", Status.ATTRS: "changed its attributes"}
KINDS = {Kind.FILE: "file", Kind.DIR: "directory", Kind.LINK: "symbolic link", Kind.FIFO: "FIFO",
         Kind.SOCKET: "socket", Kind.BLOCK: "block device", Kind.CHAR: "character device"}


class ChangeRows:
    """A `RowSource` over those `changes` whose indexes are in `rows`."""

    def __init__(self, changes: Sequence[Change], rows: Sequence[int]) -> None:
        self.changes = changes
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def change(self, index: int) -> Change | None:
        """The change in a row, None beyond the end."""
        return self.changes[self.rows[index]] if 0 <= index < len(self.rows) else None

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        old, new, what = self._widths(width)
        line = f"   {fit('Old size', old, right=True)}{fit('New size', new, right=True)}"
        line += f"  {fit('What', what)}" if what else ""
        return [(fit(f"{line}  Path", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One change."""
        change = self.changes[self.rows[index]]
        old, new, what = self._widths(width)
        look = LOOKS[change.status]
        segments: list[Segment] = [(f" {change.status.value} ", look)]
        if old:
            segments.append((fit(_side(change, "old"), old, right=True), "dim"))
            segments.append((fit(_side(change, "new"), new, right=True), ""))
        if what:
            segments.append(("  " + fit(" ".join(change.what), what), "dim"))
        used = sum(len(text) for text, _ in segments) + 2
        shown = path(change.path) + ("/" if change.kind is Kind.DIR and change.path else "")
        segments.append(("  " + fit(shown, max(1, width - used - 1), keep_end=True), look))
        return segments

    @staticmethod
    def _widths(width: int) -> tuple[int, int, int]:
        """Room for the old size, the new size and the words, 0 where there is none."""
        if width < 50:
            return 0, 0, 0
        return 9, 9, 22 if width >= 100 else 0


def _side(change: Change, side: str) -> str:
    entry = change.old if side == "old" else change.new
    if entry is None:
        return "-"
    return size(entry.size) if entry.kind is Kind.FILE else {Kind.DIR: "dir", Kind.LINK: "link"}.get(entry.kind, "dev")


def describe(change: Change | None) -> list[Segment]:
    """Return one change in words, for the line under the list: the whole path, and what differs."""
    if change is None:
        return [("", "")]
    parts: list[Segment] = [(path(change.path), "strong"), (f"   {KINDS[change.kind]} {PAST[change.status]}", "")]
    if change.old is not None and change.new is not None:
        pairs = [(word, a, b) for word, a, b in _pairs(change) if a != b]
        parts += [(f"   {word} ", "dim") if i % 2 == 0 else (f"{word}", "")
                  for name, a, b in pairs for i, word in enumerate((name, f"{a} -> {b}"))]
        rest = [w for w in change.what if w in ("content", "xattrs", "acl", "device", "links", "mtime")]
        parts += [("   " + " ".join(rest), "dim")] if rest else []
    return parts


def _pairs(change: Change) -> list[tuple[str, str, str]]:
    old, new = change.old, change.new
    assert old is not None and new is not None
    return [("type", KINDS[old.kind], KINDS[new.kind]), ("size", count(old.size), count(new.size)),
            ("mode", f"{old.mode:04o}", f"{new.mode:04o}"), ("owner", str(old.uid), str(new.uid)),
            ("group", str(old.gid), str(new.gid)), ("target", content(path(old.target)[1:]).plain,
                                                    content(path(new.target)[1:]).plain)]
