"""A rollback onto other file systems than the recorded ones: what is adjusted is said before, and done after, once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import RefusedError
from engine.events import Job
from engine.results import RollbackPlan
from tests.engine.harness import CHECKOUT, child_env
from tests.engine.loops import MACHINE_ID, Loops, Machine, loops, uuid_of
from tests.oracle import differences, record

pytestmark = pytest.mark.root


class Moved(Machine):
    """A machine whose disks were replaced by empty ones; `then` is what it was, `old` maps places to old UUIDs."""

    def __init__(self, made: Loops, place: Path) -> None:
        super().__init__(made, place)
        (self.root / "boot/grub").mkdir()
        self.old = {p: uuid_of(d) for p, d in self.devices.items()}
        (self.root / "boot/grub/grub.cfg").write_text(
            f"search --fs-uuid --set=root {self.old['boot']}\nmenuentry 'Linux' {{\n"
            f"  linux /vmlinuz-1 root=UUID={self.old['']} ro\n}}\n")
        (self.root / "boot/grub/grub.cfg").chmod(0o600)
        self.taken = self.point()
        self.then = record(str(self.root))
        self.devices = {"": made.make(), "boot": made.make(), "boot/efi": made.make("ext2")}
        self.mount("new")
        for lost in self.root.rglob("lost+found"):
            shutil.rmtree(lost)
        self.new = {p: uuid_of(d) for p, d in self.devices.items()}

    def adopted(self) -> RollbackPlan:
        return self.engine().plan(self.taken, ("files",), Job(), adopt=True)

    def must_be_adjusted(self) -> None:
        """Assert that everything came back, and that fstab and the boot menu name the new file systems instead."""
        changed = {"etc/fstab", "boot/grub/grub.cfg"}
        now = record(str(self.root))
        for name in changed:
            fact, before = now.pop(name.encode()), self.then[name.encode()]
            assert (fact.mode, fact.uid, fact.gid, fact.xattrs) == (before.mode, before.uid, before.gid, before.xattrs)
        rest = {path: fact for path, fact in self.then.items() if path.decode() not in changed}
        # The directories of the two files have been written in.
        holders = {b"etc", b"boot/grub"}
        assert differences({p: f for p, f in rest.items() if p not in holders},
                           {p: f for p, f in now.items() if p not in holders}) == []
        assert (self.root / "etc/fstab").read_text() == "".join(
            f"UUID={u} /{p} auto defaults 0 2\n" for p, u in self.new.items())
        menu = (self.root / "boot/grub/grub.cfg").read_text()
        assert f"--set=root {self.new['boot']}" in menu and f"root=UUID={self.new['']} ro" in menu
        assert not any(u in menu for u in self.old.values())


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Moved]:
    with loops(tmp_path) as made:
        yield Moved(made, tmp_path)


def test_onto_new_disks_everything_is_said_before_and_adjusted_after(moved: Moved) -> None:
    assert moved.plan(moved.taken).blocked
    plan = moved.adopted()
    assert not plan.blocked, plan.findings
    assert [f.text for f in plan.findings if "is adopted" in f.text and f.level == "warning"]
    assert len(plan.adjustments) == 5
    assert f"/etc/fstab: UUID={moved.old['']} / auto defaults 0 2 -> UUID={moved.new['']} / auto defaults 0 2" in (
        plan.adjustments)
    assert any("grub-install" in f.hint for f in plan.findings)
    done = moved.engine().rollback(plan, Job(), safety_point=False)
    assert done.verified and sorted(done.adjusted) == sorted(plan.adjustments)
    moved.must_be_adjusted()
    # What was adopted is what the next point records, and nothing is in its way.
    point = moved.point()
    assert [s["uuid"] for s in point.doc["sources"]] == list(moved.new.values())
    assert not moved.plan(point).blocked


def test_another_machine_is_adopted_too(moved: Moved) -> None:
    (moved.root / "etc").mkdir()
    (moved.root / "etc/machine-id").write_text("f" * 32 + "\n")
    assert any("another machine" in f.text for f in moved.plan(moved.taken).findings if f.level == "blocker")
    plan = moved.adopted()
    assert not plan.blocked and any("another machine" in f.text for f in plan.findings if f.level == "warning")
    assert moved.engine().rollback(plan, Job(), safety_point=False).verified
    assert (moved.root / "etc/machine-id").read_text() == MACHINE_ID
    moved.must_be_adjusted()


def test_it_can_be_undone(moved: Moved) -> None:
    (moved.root / "mine").write_text("mine")
    before = record(str(moved.root))
    moved.engine().rollback(moved.adopted(), Job())
    moved.must_be_adjusted()
    assert moved.engine().undo(Job()).verified
    assert differences(before, record(str(moved.root))) == []


def test_another_partitioning_home_becomes_a_directory(tmp_path: Path) -> None:
    with loops(tmp_path) as made:
        machine = Machine(made, tmp_path)
        home = made.make()
        made.mount(home, machine.root / "home")
        (machine.root / "home/me").write_text("mine")
        with (machine.root / "etc/fstab").open("a") as file:
            file.write(f"UUID={uuid_of(home)} /home ext4 defaults 0 2\n")
        point, then = machine.point(), record(str(machine.root))
        made.umount(machine.root / "home")
        assert any("nothing is mounted" in b for b in machine.blockers(point))
        places = ["--store", str(machine.store), "--root", str(machine.root)]
        words = [sys.executable, "-m", "tui.cli", *places, "rollback"]

        def run(*more: str, kill: str = "") -> subprocess.CompletedProcess[str]:
            return subprocess.run([*words, *more], cwd=CHECKOUT, env=child_env({"ROLLPOINT_KILL_AT": kill}),
                                  capture_output=True, text=True)

        assert run("latest", "--adopt", "--merge", "/srv", "--yes").returncode == 2
        assert run("latest", "--merge", "/home", "--yes").returncode == 2
        boot = run("latest", "--adopt", "--merge", "/boot", "--yes")
        assert boot.returncode == 5 and "/boot cannot be merged" in boot.stderr
        merge = ("latest", "--adopt", "--merge", "/home", "--yes", "--scope", "files")
        assert run(*merge, kill="rollback-copied").returncode == -9
        done = run("--resume", "--yes")
        assert done.returncode in (0, 3) and ", verified." in done.stdout, done.stderr
        assert (machine.root / "home/me").read_text() == "mine" and not os.path.ismount(machine.root / "home")
        fstab = (machine.root / "etc/fstab").read_text()
        assert fstab == machine.fstab() + f"# UUID={uuid_of(home)} /home ext4 defaults 0 2\n"
        now = record(str(machine.root))
        changed = (b"etc", b"etc/fstab")
        assert differences({p: f for p, f in then.items() if p not in changed},
                           {p: f for p, f in now.items() if p not in changed}) == []
        undone = run("--undo", "--yes")
        assert undone.returncode in (0, 3) and not (machine.root / "home/me").exists(), undone.stderr


@pytest.mark.parametrize("step", ["rollback-copied", "rollback-verified", "rollback-adjusted"])
def test_killed_and_resumed_it_is_adjusted_once(moved: Moved, step: str) -> None:
    words = [sys.executable, "-m", "tui.cli", "--store", str(moved.store), "--root", str(moved.root), "rollback"]
    killed = subprocess.run([*words, "latest", "--adopt", "--yes", "--no-safety-point", "--scope", "files"],
                            cwd=CHECKOUT, env=child_env({"ROLLPOINT_KILL_AT": step}), capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    done = subprocess.run([*words, "--resume", "--yes"], cwd=CHECKOUT, env=child_env(), capture_output=True, text=True)
    assert done.returncode in (0, 3) and ", verified." in done.stdout, done.stderr
    assert done.stdout.count("Adjusted: ") == 5
    moved.must_be_adjusted()


def test_disks_that_are_exchanged_after_the_plan_are_noticed(moved: Moved) -> None:
    plan = moved.adopted()
    moved.devices["boot"] = moved.loops.make()
    moved.mount("new")
    with pytest.raises(RefusedError, match="not those for which this was planned"):
        moved.engine().rollback(plan, Job(), safety_point=False)
    assert not (moved.root / "etc").exists()


def test_from_a_rescue_system_in_one_command(moved: Moved, tmp_path: Path) -> None:
    """The store lies in a directory here; `--adopt` of `rescue open` is that of the rollback as well."""
    moved.loops.umount(moved.root)
    named = [w for d in moved.devices.values() for w in ("--device", d)]
    maps = [w for p, d in moved.devices.items() for w in ("--map", f"/{p}={d}")]
    words = [sys.executable, "-m", "tui.cli", "rescue", "open", "--store", str(moved.store), *named, *maps]
    rollback = ["--", "rollback", "latest", "--no-safety-point", "--scope", "files"]

    def run(*more: str, last: str = "--yes") -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more, *rollback, last], cwd=CHECKOUT, env=child_env(), capture_output=True,
                              text=True)

    refused = run()
    assert refused.returncode == 5 and "is not the file system that the point recorded" in refused.stderr
    shown = run("--adopt", last="--dry-run")
    assert "Adjusted to these file systems afterwards:" in shown.stdout and shown.stdout.count("-> UUID=") == 3
    done = run("--adopt")
    assert done.returncode in (0, 3) and ", verified." in done.stdout, done.stderr
    moved.mount("new")
    moved.must_be_adjusted()
    assert os.path.exists(moved.store / "store.yaml")
