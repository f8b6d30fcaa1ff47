"""Rollpoint, the bare rsync, and the peers: how each is told to do the same thing."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.disk import disk_usage, run
from tests.bench.measure import Sample, measure

RSYNC = ("rsync", "-aHAXS", "--numeric-ids", "--delete")


class Tool:
    """One tool with one repository on one file system. Points are counted from 1, oldest first."""

    name = ""
    program = ""
    keeps_points = True

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.store = disk / "store"
        self.points = 0
        self.prepare()

    def prepare(self) -> None:
        """Make an empty repository; not measured."""

    def snapshot(self, source: Path) -> Sample:
        """Take a point."""
        self.points += 1
        return self.take(source)

    def take(self, source: Path) -> Sample:
        raise NotImplementedError

    def restore(self, point: int, where: Path) -> Sample:
        """Restore a whole point into an empty directory."""
        raise NotImplementedError

    def one_file(self, point: int, path: str, where: Path) -> Sample:
        """Get one file out of a point."""
        raise NotImplementedError

    def list_points(self) -> Sample:
        """List the points."""
        raise NotImplementedError

    def delete_oldest(self, count: int) -> Sample:
        """Remove the oldest points and free their room."""
        raise NotImplementedError

    def size(self) -> int:
        """Return the bytes of disk blocks of the whole repository."""
        return disk_usage(self.store)

    def history_size(self) -> int:
        """Return the bytes of disk blocks that are not the newest tree: differences, indexes, metadata."""
        return 0


class Rsync(Tool):
    """The yardstick: one copy, no points."""

    name = "rsync"
    program = "rsync"
    keeps_points = False
    command: tuple[str, ...] = RSYNC

    def take(self, source: Path) -> Sample:
        return measure([*self.command, f"{source}/", f"{self.store}/"], writes=self.disk)

    def restore(self, point: int, where: Path) -> Sample:
        return measure([*self.command, f"{self.store}/", f"{where}/"], writes=where)


class RsyncSync(Rsync):
    """The same, and then on the disk: a point that a power cut can take away is none."""

    name = "rsync + sync -f"

    def take(self, source: Path) -> Sample:
        script = '"$@" && sync -f "${@: -1}"'
        return measure(["bash", "-c", script, "bash", *self.command, f"{source}/", f"{self.store}/"],
                       writes=self.disk)


class Rollpoint(Tool):
    name = "rollpoint"
    program = sys.executable

    def _rollpoint(self, *words: str | Path, root: Path | None = None) -> list[str]:
        script = os.path.join(os.path.dirname(sys.executable), "rollpoint")
        start = [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "tui.cli"]
        root_words = ["--root", str(root)] if root else []
        return [*start, "--store", str(self.store), *root_words, *map(str, words)]

    def take(self, source: Path) -> Sample:
        self.source = source
        return measure(self._rollpoint("snapshot", "-m", "bench", root=source), writes=self.disk)

    def restore(self, point: int, where: Path) -> Sample:
        return measure(self._rollpoint("restore", str(point), "--to", where, root=self.source), writes=where)

    def one_file(self, point: int, path: str, where: Path) -> Sample:
        return measure(self._rollpoint("cat", str(point), path, root=self.source), writes=self.disk)

    def list_points(self) -> Sample:
        return measure(self._rollpoint("list", root=self.source), writes=self.disk)

    def delete_oldest(self, count: int) -> Sample:
        numbers = [str(number) for number in range(1, count + 1)]
        return measure(self._rollpoint("delete", *numbers, "--yes", root=self.source), writes=self.disk)

    def history_size(self) -> int:
        return self.size() - disk_usage(self.store / "tree")


class LinkDest(Tool):
    """rsync --link-dest with the options Timeshift gives it."""

    name = "link-dest"
    program = "rsync"
    command = ("rsync", "-aii", "--recursive", "--verbose", "--delete", "--force", "--stats", "--sparse",
               "--delete-excluded")

    def _at(self, point: int) -> Path:
        return self.store / f"point-{point}" / "localhost"

    def take(self, source: Path) -> Sample:
        self._at(self.points).mkdir(parents=True)
        link = [f"--link-dest={self._at(self.points - 1)}"] if self.points > 1 else []
        return measure([*self.command, *link, f"--log-file={self.store}/log", f"{source}/",
                        f"{self._at(self.points)}/"], writes=self.disk)

    def restore(self, point: int, where: Path) -> Sample:
        return measure(["rsync", "-aii", "--force", "--delete", f"{self._at(point)}/", f"{where}/"],
                       writes=where)

    def one_file(self, point: int, path: str, where: Path) -> Sample:
        return measure(["cp", "-a", self._at(point) / path, where], writes=where)

    def list_points(self) -> Sample:
        return measure(["ls", self.store], writes=self.disk)

    def delete_oldest(self, count: int) -> Sample:
        return measure(["rm", "-rf", *(self.store / f"point-{point}" for point in range(1, count + 1))],
                       writes=self.disk)

    def history_size(self) -> int:
        return self.size() - disk_usage(self._at(self.points))


class RdiffBackup(Tool):
    name = "rdiff-backup"
    program = "rdiff-backup"

    def take(self, source: Path) -> Sample:
        time.sleep(1.1)     # it refuses two points within one second
        return measure(["rdiff-backup", "backup", source, self.store], writes=self.disk)

    def _back(self, point: int) -> str:
        return f"{self.points - point}B"

    def restore(self, point: int, where: Path) -> Sample:
        return measure(["rdiff-backup", "--force", "restore", "--at", self._back(point), self.store, where],
                       writes=where)

    def one_file(self, point: int, path: str, where: Path) -> Sample:
        return measure(["rdiff-backup", "restore", "--at", self._back(point), self.store / path,
                        where / os.path.basename(path)], writes=where)

    def list_points(self) -> Sample:
        return measure(["rdiff-backup", "list", "increments", self.store], writes=self.disk)

    def delete_oldest(self, count: int) -> Sample:
        return measure(["rdiff-backup", "--force", "remove", "increments", "--older-than",
                        f"{self.points - count - 1}B", self.store], writes=self.disk)

    def history_size(self) -> int:
        return disk_usage(self.store / "rdiff-backup-data")


class Borg(Tool):
    name = "borg (zstd)"
    program = "borg"

    def _borg(self, *words: str | Path, cwd: Path | None = None, writes: Path | None = None) -> Sample:
        env = {"BORG_BASE_DIR": str(self.disk / "base"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
               "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
        return measure(["borg", *words], writes=writes or self.disk, cwd=cwd, env=env)

    def prepare(self) -> None:
        self._borg("init", "-e", "none", self.store)

    def take(self, source: Path) -> Sample:
        return self._borg("create", "--compression", "zstd", "--numeric-ids", "--sparse",
                          f"{self.store}::point-{self.points}", ".", cwd=source)

    def restore(self, point: int, where: Path) -> Sample:
        return self._borg("extract", "--numeric-ids", "--sparse", f"{self.store}::point-{point}", cwd=where,
                          writes=where)

    def one_file(self, point: int, path: str, where: Path) -> Sample:
        return self._borg("extract", f"{self.store}::point-{point}", path, cwd=where, writes=where)

    def list_points(self) -> Sample:
        return self._borg("list", self.store)

    def delete_oldest(self, count: int) -> Sample:
        names = " ".join(f"point-{point}" for point in range(1, count + 1))
        env = {"BORG_BASE_DIR": str(self.disk / "base"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        return measure(["bash", "-c", f"borg delete {self.store} {names} && borg compact {self.store}"],
                       writes=self.disk, env=env)


class Restic(Tool):
    name = "restic"
    program = "restic"

    def _restic(self, *words: str | Path, cwd: Path | None = None, writes: Path | None = None) -> Sample:
        return measure(["restic", "--cache-dir", self.disk / "cache", "-r", self.store, *words],
                       writes=writes or self.disk, cwd=cwd, env={"RESTIC_PASSWORD": "bench"})

    def prepare(self) -> None:
        self._restic("init", "--repository-version", "2")
        self.ids: list[str] = []

    def take(self, source: Path) -> Sample:
        sample = self._restic("backup", "--host", "bench", ".", cwd=source)
        self.ids.append(sample.output.rsplit("snapshot ", 1)[1].split()[0])
        return sample

    def restore(self, point: int, where: Path) -> Sample:
        return self._restic("restore", self.ids[point - 1], "--target", where, writes=where)

    def one_file(self, point: int, path: str, where: Path) -> Sample:
        return self._restic("dump", self.ids[point - 1], f"/{path}")

    def list_points(self) -> Sample:
        return self._restic("snapshots")

    def delete_oldest(self, count: int) -> Sample:
        return self._restic("forget", "--prune", *self.ids[:count])


CORE: tuple[type[Tool], ...] = (Rsync, RsyncSync, Rollpoint)
PEERS: tuple[type[Tool], ...] = (LinkDest, RdiffBackup, Borg, Restic)


def chosen(names: str, tools: Sequence[type[Tool]]) -> list[type[Tool]]:
    """Return those of the tools whose names are in a list with commas."""
    return [tool for tool in tools if tool.name in [name.strip() for name in names.split(",")]]


def installed(tools: Sequence[type[Tool]]) -> tuple[list[type[Tool]], list[str]]:
    """Return those of the tools that are installed, and the names of those that are not."""
    there = [tool for tool in tools if shutil.which(tool.program)]
    return there, [tool.name for tool in tools if tool not in there]


def versions() -> str:
    """Return one line that says which versions are compared."""
    found = []
    for argv in (("rsync", "--version"), ("rdiff-backup", "--version"), ("borg", "--version"),
                 ("restic", "version"), ("zstd", "--version"), ("uname", "-r")):
        if shutil.which(argv[0]):
            found.append(" ".join(run(*argv).split("\n")[0].split()[:3]))
    return "; ".join([*found, f"Python {sys.version.split()[0]}"])
