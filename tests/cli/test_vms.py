"""`vms` as its user types it: tables, JSON, exit codes, and no password anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run, assert_printable
from tests.vm_trees import OTHER, REPO, config, image, repo_path

SECRET = "g3heim"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    disk = image(root, "1.img", size=10 << 30, data=1 << 20)
    config(root, 1, OVM_simple_name="web 1", disk=[f"file:{disk},xvda,w", ",xvdb:cdrom,r"], vncpasswd=SECRET,
           vfb=[f"type=vnc,vncpasswd={SECRET},keymap=de"], maxmem=2048, pci=["01:13.0"], kernel="/boot/vmlinuz",
           rpc_secret=SECRET, about={"password": SECRET, "a": [1, None, True]})
    config(root, 2, repository=OTHER, template=True, OVM_simple_name="OL6")
    (repo_path(root) / ".ovsrepo").write_text("OVS_REPO_ALIAS=gold\n")
    return root


def test_list(run: Run, tree: Path) -> None:
    ran = run("vms")
    assert ran.code == 0 and ran.err == "" and run("vms", "list").out == ran.out
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[1] == ["web", "1", "VM", "1024", "MiB", "2", "xen_hvm", "1", "2", "10", "GiB", "1.0", "MiB", "-",
                                "gold"]
    assert lines[2][:2] == ["OL6", "template"] and lines[2][-1] == f"/OVS/Repositories/{OTHER}"
    assert ran.out.splitlines()[-1] == "1 VM and 1 template with 1 disk in 2 repositories."


def test_list_json(run: Run, tree: Path) -> None:
    document = run("vms", "--json").document
    assert [(m["name"], m["template"]) for m in document["machines"]] == [("web 1", False), ("OL6", True)]
    machine = document["machines"][0]
    assert (machine["memory_mib"], machine["max_memory_mib"], machine["vcpus"]) == (1024, 2048, 2)
    assert machine["apparent_bytes"] == 10 << 30 and machine["allocated_bytes"] == 1 << 20
    disk, drive = machine["disks"]
    assert (disk["kind"], disk["exists"], disk["device"], disk["access"]) == ("virtual disk", True, "xvda", "w")
    assert (drive["kind"], drive["exists"], drive["target"], drive["cdrom"]) == ("empty drive", None, "", True)
    assert machine["networks"][0]["mac"] == "00:21:f6:00:00:01" and machine["pci"][0]["address"] == "0000:01:13.0"
    assert machine["host_files"] == [{"key": "kernel", "path": "/boot/vmlinuz"}]
    assert [(r["kind"], r["alias"]) for r in document["repositories"]] == [("Oracle VM 3", "gold"), ("Oracle VM 3", "")]
    assert document["warnings"] == [] and document["unread"] == []


def test_show(run: Run, tree: Path) -> None:
    ran = run("vms", "show", "web 1")
    assert ran.code == 0 and ran.err == ""
    for words in ("VM          web 1", "Memory      1024 MiB (at most 2048 MiB)", "Network     00:21:f6:00:00:01, b",
                  "Console     vnc, vncpasswd=********, keymap=de", "PCI         0000:01:13.0",
                  "Host file   kernel /boot/vmlinuz", "  vncpasswd = ********", "10 GiB (1.0 MiB on the disk)",
                  '  about = {"password": "********", "a": [1, null, true]}'):
        assert words in ran.out, words
    document = run("vms", "show", "web", "--json").document
    assert document["machine"]["name"] == "web 1" and document["settings"]["memory"] == 1024
    assert document["settings"]["about"] == {"password": "********", "a": [1, None, True]}
    assert document["findings"] == [] and document["file"].startswith("name = ")


def test_show_the_file(run: Run, tree: Path) -> None:
    path = next((tree / f"OVS/Repositories/{REPO}/VirtualMachines").glob("*/vm.cfg"))
    ran = run("vms", "show", "web 1", "--file")
    own, shown = path.read_text().splitlines(), ran.out.splitlines()
    assert ran.code == 0 and len(own) == len(shown)
    assert {(a, b) for a, b in zip(own, shown, strict=True) if SECRET not in a} == {
        (a, a) for a in own if SECRET not in a}
    assert "vfb = ['type=vnc,vncpasswd=********,keymap=de']" in shown


@pytest.mark.parametrize("words", [["list"], ["check"], ["show", "web 1"], ["show", "web 1", "--file"],
                                   ["recreate", "web 1"], ["recreate", "web 1", "--for", "xl"]])
@pytest.mark.parametrize("extra", [[], ["--json"], ["-v"]])
def test_no_output_shows_a_password(run: Run, tree: Path, words: list[str], extra: list[str]) -> None:
    path = next((tree / f"OVS/Repositories/{REPO}/VirtualMachines").glob("*/vm.cfg"))
    path.write_text(path.read_text() + f"# vncpasswd={SECRET}\nx = f(password='{SECRET}')\nvncpasswd2 = '{SECRET}\n")
    ran = run("vms", *words, *extra)
    assert ran.code in (0, 3) and SECRET not in ran.out + ran.err and "3heim" not in ran.out + ran.err


def test_check(run: Run, tree: Path) -> None:
    ran = run("vms", "check")
    assert ran.code == 0 and ran.err == ""
    assert ran.out == "1 VM and 1 template with 1 disk in 2 repositories: nothing to look into.\n"
    image(tree, "lost.img")
    shared = image(tree, "s.img")
    for number in (3, 4):
        config(tree, number, disk=[f"file:{shared},xvda,w!"])
    config(tree, 5, disk=["file:/gone.img,xvda,w"])
    ran = run("vms", "check")
    assert ran.code == 3
    assert "warning: vm5: the virtual disk /gone.img (xvda) does not exist" in ran.err
    assert "lost.img (1.0 MiB, 0 B on the disk) belongs to no VM" in ran.err
    assert "note: " in ran.out and "vm3 (w!), vm4 (w!): shared on purpose" in ran.out
    assert ran.out.splitlines()[-1].endswith(": 3 things to look into.")
    ran = run("vms", "check", "--json")
    assert ran.code == 3 and ran.document["machines"] == 5 and ran.document["complete"]
    kinds = [finding["kind"] for finding in ran.document["findings"]]
    assert kinds == ["missing-disk", "orphan-disk", "outside-disk", "shared-disk"]
    assert [f["text"] for f in ran.document["findings"] if f["level"] == "warning"] == ran.document["warnings"]
    assert "note:" not in run("vms", "check", "-q").out


def test_what_cannot_be_read_is_a_warning_of_the_list(run: Run, tree: Path) -> None:
    folder = repo_path(tree) / "VirtualMachines/broken"
    folder.mkdir()
    os.mkfifo(folder / "vm.cfg")
    ran = run("vms", "--json")
    assert ran.code == 3 and "broken/vm.cfg cannot be read: it is no regular file" in ran.err
    assert ran.document["unread"][0]["why"] == "it is no regular file" and len(ran.document["machines"]) == 2


def test_statements_that_cannot_be_read(run: Run, tree: Path) -> None:
    path = config(tree, 6, OVM_simple_name="odd")
    path.write_text(path.read_text() + "import os\nmemory = 1024 * 4\n")
    ran = run("vms", "show", "odd")
    assert ran.code == 3
    assert ran.err.splitlines() == ["warning: line 9: it is no assignment of a value",
                                    "warning: line 10: memory: something follows the value"]
    assert "Memory      -" in ran.out
    assert run("vms", "check").code == 3


@pytest.mark.parametrize("words", [["nonsense"], ["show"], ["list", "x"], ["show", "nothing"], ["show", "web 1", "x"],
                                   ["--repository", "/nowhere"], ["--file"], ["--repository", ""], ["recreate", "x"],
                                   ["recreate"],
                                   ["recreate", "web 1", "--for", "4"], ["recreate", "web 1", "--network", "x"],
                                   ["list", "--for", "xl"], ["diff"], ["diff", "/nowhere"],
                                   ["recreate", "web 1", "--file"]])
def test_wrong_words(run: Run, tree: Path, words: list[str]) -> None:
    ran = run("vms", *words)
    assert ran.code == 2 and ran.out == "" and len(ran.err.splitlines()) == 2
    assert "hint: " in ran.err and "Traceback" not in ran.err


def test_which_repositories(run: Run, tree: Path, tmp_path: Path) -> None:
    both = ["--repository", f"/OVS/Repositories/{REPO}", "--repository", f"{tree}/OVS/Repositories/{OTHER}"]
    assert len(run("vms", *both, "--json").document["machines"]) == 2
    assert len(run("vms", *both[:2], "--json").document["machines"]) == 1
    conf = tmp_path / "c.yaml"
    conf.write_text(f"vms: {{repositories: [/OVS/Repositories/{OTHER}]}}\n")
    conf.chmod(0o644)
    ran = run("vms", "--config", str(conf), "--json")
    assert [m["name"] for m in ran.document["machines"]] == ["OL6"]
    conf.write_text("vms: {repositories: [/nowhere]}\n")
    assert run("vms", "--config", str(conf)).code == 2


def test_nothing_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    ran = run("vms")
    assert ran.code == 0 and "--repository" in ran.out and run("vms", "check").code == 0
    assert run("vms", "--json").document["machines"] == []


@pytest.mark.parametrize("name", ["\x1b[31mred", "‮evil", "a\nb", "\udcff\udcfe", "x" * 500, "Ünïcode ☃", "; rm -rf /"])
def test_hostile_names(run: Run, tree: Path, name: str) -> None:
    shown = name.encode("utf-8", "surrogateescape")
    path = config(tree, 7, OVM_simple_name=None, disk=[])
    more = (b"OVM_simple_name = '''NAME'''\nOVM_description = '''NAME'''\nvif = ['''bridge=NAME''']\n"
            b"disk = ['''file:/NAME,xvda,w''']\n")
    path.write_bytes(path.read_bytes() + more.replace(b"NAME", shown))
    for words in (["list"], ["check"], ["list", "--json"], ["show", str(path)[len(str(tree)):]],
                  ["show", "--file", str(path)[len(str(tree)):]]):
        ran = run("vms", *words)
        assert ran.code in (0, 3), ran
        for line in (ran.out + ran.err).split("\n"):
            assert_printable(line)


def test_what_restore_points_hold(run: Run, tree: Path) -> None:
    """Two points of the whole tree, each with an inventory point, then an edit: vm.cfg and the virtual disk are held,
    the device cannot be."""
    disk = image(tree, "own.img", size=1 << 20, data=4096)
    path = config(tree, 8, OVM_simple_name="held", disk=[f"file:{disk},xvda,w", "phy:/dev/sdz,xvdb,w", ",xvdc:cdrom,r",
                                                       "file:/gone.img,xvdd,w"])
    assert run("vms", "show", "held").out.count("there are no restore points here") == 1
    assert run("vms", "--json").document["machines"][0]["held"] is None
    assert run("snapshot", "-m", "one").code == 0
    later = tree / "later"
    later.touch()
    newest = run("snapshot", "-m", "two", "--json").document["id"]
    parts = run("vms", "show", "held", "--json").document["machine"]["held"]
    assert [(p["part"], p["points"], p["newest"], p["as_it_is"]) for p in parts] == [
        ("vm.cfg", 4, newest, True), ("xvda", 2, newest, True), ("xvdb", 0, None, False), ("xvdd", 0, None, False)]
    assert parts[2]["why"] == "on a device (physical disk)" and parts[3]["why"] == "no restore point holds it"
    path.write_text(path.read_text() + "# edited\n")
    ran = run("vms", "show", "held")
    assert f"  vm.cfg: 4 points, the newest {newest}, as it was then" in ran.out
    assert f"  xvda: 2 points, the newest {newest}, as it is now" in ran.out
    assert "  xvdb: NOT HELD: on a device (physical disk)" in ran.out and "2 of 4 parts" in ran.out
    listed = {line.split()[0]: line for line in run("vms").out.splitlines()}
    assert "  2 of 4  " in listed["held"] and "  2 of 2  " in listed["web"]


def test_a_store_that_cannot_be_asked_does_not_hide_the_vms(run: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/store.yaml").write_text("nonsense")
    ran = run("vms")
    assert ran.code == 3 and "web 1" in ran.out and "cannot be said" in ran.err


def test_recreate(run: Run, tree: Path) -> None:
    ran = run("vms", "recreate", "web 1")
    assert ran.code == 3 and len(ran.out.splitlines()) == 4
    assert "network=@NETWORK_OF_10238073C2@" in ran.out and "on ServerPool name=@SERVER_POOL@" in ran.out
    assert ran.err.splitlines() == [
        "warning: @SERVER_POOL@: a vm.cfg does not name its server pool (--pool NAME)",
        "warning: @NETWORK_OF_10238073C2@: the Manager's name of the network 10238073c2 (--network 10238073c2=NAME)"]
    filled = ["--network", "10238073c2=prod net", "--pool", "pool 1"]
    ran = run("vms", "recreate", "web 1", *filled)
    assert ran.code == 0 and ran.err == "" and "@" not in ran.out
    assert ran.out.splitlines() == [
        "create Vm memory=1024 memoryLimit=2048 cpuCount=2 cpuCountLimit=2 domainType=XEN_HVM "
        f'repository={REPO} name="web 1" on ServerPool name="pool 1"',
        'create VmDiskMapping slot=0 virtualDisk=1.img name=xvda on Vm name="web 1"',
        'create VmDiskMapping slot=1 virtualCd=EMPTY_CDROM name=xvdb on Vm name="web 1"',
        'create Vnic name=eth0 network="prod net" macAddress=00:21:f6:00:00:01 on Vm name="web 1"']
    document = run("vms", "recreate", "web 1", *filled, "--json").document
    assert document["script"] == ran.out.splitlines() and document["unknown"] == [] and document["for"] == "3.4"
    ran = run("vms", "recreate", "web 1", "--for", "xl")
    assert ran.code == 3 and 'vncpasswd = "@VNCPASSWD@"' in ran.out and "@VNCPASSWD@" in ran.err


def test_diff_with_a_restored_point(run: Run, tree: Path, tmp_path: Path) -> None:
    assert run("snapshot").code == 0
    path = next((tree / f"OVS/Repositories/{REPO}/VirtualMachines").glob("*/vm.cfg"))
    path.write_text(path.read_text().replace("1024", "8192").replace(SECRET, "other"))
    config(tree, 9, OVM_simple_name="new")
    before = tmp_path / "before"
    assert run("restore", "1", "--to", str(before)).code == 0
    ran = run("vms", "diff", str(before))
    assert ran.code == 0 and ran.err == ""
    lines = ran.out.splitlines()
    assert lines[0].startswith("new was added (VM, 0 disks, /OVS/Repositories/")
    assert lines[1:] == ["web 1: memory 1024 MiB -> 8192 MiB", "web 1: about changed", "web 1: rpc_secret changed",
                         "web 1: vfb changed", "web 1: vncpasswd changed",
                         "6 differences between 2 VMs and templates then and 3 now."]
    document = run("vms", "diff", str(before), "--json").document
    assert [c["kind"] for c in document["changes"]] == ["added"] + ["changed"] * 5
    assert run("vms", "diff", str(tree)).out == "no difference between 3 VMs and templates then and 3 now.\n"
