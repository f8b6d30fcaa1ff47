"""`python -m tests.bench.app`: how quick the full-screen app is, and how much memory it takes. Nothing here ever fails.

Everything is measured from outside, on a real pty: the time from a key to the first bytes of the next frame. The stores
are of the real engine, but for the rows of their catalogs, which are written directly (a million files take too long);
the million progress reports come from the double of the tests. Needs no root.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.config import Config
from engine.entries import Entry, Kind
from engine.events import Job
from engine.replica import layout
from engine.replica.catalog import Catalog, seal, values
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.bench.report import table
from tests.tui.terminal import BYTES, Terminal

QUIET = 0.03
"""Seconds without output after which everything that a key has changed is drawn."""
MIB = 1 << 20
TARGETS = {"first paint": 0.5, "keys": 0.05, "stall": 0.1, "memory": 200 * MIB}
"""Seconds (for keys those to the next frame, 95th percentile) and bytes."""


@dataclass
class Case:
    """One measured screen. Seconds and bytes; `frames`: a key to the first bytes of the next frame, `drawn`: to the
    last; `cpu`: what the program computed for it, which other work on the machine does not change."""

    name: str
    cpu: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)
    ready: float = 0.0
    stall: float = 0.0
    memory: int = 0
    judged: tuple[str, ...] = ("keys", "memory")


# --- stores ----------------------------------------------------------------------------------------------------------

def small_store(place: Path) -> Engine:
    """Make a store with two points of a small tree, by the engine."""
    (place / "root" / "etc").mkdir(parents=True)
    engine = Engine(Config(store=str(place / "store"), root=str(place / "root"), excludes=()))
    for number in range(2):
        (place / "root" / "etc" / "hosts").write_text(f"127.0.0.1 localhost {number}\n")
        engine.snapshot(SnapshotRequest(comment=f"point {number + 1}"), Job())
    return engine


def with_points(place: Path, count: int) -> None:
    """Add points to a store that differ from its newest in nothing."""
    engine = small_store(place)
    store = layout.open_store(os.fsencode(place / "store"))
    doc = dict(engine.points()[0].doc)
    begin = datetime.datetime.now(datetime.UTC)
    with Catalog.open(store, write=True) as catalog, catalog.transaction():
        for number in range(3, count + 1):
            when = begin + datetime.timedelta(seconds=number)
            point_id = when.strftime("%Y-%m-%d_%H-%M-%S")
            new = doc | {"id": point_id, "number": number, "created": when.isoformat(), "comment": f"nightly {number}"}
            os.mkdir(store.point(point_id))
            layout.write_document(store.point(point_id, b"point.yaml"), new)
            catalog.put_point(number, point_id, new)
    seal(store)


def with_rows(place: Path, rows: Iterable[tuple[object, ...]]) -> None:
    """Add rows of versions to the catalog of a store of two points."""
    small_store(place)
    store = layout.open_store(os.fsencode(place / "store"))
    with Catalog.open(store, write=True) as catalog:
        catalog.db.executescript("PRAGMA synchronous=OFF; PRAGMA cache_spill=ON;")
        with catalog.transaction():
            catalog.insert(rows)
    seal(store)


def differing(count: int) -> Iterator[tuple[object, ...]]:
    """Rows of `count` paths that differ between the two points, in a tree like that of a server: a fifth created, a
    fifth deleted, the others changed."""
    stamp = 1_700_000_000 * 10**9
    for top in range(count // 10_000):
        yield values(_entry(b"srv/%03d" % top, 0, Kind.DIR), 1)
        for middle in range(100):
            yield values(_entry(b"srv/%03d/%02d" % (top, middle), 0, Kind.DIR), 1)
            for number in range(100):
                path = b"srv/%03d/%02d/file-%06d.dat" % (top, middle, number)
                if number % 5:
                    yield values(_entry(path, 1000 + number, mtime=stamp), 1, 1)
                if number % 5 != 1:
                    yield values(_entry(path, 2000 + number, mtime=stamp + 10**9), 2)


def directory(count: int) -> Iterator[tuple[object, ...]]:
    """Rows of one directory with `count` files; each tenth changed, each twentieth is gone."""
    yield values(_entry(b"big", 0, Kind.DIR), 1)
    for number in range(count):
        path = b"big/%06d.log" % number
        if number % 10 == 0:
            yield values(_entry(path, 10 + number), 1, 1)
        if number % 20:
            yield values(_entry(path, 20 + number), 2 if number % 10 == 0 else 1)


def _entry(path: bytes, size: int, kind: Kind = Kind.FILE, mtime: int = 1_700_000_000 * 10**9) -> Entry:
    return Entry(path, kind, 0o755 if kind is Kind.DIR else 0o644, 0, 0, mtime, size)


# --- measuring -------------------------------------------------------------------------------------------------------

def press(terminal: Terminal, key: str) -> tuple[float, float]:
    """Press a key; return the seconds to the first and to the last bytes it brought, (0, 0) when it brought none."""
    begin = time.perf_counter()
    os.write(terminal.master, BYTES.get(key, key).encode())
    first = last = 0.0
    drawn = b""
    while select.select([terminal.master], [], [], QUIET if first else 1.0)[0]:
        drawn += os.read(terminal.master, 65536)
        last = time.perf_counter() - begin
        first = first or last
    terminal.take(drawn)
    return first, last


def measure(case: Case, argv: list[str], ready: str, keys: Iterable[str], *, seconds: float = 120,
            done: str = "") -> Case:
    """Run the app until `ready` is shown, press keys, wait until `done` is shown, and note times and memory."""
    with tempfile.NamedTemporaryFile() as out:
        begin = time.perf_counter()
        with Terminal(["-m", "tests.bench.app_open", out.name, *argv], term="xterm-256color", rows=40, columns=120
                      ) as terminal:
            terminal.until(ready, seconds)
            case.ready = time.perf_counter() - begin
            terminal.feed(0.3)
            terminal.process.send_signal(signal.SIGUSR1)
            for key in keys:
                before = computed(terminal.process.pid)
                first, last = press(terminal, key)
                if first:
                    case.frames.append(first)
                    case.drawn.append(last)
                    case.cpu.append(computed(terminal.process.pid) - before)
            if done:
                terminal.until(done, seconds)
            case.memory = peak(terminal.process.pid)
            terminal.process.send_signal(signal.SIGUSR2)
            terminal.feed(0.1)
            terminal.type("\x03")
            terminal.wait()
        case.stall = json.loads(Path(out.name).read_text())["stall"]
    return case


def computed(pid: int) -> float:
    """Return the seconds that a process has computed so far, in all its threads, those that have ended too (the
    number of a process's clock: clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def peak(pid: int) -> int:
    """Return the largest resident memory a process had, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def first_paint(place: Path, rounds: int) -> tuple[float, float, float]:
    """Return the median seconds from the start of the program to the list of points, the processor seconds of that,
    and the seconds of an empty Python."""
    found, cpu = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        with Terminal(["-m", "tui.cli", "--store", str(place / "store"), "--root", str(place / "root")]) as terminal:
            seen = b""
            while b"nightly" not in seen:
                if not select.select([terminal.master], [], [], 20)[0]:
                    raise SystemExit("benchmark: the list of points never came")
                seen += os.read(terminal.master, 65536)
            found.append(time.perf_counter() - begin)
            cpu.append(computed(terminal.process.pid))
            terminal.type("q")
            terminal.wait()
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return statistics.median(found), statistics.median(cpu), time.perf_counter() - begin


def _take() -> Case:
    case = Case("1,000,000 progress reports (double)", judged=("stall", "memory"))
    return measure(case, ["take"], "Points 30", ["s", "enter"], done="was taken")


MOVES = (*["down"] * 30, *["pagedown"] * 20, "G", *["pageup"] * 20, *["up"] * 20, "g", *["pagedown"] * 10, "G", "g")
TREE = (*["right", "down"] * 10, *MOVES, "*", *MOVES, "left", "f", *MOVES, "2", *["down"] * 5, "3",
        *["pagedown"] * 5, "1")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.app", description="Measure the app, and print tables.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--only", default="points,changes,browse,take", help="which screens")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--paths", type=int, default=1_000_000, help="of the difference")
    parser.add_argument("--entries", type=int, default=100_000, help="of the directory")
    parser.add_argument("--rounds", type=int, default=7, help="of the first paint")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start")
    cases: list[Case] = []
    work: dict[str, Callable[[Path], Case | None]] = {
        "points": lambda place: _points(place, options.points, options.rounds),
        "changes": lambda place: _changes(place, options.paths),
        "browse": lambda place: _browse(place, options.entries),
        "take": lambda _: _take()}
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory(prefix="rollpoint-bench-app-") as place:
            case = work[name](Path(place))
            if case is not None:
                cases.append(case)
    print(report(cases))


def _points(place: Path, count: int, rounds: int) -> Case:
    with_points(place, count)
    painted, cpu, empty = first_paint(place, rounds)
    verdict = "met" if painted <= TARGETS["first paint"] else "missed"
    print(f"first paint with {count:,} points: {painted:.3f} s, of which {cpu:.3f} s computed (an empty Python: "
          f"{empty:.3f} s); "
          f"target {TARGETS['first paint']} s: {verdict}")
    return measure(Case(f"{count:,} points"), [str(place / "store"), str(place / "root"), "points"], "nightly", MOVES)


def _changes(place: Path, count: int) -> Case:
    with_rows(place, differing(count))
    return measure(Case(f"difference of {count:,} paths"), [str(place / "store"), str(place / "root"), "changes"],
                   "created", TREE, seconds=300)


def _browse(place: Path, count: int) -> Case | None:
    if importlib.util.find_spec("tui.screens.browse") is None:
        print("browse: there is no such screen yet")
        return None
    with_rows(place, directory(count))
    live = place / "root" / "big"
    live.mkdir()
    for number in range(0, count, 2):
        (live / f"{number:06d}.log").touch()
    return measure(Case(f"browse {count:,} entries"), [str(place / "store"), str(place / "root"), "browse"],
                   "000001.log", (*MOVES, "left_square_bracket", "down", "right_square_bracket", *["down"] * 10))


def report(cases: list[Case]) -> str:
    """Return the tables."""
    rows = []
    for case in cases:
        times = [(case.frames, 0.5), (case.frames, 0.95), (case.frames, 1.0), (case.drawn, 0.95), (case.cpu, 0.95)]
        rows.append([case.name, f"{case.ready:.2f}", str(len(case.frames)),
                     *(f"{1000 * _share(found, share):.0f}" for found, share in times), f"{1000 * case.stall:.0f}",
                     f"{case.memory / MIB:.0f}", _verdict(case)])
    head = ["screen", "ready s", "keys", "next frame ms: p50", "p95", "max", "all drawn ms: p95", "computed ms: p95",
            "longest stall ms", "peak MiB", "targets: p95 50 ms, 200 MiB, stall 100 ms"]
    return table(head, rows)


def _share(found: list[float], share: float) -> float:
    return sorted(found)[min(len(found) - 1, int(share * len(found)))] if found else 0.0


def _verdict(case: Case) -> str:
    found = {"keys": _share(case.frames, 0.95), "memory": case.memory, "stall": case.stall}
    missed = [f"{name} missed" for name in case.judged if found[name] > TARGETS[name]]
    return ", ".join(missed) or f"met ({', '.join(case.judged)})"


if __name__ == "__main__":
    main()
