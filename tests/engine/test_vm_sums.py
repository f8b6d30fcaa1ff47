"""Checksums of copied disks: made while copying or afterwards, checked by `verify` and when a disk comes back."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import DamageError
from engine.events import Job, Progress
from engine.points import RestorePoint
from engine.replica.layout import Store
from engine.results import SnapshotRequest, VerifyReport
from engine.vmpoints.sums import BLOCK, Sum, of_file
from tests.engine.loops import Loops
from tests.engine.test_vm_restore import Host

MADE = {"a.img": "xvda", "b.img": "xvdb", "shared.img": "xvdc"}


def oracle(data: bytes) -> str:
    """The same by the plain words of the format."""
    blocks = [data[at:at + (4 << 20)] for at in range(0, len(data), 4 << 20)]
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()


@pytest.fixture(params=["xfs", "btrfs", "ext4"])
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Two file systems with reflinks, one without."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    loops = Loops(tmp_path)
    try:
        kind = str(request.param)
        device = loops.make(kind, *(("-m", "reflink=1") if kind == "xfs" else ()), mib=320 if kind == "xfs" else 200)
        yield Host(tmp_path, loops.mount(device, tmp_path / "root"))
    finally:
        loops.close()


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "root").mkdir()
    return Host(tmp_path, tmp_path / "root")


def place(host: Host, point: RestorePoint) -> Path:
    """The point's own directory in the store."""
    return host.store / "vms/disks" / point.id


def copies(host: Host, point: RestorePoint) -> dict[str, Path]:
    return {path.name: path for path in (host.disks / ".rollpoint-disks").glob(f"*/{point.id}/*.img")}


def sums(host: Host, point: RestorePoint) -> dict[str, str]:
    """The recorded checksums, read by hand, by the name of the disk."""
    rows = json.loads((place(host, point) / "disks.json").read_text())
    found = {row["copy"]: row["sum"] for row in rows if "sum" in row}
    later = place(host, point) / "sums.yaml"
    if later.exists():
        text, _, seal = later.read_text().rpartition("# sha256: ")
        assert hashlib.sha256(text.encode()).hexdigest() == seal.strip()
        found |= json.loads(text)["sums"]
    return {os.path.basename(path): one for path, one in found.items()}


def rot(path: Path) -> None:
    """Change a byte, and nothing that shows from outside."""
    info = path.stat()
    with open(path, "r+b") as file:
        file.seek(70_000)
        byte = file.read(1)
        file.seek(70_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def verified(host: Host, point: RestorePoint, *, data: bool) -> VerifyReport:
    return host.engine().verify([point], Job(), data=data)


# --- the checksum itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 4097])
@pytest.mark.parametrize("holes", [False, True])
def test_it_is_what_the_format_says(tmp_path: Path, size: int, holes: bool) -> None:
    """Holes, blocks of zeroes that are written, data at the edges; in steps of any length."""
    path, rng = tmp_path / "disk", random.Random(size)
    with open(path, "wb") as file:
        file.truncate(size)
        for at in range(0, size, BLOCK):
            if not holes or at // BLOCK % 2:
                file.seek(at)
                file.write(rng.randbytes(min(5000, size - at)) if at // BLOCK != 2 else bytes(min(BLOCK, size - at)))
    data = path.read_bytes()
    assert len(data) == size and of_file(bytes(path), Job())[0] == oracle(data)
    with open(path, "rb") as file:
        made = Sum(file.fileno(), size)
        end = 0
        while end < size:
            end += rng.randrange(1, 2 * BLOCK)
            made.upto(end)
        assert made.hex() == oracle(data)
    words = f"split -b 4M --filter=sha256sum {shlex.quote(str(path))} | cut -c1-64 | tr a-f A-F | basenc -d -i --base16"
    said = subprocess.run(["sh", "-c", f"{words} | sha256sum"], capture_output=True, text=True, check=True).stdout
    assert size == 0 or said.split()[0] == oracle(data)


@pytest.mark.root
def test_holes_are_not_read(tmp_path: Path) -> None:
    loops = Loops(tmp_path)
    try:
        path = loops.mount(loops.make("ext4"), tmp_path / "m") / "disk"
        with open(path, "wb") as file:
            file.truncate(200 * BLOCK)
            file.seek(150 * BLOCK)
            file.write(b"x")
        found, read = of_file(bytes(path), Job())
        assert found == oracle(path.read_bytes()) and read == BLOCK
    finally:
        loops.close()


def test_a_disk_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(BLOCK))
    with open(path, "r+b") as file:
        made = Sum(file.fileno(), 2 * BLOCK)
        os.truncate(path, 100)
        with pytest.raises(OSError, match="shorter"):
            made.upto(2 * BLOCK)


# --- in points of disks ----------------------------------------------------------------------------------------------


@pytest.mark.root
def test_every_copy_has_one_and_damage_is_found(host: Host) -> None:
    point = host.take()
    assert sums(host, point) == {name: oracle((host.disks / name).read_bytes()) for name in MADE}
    ways = {row["way"] for row in json.loads((place(host, point) / "disks.json").read_text())}
    assert (place(host, point) / "sums.yaml").exists() == (ways == {"reflink"})
    good = verified(host, point, data=True)
    assert not good.damage and good.entries == 3 and good.unsummed == 0 and good.bytes_read >= 3 << 20
    assert verified(host, point, data=False).bytes_read == 0
    rot(copies(host, point)["b.img"])
    assert not verified(host, point, data=False).damage
    (found,) = verified(host, point, data=True).damage
    assert found.path.endswith(b"b.img") and "checksum does not fit" in found.text
    host.spoil("a.img", "b.img")
    spoiled = host.sums()
    with pytest.raises(DamageError, match="is not what was copied then"):
        host.restore(point)
    assert host.sums() == spoiled and host.engine().vm_interrupted() == ""
    host.restore(point, "xvda")
    assert host.sums()["a.img"] != spoiled["a.img"]


@pytest.mark.root
def test_points_without_checksums_stay_what_they_were(host: Host) -> None:
    point, before = host.take(), host.sums()
    without(host, point)
    report = verified(host, point, data=True)
    assert not report.damage and report.unsummed == 3 and report.bytes_read == 0
    assert verified(host, point, data=False).unsummed == 0
    host.spoil("a.img", "b.img")
    host.restore(point)
    assert {n: host.sums()[n] for n in ("a.img", "b.img")} == {n: before[n] for n in ("a.img", "b.img")}


@pytest.mark.root
@pytest.mark.parametrize("known", [True, False])
def test_a_reflink_is_read_only_for_a_checksum_that_is_known(host: Host, monkeypatch: pytest.MonkeyPatch, known: bool
                                                             ) -> None:
    """Its blocks are those of the copy: there is nothing to compare them with but the checksum."""
    point, before = host.take(), host.sums()
    reflinks = {row["way"] for row in json.loads((place(host, point) / "disks.json").read_text())} == {"reflink"}
    if not known:
        without(host, point)
    host.spoil("a.img", "b.img")
    read: list[bytes] = []

    def reading(path: bytes, job: Job, doing: str) -> tuple[str, int]:
        read.append(path)
        return of_file(path, job, doing)

    monkeypatch.setattr("engine.vmpoints.sources.of_file", reading)
    host.restore(point)
    assert {n: host.sums()[n] for n in ("a.img", "b.img")} == {n: before[n] for n in ("a.img", "b.img")}
    assert len(read) == (2 if reflinks == known else 0), read


def without(host: Host, point: RestorePoint) -> None:
    """Make a point what an older Rollpoint would have made."""
    folder = place(host, point)
    (folder / "sums.yaml").unlink(missing_ok=True)
    rows = [{key: value for key, value in row.items() if key != "sum"}
            for row in json.loads((folder / "disks.json").read_text())]
    data = json.dumps(rows).encode()
    (folder / "disks.json").write_bytes(data)
    text = (folder / "point.yaml").read_text().rpartition("# sha256: ")[0]
    document = json.loads(text)
    document["files"]["disks.json"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    text = json.dumps(document) + "\n"
    (folder / "point.yaml").write_text(f"{text}# sha256: {hashlib.sha256(text.encode()).hexdigest()}\n")


@pytest.mark.root
def test_damaged_checksums_are_said_and_stop_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    loops = Loops(tmp_path)
    try:
        one = Host(tmp_path, loops.mount(loops.make("btrfs", mib=200), tmp_path / "root"))
        point, before = one.take(), one.sums()
        with open(place(one, point) / "sums.yaml", "r+b") as file:
            file.seek(40)
            file.write(b"XX")
        (found,) = verified(one, point, data=False).damage
        assert "its checksums cannot be read" in found.text
        one.spoil("a.img")
        plan = one.engine().vm_plan_disks(point, "web", Job())
        assert not plan.blocked and any("checksums cannot be read" in f.text for f in plan.findings)
        one.restore(point)
        assert one.sums()["a.img"] == before["a.img"]
    finally:
        loops.close()


@pytest.mark.root
def test_stopped_while_checksums_are_made_the_point_is_there(host: Host) -> None:
    """The point is visible before; the write lock is free meanwhile."""
    phases: list[tuple[str, str, int]] = []

    def listen(progress: Progress) -> None:
        if progress.phase == "making checksums":
            holder = Store(os.fsencode(host.store), {}).holder()
            phases.append((progress.phase, holder, len(host.engine().vm_disk_points())))
            job.cancel()

    job = Job(on_progress=listen)
    point = host.take(job)
    reflinks = {row["way"] for row in json.loads((place(host, point) / "disks.json").read_text())} == {"reflink"}
    assert phases == ([("making checksums", "", 1)] if reflinks else [])
    assert any("not all of its checksums were made: it was stopped" in text for text in job.warnings) == reflinks
    assert point.state == "ok" and verified(host, point, data=True).unsummed == (3 if reflinks else 0)


@pytest.mark.root
def test_a_point_may_be_deleted_while_its_checksums_are_made(host: Host) -> None:
    """Reading for hours keeps nobody from deleting; that the point is gone then is a warning."""
    asked: list[str] = []
    gone: list[str] = []

    def listen(progress: Progress) -> None:
        if progress.phase == "making checksums" and not asked:
            (point,) = host.engine().vm_disk_points()
            asked.append(point.id)
            gone.extend(host.engine().vm_delete([point], Job()).removed)

    job = Job(on_progress=listen)
    point = host.take(job)
    assert gone == asked, job.warnings
    assert gone in ([], [point.id])
    told = [text for text in job.warnings if "not all of its checksums were made: " in text]
    assert ["No such file" in text for text in told] == [True] * len(gone)
    assert [one.id for one in host.engine().vm_disk_points()] == ([] if gone else [point.id])


def test_all_points_in_the_store_are_verified_together(plain: Host) -> None:
    engine = plain.engine()
    replica = engine.snapshot(SnapshotRequest(), Job()).point      # takes an inventory point along
    (inventory,), copied = engine.vm_points(), plain.take()
    kept = engine.kept_points()
    assert {p.id for p in kept} == {replica.id, inventory.id, copied.id}
    good = engine.verify(kept, Job(), data=True)
    assert good.points == 3 and not good.damage and good.bytes_read > 3 << 20
    rot(copies(plain, copied)["a.img"])
    blob = next(path for path in (plain.store / "vms/blobs").rglob("*") if path.is_file())
    blob.write_bytes(b"rotten")
    inside = next((plain.store / "tree").rglob("db.img"))
    rot(inside)
    assert {damage.point for damage in engine.verify(kept, Job(), data=True).damage} >= {inventory.id, copied.id}
    assert any(damage.path.endswith(b"db.img") for damage in engine.verify(kept, Job(), data=True).damage)
