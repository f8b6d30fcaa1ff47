"""restore.sh and virtual machines: inventory points listed, a vm.cfg written out, with a shell and the least tools."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from engine.config import Config
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.conftest import cannot_run, loop_ext4
from tests.engine.shell import SCRIPT, SHELLS, run_script, script_copy, toolbox
from tests.engine.test_fidelity_user import NOBODY
from tests.oracle import must_equal, record
from tests.vm_trees import REPO, config, image

pytestmark = pytest.mark.root

SECRET = "opensesame"


class Server:
    """Three VMs, one in a directory of an odd name, a template, and two inventory points of them."""

    def __init__(self, place: Path) -> None:
        self.place, self.root, self.store = place, place / "root", place / "store"
        disk = image(self.root, "a.img")
        self.web = config(self.root, 1, OVM_simple_name="web", disk=[f"file:{disk},xvda,w"], vncpasswd=SECRET)
        config(self.root, 2, OVM_simple_name="O'Brien")
        config(self.root, 3, template=True, OVM_simple_name="oel7")
        self.odd = self.web.parent.parent / "a name \n%s\\ \xe9 $(touch x)/vm.cfg"
        self.odd.parent.mkdir()
        self.odd.write_text("name = 'odd'\nuuid = '1-2'\nmemory = 5\n")
        os.chmod(self.web, 0o640)
        os.chown(self.web, 1234, 4321)
        self.first = self.take("first: it's")
        self.before = self.web.read_bytes()
        self.web.write_bytes(self.before.replace(b"memory = 1024", b"memory = 8192"))
        self.second = self.take('say "x"', pin=True)

    def take(self, comment: str, *, pin: bool = False) -> RestorePoint:
        return Engine(Config(store=str(self.store), root=str(self.root))).vm_take(
            SnapshotRequest(comment, pin=pin), Job())

    @property
    def web_path(self) -> str:
        return "/" + str(self.web.relative_to(self.root))

    def said(self, tools: str, *words: str, status: int = 0) -> str:
        done = run_script(tools, str(self.store), *words)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.fixture(params=sorted(SHELLS))
def tools(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A toolbox for each kind of shell: neither rsync nor zstd nor tar is needed."""
    for name in ("dash", "busybox"):
        if not shutil.which(name):
            cannot_run(f"restore.sh under {name} (not installed)")
    return few(toolbox(str(tmp_path / "tools"), str(request.param)))


@pytest.fixture
def dash(tmp_path: Path) -> str:
    return few(toolbox(str(tmp_path / "tools-dash"), "dash"))


def few(box: str) -> str:
    kept = {"sh", "awk", "sed", "head", "tail", "tr", "cat", "rm", "dirname", "chmod", "chown", "id", "ln",
            "mktemp", "mv", "sha256sum"}
    for name in set(os.listdir(box)) - kept:
        os.unlink(os.path.join(box, name))
    return box


def test_points_and_files_are_listed(server: Server, tools: str) -> None:
    lines = server.said(tools, "vms").splitlines()[1:]
    assert [line.split()[0] for line in lines] == [server.first.id, server.second.id]
    assert "first: it's" in lines[0] and "3 VMs, 1 templates" in lines[0] and "[pinned]" not in lines[0]
    assert "[pinned]" in lines[1] and "damaged" not in "".join(lines)
    assert re.search(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", lines[0])
    said = server.said(tools, "vms", server.first.id)
    files = [line.split() for line in said.splitlines()[1:]]
    assert {(row[2], row[1], row[3]) for row in files if row[3] == "web"} == {(server.web_path, "0640", "web")}
    assert {row[3] for row in files} == {"web", "O'Brien", "oel7", "odd"} and SECRET not in said
    assert any(r"a\040name\040\012\045s\134\040" in row[2] for row in files)


@pytest.mark.parametrize("how", ["number", "path", "bare path", "name", "prefix"])
def test_a_vm_cfg_is_written_out(server: Server, tools: str, tmp_path: Path, how: str) -> None:
    """From the script's own place too; with its mode and owner, and nothing in the store touched."""
    said = server.said(tools, "vms", server.first.id)
    number = next(line.split()[0] for line in said.splitlines() if line.endswith("  web"))
    word = {"number": number, "path": server.web_path, "bare path": server.web_path[1:]}.get(how, "web")
    point = server.first.id if how != "prefix" else server.first.id[:19]
    before = record(str(server.store))
    target = tmp_path / "new name"
    if how == "prefix" and server.second.id.startswith(point):
        assert "more than one" in server.said(tools, "vms", point, word, str(target), status=1)
        point = server.first.id
    server.said(tools, "vms", point, word, str(target))
    info = target.stat()
    assert target.read_bytes() == server.before
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o640, 1234, 4321)
    server.said(tools, "vms", "latest", word, str(tmp_path / "newest"))
    assert (tmp_path / "newest").read_bytes() == server.web.read_bytes() != server.before
    must_equal(before, record(str(server.store)), "the store was written to")


def test_a_file_of_any_name_comes_out_and_runs_nothing(server: Server, tools: str, tmp_path: Path) -> None:
    path = str(server.odd.relative_to(server.root))
    for number, word in enumerate((path, "odd")):
        target = tmp_path / f"out{number}"
        server.said(tools, "vms", "latest", word, str(target))
        assert target.read_bytes() == server.odd.read_bytes()
    assert not os.path.exists("/x")


def test_from_its_place_in_the_store(server: Server, dash: str, tmp_path: Path) -> None:
    script = server.store / "rescue/restore.sh"
    script.parent.mkdir(exist_ok=True)
    shutil.copyfile(SCRIPT, script)
    done = run_script(dash, "vms", script=str(script))
    assert done.returncode == 0 and server.first.id in done.stdout
    done = run_script(dash, "vms", server.first.id, script=str(script))
    assert done.returncode == 0 and server.web_path in done.stdout
    done = run_script(dash, "vms", server.first.id, "web", str(tmp_path / "out"), script=str(script))
    assert done.returncode == 0 and (tmp_path / "out").read_bytes() == server.before


def test_nothing_is_replaced_or_written_where_it_must_not_be(server: Server, dash: str, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link"):
        assert "is there already" in server.said(dash, "vms", "latest", "web", str(tmp_path / name), status=1)
    assert target.read_text() == "mine" and not (tmp_path / "nowhere").exists()
    before = record(str(server.store))
    assert "in the store" in server.said(dash, "vms", "latest", "web", str(server.store / "vms/new"), status=1)
    must_equal(before, record(str(server.store)), "the store was written to")
    for words in (("nothing", "web"), ("latest", "no such VM"), ("latest", "99")):
        assert "there is no" in server.said(dash, "vms", *words, str(tmp_path / "out"), status=1)
    assert not (tmp_path / "out").exists()
    assert run_script(dash, str(server.store), "vms", "latest", "web").returncode == 2
    assert run_script(dash, str(server.store), "vms", "a", "b", "c", "d").returncode == 2


@pytest.mark.parametrize("checked", [True, False])
def test_a_full_disk_leaves_nothing_in_the_way(server: Server, tools: str, checked: bool) -> None:
    """Neither part of the file nor its name, so that the same words will do once there is room."""
    if not checked:
        os.unlink(os.path.join(tools, "sha256sum"))
    with loop_ext4(1 << 20, "-O ^has_journal -b 1024") as where:
        full, target = Path(where) / "full", Path(where) / "vm.cfg"
        with full.open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1024))
            os.fsync(file.fileno())
        server.said(tools, "vms", server.first.id, "web", str(target), status=1)
        assert os.listdir(where) == ["full"]
        full.unlink()
        server.said(tools, "vms", server.first.id, "web", str(target))
        assert target.read_bytes() == server.before and os.listdir(where) == ["vm.cfg"]
        assert target.stat().st_nlink == 1


def test_a_file_system_without_hard_links_will_do(server: Server, tools: str, tmp_path: Path) -> None:
    os.unlink(os.path.join(tools, "ln"))
    (tmp_path / "out").mkdir()
    server.said(tools, "vms", server.first.id, "web", str(tmp_path / "out/vm.cfg"))
    assert os.listdir(tmp_path / "out") == ["vm.cfg"]
    assert (tmp_path / "out/vm.cfg").read_bytes() == server.before


def test_names_that_several_vms_have_are_refused(server: Server, dash: str, tmp_path: Path) -> None:
    config(server.root, 9, OVM_simple_name="web")
    server.take("two of them")
    assert "more than one" in server.said(dash, "vms", "latest", "web", str(tmp_path / "out"), status=1)
    server.said(dash, "vms", "latest", server.web_path, str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["blob", "files", "point.yaml"])
def test_damage_is_refused(server: Server, tools: str, tmp_path: Path, name: str) -> None:
    folder = server.store / "vms/points" / server.first.id
    blobs = [path for path in (server.store / "vms/blobs").rglob("*") if path.is_file()]
    path = next(p for p in blobs if p.read_bytes() == server.before) if name == "blob" else folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    said = server.said(tools, "vms", server.first.id, server.web_path, str(tmp_path / "out"), status=1)
    assert "damaged" in said and not (tmp_path / "out").exists()
    assert ("[damaged]" in server.said(tools, "vms").splitlines()[1]) == (name != "blob")
    server.said(tools, "vms", server.second.id, server.web_path, str(tmp_path / "out"))


def test_without_sha256sum_it_is_said(server: Server, dash: str, tmp_path: Path) -> None:
    os.unlink(os.path.join(dash, "sha256sum"))
    assert "not compared" in server.said(dash, "vms", server.first.id, "web", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == server.before


def test_an_ordinary_user_is_told_what_is_missing(server: Server, dash: str) -> None:
    os.chmod(server.place, 0o755)
    copy, out = server.place / "copy", server.place / "his"
    subprocess.run(["cp", "-a", str(server.store), str(copy)], check=True)
    subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
    out.mkdir()
    os.chown(out, NOBODY, NOBODY)
    for parent in [p for p in out.parents if p.is_relative_to("/tmp") and p != Path("/tmp")]:
        os.chmod(parent, os.stat(parent).st_mode | 0o011)
    done = run_script(dash, str(copy), "vms", server.first.id, "web", str(out / "vm.cfg"),
                      script=script_copy(str(server.place)), user=NOBODY)
    assert done.returncode == 3 and "not root" in done.stderr, done.stderr
    assert (out / "vm.cfg").read_bytes() == server.before and stat.S_IMODE((out / "vm.cfg").stat().st_mode) == 0o640


def test_a_store_without_points_of_the_tree_will_do(server: Server, dash: str) -> None:
    assert not list((server.store / "points").glob("*"))
    assert server.second.id in server.said(dash, "vms") and REPO in server.said(dash, "vms", "latest")
