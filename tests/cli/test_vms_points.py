"""Points of VMs as their user types it: taken, listed, looked into, compared, brought back, pruned."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.vm_trees import REPO, config, image, repo_path

SECRET = "g3heim"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two VMs, and an `xl` that lists none of them."""
    root = tmp_path / "root"
    names = [image(root, name, size=4 << 20, data=1 << 16) for name in ("a.img", "b.img")]
    config(root, 1, OVM_simple_name="web", disk=[f"file:{names[0]},xvda,w"], vncpasswd=SECRET)
    config(root, 2, OVM_simple_name="db", disk=[f"file:{names[1]},xvda,w"])
    runs(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return root


def runs(place: Path, *names: str) -> None:
    (place / "bin").mkdir(exist_ok=True)
    found = [{"domid": number, "config": {"c_info": {"name": name, "uuid": ""}}}
             for number, name in enumerate(("Domain-0", *names))]
    (place / "bin/answer").write_text(json.dumps(found))
    tool = place / "bin/xl"
    tool.write_text(f"#!/bin/sh\nexec cat {place}/bin/answer\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


def test_inventory_points(run: Run, tree: Path) -> None:
    assert "no points of virtual machines yet" in run("vms", "points").out
    first = run("vms", "take", "-m", "before", "--tag", "t", "--pin", "--json").document
    assert first["backend"] == "vms" and first["pinned"] and first["tags"] == ["t"] and first["comment"] == "before"
    assert first["document"]["counts"]["machines"] == 2
    config(tree, 1, OVM_simple_name="web", memory=4096, vncpasswd=SECRET + "new")
    second = run("snapshot", "--backend", "vms", "--json").document["id"]
    ran = run("vms", "diff", first["id"], second)
    assert ran.code == 0 and "web: memory 1024 MiB -> 4096 MiB\n" in ran.out and "web: disk xvda was removed" in ran.out
    assert "vncpasswd changed" in ran.out and SECRET not in ran.out
    assert run("vms", "diff", second).out == run("vms", "diff", second, "live").out
    assert run("vms", "diff", second, "--json").document["changes"] == []
    assert "4096" in run("vms", "show", "web").out
    ran = run("vms", "show", "web", "--point", first["id"])
    assert ran.code == 0 and "Memory      1024 MiB" in ran.out and SECRET not in ran.out and "Held" not in ran.out
    assert run("vms", "list", "--point", first["id"], "--json").document["machines"][1]["memory_mib"] == 1024
    assert "name=web on" in run("vms", "recreate", "web", "--point", first["id"]).out.splitlines()[0]
    assert run("vms", "check", "--point", first["id"]).code == 0
    history = run("vms", "history", "web", "--json").document["versions"]
    assert [(v["first"], v["current"]) for v in history] == [(second, True), (first["id"], False)]
    assert "web: memory 1024 MiB -> 4096 MiB" in history[0]["changes"]
    assert SECRET not in json.dumps(history) + run("vms", "history", "web").out
    listed = run("vms", "points").out.splitlines()
    assert listed[1].split()[0] == second and "2 VMs, 0 templates, 1 disk" in listed[1] and "pinned" in listed[2]


def test_the_verbs_of_all_points(run: Run, tree: Path, tmp_path: Path) -> None:
    """list, show, ls, cat, restore, diff, comment, pin, verify, prune, delete."""
    replica = run("snapshot", "-m", "both", "--json").document["id"]
    (along,) = run("list", "--backend", "vms", "--json").document["points"]
    assert along["comment"] == "both" and {p["id"] for p in run("list", "--json").document["points"]} == {
        replica, along["id"]}
    assert run("show", "latest", "--json").document["id"] == replica
    ident, folder = along["id"], f"/OVS/Repositories/{REPO}"
    path = f"{folder}/VirtualMachines/0004fb0000060000{1:016x}/vm.cfg"
    assert [e["path"] for e in run("ls", ident, folder, "--json").document["entries"]] == [
        f"{folder}/VirtualDisks", f"{folder}/VirtualMachines"]
    assert run("cat", ident, path).out == (tree / path[1:]).read_text()
    assert run("restore", ident, "--to", str(tmp_path / "out")).code == 0
    assert (tmp_path / "out" / path[1:]).read_bytes() == (tree / path[1:]).read_bytes()
    config(tree, 1, memory=2)
    other = run("vms", "take", "--json").document["id"]
    assert f"M  {path}" in run("diff", ident, other).out
    assert run("comment", ident, "x").code == 0 and run("pin", ident).code == 0
    assert run("show", ident, "--json").document["comment"] == "x"
    assert run("verify", ident, other).code == 0
    everything = run("verify", "--json").document
    assert everything["points"] == len(run("list", "--json").document["points"]) and not everything["damage"]
    blob = next(p for p in (tmp_path / "store/vms/blobs").rglob("*") if b"'web'" in (p.read_bytes() if p.is_file() else
                                                                                     b""))
    blob.write_bytes(b"rotten")
    ran = run("verify", ident)
    assert ran.code == 7 and "its checksum does not fit" in ran.out
    assert run("rollback", ident, "--yes").code == 5
    assert run("prune", "--yes").code == 0
    assert run("delete", other, ident, "--yes").code == 0
    assert [p["id"] for p in run("list", "--json").document["points"]] == [replica]


def test_bringing_a_vm_cfg_back(run: Run, tree: Path, tmp_path: Path) -> None:
    point = run("vms", "take", "--json").document["id"]
    path = tree / f"OVS/Repositories/{REPO}/VirtualMachines/0004fb0000060000{1:016x}/vm.cfg"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"1024", b"4096").replace(SECRET.encode(), b"n3u"))
    words = ["vms", "restore", "web", "--from", point, "--vm-cfg"]
    ran = run(*words, "--dry-run")
    assert ran.code == 0 and "web: memory 4096 MiB -> 1024 MiB" in ran.out and "dry run" in ran.out
    assert SECRET not in ran.out + ran.err and "n3u" not in ran.out + ran.err
    ran = run(*words)
    assert ran.code == 6 and path.read_bytes() != before, "nobody is there to ask"
    runs(tmp_path, f"0004fb0000060000{1:016x}")
    assert run(*words, "--dry-run").code == 5
    ran = run(*words, "--yes")
    assert ran.code == 5 and "web runs" in ran.err and path.read_bytes() != before
    runs(tmp_path)
    document = run(*words, "--yes", "--json").document
    assert path.read_bytes() == before and (tree / document["result"]["aside"][1:]).exists()
    assert run(*words, "--yes").code == 0 and run(*words, "--yes", "--json").document["result"] is None


def test_bringing_disks_back(run: Run, tree: Path, tmp_path: Path) -> None:
    point = run("vms", "take", "web", "-m", "x", "--json").document["id"]
    assert run("vms", "points", "db", "--json").document["points"] == []
    assert [p["id"] for p in run("vms", "points", "web", "--json").document["points"]] == [point]
    disks = repo_path(tree) / "VirtualDisks"
    before = (disks / "a.img").read_bytes()
    (disks / "a.img").write_bytes(b"spoiled")
    ran = run("vms", "restore", "web", "--from", point, "--disks", "--dry-run")
    assert ran.code == 0 and "xvda" in ran.out and "4.0 MiB" in ran.out and "stays as" in ran.out
    assert run("vms", "restore", "web", "--from", point, "--disks").code == 6
    assert (disks / "a.img").read_bytes() == b"spoiled"
    document = run("vms", "restore", "web", "--from", point[:-8], "--disks", "xvda", "--yes", "--json").document
    assert (disks / "a.img").read_bytes() == before and document["result"]["devices"] == ["xvda"]
    assert (tree / document["result"]["aside"][0][1:]).read_bytes() == b"spoiled"
    replica = run("snapshot", "--json").document["id"]
    (disks / "b.img").unlink()
    assert run("vms", "restore", "db", "--from", replica, "--disks", "--yes").code == 0
    assert (disks / "b.img").stat().st_size == 4 << 20
    ran = run("vms", "check")
    assert ran.code == 3 and "moved aside when a disk was brought back" in ran.err
    assert run("vms", "restore", "--resume").code == 2
    assert run("vms", "restore", "web", "--from", "latest", "--disks", "--yes").code == 5


@pytest.mark.parametrize("words", [
    ["restore"], ["restore", "web"], ["restore", "web", "--from", "x"], ["restore", "web", "--from", "x", "--disks"],
    ["restore", "web", "--from", "x", "--vm-cfg"], ["restore", "web", "--from", "x", "--vm-cfg", "--disks"],
    ["restore", "web", "xvda", "--from", "x", "--vm-cfg"], ["history"], ["history", "nothing"], ["take", "nothing"],
    ["take", "a", "b"], ["list", "-m", "x"], ["show", "web", "--point", "nothing"], ["diff", "nothing"],
    ["diff", "a", "b", "c"], ["points", "nothing"], ["list", "--stopped"], ["manager", "x"],
    ["list", "--point", "x", "--repository", "/"], ["restore", "--resume", "--disks"]])
def test_wrong_words(run: Run, tree: Path, words: list[str]) -> None:
    ran = run("vms", *words)
    assert ran.code == 2 and ran.out == "" and "hint: " in ran.err and "Traceback" not in ran.err


def test_manager_and_recipes(run: Run, tree: Path) -> None:
    assert "no Oracle VM Manager here" in run("vms", "manager").out
    (tree / "etc/sysconfig").mkdir(parents=True)
    (tree / "etc/sysconfig/ovmm").write_text(f"UUID=0004fb\nDBPASS={SECRET}\n")
    ran = run("vms", "manager")
    assert ran.code == 3 and "0004fb" in ran.out and "no automatic backup" in ran.err and SECRET not in ran.out
    assert SECRET not in json.dumps(run("vms", "manager", "--json").document)
    assert run("vms", "recipes").code == 0 and run("vms", "recipes", "--json").document["recipes"] == []
