"""What all tests share: tiers that cannot run say so loudly, and a fast file system of our own to work on.

A test marked `root` needs root, loop devices and mounts. Where they are not to be had it is skipped and
counted in the summary; with CI=true in the environment it fails, so that a green run always means that it
ran. Everything that outlives a killed run has a name that begins with `rollpoint-test-PID-`; the next run
removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hypothesis
import pytest

PREFIX = "rollpoint-test-"
_OURS = re.compile(rf"{PREFIX}(\d+)-")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background leaves Ctrl-C ignored, and programs started from here inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)      # nohup: still not for us, but for those programs

hypothesis.settings.register_profile("rollpoint", deadline=None)     # on a busy machine every test is slow now and then
hypothesis.settings.load_profile("rollpoint")


# --- tiers ---
@cache
def why_no_root() -> str:
    """Return why tests marked `root` cannot run here, or "" when they can."""
    if os.geteuid() != 0:
        return "not root"
    missing = [
        tool for tool in ("mkfs.ext4", "losetup", "mount", "umount", "rsync") if not shutil.which(tool)
    ]
    if missing:
        return "not installed: " + ", ".join(missing)
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    if probe.returncode:
        return "no mount namespaces here"
    if subprocess.run(["losetup", "-f"], capture_output=True).returncode:
        return "no loop devices here"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or with CI=true fail, a test that needs what this machine does not have."""
    if item.get_closest_marker("root") is not None and (why := why_no_root()):
        cannot_run(f"root tests ({why})")


def cannot_run(what: str) -> None:
    """Leave the running test out, loudly; with CI=true in the environment fail it instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CANNOT RUN, and CI must run everything: {what}")
    pytest.skip(f"CANNOT RUN: {what}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was not tested at all (also for the workers of pytest-xdist)."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        text = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if "CANNOT RUN: " in text:
            reason = text.split("CANNOT RUN: ", 1)[1]
            reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"!!! NOT TESTED HERE: {count} tests: {reason}", red=True, bold=True)


# --- what killed runs left behind ---
def _alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def _mounts() -> list[str]:
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split()[1] for line in file]
    return [re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), point) for point in points]


def unmount_below(directory: str) -> None:
    """Unmount all that is mounted at or below `directory`, the innermost first."""
    inside = [m for m in _mounts() if m == directory or m.startswith(directory + "/")]
    for point in sorted(inside, key=len, reverse=True):
        if subprocess.run(["umount", point], capture_output=True).returncode:
            subprocess.run(["umount", "--lazy", point], capture_output=True)


def sweep(base: str) -> None:
    """Remove what dead test runs left in `base`: only names that carry our prefix and a PID."""
    if os.geteuid() != 0:
        return
    for name in os.listdir(base):
        match = _OURS.match(name)
        if match and not _alive(int(match[1])):
            unmount_below(os.path.join(base, name))
            shutil.rmtree(os.path.join(base, name), ignore_errors=True)


def _base() -> str:
    """Return where images lie: in memory where there is room for them, else in the temporary directory."""
    with contextlib.suppress(OSError):
        info = os.statvfs("/dev/shm")
        if info.f_bavail * info.f_frsize > 4 << 30 and os.access("/dev/shm", os.W_OK):
            return "/dev/shm"
    return tempfile.gettempdir()


@contextlib.contextmanager
def loop_ext4(size: int, options: str = "") -> Iterator[str]:
    """Mount a new ext4 of `size` bytes, made in a sparse file; always unmount and remove it. Needs root.

    `options` are more options of mkfs.ext4. Yields the mount point.
    """
    base = _base()
    holder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base)
    image, where = os.path.join(holder, "image"), os.path.join(holder, "fs")
    try:
        with open(image, "wb") as file:
            file.truncate(size)
        os.mkdir(where)
        os.chmod(holder, 0o755)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-m", "0", *options.split(), image], check=True, capture_output=True
        )
        # Making and attaching loop devices races when several test processes do it at once.
        with open(os.path.join(base, PREFIX + "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run(
                ["mount", "-o", "loop,noatime,discard", image, where], check=True, capture_output=True
            )
        shutil.rmtree(os.path.join(where, "lost+found"))
        yield where
    finally:
        unmount_below(where)
        shutil.rmtree(holder, ignore_errors=True)


@pytest.fixture(scope="session")
def ext4() -> Iterator[str]:
    """One loop-mounted ext4 of 8 GiB (a sparse file): fast, and never slowed by what else the disk does."""
    if why := why_no_root():
        cannot_run(f"root tests ({why})")
    sweep(_base())
    with loop_ext4(8 << 30, "-O ^has_journal -E lazy_itable_init=1") as where:
        yield where


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty directory: on the fast file system for root, else in pytest's own. Removed after the test."""
    if why_no_root():
        yield str(tmp_path)
        return
    where = tempfile.mkdtemp(dir=request.getfixturevalue("ext4"))
    os.chmod(where, 0o755)
    try:
        yield where
    finally:
        unmount_below(where)
        shutil.rmtree(where, ignore_errors=True)
