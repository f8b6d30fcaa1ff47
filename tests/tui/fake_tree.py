"""The tree behind the double of the engine: directories whose names came, changed and went over the points."""

from __future__ import annotations

from engine.entries import Entry, Kind, Life, Span, Version
from engine.errors import UsageError
from engine.points import RestorePoint
from engine.results import FileContent

HOSTILE = (
    b"[red]alarm", b"a[/]b", b"[@click=app.quit]press", b"[@click=screen.dismiss(True)]x[/]", b"esc\x1b[2Jape",
    b"bell\x07back\x08", b"new\nline", b"caf\xe9 latin", "bidi\u202eexe.txt".encode(), "zero\u200bwidth".encode(),
    b"c1\xc2\x9b31m", b"back\\slash", "wide\u65e5\u672c\u8a9e".encode(), b"n" * 255, b"{curly} $money", b"tab\there")
SECOND = 1_000_000_000
WHEN = 1_732_000_000 * SECOND


def entry(path: bytes, size: int = 1234, kind: Kind = Kind.FILE, mode: int = 0o644, mtime: int = WHEN) -> Entry:
    """An entry of a tree."""
    return Entry(path, kind, mode, 0, 0, mtime, size if kind is Kind.FILE else 0)


def spans(path: bytes, *runs: tuple[int, int | None], kind: Kind = Kind.FILE) -> Life:
    """The life of a path over runs of point numbers; every run has another size and time."""
    return Life(path.rpartition(b"/")[2], tuple(
        Span(first, last, entry(path, 1000 * (i + 1), kind, mtime=WHEN + i * 3600 * SECOND))
        for i, (first, last) in enumerate(runs)))


class FakeTree:
    """`lives` by directory, for points numbered from 1 to `last`; the live tree has what the newest point has, but for
    `changed` (other size and time there), `gone` and `new`."""

    def __init__(self, last: int) -> None:
        middle = max(1, last // 2)
        folders = [spans(name, (1, None), kind=Kind.DIR) for name in (b"etc", b"srv", b"usr")]
        self.directories: dict[bytes, list[Life]] = {
            b"": folders,
            b"etc": [spans(b"etc/fstab", (1, None)),
                     spans(b"etc/hosts", (1, middle), (middle + 1, None)),
                     spans(b"etc/nginx.conf", *((n, n if n < last else None) for n in range(1, last + 1))),
                     spans(b"etc/old.conf", (1, middle)),
                     spans(b"etc/returned.conf", (1, 1), (last, None)),
                     spans(b"etc/ssh", (middle + 1, None), kind=Kind.DIR)],
            b"etc/ssh": [spans(b"etc/ssh/sshd_config", (middle + 1, None))],
            b"srv": sorted((spans(b"srv/" + name, (1, None)) for name in HOSTILE), key=lambda life: life.name),
            b"usr": []}
        self.changed, self.gone, self.new = {b"etc/fstab"}, {b"etc/ssh/sshd_config"}, [entry(b"etc/new.conf", 77)]
        self.contents: dict[bytes, tuple[bytes, ...]] = {
            b"etc/nginx.conf": tuple(b"server {\n  listen %d;\n  root /srv;\n}\n" % (8000 + n) for n in range(last))}

    def lives(self, path: bytes) -> list[Life]:
        """What became of the names of a directory."""
        return self.directories.get(path, [])

    def stirred(self, path: bytes) -> dict[bytes, tuple[int, ...]]:
        """After which points something below the directories in a directory changed or went."""
        found: dict[bytes, set[int]] = {}
        for folder, lives in self.directories.items():
            if folder.startswith(path + b"/" if path else b"") and folder != path:
                name = folder[len(path) + 1 if path else 0:].partition(b"/")[0]
                ends = {span.last for life in lives for span in life.spans if span.last is not None}
                found.setdefault(name, set()).update(ends)
        return {name: tuple(sorted(ends)) for name, ends in found.items() if ends}

    def live_listing(self, path: bytes) -> list[Entry]:
        """What is in a directory of the live tree."""
        found = [life.spans[-1].entry for life in self.lives(path) if life.spans[-1].last is None]
        found = [entry(e.path, 4321, mtime=WHEN + 9000 * SECOND) if e.path in self.changed else e for e in found]
        found += [e for e in self.new if e.path.rpartition(b"/")[0] == path]
        return sorted((e for e in found if e.path not in self.gone), key=lambda e: e.path)

    def history(self, path: bytes, points: list[RestorePoint]) -> list[Version]:
        """The versions of a path, the newest first."""
        folder, _, name = path.rpartition(b"/")
        life = next((one for one in self.lives(folder) if one.name == name), None)
        if life is None:
            raise UsageError("that path is in no restore point", hint="`rollpoint find NAME` looks everywhere")
        found = []
        for span in life.spans:
            having = [p for p in sorted(points, key=lambda p: p.number)
                      if span.first <= p.number and (span.last is None or p.number <= span.last)]
            if having:
                found.append(Version(span.entry, having[0].id, having[-1].id, span.last is None, len(having)))
        return found[::-1]

    def content(self, path: bytes, number: int | None, limit: int) -> FileContent | None:
        """The content of a file in point `number` or in the live tree."""
        versions = self.contents.get(path, (b"content of " + path + b"\n",))
        data = versions[-1 if number is None else min(number, len(versions)) - 1]
        return FileContent(data[:limit], len(data))
