"""`rollpoint rescue`: from a rescue system a broken one is found, mounted, rolled back and unmounted again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.rescue import kit
from engine.rescue.opening import BASE
from tests.engine.harness import CHECKOUT, child_env
from tests.engine.loops import MACHINE_ID, Loops, Machine, loops, uuid_of
from tests.oracle import Record, must_equal, record

pytestmark = pytest.mark.root


class Rescue:
    """A machine whose disks nobody has mounted, and a disk with its store at /backup/store."""

    def __init__(self, made: Loops, place: Path, kind: str = "ext4") -> None:
        self.disk = made.make(mib=96)
        made.mount(self.disk, place / "backup")
        (place / "backup/web1").mkdir()
        self.machine = Machine(made, place, kind, place / "backup/web1/store")
        self.loops, self.place, self.kind = made, place, kind
        self.machine.point()
        self.then = self.look()
        self.close()

    def look(self) -> Record:
        return record(str(self.machine.root))

    def close(self) -> None:
        """Switch the machine off."""
        self.loops.umount(self.machine.root)
        self.loops.umount(self.place / "backup")

    def open(self, *only: str) -> Path:
        """Mount the machine's disks by hand, to ruin or to judge what is on them."""
        self.machine.mount(only=only or ("", "boot", "boot/efi"))
        return self.machine.root

    def ruin(self) -> None:
        """As bad as it gets without a new disk: no /etc, no mount points, /boot empty, a mess beside."""
        root = self.open()
        (root / "boot/vmlinuz-1").unlink()
        (root / "boot/efi/loader").write_text("garbage")
        self.loops.umount(root)
        root = self.open("")
        shutil.rmtree(root / "etc")
        shutil.rmtree(root / "boot")
        (root / "mess").write_text("since")
        self.close()

    @property
    def devices(self) -> list[str]:
        return [self.disk, *self.machine.devices.values()]

    def rescue(self, *words: str, devices: list[str] | None = None, answer: str = "",
               program: tuple[str, ...] = ("-m", "tui.cli")) -> subprocess.CompletedProcess[str]:
        """Run `rollpoint rescue …` on these devices alone."""
        named = [w for d in (self.devices if devices is None else devices) for w in ("--device", d)]
        return subprocess.run([sys.executable, *program, "rescue", words[0], *named, *words[1:]], cwd=CHECKOUT,
                              env=child_env(), capture_output=True, text=True, errors="backslashreplace",
                              input=answer, timeout=120)

    def must_be_back(self) -> None:
        """Assert that the disks hold what they held when the point was taken."""
        self.open()
        must_equal(self.then, self.look(), "the system did not come back")
        self.close()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Loops]:
    with loops(tmp_path) as all_of_them:
        yield all_of_them


@pytest.fixture
def rescue(made: Loops, tmp_path: Path) -> Iterator[Rescue]:
    before = mounted()
    made_one = Rescue(made, tmp_path)
    yield made_one
    made_one.close()
    assert mounted() == before, "something stayed mounted"
    assert not BASE_PATH.exists() or not any(BASE_PATH.iterdir())


BASE_PATH = Path(os.fsdecode(BASE))


def mounted() -> list[str]:
    return Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()


def must_have_gone_back(done: subprocess.CompletedProcess[str]) -> None:
    """Assert that a rollback was carried out; that so small a system cannot boot is a warning (3)."""
    assert done.returncode in (0, 3), done.stderr
    assert ", verified." in done.stdout and "still differs" not in done.stderr, done.stdout + done.stderr


# --- looking ---


def test_list_shows_store_system_and_what_would_be_mounted(rescue: Rescue) -> None:
    done = rescue.rescue("list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(f"{rescue.disk}:/web1/store" in line for line in lines)
    for place, device in rescue.machine.devices.items():
        assert any(line.split()[:3] == [f"/{place}", device, "exact"] for line in lines), done.stdout
    answer = json.loads(rescue.rescue("list", "--json").stdout)
    assert [s["name"] for s in answer["stores"]] == [f"{rescue.disk}:/web1/store"]
    assert [(s["device"], s["machine_id"]) for s in answer["systems"]] == [
        (rescue.machine.devices[""], MACHINE_ID.strip())]
    assert [(r["mount"]["path"], r["device"], r["state"]) for r in answer["mapping"]["rows"]] == [
        (f"/{p}", d, "exact") for p, d in rescue.machine.devices.items()]
    assert answer["mapping"]["refusals"] == []


def test_list_without_a_store_is_no_error(rescue: Rescue) -> None:
    done = rescue.rescue("list", devices=[rescue.machine.devices[""]])
    assert done.returncode == 0 and "Nothing can be opened: there is no store" in done.stdout
    assert rescue.rescue("open", "--", "list", devices=[rescue.machine.devices[""]]).returncode == 2


# --- opening ---


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_ruined_system_is_rolled_back_and_nothing_stays_mounted(made: Loops, tmp_path: Path, kind: str) -> None:
    before = mounted()
    rescue = Rescue(made, tmp_path, kind)
    rescue.ruin()
    dry = rescue.rescue("open", "--", "rollback", "latest", "--dry-run")
    assert dry.returncode == 0 and "/boot/vmlinuz-1" in dry.stdout, dry.stderr
    assert mounted() == before
    must_have_gone_back(rescue.rescue("open", "--", "rollback", "latest", "--yes", "--scope", "files"))
    assert mounted() == before
    rescue.must_be_back()
    # It can be undone from there too.
    must_have_gone_back(rescue.rescue("open", "--", "rollback", "--undo", "--yes"))
    root = rescue.open("")
    assert (root / "mess").read_text() == "since" and not (root / "etc").exists()


def test_from_the_rescue_kit_alone(rescue: Rescue, tmp_path: Path) -> None:
    """The one file of the kit, a Python without packages, another directory."""
    rescue.ruin()
    kit.write(os.fsencode(tmp_path / "stick"))
    program = ("-I", "-S", str(tmp_path / "stick/rollpoint.pyz"))
    listed = rescue.rescue("list", "--json", program=program)
    assert [s["name"] for s in json.loads(listed.stdout)["stores"]] == [f"{rescue.disk}:/web1/store"], listed.stderr
    done = rescue.rescue("open", "--", "rollback", "1", "--yes", "--scope", "files", program=program)
    must_have_gone_back(done)
    rescue.must_be_back()


def test_json_and_the_exit_code_are_those_of_the_command(rescue: Rescue) -> None:
    done = rescue.rescue("open", "--json", "--", "list")
    assert done.returncode == 0, done.stderr
    assert [p["number"] for p in json.loads(done.stdout)["points"]] == [1]
    assert rescue.rescue("open", "--", "show", "no-such-point").returncode == 2
    unconfirmed = rescue.rescue("open", "--", "rollback", "latest")
    assert unconfirmed.returncode == 6, unconfirmed.stderr


def test_a_shell_with_the_system_ready_for_chroot(rescue: Rescue, tmp_path: Path) -> None:
    done = rescue.rescue("shell", answer=f"cat {BASE_PATH}/root/etc/hosts; ls -d {BASE_PATH}/store/web1/store/tree\n"
                         f"stat -f -c %T {BASE_PATH}/root/proc; test -c {BASE_PATH}/root/dev/null && echo a device\n"
                         f"echo since > {BASE_PATH}/root/etc/hosts; exit 7\n")
    assert done.returncode == 7, done.stderr
    said = done.stdout.splitlines()
    assert said[-4:] == ["then", f"{BASE_PATH}/store/web1/store/tree", "proc", "a device"], done.stdout
    assert (rescue.open("") / "etc/hosts").read_text() == "since\n"


def test_two_stores_are_listed_and_one_of_them_is_named(rescue: Rescue) -> None:
    rescue.loops.mount(rescue.disk, rescue.place / "backup")
    shutil.copytree(rescue.place / "backup/web1/store", rescue.place / "backup/old copy", symlinks=True)
    rescue.close()
    done = rescue.rescue("open", "--", "list")
    assert done.returncode == 2 and "2 stores" in done.stderr and f"{rescue.disk}:/old copy" in done.stderr
    chosen = rescue.rescue("open", "--store", f"{rescue.disk}:/web1/store", "--json", "--", "list")
    assert chosen.returncode == 0, chosen.stderr
    by_uuid = rescue.rescue("list", "--store", f"UUID={uuid_of(rescue.disk)}:/old copy", "--json")
    assert json.loads(by_uuid.stdout)["mapping"]["store"] == f"{rescue.disk}:/old copy"
    assert rescue.rescue("list", "--store", f"{rescue.disk}:/nothing").returncode == 2


def test_a_store_that_is_mounted_already_is_named_as_a_directory(rescue: Rescue) -> None:
    """An NFS share that the admin has mounted himself, for example."""
    rescue.ruin()
    rescue.loops.mount(rescue.disk, rescue.place / "backup")
    store = str(rescue.place / "backup/web1/store")
    done = rescue.rescue("open", "--store", store, "--", "rollback", "latest", "--yes", "--scope", "files",
                         devices=list(rescue.machine.devices.values()))
    must_have_gone_back(done)
    rescue.must_be_back()


def test_a_store_that_is_mounted_read_only_elsewhere(rescue: Rescue) -> None:
    """As the rescue system has done it by itself."""
    there = rescue.loops.mount(rescue.disk, rescue.place / "backup", "-o", "ro")
    assert rescue.rescue("list", "--json").returncode == 0
    listed = rescue.rescue("open", "--json", "--", "list")
    assert listed.returncode == 0
    note = f"{rescue.disk} could only be mounted read-only; it is mounted at {there}: unmount it there"
    assert note in listed.stderr, listed.stderr
    rescue.loops.umount(there)
    assert "read-only" not in rescue.rescue("open", "--json", "--", "list").stderr


def test_a_clone_of_the_root_is_refused_until_it_is_named(rescue: Rescue) -> None:
    root = rescue.machine.devices[""]
    shutil.copyfile(rescue.place / "image1", rescue.place / "clone")
    clone = rescue.loops.attach(rescue.place / "clone")
    refused = rescue.rescue("open", "--", "list", devices=[*rescue.devices, clone])
    assert refused.returncode == 5 and root in refused.stderr and clone in refused.stderr
    chosen = rescue.rescue("open", "--system", clone, "--json", "--", "list", devices=[*rescue.devices, clone])
    assert chosen.returncode == 0, chosen.stderr


def test_a_boot_on_a_new_disk_is_refused(rescue: Rescue) -> None:
    boot = rescue.loops.make()
    words, devices = ("open", "--map", f"/boot={boot}"), [*rescue.devices, boot]
    refused = rescue.rescue(*words, "--", "list", devices=devices)
    assert refused.returncode == 5 and "is not the file system that the point recorded at /boot" in refused.stderr
    where = rescue.loops.mount(boot, rescue.place / "somebody's")
    in_use = rescue.rescue(*words, "--adopt", "--", "list", devices=devices)
    assert in_use.returncode == 5 and f"{boot} is in use: it is mounted at {where}" in in_use.stderr
    rescue.loops.umount(where)
    assert rescue.rescue(*words, "--adopt", "--json", "--", "list", devices=devices).returncode == 0


def test_without_boot_the_rollback_is_blocked_but_looking_is_not(rescue: Rescue) -> None:
    devices = [d for p, d in rescue.machine.devices.items() if p != "boot"] + [rescue.disk]
    listed = rescue.rescue("open", "--json", "--", "list", devices=devices)
    assert listed.returncode == 0 and "/boot is not mounted" in listed.stderr, listed.stderr
    blocked = rescue.rescue("open", "--", "rollback", "latest", "--yes", devices=devices)
    assert blocked.returncode == 5 and "nothing is mounted at" in blocked.stderr, blocked.stderr


def test_another_machine_on_the_disk_is_refused(rescue: Rescue) -> None:
    root = rescue.open("")
    (root / "etc/machine-id").write_text("f" * 32 + "\n")
    (root / "etc/hostname").write_text("db7\n")
    rescue.close()
    refused = rescue.rescue("open", "--", "list")
    assert refused.returncode == 5 and "another machine (db7" in refused.stderr


def test_a_link_where_boot_was_does_not_lead_out_of_the_system(rescue: Rescue, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = rescue.open("")
    shutil.rmtree(root / "boot")
    (root / "boot").symlink_to(outside)
    rescue.close()
    done = rescue.rescue("open", "--", "rollback", "latest", "--yes")
    assert done.returncode == 5 and "/boot is no directory in that system" in done.stderr
    assert list(outside.iterdir()) == []


def test_a_store_on_the_root_that_is_rolled_back(made: Loops, tmp_path: Path) -> None:
    """The default: /var/lib/rollpoint/store of the machine itself."""
    machine = Machine(made, tmp_path, store=tmp_path / "target/var/lib/rollpoint/store")
    (machine.root / "var/lib/rollpoint").mkdir(parents=True)
    machine.point()
    (machine.root / "etc/hosts").write_text("ruined\n")
    (machine.root / "boot/vmlinuz-1").unlink()
    made.umount(machine.root)
    named = [w for d in machine.devices.values() for w in ("--device", d)]
    words = ["rescue", "open", *named, "--", "rollback", "latest", "--yes", "--scope", "files"]
    must_have_gone_back(subprocess.run([sys.executable, "-m", "tui.cli", *words], cwd=CHECKOUT, env=child_env(),
                                       capture_output=True, text=True))
    machine.mount()
    assert (machine.root / "etc/hosts").read_text() == "then\n"
    assert (machine.root / "boot/vmlinuz-1").read_text() == "kernel one"
    assert [p.number for p in machine.engine().points()] == [2, 1]


@pytest.mark.parametrize("words", [
    ["close"], ["list", "--map", "boot"], ["list", "--map", "/boot="], ["open", "--", "rescue"], ["list", "more"],
    ["shell", "x"], ["list", "--device", "/dev/nope"], ["open", "--json"],
])
def test_what_makes_no_sense_is_a_usage_error(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "tui.cli", "rescue", *words], cwd=CHECKOUT, env=child_env(),
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done.stderr


_OPENING = """
import sys
from engine.events import Job
from engine.rescue import choosing, opening
from engine.rescue.finding import survey
from engine.rescue.mapping import propose
from engine.run import Process
found = survey(Job(), devices=sys.argv[2:])
store = choosing.store(found)
mapping = propose(choosing.point(store).sources, found, store=store)
def mounted():
    with open("/proc/self/mounts") as file:
        return sum(opening.BASE.decode() in line for line in file)
with opening.open_target(store, mapping) as opened:
    print(mounted(), open(opened.root + b"/etc/hosts").read().strip())
    if sys.argv[1] == "busy":
        work = Process(["sleep", "600"])
        print(opening.others() == [work.pid])
print(mounted())
if sys.argv[1] == "busy":
    work.abandon()
"""


@pytest.mark.parametrize(("how", "left"), [("idle", 0), ("busy", 5)])
def test_all_is_unmounted_unless_something_is_still_at_work_in_it(rescue: Rescue, how: str, left: int) -> None:
    """A rollback that a screen has started goes on when the screen is left."""
    done = subprocess.run([sys.executable, "-c", _OPENING, how, *rescue.devices], cwd=CHECKOUT, env=child_env(),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["5", "then", *(["True"] if how == "busy" else []), str(left)]
