"""Fresh file systems to measure on: loop-mounted ext4 images that are gone when the process is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

GIB = 1 << 30
_mounted: list[Path] = []


def cache_dir() -> Path:
    """Return the directory that keeps what is costly to make, outside of the checkout."""
    base = os.environ.get("ROLLPOINT_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "rollpoint")
    path = Path(base)
    path.mkdir(parents=True, exist_ok=True)
    return path


def enter_private_namespace() -> None:
    """Start this program again in a mount namespace of its own, so that no mount can outlive it."""
    if os.environ.get("ROLLPOINT_BENCH_INNER") == "1":
        return
    os.environ["ROLLPOINT_BENCH_INNER"] = "1"
    start = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.bench"]
    os.execvp(start[0], [*start, *sys.argv[1:]])  # noqa: S606


def run(*argv: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command that must work and that nobody measures; return what it printed."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="backslashreplace")
    if done.returncode:
        tail = (done.stderr or done.stdout).strip()[-2000:]
        raise SystemExit(f"benchmark: {' '.join(map(str, argv))} failed ({done.returncode}): {tail}")
    return done.stdout


@contextlib.contextmanager
def mounted(image: Path, *options: str) -> Iterator[Path]:
    """Mount an image through a loop device that the kernel frees with the mount."""
    with tempfile.TemporaryDirectory(prefix="rollpoint-bench-", dir="/var/tmp") as name:
        where = Path(name)
        device = _attach(image)
        try:
            run("mount", "-o", ",".join(("noatime", *options)), device, where)
        finally:
            run("losetup", "--detach", device)      # takes effect with the last user: the mount
        _mounted.append(where)
        try:
            yield where
        finally:
            _mounted.remove(where)
            run("umount", "--lazy", where)


def _attach(image: Path) -> str:
    """Return a loop device for an image, one that keeps nothing in memory twice where there is such."""
    with contextlib.suppress(SystemExit):
        return run("losetup", "--find", "--show", "--direct-io=on", image).strip()
    return run("losetup", "--find", "--show", image).strip()


@contextlib.contextmanager
def fresh(size: int = 12 * GIB, inodes: int | None = None) -> Iterator[Path]:
    """Yield the mount point of a new ext4 file system of `size` bytes; it takes only the room that is used.

    The image has no name any more once it is mounted: a killed benchmark leaves nothing behind.
    """
    with tempfile.NamedTemporaryFile(prefix="rollpoint-bench-", dir="/var/tmp") as file:
        file.truncate(size)
        # Without lazy initialisation: it would write in the background while something is measured.
        wanted = ["-N", str(inodes)] if inodes else []
        run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", *wanted, file.name)
        with mounted(Path(file.name)) as where:
            (where / "lost+found").rmdir()
            yield where


def disk_usage(path: Path) -> int:
    """Return the bytes of disk blocks below a path, hard links counted once."""
    return int(run("du", "-s", "-B1", path).split()[0]) if path.exists() else 0


def warm(path: Path) -> None:
    """Read all files below a path, so that whoever is measured first does not pay for the disk."""
    run("bash", "-c", 'find "$1" -xdev -type f -print0 | xargs -0 cat >/dev/null', "bash", path)


def settle(path: Path) -> None:
    """Write out one of our file systems."""
    run("sync", "-f", path)


def settle_all() -> None:
    """Write out all of our file systems, so that the next measurement does not pay for the last one."""
    for path in _mounted:
        settle(path)
