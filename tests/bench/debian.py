"""The Debian tree of dataset A, before and after an upgrade: made once, kept as one ext4 image in the cache.

It is a tree of the distribution that this machine runs, from the package sources that it has: `before` is the
plain release, `after` has the updates and packages that were not there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.disk import GIB, cache_dir, mounted, run

_VERSION = 1
_PACKAGES = ("build-essential", "gfortran", "golang-go", "git", "vim", "emacs-nox", "python3-dev", "perl",
             "mariadb-server", "nginx", "openssh-server", "man-db", "locales", "less", "rsync")
_NEW_PACKAGES = ("cmake", "ruby", "php-cli", "tcpdump", "nmap")
_KERNELS = {"Debian": ("linux-image-{arch}", "linux-headers-{arch}"),
            "Ubuntu": ("linux-image-generic", "linux-headers-generic")}


@contextlib.contextmanager
def debian() -> Iterator[Path]:
    """Yield a read-only directory with `disk.img`, `before` and `after` (slow the first time)."""
    origin, codename, sources = _sources()
    image = cache_dir() / f"{origin.lower()}-{codename}-{_VERSION}.ext4"
    if not image.exists():
        print(f"making {image}: {origin} {codename}, before and after an upgrade (minutes, once)", flush=True)
        _make(image, origin, codename, sources)
    with mounted(image, "ro") as where:
        yield where


def _sources() -> tuple[str, str, list[tuple[str, str]]]:
    """Return this machine's distribution, its release, and its package sources as (address, suite)."""
    wanted = "$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI) $(CREATED_BY)"
    lines = run("apt-get", "indextargets", "--format", wanted)
    found = []
    for line in dict.fromkeys(lines.splitlines()):
        words = line.split()
        if len(words) == 5 and words[0] in _KERNELS and words[2] == "main" and words[4] == "Packages":
            found.append((words[0], words[1], words[3]))
    plain = [item for item in found if "-" not in item[1]]
    if not plain:
        raise SystemExit("benchmark: apt knows no Debian or Ubuntu package source here; try apt-get update")
    origin, codename, _ = plain[0]
    return origin, codename, [(address, suite) for name, suite, address in found
                              if name == origin and suite.partition("-")[0] == codename]


def _make(image: Path, origin: str, codename: str, sources: list[tuple[str, str]]) -> None:
    unfinished = image.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "wb") as file:
        file.truncate(16 * GIB)
    run("mkfs.ext4", "-q", "-m", "0", "-N", "600000", unfinished)
    with mounted(unfinished) as where:
        before, after = where / "before", where / "after"
        plain = next(address for address, suite in sources if suite == codename)
        run("debootstrap", "--variant=minbase", codename, before, plain)
        arch = run("dpkg", "--print-architecture").strip()
        kernels = [name.format(arch=arch) for name in _KERNELS[origin]]
        with _apt(before, [(plain, codename)]) as apt:
            apt("update")
            apt("install", *_PACKAGES, *kernels)
        run("cp", "-a", before, after)
        with _apt(after, sources) as apt:
            apt("update")
            apt("dist-upgrade")
            apt("install", *_NEW_PACKAGES)
        _disk_image(where / "disk.img", before)
    unfinished.rename(image)


class _Apt:
    """apt-get inside a tree."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def __call__(self, *words: str) -> None:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C",
               "HOME": "/root"}
        run("chroot", self.tree, "apt-get", "-q", "-y", "--no-install-recommends",
            "-o", "Dpkg::Options::=--force-confold", *words, env=env)


@contextlib.contextmanager
def _apt(tree: Path, sources: list[tuple[str, str]]) -> Iterator[_Apt]:
    """Lend a tree this machine's way to its packages, and take all of that away again."""
    lent = [tree / "usr/sbin/policy-rc.d", tree / "etc/resolv.conf"]
    policy = tree / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    (tree / "etc/apt/sources.list").write_text("".join(f"deb {uri} {suite} main\n" for uri, suite in sources))
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, tree / name.lstrip("/"))
    for snippet in Path("/etc/apt/apt.conf.d").iterdir():
        target = tree / "etc/apt/apt.conf.d" / f"zz-lent-{snippet.name.replace('.', '-')}"
        shutil.copy(snippet, target)
        lent.append(target)
    if not (tree / "etc/ssl/certs/ca-certificates.crt").exists() and os.path.isdir("/etc/ssl/certs"):
        shutil.copytree("/etc/ssl/certs", tree / "etc/ssl/certs", symlinks=False, dirs_exist_ok=True,
                        ignore_dangling_symlinks=True)
    run("mount", "-t", "proc", "proc", tree / "proc")
    try:
        yield _Apt(tree)
    finally:
        subprocess.run(["umount", "--lazy", str(tree / "proc")], check=False)
        for path in lent:
            path.unlink(missing_ok=True)
        shutil.rmtree(tree / "var/cache/apt/archives", ignore_errors=True)
        (tree / "var/cache/apt/archives/partial").mkdir(parents=True, exist_ok=True)


def _disk_image(path: Path, tree: Path) -> None:
    """Make a sparse 1 GiB image of a file system with real files in it, as a virtual machine's disk is."""
    stage = path.parent / "stage"
    stage.mkdir()
    for part in ("usr/share", "usr/bin", "usr/sbin", "etc"):
        run("cp", "-al", tree / part, stage)
    run("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=1", "-N", "100000", "-d", stage, path, "1G")
    shutil.rmtree(stage)
