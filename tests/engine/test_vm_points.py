"""Inventory points: what they hold, what they share, how they are damaged, deleted, and survive a crash."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.config import Config, Vms
from engine.errors import DamageError, RefusedError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.vmpoints.backends import Inventories
from engine.vms.findings import check
from engine.vms.inventory import SeveralError
from tests.engine.harness import CHECKOUT
from tests.vm_trees import OTHER, config, image, look, repo_path


class Server:
    """A tree with VMs and a store beside it."""

    def __init__(self, place: Path) -> None:
        self.root, self.store = place / "root", place / "store"
        self.root.mkdir()
        disk = image(self.root, "1.img", size=1 << 30, data=1 << 20)
        config(self.root, 1, OVM_simple_name="web", disk=[f"file:{disk},xvda,w", ",xvdb:cdrom,r", "rbd:a/b,xvdc,w"])
        config(self.root, 2, OVM_simple_name="db", disk=["file:/gone.img,xvda,w"], vncpasswd="g3heim")
        config(self.root, 3, repository=OTHER, template=True)
        (repo_path(self.root) / ".ovsrepo").write_text("OVS_REPO_ALIAS=gold\n")

    def engine(self, **vms: object) -> Engine:
        return Engine(Config(store=str(self.store), root=str(self.root), vms=Vms(**vms)))    # type: ignore[arg-type]

    def take(self, comment: str = "", when: datetime | None = None) -> RestorePoint:
        job = Job()
        point = self.engine().vm_take(SnapshotRequest(comment, when=when), job)
        assert job.warnings == []
        return point

    def blobs(self) -> set[str]:
        return {p.name for p in (self.store / "vms/blobs").rglob("*") if p.is_file()}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def record(tree: Path) -> dict[str, tuple[object, ...]]:
    """What a directory holds, by our own reading: the oracle for an opened point."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(tree.rglob("*")):
        info = path.lstat()
        what: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        when = 0 if path.is_symlink() else info.st_mtime_ns
        found[str(path.relative_to(tree))] = (stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode), info.st_uid,
                                              info.st_gid, when, what)
    return found


def test_a_point_holds_the_inventory_as_it_was(server: Server) -> None:
    then = look(server.root)
    point = server.take("first")
    config(server.root, 1, OVM_simple_name="web", memory=4096)
    (repo_path(server.root) / "VirtualDisks/1.img").unlink()
    shutil.rmtree(repo_path(server.root, OTHER))
    held = server.engine().vm_inventory(point)
    assert held == then and held != look(server.root)
    assert [f.text for f in check(held)] == [f.text for f in check(then)] and check(held)
    assert point.backend == "vms" and point.comment == "first" and point.number == 0 and point.state == "ok"
    assert point.doc["counts"]["machines"] == 2 and point.doc["counts"]["templates"] == 1


def test_an_opened_point_is_the_tree_without_the_images(server: Server) -> None:
    """Modes, owners, times to the nanosecond, links, names of any bytes: but for disk images, which are names alone."""
    folder = repo_path(server.root) / "VirtualMachines"
    os.chmod(folder, 0o2750)
    (folder / "pool").mkdir()
    os.symlink("../nowhere", folder / "pool/link")
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/odd \xff\n%s\\"))
    odd.mkdir()
    (odd / "vm.cfg").write_text("name = 'odd'\nmemory = 1\n")
    os.utime(odd / "vm.cfg", ns=(1, 1_234_567_890_123_456_789))
    expected = record(server.root)
    del expected[f"OVS/Repositories/{repo_path(server.root).name}/VirtualDisks/1.img"]
    point = server.take()
    shutil.rmtree(server.root / "OVS")
    backend = Inventories(Config(store=str(server.store), root=str(server.root)))
    with backend.open(point, Job()) as opened:
        assert record(Path(os.fsdecode(opened.path))) == expected
        assert opened.places == tuple(sorted(b"OVS/Repositories/" + repo_path(server.root, r).name.encode()
                                             for r in ("0004fb0000030000aaaabbbbccccdddd", OTHER)))
        where = opened.path
    assert not os.path.exists(where)


def test_what_is_the_same_is_kept_once(server: Server) -> None:
    server.take()
    before = server.blobs()
    assert len(before) == 4         # three vm.cfg and .ovsrepo
    second = server.take()
    assert server.blobs() == before and (second.own_bytes or 0) <= 16 << 10
    config(server.root, 1, memory=2048)
    server.take()
    assert len(server.blobs() - before) == 1 and before <= server.blobs()


def test_plain_tools_bring_the_files_out(server: Server, tmp_path: Path) -> None:
    """FORMAT.md's line of shell."""
    point, out = server.take(), tmp_path / "out"
    script = ('while read -r sum mode uid gid path; do p=$(printf "$path"); mkdir -p "OUT/$(dirname "$p")"; '
              'cp "vms/blobs/$(echo $sum | cut -c1-2)/$sum" "OUT/$p"; done < vms/points/ID/files')
    text = Path(CHECKOUT, "engine/replica/FORMAT.md").read_text()
    assert " ".join(script.split()) in " ".join(text.split())
    subprocess.run(["sh", "-c", script.replace("OUT", str(out)).replace("ID", point.id)], cwd=server.store, check=True)
    configs = sorted(p.relative_to(server.root) for p in server.root.rglob("vm.cfg"))
    assert sorted(p.relative_to(out) for p in out.rglob("vm.cfg")) == configs
    assert all((out / p).read_bytes() == (server.root / p).read_bytes() for p in configs)


def test_differences_and_history_in_words(server: Server) -> None:
    points = [server.take()]
    server.take()
    config(server.root, 1, OVM_simple_name="www", memory=4096)
    points.append(server.take())
    config(server.root, 1, OVM_simple_name="www", memory=4096, vcpus=8)
    engine = server.engine()
    assert [c.text for c in engine.vm_changes(points[0], points[1])][:2] == [
        "web was renamed to www", "www: memory 1024 MiB -> 4096 MiB"]
    assert [c.text for c in engine.vm_changes(points[1], None)] == ["www: CPUs 2 -> 8"]
    assert engine.vm_changes(points[0], points[0]) == []
    versions = engine.vm_history("www")
    assert [(v.points, v.current, v.machine.name if v.machine else None) for v in versions] == [
        (1, True, "www"), (2, False, "web")]
    assert versions[0].changes[0].text == "web was renamed to www" and versions[1].changes == ()
    shutil.rmtree(repo_path(server.root) / f"VirtualMachines/0004fb0000060000{1:016x}")
    server.take()
    versions = engine.vm_history("www")
    assert [v.machine is None for v in versions] == [True, False, False]
    assert "was removed" in versions[0].changes[0].text
    assert [v.points for v in engine.vm_history(f"0004fb0000060000{2:016x}")] == [4]
    with pytest.raises(UsageError, match="there is no VM nothing"):
        engine.vm_history("nothing")
    with pytest.raises(SeveralError):
        engine.vm_history("0004fb")


def test_a_snapshot_takes_one_along_where_there_are_vms(server: Server, tmp_path: Path) -> None:
    job = Job()
    taken = server.engine().snapshot(SnapshotRequest("upgrade", ("t",)), job).point
    (along,) = server.engine().vm_points()
    assert job.warnings == [] and along.comment == "upgrade" and along.tags == ("t",)
    assert along.created <= taken.created
    server.engine(points=False).snapshot(SnapshotRequest(), Job())
    assert len(server.engine().vm_points()) == 1
    job = Job()
    server.engine(repositories=("/nowhere",)).snapshot(SnapshotRequest(), job)
    assert len(server.engine().vm_points()) == 1 and "no inventory point" in job.warnings[0]
    plain = tmp_path / "plain"
    plain.mkdir()
    engine = Engine(Config(store=str(tmp_path / "other"), root=str(plain)))
    engine.snapshot(SnapshotRequest(), Job())
    assert engine.vm_points() == [] and not (tmp_path / "other/vms").exists()


def test_annotate_and_delete(server: Server) -> None:
    first, second = server.take("one"), server.take("two")
    backend = Inventories(Config(store=str(server.store), root=str(server.root)))
    changed = backend.annotate(first, comment="new", pinned=True)
    assert (changed.comment, changed.pinned, changed.state) == ("new", True, "ok")
    assert backend.annotate(first, pinned=False).comment == "new"
    config(server.root, 1, memory=99)
    third = server.take()
    kept = server.blobs()
    result = server.engine().vm_delete([third], Job())
    assert result.removed == (third.id,) and result.failed == () and result.freed > 0
    assert len(kept - server.blobs()) == 1, "the vm.cfg that it alone had"
    assert {p.id for p in server.engine().vm_points()} == {first.id, second.id}
    assert server.engine().vm_inventory(second).machines
    server.engine().vm_delete([first, second], Job())
    assert server.engine().vm_points() == [] and server.blobs() == set()


@pytest.mark.parametrize("name", ["point.yaml", "inventory.json.gz", "files"])
@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_a_damaged_point_is_shown_and_harms_no_other(server: Server, name: str, how: str) -> None:
    damaged, whole = server.take(), server.take()
    path = server.store / "vms/points" / damaged.id / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink() if how == "gone" else path.write_bytes(data if how == "flip" else data[:-5])
    engine = server.engine()
    states = {p.id: p for p in engine.vm_points()}
    assert states[whole.id].state == "ok" and set(states) == {damaged.id, whole.id}
    if how != "flip" or name == "point.yaml":
        assert states[damaged.id].state == "damaged" and states[damaged.id].problems
        assert states[damaged.id].created == damaged.created
    if name != "files":
        with pytest.raises(DamageError, match=damaged.id):
            engine.vm_inventory(damaged)
    assert engine.vm_inventory(whole).machines
    job, blobs = Job(), server.blobs()
    config(server.root, 1, memory=5)
    server.engine().vm_delete([server.take()], job)
    if name == "files" or how != "flip":
        assert blobs <= server.blobs(), "nobody knows what the damaged one needs"


def test_a_damaged_content_is_found_and_mended_by_the_next_point(server: Server) -> None:
    point = server.take()
    source = next(server.root.rglob("vm.cfg"))
    blob = next(p for p in (server.store / "vms/blobs").rglob("*") if p.is_file() and
                p.read_bytes() == source.read_bytes())
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    with pytest.raises(DamageError, match="its checksum does not fit"):
        server.engine().vm_inventory(point)
    server.take()
    assert server.engine().vm_inventory(point) == look(server.root)


@pytest.mark.parametrize("where", ["vms-written", "vms-visible", "vms-hidden"])
def test_a_kill_leaves_whole_points_alone(server: Server, where: str) -> None:
    first = server.take()
    code = ("from engine.service import Engine\nfrom engine.config import Config\nfrom engine.events import Job\n"
            "from engine.results import SnapshotRequest\n"
            f"e = Engine(Config(store={str(server.store)!r}, root={str(server.root)!r}))\n")
    code += "e.vm_delete(e.vm_points(), Job())" if where == "vms-hidden" else "e.vm_take(SnapshotRequest(), Job())"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False,
                          env=os.environ | {"ROLLPOINT_KILL_AT": where, "PYTHONPATH": CHECKOUT})
    assert done.returncode == -signal.SIGKILL
    found = server.engine().vm_points()
    assert [p.state for p in found] == ["ok"] * {"vms-written": 1, "vms-visible": 2, "vms-hidden": 0}[where]
    assert (first.id in {p.id for p in found}) == (where != "vms-hidden")
    again = server.take()
    assert server.engine().vm_inventory(again) == look(server.root)
    assert not [p for p in (server.store / "work").iterdir() if "vms" in p.name], "scratch of the dead one is gone"


def test_refused(server: Server) -> None:
    with pytest.raises(RefusedError, match="read_only"):
        Engine(Config(store=str(server.store), root=str(server.root), read_only=True)).vm_take(SnapshotRequest(), Job())
    replica = server.engine().snapshot(SnapshotRequest(), Job()).point
    with pytest.raises(UsageError, match="no inventory point"):
        server.engine().vm_inventory(replica)
    path = server.store / "vms/points" / server.engine().vm_points()[0].id / "inventory.json.gz"
    assert json.loads(gzip.decompress(path.read_bytes()))["inventory"]["machines"]


def test_points_are_ordered_by_time_and_named_apart(server: Server) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    made = [server.take(when=when) for when in (now, now, now - timedelta(days=1))]
    assert [p.id for p in made] == ["2026-01-02_03-04-05-vms", "2026-01-02_03-04-05-vms-2", "2026-01-01_03-04-05-vms"]
    assert [p.id for p in server.engine().vm_points()] == [made[1].id, made[0].id, made[2].id]


def test_what_is_held_counts_all_kinds_of_points(server: Server, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/xl").write_text("""#!/bin/sh\necho '[{"domid":0,"config":{"c_info":{"name":"Domain-0"}}}]'\n""")
    (tmp_path / "bin/xl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    path = config(server.root, 4, OVM_simple_name="odd % name", disk=["file:/OVS/a b.img,xvda,w"])
    (server.root / "OVS/a b.img").write_bytes(b"x" * 5000)
    first, engine = server.take(), server.engine()

    def parts() -> list[tuple[str, int, str, bool | None]]:
        machine = engine.vms(Job()).machine("odd % name")
        found = engine.vms_held(engine.vms(Job()))
        assert found is not None and found.troubles == ()
        return [(part.what, part.points, part.newest, part.same) for part in found.parts[machine.config]]

    assert parts() == [("vm.cfg", 1, first.id, True), ("xvda", 0, "", False)]
    copied = engine.vm_take_disks(engine.vms(Job()).machine("odd % name"), SnapshotRequest(), Job())
    path.write_text(path.read_text() + "# edited\n")
    assert parts() == [("vm.cfg", 1, first.id, False), ("xvda", 1, copied.id, True)]
    (server.root / "OVS/a b.img").write_bytes(b"y" * 5001)
    assert parts()[1] == ("xvda", 1, copied.id, False)
    engine.snapshot(SnapshotRequest(), Job())
    newest = engine.points()[0].id
    assert parts()[0][1] == 3 and parts()[0][3] and parts()[1] == ("xvda", 2, newest, True)
