"""What is saved, and what happens to it between two points. Deterministic: a seed decides every choice."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from tests.bench.debian import debian
from tests.bench.disk import run
from tests.bench.tools import RSYNC

_MIB = 1 << 20
_LOG_BYTES = 50 * _MIB
_SENTENCE = b"accepted session opened for user kernel warning timeout retry cache GET POST item order worker"
_WORDS = tuple(_SENTENCE.split())

Step = tuple[str, Callable[[], None]]


class ServerTree:
    """Dataset A: a Debian tree, a sparse 1 GiB disk image, three growing logs of 50 MB each.

    `steps` is what happens before each point after the first one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.random = random.Random(1)
        self.logs = [root / "var/log" / f"growing-{number}.log" for number in range(3)]
        self.image = root / "var/lib/machines/disk.img"
        self.edited: list[Path] = []
        self.steps: tuple[Step, ...] = (
            ("config edits", self._edit), ("apt upgrade", self._upgrade), ("logs +5 %", self._grow),
            ("image 2 %", self._rewrite), ("rm + rename", self._remove), ("chmod/chown", self._attributes))

    def make(self) -> None:
        """Make the tree as it is at the first point."""
        with debian() as cached:
            run(*RSYNC, f"{cached}/before/", f"{self.root}/")
            self.image.parent.mkdir(parents=True, exist_ok=True)
            run("cp", "--sparse=always", cached / "disk.img", self.image)
        for log in self.logs:
            self._log(log, _LOG_BYTES)

    def _log(self, path: Path, size: int) -> None:
        """Append about `size` bytes of text as servers log it."""
        with open(path, "ab") as file:
            written = 0
            while written < size:
                lines = b"".join(
                    b"Nov %02d %02d:%02d:%02d host service[%d]: %s id=%016x\n" % (
                        self.random.randrange(1, 31), self.random.randrange(24), self.random.randrange(60),
                        self.random.randrange(60), self.random.randrange(30000),
                        b" ".join(self.random.choices(_WORDS, k=6)), self.random.getrandbits(64))
                    for _ in range(2000))
                written += file.write(lines)

    def _edit(self) -> None:
        found = sorted(p for p in (self.root / "etc").rglob("*.conf") if p.is_file() and not p.is_symlink())
        self.edited = [self.root / "etc/hosts", *self.random.sample(found, 19)]
        for path in self.edited:
            with open(path, "a") as file:
                file.write("# edited\n")

    def _upgrade(self) -> None:
        keep = [*self.logs, self.image, *self.edited]
        excludes = [f"--exclude=/{path.relative_to(self.root)}" for path in keep]
        with debian() as cached:
            run(*RSYNC, *excludes, f"{cached}/after/", f"{self.root}/")

    def _grow(self) -> None:
        for log in self.logs:
            self._log(log, _LOG_BYTES // 20)

    def _rewrite(self) -> None:
        """Rewrite 2 % of the blocks that the image has, in place, half of each with new bytes."""
        with open(self.image, "r+b") as file:
            blocks: list[int] = []
            end = os.fstat(file.fileno()).st_size
            at = 0
            while at < end:
                try:
                    start = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError:
                    break
                at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                blocks += range(start // 4096, at // 4096)
            for block in sorted(self.random.sample(blocks, len(blocks) // 50)):
                file.seek(block * 4096)
                file.write(self.random.randbytes(2048))

    def _remove(self) -> None:
        shutil.rmtree(self.root / "usr/lib/gcc")
        (self.root / "usr/share/vim").rename(self.root / "usr/share/vim-old")

    def _attributes(self) -> None:
        found = sorted(p for p in (self.root / "usr/share/doc").rglob("*") if stat.S_ISREG(p.lstat().st_mode))
        picked = self.random.sample(found, 500)
        for path in picked[:250]:
            path.chmod(0o664)
        for path in picked[250:]:
            os.chown(path, 1000, 1000)


class SmallFiles:
    """Dataset B: very many small files, 100 in each directory; 1 % of them change before each point."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.count = count
        self.random = random.Random(2)

    def _path(self, number: int) -> str:
        return f"{self.root}/{number // 10000:03}/{number // 100 % 100:02}/file-{number:06}.txt"

    def make(self) -> None:
        """Make all files."""
        pool = b" ".join(self.random.choices(_WORDS, k=20000)) + self.random.randbytes(4000)
        for number in range(self.count):
            if number % 100 == 0:
                os.makedirs(os.path.dirname(self._path(number)))
            start = self.random.randrange(len(pool) - 3000)
            with open(self._path(number), "wb", buffering=0) as file:
                file.write(b"%06d " % number + pool[start:start + self.random.randrange(100, 3000)])

    def change(self) -> None:
        """Let 1 % of the files grow by a line."""
        for number in self.random.sample(range(self.count), self.count // 100):
            with open(self._path(number), "ab", buffering=0) as file:
                file.write(b"one line more %x\n" % self.random.getrandbits(64))
