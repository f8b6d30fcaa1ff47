"""Oracle VM Manager's settings and backups, on made-up trees; file system recipes, on real OCFS2 with its tools."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.config import Config, Vms
from engine.errors import ToolError
from engine.events import Job
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.vms import manager
from engine.vms.recipes import ocfs2, recipes
from tests.conftest import cannot_run
from tests.engine.loops import Loops
from tests.vm_trees import REPO, config, look

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


USUAL = 'UUID=0004fb0000010000AAAA\nDBBACKUP="/backup/db"\nDBPASSWORD=s3cret\n# x\n'


def settings(root: Path, text: str = USUAL) -> None:
    path = root / "etc/sysconfig/ovmm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def backup(root: Path, days: float, size: int = 8192, name: str = "", place: str = "backup/db") -> str:
    taken = (NOW - timedelta(days=days)).astimezone()
    folder = root / place / (name or f"AutoFullBackup-{taken:%Y%m%d}_{taken:%H%M%S}")
    folder.mkdir(parents=True)
    if size:
        (folder / "ovs.MYD").write_bytes(b"x" * size)
    return folder.name


def test_a_manager_in_order(tmp_path: Path) -> None:
    settings(tmp_path)
    names = [backup(tmp_path, day + 0.5) for day in range(15)]
    backup(tmp_path, 3.2, name="PreUpgrade")
    found = manager.look(str(tmp_path), NOW)
    assert found.uuid == "0004fb0000010000AAAA" and found.place == b"backup/db" and found.remarks == ()
    assert [b.name for b in found.backups if b.automatic] == names and len(found.backups) == 16
    assert found.backups[0].taken == NOW - timedelta(days=0.5) or found.backups[0].name == "PreUpgrade"
    assert dict(found.settings)["DBPASSWORD"] == "********" and dict(found.settings)["DBBACKUP"] == "/backup/db"
    size = next(b.size for b in found.backups if b.automatic)
    assert found.forecast == size * (15 + 1)


def test_growth_counts_in_the_forecast(tmp_path: Path) -> None:
    settings(tmp_path)
    backup(tmp_path, 10, 40960)
    backup(tmp_path, 0.5, 81920)
    found = manager.look(str(tmp_path), NOW)
    newest, oldest = found.backups[0].size, found.backups[1].size
    assert newest > oldest and found.forecast == int(newest * (newest / oldest) * 15)


@pytest.mark.parametrize(("days", "words"), [
    ([], "no automatic backup"), ([4.5, 5.5], "is 4 d old"), ([0.5, 3.5, 4.5], "a gap of 3 d between"),
    ([n + 0.5 for n in range(17)], "there are 17 automatic backups")])
def test_what_is_to_be_looked_into(tmp_path: Path, days: list[float], words: str) -> None:
    settings(tmp_path)
    for day in days:
        backup(tmp_path, day)
    remarks = manager.look(str(tmp_path), NOW).remarks
    assert len(remarks) == 1 and words in remarks[0]


def test_empty_and_small_backups(tmp_path: Path) -> None:
    settings(tmp_path, "")
    backup(tmp_path, 0.5, 0, place="u01/app/oracle/mysql/dbbackup")
    remarks = manager.look(str(tmp_path), NOW).remarks
    assert len(remarks) == 2 and "UUID" in remarks[0] and "nothing is in AutoFullBackup-" in remarks[1]
    backup(tmp_path, 1.5, 100_000, place="u01/app/oracle/mysql/dbbackup")
    shutil.rmtree(tmp_path / "u01/app/oracle/mysql/dbbackup" / manager.look(str(tmp_path), NOW).backups[0].name)
    backup(tmp_path, 0.6, 9000, place="u01/app/oracle/mysql/dbbackup")
    assert "far less than others" in manager.look(str(tmp_path), NOW).remarks[1]


def test_no_manager(tmp_path: Path) -> None:
    found = manager.look(str(tmp_path), NOW)
    assert not found.present and found.remarks == () and found.forecast is None


def test_hostile_settings_are_read_and_never_run(tmp_path: Path) -> None:
    settings(tmp_path, f"UUID=$(touch {tmp_path}/ran)\nDBBACKUP=../../../etc\n`x`\n=\n\0\n")
    found = manager.look(str(tmp_path), NOW)
    assert found.uuid.startswith("$(touch") and not (tmp_path / "ran").exists()
    assert [b.path for b in found.backups] == [b"etc/sysconfig"], "no further than the root"


@pytest.mark.parametrize("works", [True, False])
def test_its_own_program_runs_before_a_point_where_that_is_configured(tmp_path: Path, works: bool) -> None:
    root, asked = tmp_path / "root", tmp_path / "asked"
    config(root, 1)
    program = tmp_path / "createBackup.sh"
    end = "" if works else "echo no database >&2; exit 3\n"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> {asked}\n{end}")
    program.chmod(0o755)
    engine = Engine(Config(store=str(tmp_path / "store"), root=str(root), vms=Vms(manager_backup=str(program))))
    for take in (engine.vm_take, engine.snapshot):
        job = Job()
        take(SnapshotRequest(), job)
        assert len(job.warnings) == (0 if works else 1)
        assert works or "no database" in job.warnings[0]
    assert all(re.fullmatch(r"-n rollpoint-\d{8}-\d{6}", line) for line in asked.read_text().splitlines())
    assert len(asked.read_text().splitlines()) == 2 and len(engine.vm_points()) == 2


# --- recipes ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def needs_ocfs2() -> None:
    if not (shutil.which("tunefs.ocfs2") and shutil.which("mkfs.ocfs2")):
        cannot_run("recipes of OCFS2 (ocfs2-tools is not installed)")


def told(image: Path) -> list[str]:
    return [subprocess.run(["tunefs.ocfs2", "-Q", f"%{letter}\\n", str(image)], capture_output=True, text=True,
                           check=True).stdout for letter in "TNVUMHO"]


@pytest.mark.usefixtures("needs_ocfs2")
@pytest.mark.parametrize(("options", "label"), [
    (["-M", "local", "-b", "4K", "-C", "1M", "-N", "4", "--fs-features=refcount"], "OVS_ab 1"),
    (["-M", "local", "-b", "2K", "-C", "64K", "-N", "2", "--fs-feature-level=max-compat"], "")])
def test_a_file_system_made_by_its_recipe_is_the_same(tmp_path: Path, options: list[str], label: str) -> None:
    one, other = tmp_path / "one.img", tmp_path / "the other.img"
    for path in (one, other):
        with path.open("wb") as file:
            file.truncate(300 << 20)
    subprocess.run(["mkfs.ocfs2", "-q", "-x", *options, *(["-L", label] if label else []), str(one)], check=True)
    command = shlex.split(ocfs2(os.fsencode(one)))
    assert command[0] == "mkfs.ocfs2" and command[-1] == str(one)
    subprocess.run([command[0], "-q", "-x", *command[1:-1], str(other)], check=True)
    assert told(other) == told(one)
    assert ocfs2(os.fsencode(other)) == ocfs2(os.fsencode(one)).replace(str(one), shlex.quote(str(other)))


@pytest.mark.usefixtures("needs_ocfs2")
def test_no_ocfs2_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(1 << 20))
    with pytest.raises(ToolError):
        ocfs2(os.fsencode(tmp_path / "x"))


@pytest.mark.root
def test_repositories_that_are_file_systems_of_their_own(tmp_path: Path) -> None:
    loops = Loops(tmp_path)
    root = tmp_path / "root"
    try:
        device = loops.make("ext4")
        loops.mount(device, root / "OVS/Repositories" / REPO)
        config(root, 1)
        (found,) = recipes(str(root), look(root))
        assert (found.place, found.kind, found.device) == (f"OVS/Repositories/{REPO}".encode(), "ext4", device)
        assert found.command == "" and found.remarks == () and found.lines[0].startswith("# /OVS/Repositories/")
        pool = loops.mount(loops.make("ext4"), root / "poolfsmnt/0004fb")
        (pool / "db").mkdir()
        (pool / "db/monitor_vm").write_bytes(b"x" * 2048)
        assert [recipe.place for recipe in recipes(str(root), look(root))] == [found.place, b"poolfsmnt/0004fb"]
        now = recipes(str(root), look(root))
        assert "#   /poolfsmnt/0004fb/db/monitor_vm, 2.0 KiB" in now[1].lines
        engine = Engine(Config(store=str(tmp_path / "store"), root=str(root)))
        point = engine.vm_take(SnapshotRequest(), Job())
        (pool / "db/monitor_vm").unlink()
        assert engine.vm_recipes(point, Job()) == now != engine.vm_recipes(None, Job())
    finally:
        loops.close()
