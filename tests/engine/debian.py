"""A real Debian system in a directory: made once with debootstrap, kept outside the checkout."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

# Small packages that between them bring file capabilities or set-user-ID files, configuration files,
# alternatives, maintainer scripts, hard links and new users.
# What a system needs on which Rollpoint itself runs.
TOOLS = ("python3", "rsync", "zstd")
PACKAGES = ("less", "nano", "cron", "iputils-ping", "libcap2-bin", "openssl", "dbus")


def cache_dir() -> str:
    """Return where downloads are kept between runs: ROLLPOINT_CACHE, or ~/.cache/rollpoint."""
    where = os.environ.get("ROLLPOINT_CACHE") or os.path.expanduser("~/.cache/rollpoint")
    os.makedirs(where, exist_ok=True)
    return where


def suite() -> str:
    """Return the release of this machine, which its own package sources fit."""
    with open("/etc/os-release", encoding="utf-8") as file:
        found = re.search(r'^VERSION_CODENAME="?([a-z]+)', file.read(), re.MULTILINE)
    return found[1] if found else "stable"


def mirror() -> list[str]:
    """Return this machine's own package source as debootstrap takes it; none: debootstrap's default."""
    for path in sorted([*glob.glob("/etc/apt/sources.list.d/*"), "/etc/apt/sources.list"]):
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            stanzas = re.split(r"\n\s*\n|\n(?=deb )", file.read())
        for text in stanzas:
            found = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?)\s+(https?://\S+)", text, re.MULTILINE)
            if found and re.search(rf"\s{suite()}\s[^#]*\bmain\b", text):
                return [found[1]]
    return []


def in_root(
    root: str, argv: Sequence[str], *, check: bool = True, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a program of the system below `root`."""
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
        "HOME": "/root",
    }
    done = subprocess.run(
        ["chroot", root, *argv],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
    assert not check or done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


def system(target: str) -> None:
    """Unpack a fresh system into `target`, with PACKAGES ready in /debs but not installed."""
    _unpack(target, "packages")


def live_system(target: str) -> None:
    """Unpack a system into `target` that has TOOLS installed."""
    _unpack(target, "live", TOOLS)


def _unpack(target: str, name: str, include: Sequence[str] = ()) -> None:
    archive = os.path.join(cache_dir(), f"{name}-{suite()}.tar")
    with open(archive + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(archive):
            _make(archive, include)
    subprocess.run(
        ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", archive, "-C", target],
        check=True,
    )


def _make(archive: str, include: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=cache_dir()) as work:
        root = os.path.join(work, "root")
        argv = ["debootstrap", "--variant=minbase", *([f"--include={','.join(include)}"] if include else [])]
        done = subprocess.run([*argv, suite(), root, *mirror()], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        if not include:
            _fetch(root)
        subprocess.run(
            [
                "tar",
                "--numeric-owner",
                "--xattrs",
                "--xattrs-include=*",
                "-cpf",
                archive + ".new",
                "-C",
                root,
                ".",
            ],
            check=True,
        )
    os.rename(archive + ".new", archive)


def copy_network_settings(root: str) -> None:
    """Let the system below `root` reach its mirror the way this machine does."""
    for name in ("apt/sources.list", "apt/sources.list.d", "apt/apt.conf.d", "ssl/certs", "resolv.conf"):
        source, target = f"/etc/{name}", f"{root}/etc/{name}"
        if os.path.isdir(source):
            shutil.copytree(
                source,
                target,
                dirs_exist_ok=True,
                symlinks=name != "ssl/certs",
                ignore_dangling_symlinks=True,
            )
        elif os.path.exists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)


def _fetch(root: str) -> None:
    """Download PACKAGES with what they need; install nothing."""
    copy_network_settings(root)
    in_root(root, ["apt-get", "clean"])
    in_root(root, ["apt-get", "update"])
    in_root(root, ["apt-get", "install", "-y", "--no-install-recommends", "--download-only", *PACKAGES])
    os.mkdir(f"{root}/debs")
    for deb in glob.glob(f"{root}/var/cache/apt/archives/*.deb"):
        os.rename(deb, f"{root}/debs/{os.path.basename(deb)}")
    with open(f"{root}/usr/sbin/policy-rc.d", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 101\n")  # no service of the guest may start
    os.chmod(f"{root}/usr/sbin/policy-rc.d", 0o755)


def install(root: str) -> None:
    """Install PACKAGES from /debs, without a network."""
    options = ["-y", "--no-install-recommends", "--no-download", "-o", "Dir::Cache::archives=/debs"]
    in_root(root, ["apt-get", "install", *options, *PACKAGES])
