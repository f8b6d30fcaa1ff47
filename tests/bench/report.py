"""The measurements as markdown: tables with ratios to the bare rsync, and the targets, met or missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.bench.measure import Results

_MIB = 1 << 20
BASE = "rsync"
OURS = "rollpoint"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table: the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def seconds(results: Results, tools: Sequence[str], whats: Sequence[str], *, cpu: bool = False,
            base: str | None = BASE) -> str:
    """Return a table of medians: a row for each tool, a column for each thing done; ratios to `base`."""
    look = results.cpu if cpu else results.wall
    rows = []
    for tool in tools:
        cells = []
        for what in whats:
            value = look(tool, what)
            if value is None:
                cells.append("-")
                continue
            bare = look(base, what) if base and base != tool else None
            cells.append(f"{value:.2f}" + (f" ({value / bare:.2f}x)" if bare else ""))
        if set(cells) != {"-"}:
            rows.append([tool, *cells])
    return table(["tool", *map(_short, whats)], rows)


def memory(results: Results, tools: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """Return a table of peaks in MiB: largest single process / whole process tree."""
    rows = []
    for tool in tools:
        peaks = [results.peak(tool, whats) for whats in groups.values()]
        if any(peaks):
            rows.append([tool, *(f"{p[0] / _MIB:.0f} / {p[1] / _MIB:.0f}" if p else "-" for p in peaks)])
    return table(["tool", *groups], rows)


def sizes(results: Results, tools: Sequence[str], whats: Sequence[str]) -> str:
    """Return a table of sizes in MiB of disk blocks."""
    rows = []
    for tool in tools:
        found = [results.size(tool, what) for what in whats]
        if any(size is not None for size in found):
            rows.append([tool, *("-" if size is None else f"{size / _MIB:.1f}" for size in found)])
    return table(["tool", *map(_short, whats)], rows)


def noise(results: Results, tools: Sequence[str], whats: Sequence[str]) -> str:
    """Return a table of spread: how far to trust a median."""
    rows = []
    for tool in tools:
        for what in whats:
            samples = results.samples.get((tool, what), [])
            walls = sorted(s.wall for s in samples)
            if walls:
                rows.append([f"{tool}: {what}", str(len(walls)), f"{walls[0]:.2f}",
                             f"{results.wall(tool, what):.2f}", f"{walls[-1]:.2f}",
                             f"{max(s.settled for s in samples):.2f}",
                             f"{sum(s.others for s in samples) / len(samples):.2f}"])
    return table(["what", "n", "min s", "median s", "max s", "writing out after it, max s",
                  "busy with other work, processors"], rows)


def _short(what: str) -> str:
    return what.partition(": ")[2] or what


class Targets:
    """The table that says which promises are kept; nothing in it makes the benchmark fail."""

    def __init__(self, results: Results, peers: Sequence[str]) -> None:
        self.results = results
        self.peers = peers
        self.rows: list[list[str]] = []

    def at_most(self, name: str, value: float | None, limit: float | None, unit: str, rule: str) -> None:
        """Add a line: `value` should be at most `limit`."""
        if value is None or limit is None:
            return
        kept = value <= limit
        over = f"missed by {value - limit:.2f} {unit} ({value / limit:.2f}x)" if limit else "missed"
        self.rows.append([name, f"{value:.2f} {unit}", f"{limit:.2f} {unit}", rule, "met" if kept else over])

    def times(self, name: str, what: str, factor: float, plus: float, base_what: str | None = None) -> None:
        """Add a line against `factor` times the bare rsync and `plus` seconds."""
        for base, note in ((BASE, ""), ("rsync + sync -f", ", on the disk")):
            bare = self.results.wall(base, base_what or what)
            if bare is not None and (not note or what.endswith(("nothing changed", "first", "1 %"))):
                rule = f"{factor:g} x rsync{note}" + (f" + {plus:g} s" if plus else "")
                self.at_most(name + note, self.results.wall(OURS, what), bare * factor + plus, "s", rule)

    def seconds(self, name: str, what: str, limit: float) -> None:
        """Add a line against a fixed time."""
        self.at_most(name, self.results.wall(OURS, what), limit, "s", "fixed")

    def size(self, name: str, what: str, peers: Sequence[str]) -> None:
        """Add a line for each peer: our size should not be larger than its."""
        for peer in peers:
            ours, theirs = self.results.size(OURS, what), self.results.size(peer, what)
            if ours is not None and theirs is not None:
                self.at_most(name, ours / _MIB, theirs / _MIB, "MiB", peer)

    def ahead(self, whats: Sequence[str], look: Callable[[str, str], float | None], unit: str) -> None:
        """Add a line for each thing done: the best of the peers."""
        for what in whats:
            found = [(value, peer) for peer in self.peers if (value := look(peer, what)) is not None]
            if found:
                best, peer = min(found)
                self.at_most(what, look(OURS, what), best, unit, f"best peer: {peer}")

    def text(self) -> str:
        """Return the table."""
        return table(["target", "Rollpoint", "limit", "rule", "verdict"], self.rows)
