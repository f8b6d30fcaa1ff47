"""`python -m tests.bench`: measure, and print the tables."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import report
from tests.bench.data import ServerTree, SmallFiles
from tests.bench.disk import GIB, enter_private_namespace, fresh, run, warm
from tests.bench.measure import Results, measure
from tests.bench.tools import CORE, PEERS, Rollpoint, Rsync, Tool, chosen, installed, versions

A_STEPS = ("config edits", "apt upgrade", "logs +5 %", "image 2 %", "rm + rename", "chmod/chown")
A_TAKEN = ("A: first", *(f"A: {step}" for step in A_STEPS), "A: nothing changed")
A_RESTORED = ("A: restore newest", "A: restore oldest")
A_READ = ("A: small file of the oldest", "A: large file of the oldest", "A: list",
          "A: delete the oldest three")
B_TAKEN = ("B: first", "B: nothing changed", "B: 1 %")
SMALL, LARGE = "etc/hosts", "var/lib/machines/disk.img"


def main() -> None:
    options = _options()
    if os.geteuid() != 0:
        sys.exit("tests.bench needs root: it mounts fresh file systems to measure on")
    enter_private_namespace()
    results = Results()
    tools, peers, missing = chosen(options.core, CORE), *installed(chosen(options.peers, PEERS))
    if missing:
        results.notes.append(f"not installed, so not compared: {', '.join(missing)}")
    only = options.only.split(",")
    # Half of the peers at a time: with all stores at once the page cache of a small machine is too small.
    halves = [half for half in (peers[0::2], peers[1::2]) if half] * options.peer_rounds
    for number in range(max(options.rounds, len(halves))):
        now = [*tools, *(halves[number] if number < len(halves) else [])]
        if "a" in only:
            server_tree(results, now, number)
        if "b" in only:
            small_files(results, now, number, 20_000 if options.quick else 300_000)
    if "points" in only and Rollpoint in tools:
        many_points(results, 100 if options.quick else 1000)
    text = tables(results, [tool.name for tool in (*tools, *peers)], [tool.name for tool in peers])
    print(text)
    if options.output:
        Path(options.output).write_text(text + "\n")


def _options() -> argparse.Namespace:
    def names(tools: Sequence[type[Tool]]) -> str:
        return ",".join(tool.name for tool in tools)

    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Measure, and print tables.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="least rounds of Rollpoint and the bare rsync")
    parser.add_argument("--peer-rounds", type=int, default=1, help="rounds of each peer")
    parser.add_argument("--core", default=names(CORE), help="which of these")
    parser.add_argument("--peers", default=names(PEERS), help="which of these, or none")
    parser.add_argument("--only", default="a,b,points", help="the Debian tree, small files, very many points")
    parser.add_argument("--quick", action="store_true", help="20,000 small files, 100 points")
    parser.add_argument("--output", help="write the tables to this file too")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"[{datetime.now(UTC):%H:%M:%S}] {text}", file=sys.stderr, flush=True)


def _open(stack: ExitStack, kinds: Sequence[type[Tool]]) -> list[Tool]:
    return [kind(stack.enter_context(fresh())) for kind in kinds]


def _take(results: Results, tools: Sequence[Tool], source: Path, what: str, turn: int, *, size: bool) -> None:
    """Let every tool take a point of the same state, another one beginning each time."""
    start = turn % len(tools)
    for tool in (*tools[start:], *tools[:start]):
        sample = tool.snapshot(source)
        results.samples[tool.name, what].append(sample)
        _say(f"{what}, {tool.name}: {sample.wall:.2f} s")
        if size and (tool.name, what) not in results.sizes:
            results.sizes[tool.name, what].append(tool.size())
            results.sizes[tool.name, f"{what}, differences"].append(tool.history_size())


def server_tree(results: Results, kinds: Sequence[type[Tool]], turn: int) -> None:
    """One round of dataset A."""
    with ExitStack() as stack:
        source = stack.enter_context(fresh(8 * GIB))
        tree = ServerTree(source)
        _say("making dataset A")
        tree.make()
        if turn == 0:
            count = run("find", source, "-xdev", "-printf", ".")
            results.notes.append(f"dataset A: {len(count):,} entries, {run('du', '-sh', source).split()[0]}")
        tools = _open(stack, kinds)
        _take(results, tools, source, "A: first", turn, size=True)
        for number, (name, happen) in enumerate(tree.steps):
            happen()
            _take(results, tools, source, f"A: {name}", turn + number + 1, size=True)
        for tool in tools:
            _restores(results, tool, source)
        for number in range(3):
            _take(results, tools, source, "A: nothing changed", turn + number, size=False)
        for tool in tools:
            if tool.keeps_points:
                _reads(results, tool)


def _restores(results: Results, tool: Tool, source: Path) -> None:
    """Restore the newest and the oldest of seven points, each into a fresh file system."""
    warm(tool.store)
    for what, point in zip(A_RESTORED, (tool.points, 1), strict=True):
        if point == tool.points or tool.keeps_points:
            with fresh() as disk:
                where = disk / "restored"
                where.mkdir()
                results.samples[tool.name, what].append(tool.restore(point, where))
                _say(f"{what}, {tool.name}: {results.samples[tool.name, what][-1].wall:.2f} s")
                if isinstance(tool, Rollpoint) and point == tool.points:
                    _same(results, source, where)


def _same(results: Results, source: Path, restored: Path) -> None:
    """Note whether what was restored is what was saved: a fast tool that loses things is none."""
    # The exclusions of the engine are left out of the comparison; all else must be the same to the byte.
    from engine.config import DEFAULT_EXCLUDES

    excludes = [f"--exclude={pattern}" for pattern in DEFAULT_EXCLUDES]
    found = run("rsync", "-aHAXSnci", "--numeric-ids", "--modify-window=-1", "--delete", *excludes,
                f"{source}/", f"{restored}/").splitlines()
    verdict = f"{len(found)} entries differ, first {found[0]}" if found else "the same as the source"
    results.notes.append(f"restored by Rollpoint: {verdict}")


def _reads(results: Results, tool: Tool) -> None:
    """What is asked of ten points: one file out of the oldest, the list; and then the oldest three go."""
    for number in range(3):
        with fresh(2 * GIB) as where:
            for what, path in zip(A_READ[:2], (SMALL, LARGE) if number == 0 else (SMALL,), strict=False):
                results.samples[tool.name, what].append(tool.one_file(1, path, where))
        results.samples[tool.name, "A: list"].append(tool.list_points())
    results.samples[tool.name, "A: delete the oldest three"].append(tool.delete_oldest(3))
    results.sizes[tool.name, "A: oldest three deleted"].append(tool.size())


def small_files(results: Results, kinds: Sequence[type[Tool]], turn: int, count: int) -> None:
    """One round of dataset B."""
    with ExitStack() as stack:
        source = stack.enter_context(fresh(4 * GIB, inodes=count + 20_000))
        tree = SmallFiles(source, count)
        _say("making dataset B")
        tree.make()
        tools = _open(stack, kinds)
        _take(results, tools, source, "B: first", turn, size=False)
        for number in range(3):
            _take(results, tools, source, "B: nothing changed", turn + number, size=False)
            tree.change()
            _take(results, tools, source, "B: 1 %", turn + number, size=False)
        if turn == 0:
            results.notes.append(f"dataset B: {count:,} files of 0.1 to 3 kB")


def many_points(results: Results, count: int) -> None:
    """The list of very many points, made by the engine itself on a tiny tree."""
    from engine.config import load
    from engine.events import Job
    from engine.results import SnapshotRequest
    from engine.service import Engine

    with fresh(4 * GIB) as disk:
        source = disk / "source"
        source.mkdir()
        tool = Rollpoint(disk)
        tool.source = source
        engine = Engine(load(store=str(tool.store), root=str(source)))
        _say(f"taking {count} points")
        for number in range(count):
            (source / f"file-{number % 10}").write_text(f"{number}\n")
            engine.snapshot(SnapshotRequest(comment=f"point {number}"), Job())
        what = f"list {count:,} points"
        for _ in range(5):
            results.samples[tool.name, what].append(tool.list_points())
        bare = measure([sys.executable, "-c", "pass"], writes=disk)
        results.notes.append(f"{what}: {results.wall(tool.name, what):.3f} s, of which an empty Python takes "
                             f"{bare.wall:.3f} s")


def tables(results: Results, names: Sequence[str], peers: Sequence[str]) -> str:
    """Return the whole report as markdown."""
    growth(results, names)
    taken = [what for what in (*A_TAKEN, *B_TAKEN) if (report.BASE, what) in results.samples]
    steps = [f"A: {step}" for step in A_STEPS]
    parts = [f"Measured {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, load "
             f"{os.getloadavg()[0]:.1f} at the end, fresh loop-mounted ext4, warm cache. {versions()}."]
    parts += [f"- {note}" for note in dict.fromkeys(results.notes)]
    for letter, whats in (("A", A_TAKEN), ("B", B_TAKEN)):
        if any((report.BASE, what) in results.samples for what in whats):
            parts += [f"\n**Dataset {letter}: taking a point, wall seconds, median (x plain rsync)**\n",
                      report.seconds(results, names, whats),
                      f"\n**Dataset {letter}: taking a point, processor seconds, median**\n",
                      report.seconds(results, names, whats, cpu=True)]
    groups = {"A: points": A_TAKEN, "A: restore": A_RESTORED, "A: other": A_READ, "B: points": B_TAKEN}
    parts += ["\n**Peak memory, MiB: largest process / whole process tree**\n",
              report.memory(results, names, groups)]
    parts += ["\n**Restore, list, delete: wall seconds, median**\n",
              report.seconds(results, names, (*A_RESTORED, *A_READ), base=None)]
    parts += ["\n**Store, MiB of disk blocks: after the first point, then how much it grew**\n",
              report.sizes(results, names, ["A: first", *(f"{step}, growth" for step in steps),
                                            "A: 1 to 7 points", "A: oldest three deleted"])]
    parts += ["\n**Difference of one point, MiB: growth of all that is not the newest tree**\n",
              report.sizes(results, names, [f"{s}, difference" for s in steps])]
    parts += ["\n**Targets**\n", _targets(results, peers).text()]
    parts += ["\n**Spread**\n", report.noise(results, names, [*taken, *A_RESTORED])]
    return "\n".join(parts)


def growth(results: Results, names: Sequence[str]) -> None:
    """Derive from the measured sizes what each step added."""
    for name in names:
        before = "A: first"
        for step in (f"A: {step}" for step in A_STEPS):
            for kind, result in (("", "growth"), (", differences", "difference")):
                old, new = results.size(name, before + kind), results.size(name, step + kind)
                if old is not None and new is not None and (not kind or results.size(name, step + kind)):
                    results.sizes[name, f"{step}, {result}"] = [new - old]
            before = step
        first, last = results.size(name, "A: first"), results.size(name, f"A: {A_STEPS[-1]}")
        if first is not None and last is not None:
            results.sizes[name, "A: 1 to 7 points"] = [last - first]


def _targets(results: Results, peers: Sequence[str]) -> report.Targets:
    targets = report.Targets(results, peers)
    for letter in "AB":
        targets.times(f"{letter}: nothing changed", f"{letter}: nothing changed", 1.1, 0.3)
        targets.times(f"{letter}: first point", f"{letter}: first", 1.15, 0)
    targets.times("B: 1 % changed", "B: 1 %", 1.2, 0.3)
    for step in A_STEPS:
        targets.size(f"A: {step}: difference", f"A: {step}, difference", ["rdiff-backup"])
    targets.size("A: growth from 1 to 7 points", "A: 1 to 7 points",
                 [peer for peer in peers if peer != "link-dest"])
    bare = results.wall(Rsync.name, "A: restore newest")
    targets.at_most("A: restore the oldest of 7", results.wall("rollpoint", "A: restore oldest"),
                    bare * 1.15 if bare else None, "s", "1.15 x rsync of the newest")
    peak = results.peak("rollpoint", B_TAKEN)
    targets.at_most("B: peak memory", peak[1] / (1 << 20) if peak else None, 150, "MiB", "whole process tree")
    for count in ("100", "1,000"):
        targets.seconds(f"list {count} points", f"list {count} points", 0.3)
    targets.seconds("A: small file out of the oldest of 10", "A: small file of the oldest", 0.35)
    targets.seconds("A: delete the oldest three", "A: delete the oldest three", 0.5)
    targets.ahead([*A_TAKEN, *A_RESTORED, *A_READ, *B_TAKEN], results.wall, "s")
    return targets


if __name__ == "__main__":
    main()
