"""One measured command: wall time, processor time, memory, and what it left to be written."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.disk import settle, settle_all

_TICK = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """What one command took. Seconds and bytes. `rss` is the peak of the largest process, `pss` the peak sum
    of the whole process tree (sampled ten times a second); `settled` is how long writing out took afterwards;
    `others` is how many processors were busy with anything else meanwhile."""

    wall: float
    cpu: float
    rss: int
    pss: int
    settled: float
    others: float
    output: str


@dataclass(slots=True)
class Results:
    """All samples, by tool and by what was done; sizes beside them."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    def wall(self, tool: str, what: str) -> float | None:
        """Return the median wall time, None where nothing was measured."""
        return self._median((tool, what), "wall")

    def cpu(self, tool: str, what: str) -> float | None:
        """Return the median processor time (user and system, children included)."""
        return self._median((tool, what), "cpu")

    def size(self, tool: str, what: str) -> int | None:
        """Return the median of a size in bytes."""
        found = self.sizes.get((tool, what))
        return int(statistics.median(found)) if found else None

    def peak(self, tool: str, whats: Iterable[str]) -> tuple[int, int] | None:
        """Return the largest (rss, pss) over several actions."""
        found = [s for what in whats for s in self.samples.get((tool, what), ())]
        return (max(s.rss for s in found), max(s.pss for s in found)) if found else None

    def _median(self, key: tuple[str, str], name: str) -> float | None:
        found = self.samples.get(key)
        return statistics.median(getattr(s, name) for s in found) if found else None


def measure(argv: Sequence[str | Path], *, writes: Path, cwd: Path | None = None,
            env: dict[str, str] | None = None, ok: Sequence[int] = (0,)) -> Sample:
    """Run a command that works on the file system `writes`; stop the benchmark when it fails.

    All file systems are written out before, so that nobody pays for what an earlier command left to be written.
    """
    words = [str(word) for word in argv]
    settle_all()
    with tempfile.TemporaryFile() as output:
        busy = _busy()
        began = time.monotonic()
        process = subprocess.Popen(words, cwd=cwd, env={**os.environ, **(env or {})},
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        others = _busy() - busy
        watch.stop()
        output.seek(0)
        text = output.read(1 << 22).decode("utf-8", "backslashreplace")
    if process.returncode not in ok:
        raise SystemExit(f"benchmark: {' '.join(words)} ended with {process.returncode}: {text[-2000:]}")
    began = time.monotonic()
    settle(writes)
    cpu = usage.ru_utime + usage.ru_stime
    return Sample(wall, cpu, watch.rss, watch.pss, time.monotonic() - began,
                  max(0.0, others - cpu) / wall if wall else 0.0, text)


def _busy() -> float:
    """Return the seconds that all processors together were busy since the machine started."""
    with open("/proc/stat") as file:
        numbers = [int(word) for word in file.readline().split()[1:9]]
    idle = numbers[3] + numbers[4]
    return (sum(numbers) - idle) / _TICK


class _Watch(threading.Thread):
    """Samples the memory of a process and of all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.rss = self.pss = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            tree = _tree(self.pid)
            self.pss = max(self.pss, sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in tree))
            # Not from wait4: that counts what this program took up before the command was executed.
            self.rss = max(self.rss, *(_kib(f"/proc/{pid}/status", "VmHWM:") for pid in tree))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):
                with open(f"/proc/{each}/task/{task}/children") as file:
                    found += map(int, file.read().split())
    return found


def _kib(path: str, name: str) -> int:
    """Return in bytes what a file in /proc says in KiB, 0 when the process is gone."""
    with contextlib.suppress(OSError), open(path) as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
