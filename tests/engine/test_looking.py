"""What browse, compare and history ask of the engine: names over all points, contents, packages, how much it is."""

from __future__ import annotations

import os
import random
import shutil
import subprocess

import pytest

from engine.entries import Kind
from engine.errors import RollpointError
from tests.conftest import cannot_run
from tests.engine.harness import Bench
from tests.oracle import record

_STATUS = """Package: {name}
Status: install ok installed
Version: {version}

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def _write(bench: Bench, path: str, text: str) -> None:
    full = os.path.join(bench.live, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="ascii") as file:
        file.write(text)


def test_lives_agree_with_what_each_point_holds(place: str) -> None:
    """Random comings and goings in two directories, one of them over deep and wide subtrees."""
    bench, dice = Bench(place, privileged=False), random.Random(7)
    names = [f"n{i}" for i in range(12)]
    for step in range(6):
        for name in names:
            full = os.path.join(bench.live, "d", name)
            what = dice.randrange(4)
            if what == 0 and os.path.isdir(full):
                shutil.rmtree(full)
            elif what == 0 and os.path.exists(full):
                os.unlink(full)
            elif what == 1 and not os.path.isdir(full):
                _write(bench, f"d/{name}", f"{step}\n" * dice.randrange(1, 9))
            elif what == 2 and not os.path.exists(full):
                for i in range(dice.choice((1, 70))):
                    _write(bench, f"d/{name}/sub{i % 3}/f{i}", "x")
        bench.take()
    bench.delete(bench.order[2])
    engine = bench.engine()
    lives = {life.name: life for life in engine.lives(b"d")}
    assert list(lives) == sorted(lives)
    for point in engine.points():
        held = bench.records[point.id]
        expected = {path[2:] for path in held if path.startswith(b"d/") and b"/" not in path[2:]}
        found = {name: life.at(point.number) for name, life in lives.items()}
        assert {name for name, entry in found.items() if entry is not None} == expected
        listed = {entry.name: entry for entry in engine.listdir(point, b"d")}
        assert {n: e for n, e in found.items() if e is not None} == listed
    assert [life.name for life in engine.lives()] == [b"d"] and engine.lives(b"nowhere") == []


def test_content_of_points_and_of_the_live_tree(place: str) -> None:
    bench = Bench(place, privileged=False)
    _write(bench, "etc/a", "old text\n")
    first = bench.take()
    _write(bench, "etc/a", "new text, longer\n")
    second = bench.take()
    os.unlink(os.path.join(bench.live, "etc/a"))
    os.mkdir(os.path.join(bench.live, "etc/a"))
    engine = bench.engine()
    old, new = engine.content(first, b"etc/a", 100), engine.content(second, b"etc/a", 8)
    assert old is not None and (old.data, old.size, old.whole) == (b"old text\n", 9, True)
    assert new is not None and (new.data, new.size, new.whole) == (b"new text", 17, False)
    assert engine.content(None, b"etc/a", 100) is None and engine.content(first, b"etc", 100) is None
    os.mkfifo(os.path.join(bench.live, "fifo"))
    os.symlink("/etc/passwd", os.path.join(bench.live, "out"))
    assert engine.content(None, b"fifo", 9) is None and engine.content(None, b"out", 9) is None
    change = engine.change(first, second, b"etc/a")
    assert change is not None and "content" in change.what
    live = engine.change(first, None, b"etc/a")
    assert live is not None and live.new is not None and live.new.kind is Kind.DIR
    assert engine.change(first, first, b"etc/a") is None
    assert [e.name for e in engine.live_listing(b"etc")] == [b"a"] and engine.live_listing(b"no/where") == []


def test_measure_counts_what_is_below_a_path(place: str) -> None:
    bench = Bench(place, privileged=False)
    for i in range(5):
        _write(bench, f"etc/d/f{i}", "x" * 100)
    _write(bench, "etc/dd", "y" * 1000)
    point = bench.take()
    measured = bench.engine().measure(point, [b"etc/d", b"etc/dd"])
    assert (measured.entries, measured.bytes) == (7, 1500)
    assert bench.engine().measure(point, [b""]).entries == len(record(bench.live))
    with pytest.raises(RollpointError):
        bench.engine().measure(point, [b"nowhere"])


def test_packages_and_kernels_in_words(place: str) -> None:
    bench = Bench(place, privileged=False)
    _write(bench, "var/lib/dpkg/status", _STATUS.format(name="openssl", version="3.0.11"))
    _write(bench, "var/lib/pacman/local/zsh-git-5.9-2/desc", "")
    _write(bench, "boot/vmlinuz-6.1.0-26-amd64", "kernel")
    first = bench.take()
    _write(bench, "var/lib/dpkg/status", _STATUS.format(name="openssl", version="3.0.15"))
    os.rename(os.path.join(bench.live, "var/lib/pacman/local/zsh-git-5.9-2"),
              os.path.join(bench.live, "var/lib/pacman/local/zsh-git-5.10-1"))
    _write(bench, "boot/vmlinuz-6.1.0-27-amd64", "kernel")
    os.unlink(os.path.join(bench.live, "boot/vmlinuz-6.1.0-26-amd64"))
    second = bench.take()
    words = (("openssl 3.0.11 -> 3.0.15", "zsh-git 5.9-2 -> 5.10-1"),
             ("kernel 6.1.0-26-amd64 goes", "kernel 6.1.0-27-amd64 comes"))
    engine = bench.engine()
    for newer in (second, None):
        found = engine.software(first, newer)
        assert (found.packages, found.kernels, found.notes) == (*words, ())
    assert engine.software(second, None).packages == ()
    ran = bench.run("diff", "1", "2", "--packages")
    assert ran.returncode == 0 and ran.stdout.splitlines()[:-1] == [*words[1], *words[0]]
    assert bench.run("diff", "1", "--packages", "./etc").returncode == 2


def _rpm(database: str, place: str, version: str) -> None:
    """Build a package of nothing and note it as installed in a database of that directory."""
    spec = os.path.join(place, "thing.spec")
    with open(spec, "w", encoding="ascii") as file:
        file.write(f"Name: thing\nVersion: {version}\nRelease: 1\nSummary: t\nLicense: none\nBuildArch: noarch\n"
                   "%description\nt\n%files\n")
    top = os.path.join(place, "rpmbuild")
    subprocess.run(["rpmbuild", "-bb", "--define", f"_topdir {top}", spec], check=True, capture_output=True)
    package = os.path.join(top, "RPMS/noarch", f"thing-{version}-1.noarch.rpm")
    subprocess.run(["rpm", "--dbpath", database, "-U", "--justdb", "--nodeps", "--noscripts", "--define",
                    "_db_backend sqlite", package], check=True, capture_output=True)


def test_packages_of_a_real_rpm_database(place: str) -> None:
    if not shutil.which("rpmbuild"):
        cannot_run("the rpm test (rpm is not installed)")
    bench = Bench(place, privileged=False)
    database = os.path.join(bench.live, "usr/lib/sysimage/rpm")
    os.makedirs(database)
    _rpm(database, place, "1.0")
    first = bench.take()
    _rpm(database, place, "2.0")
    second = bench.take()
    for newer in (second, None):
        found = bench.engine().software(first, newer)
        assert (found.packages, found.notes) == (("thing.noarch 1.0-1 -> 2.0-1",), ())


def test_an_rpm_database_that_cannot_be_read_is_said(place: str) -> None:
    bench = Bench(place, privileged=False)
    _write(bench, "var/lib/rpm/Packages", "no database")
    _write(bench, "var/lib/dpkg/status", _STATUS.format(name="openssl", version="3.0.11"))
    point = bench.take()
    _write(bench, "var/lib/rpm/Packages", "no database either")
    found = bench.engine().software(point, None)
    assert found.packages == () and len(found.notes) == 1 and "packages cannot be said" in found.notes[0]
