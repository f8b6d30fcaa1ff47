"""Which configuration files are read and trusted, ClusterMaker's too, and what the default patterns do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import DEFAULT_EXCLUDES, Config, Retention, load
from engine.errors import ConfigError
from tests.unit.conftest import Etc

# --- files that cannot be read or must not be trusted ---


def test_a_config_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory"):
        load(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("kind", ["dir", "fifo", "big"])
def test_only_a_regular_file_of_sane_size_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.yaml"
    if kind == "dir":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match="expected a regular file of at most 1 MiB"):
        load(str(path))


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_root_refuses_a_file_that_others_can_write(etc: Etc, mode: int) -> None:
    etc.write("rollpoint/config.yaml", "").chmod(mode)
    assert etc.fails() == ["FILE: refused: FILE is writable by others than root (chmod go-w)"]


@pytest.mark.root
def test_root_refuses_a_file_in_a_directory_that_others_can_write(etc: Etc) -> None:
    etc.write("rollpoint/conf.d/1.yaml", "").parent.chmod(0o777)
    assert etc.fails("") == [
        "rollpoint/conf.d/1.yaml: refused: rollpoint/conf.d is writable by others than root (chmod go-w)"
    ]
    (etc.path / "rollpoint/conf.d").chmod(0o1777)
    assert etc.load("") == Config()


@pytest.mark.root
def test_root_refuses_what_belongs_to_somebody_else(etc: Etc, tmp_path: Path) -> None:
    etc.write("rollpoint/config.yaml", "")
    os.chown(etc.config, 4711, 0)
    assert etc.fails() == ["FILE: refused: FILE belongs to uid 4711, not to root (chown root)"]
    os.chown(etc.config, 0, 0)
    os.chown(etc.config.parent, 4711, 0)
    assert etc.fails() == ["FILE: refused: rollpoint belongs to uid 4711, not to root (chown root)"]


@pytest.mark.root
def test_root_refuses_a_link_into_a_directory_of_somebody_else(etc: Etc, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "c.yaml").write_text("")
    os.chown(theirs, 4711, 0)
    etc.config.parent.mkdir()
    etc.config.symlink_to(theirs / "c.yaml")
    assert etc.fails() == [f"FILE: refused: {theirs} belongs to uid 4711, not to root (chown root)"]


@pytest.mark.root
def test_a_list_of_databases_in_another_tree_may_belong_to_anybody(etc: Etc, tmp_path: Path) -> None:
    file = Etc(tmp_path / "tree/etc").write("database_locations", "/db\n")
    os.chown(file, 4711, 4711)
    assert etc.load(store="/s", root=str(tmp_path / "tree")).databases == ("/db",)
    etc.write("database_locations", "/db\n").chmod(0o666)
    assert "refused" in etc.fails()[0]


def test_others_than_root_may_use_what_they_can_read(etc: Etc, monkeypatch: pytest.MonkeyPatch) -> None:
    etc.write("rollpoint/config.yaml", "store: /a\n").chmod(0o666)
    monkeypatch.setattr("engine.config.os.geteuid", lambda: 1000)
    assert etc.load().store == "/a"


@pytest.mark.root
def test_an_unreadable_file_is_one_clean_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("")
    (tmp_path / "c.yaml").chmod(0o600)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys; from engine.config import load; from engine.errors import ConfigError\n"
        "os.chdir(sys.argv[1]); os.setuid(4711)\n"
        "try: load('c.yaml')\nexcept ConfigError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("c.yaml: cannot be read: Permission denied\n", "")


# --- ClusterMaker's files ---


def test_database_locations(etc: Etc) -> None:
    etc.write(
        "database_locations",
        b"# our databases\n\n  /var/lib/mysql/ \r\n/var/lib/pgsql # main\n/d #1\n#/no\n/caf\xe9\n",
    )
    etc.write("rollpoint/database_locations", "/var/lib/mysql\n/var/lib/ldap")
    config = etc.load()
    assert config.databases == (
        "/var/lib/mysql",
        "/var/lib/pgsql",
        "/d #1",
        "/caf\udce9",
        "/var/lib/ldap",
    )
    assert os.fsencode(config.databases[3]) == b"/caf\xe9"
    assert config.origins["databases"].startswith(f"{etc.path}/database_locations:3, ")


@pytest.mark.parametrize("line", [b"var/lib/mysql", b"/", b"/a\0b", b"//."])
def test_a_database_that_is_not_understood_is_an_error(etc: Etc, line: bytes) -> None:
    etc.write("database_locations", b"# x\n" + line + b"\n")
    assert etc.fails()[0].startswith("database_locations:2: expected a database's absolute path, got '")


def test_system_snapshots_conf(etc: Etc) -> None:
    etc.write(
        "system_snapshots.conf",
        """\
# ClusterMaker
MAX_SIZE_RATIO=1.8
export MIN_SNAPSHOTS = 3    # at least
minAge='172800'
EXCLUDES="*/mnt/ /dev /proc/ *.core"
EXCLUDE=/scratch
""",
    )
    config = etc.load("retention: {min_keep: 4}")
    assert config.notes == ()
    assert config.retention == Retention(min_keep=4, min_age=172800, max_store_ratio=1.8)
    assert config.excludes == (*DEFAULT_EXCLUDES, "*.core", "/scratch")
    assert config.origins["retention.min_age"] == f"{etc.path}/system_snapshots.conf:4"


@pytest.mark.parametrize(
    "line",
    [
        "KEEP_DAYS=30",
        "MIN_FREE=3",
        "COMPRESSION_RATIO=9",
        "RATIO=none",
        "RATIO=0.5",
        "MIN_POINTS=0",
        "MIN_POINTS=2d",
        "MIN_POINTS='",
        "EXCLUDE='!'",
        "a long story",
        "SNAPSHOT_DIR=/root/snapshots",
        "=",
        "RATIO=1 2",
    ],
)
def test_what_is_not_understood_of_it_is_a_note(etc: Etc, line: str) -> None:
    etc.write("system_snapshots.conf", line + "\n")
    config = etc.load()
    assert config == Config()
    assert len(config.notes) == 1
    assert config.notes[0].startswith(f"{etc.path}/system_snapshots.conf:1: ignored: ")


@given(st.binary(max_size=60))
def test_no_clustermaker_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("etc")
    (folder / "system_snapshots.conf").write_bytes(data)
    assert all(note.isprintable() for note in load(etc=str(folder)).notes)


# --- the patterns, with the real rsync ---


@pytest.mark.skipif(not shutil.which("rsync"), reason="no rsync here")
def test_what_the_default_patterns_leave_out(tmp_path: Path) -> None:
    out = {
        "mnt/disk",
        "srv/mnt/f",
        "srv/a/mnt/f",
        "var/lib/heartbeat/f",
        "var/lock/subsys/f",
        "dev/null",
        "sys/f",
        "proc/1/f",
        "tmp/f",
        "run/x.sock",
        "media/cd/f",
        "lost+found/f",
        "swapfile",
        "swap.img",
        "a/b.pid",
        "a/b.x$",
        "a/.b.swp",
    }
    kept = {
        "srv/dev/f",
        "srv/proc/f",
        "srv/tmp/f",
        "srv/swapfile",
        "x/var/lock/subsys/f",
        "a/b$",
        "a/pid",
        "mnt2/f",
    }
    for name in out | kept:
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_text("")
    patterns = [f"--exclude={pattern}" for pattern in DEFAULT_EXCLUDES]
    subprocess.run(["rsync", "-a", *patterns, f"{tmp_path}/src/", f"{tmp_path}/dst"], check=True)
    there = {str(path.relative_to(tmp_path / "dst")) for path in (tmp_path / "dst").rglob("*")}
    assert kept <= there and not out & there
    assert {"mnt", "dev", "proc", "sys", "tmp", "run", "media"} <= there, (
        "a restored system needs its mount points"
    )
