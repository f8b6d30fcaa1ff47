"""The screens about VMs: the tree, coverage, findings, inventory points, differences; cancellable, no secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import DamageError, RollpointError
from engine.vms.findings import check
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_storage import storage_points
from tests.tui.fake_vms import NAMES, PASSWORD, inventory
from tests.tui.scenes import ODD_VM, SCENES, Guide
from tests.vm_trees import OTHER, config, image, look, repo_path
from tui.screens.history import HistoryScreen
from tui.screens.vm import VmScreen
from tui.screens.vmchanges import VmChangesScreen
from tui.screens.vmfinding import FindingScreen
from tui.screens.vms import VmsScreen
from tui.vmwords import look_through
from tui.widgets.rows import Row, RowList
from tui.widgets.vmrows import CoverageRows, FindingRows, MachineRows

VM_SCENES = [scene for scene in SCENES if scene.keys[:1] == ("V",)]


def rows(pilot: AppPilot) -> RowList:
    """The list of the screen in front."""
    return pilot.app.screen.query_one("#view-rows", RowList)


def tree(pilot: AppPilot) -> list[str]:
    """The names in the tree, a disk by its device."""
    source = rows(pilot).source
    assert isinstance(source, MachineRows)
    return [n.repository.path.decode()[-4:] if n.machine is None else n.machine.name if n.disk is None
            else n.machine.disks[n.disk].spec.vdev for n in source.nodes]


async def test_every_vm_and_template_is_in_the_tree_below_its_repository() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await press(pilot, "V")
        assert tree(pilot) == ["aaaa", *sorted(NAMES), "bbbb", "oel7"]
        text = screen_text(pilot)
        assert "6 VMs, 1 template, 12 disks in 2 repositories" in text and "oel7 (template)" in text
        assert "2 parts in no point" in text and "NOT ALL COULD BE READ" in text


async def test_opening_and_closing_in_the_tree() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "down", "right")
        assert tree(pilot)[:5] == ["aaaa", "build", "xvda", "xvdc", "db01"]
        await press(pilot, "down", "left")      # from a disk to its VM
        assert rows(pilot).cursor == 1
        await press(pilot, "left")
        assert tree(pilot)[:3] == ["aaaa", "build", "db01"] and rows(pilot).cursor == 1
        await press(pilot, "left", "left")      # to the repository, which then closes
        assert tree(pilot) == ["aaaa", "bbbb", "oel7"] and rows(pilot).cursor == 0
        await press(pilot, "enter", "asterisk")
        assert tree(pilot).count("xvda") == 7
        await press(pilot, "asterisk")
        assert "xvda" not in tree(pilot)
        await press(pilot, "down", "space", "down", "space")    # closed again from its own disk
        assert "xvda" not in tree(pilot) and rows(pilot).cursor == 1


async def test_the_filter_looks_at_names_disks_and_networks_and_keeps_headings() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "slash", *"shared.img")
        assert tree(pilot) == ["aaaa", "db01", "db02"]
        await press(pilot, *" db02")
        assert tree(pilot) == ["aaaa", "db02"]
        await press(pilot, "enter", "2")
        source = rows(pilot).source
        assert isinstance(source, CoverageRows) and {m.name for m, _ in source.rows} == {"db02"}
        await press(pilot, "escape", "1")       # clears the filter first
        assert isinstance(pilot.app.screen, VmsScreen) and len(tree(pilot)) == 9
        await press(pilot, "slash", *PASSWORD)
        assert tree(pilot) == []                # a password is not found by looking for it


async def test_coverage_says_which_part_no_point_holds() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "2")
        source = rows(pilot).source
        assert isinstance(source, CoverageRows) and source.missing == 2
        held = [(m.name, p.what) for m, p in source.rows if p is not None and not p.held]
        assert held == [("ldap", "xvdb"), ("mail", "xvdb")]
        assert "on a device (physical disk)" in screen_text(pilot)
        await press(pilot, "n")
        source = rows(pilot).source
        assert isinstance(source, CoverageRows)
        assert [(m.name, p and p.what) for m, p in source.rows] == [
            ("ldap", None), ("ldap", "xvdb"), ("mail", None), ("mail", "xvdb")]
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, VmScreen) and "[3 Coverage]" in screen_text(pilot)
        assert "ldap" in screen_text(pilot)


async def test_coverage_counts_the_snapshots_of_the_storage() -> None:
    """Of them it is known that they hold the file system, or a device as a whole, and no more."""
    engine = FakeEngine()
    engine.vm_storage, engine.vm_whole = tuple(storage_points()[:2]), True
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, "V", "2")
        source = rows(pilot).source
        assert isinstance(source, CoverageRows) and source.missing == 0
        at = next(i for i, (m, p) in enumerate(source.rows) if m.name == "ldap" and p is not None and p.what == "xvdb")
        assert "zfs 2024-11-20 02:42, whole disk" in "".join(text for text, _ in source.row(at, 120))
        said = "".join(text for text, _ in source.line(next(
            i for i, (m, p) in enumerate(source.rows) if m.name == "db01" and p is not None and p.what == "xvda")))
        assert "in 4 points" in said and "zfs 2" in said and "replica 2" in said
        assert "the file system that it lies on" in said
        assert "zfs 2024-11-20 02:42, its volume" in screen_text(pilot) and "NOT HELD" not in screen_text(pilot)


async def test_coverage_says_whose_points_could_not_be_asked() -> None:
    engine = FakeEngine()
    engine.vm_troubles = ("lvm: vgs has failed",)
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, "V", "2")
        text = screen_text(pilot)
        assert "Not all points could be asked: lvm: vgs has failed" in text
        source = rows(pilot).source
        assert isinstance(source, CoverageRows)
        assert [p.why for _, p in source.rows if p is not None and not p.held] == [
            "on a device (physical disk), and not all points could be asked",
            "no restore point that could be asked holds it"]
        await press(pilot, "1", "right", "down", "enter")
        assert isinstance(pilot.app.screen, VmScreen)
        await press(pilot, "W")
        assert "Not all points could be asked: lvm: vgs has failed" in screen_text(pilot)


async def test_the_versions_of_a_part_are_one_key_away() -> None:
    engine = FakeEngine()
    engine.vm_found = replace(inventory(), machines=tuple(replace(m, file=b"etc/fstab") for m in inventory().machines))
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "2", "down", "enter")
        assert isinstance(pilot.app.screen, HistoryScreen) and "/etc/fstab" in screen_text(pilot)


@pytest.mark.parametrize("failing", [False, True])
async def test_without_a_store_the_vms_are_shown_all_the_same(failing: bool) -> None:
    engine = FakeEngine()
    engine.vm_store = False
    if failing:
        engine.fail["vms_held"] = DamageError("the catalog is damaged")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V")
        assert len(tree(pilot)) == 9 and "in no point" not in screen_text(pilot)
        await press(pilot, "2")
        assert ("the catalog is damaged" if failing else "there is no store") in screen_text(pilot)


async def test_from_a_finding_to_its_vm_and_back_and_from_the_vm_to_its_finding() -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "V", "3")
        source = rows(pilot).source
        assert isinstance(source, FindingRows)
        kinds = [finding.kind for finding in source.findings]
        await press(pilot, *["down"] * kinds.index("missing-disk"), "enter")
        screen = pilot.app.screen
        assert isinstance(screen, VmScreen) and screen.machine.name == "mail" and screen.view == "Findings"
        found = rows(pilot).source
        assert isinstance(found, FindingRows) and found.findings[rows(pilot).cursor].kind == "missing-disk"
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, FindingScreen) and "gone.img" in screen_text(pilot)
        await press(pilot, "escape", "escape")
        assert isinstance(pilot.app.screen, VmsScreen)
        assert rows(pilot).cursor == kinds.index("missing-disk")
        await press(pilot, "home", *["down"] * kinds.index("shared-disk"), "enter")
        assert isinstance(pilot.app.screen, FindingScreen) and "about 2 VMs" in screen_text(pilot)
        await press(pilot, "down", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, VmScreen) and screen.machine.name == "db02"


async def test_findings_are_of_the_vm_they_are_about_also_where_two_have_one_name(tmp_path: Path) -> None:
    config(tmp_path, 1, OVM_simple_name="twin", disk=["file:/OVS/Repositories/x/gone.img,xvda,w"])
    config(tmp_path, 2, OVM_simple_name="twin", disk=[f"file:{image(tmp_path, '2.img')},xvda,w"])
    seen = look_through(look(tmp_path))
    one, two = sorted(seen.inventory.machines, key=lambda m: m.config)
    assert [seen.findings[at].kind for at in seen.about[one.config]] == ["missing-disk", "outside-disk"]
    assert seen.about[two.config] == ()
    assert [m.config for m in seen.machines(seen.findings[0])] == [one.config]


async def test_looking_can_be_stopped_and_begun_again() -> None:
    engine = FakeEngine()
    engine.hold.clear()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await pilot.press("V")
        await until(pilot, lambda: "Reading configurations" in screen_text(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "Stopped." in screen_text(pilot))
        assert isinstance(pilot.app.screen, VmsScreen)
        engine.hold.set()
        await press(pilot, "u")
        assert len(tree(pilot)) == 9


async def test_a_scan_that_is_left_is_told_to_stop() -> None:
    engine = FakeEngine()
    engine.hold.clear()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await pilot.press("V")
        await until(pilot, lambda: "Reading configurations" in screen_text(pilot))
        await pilot.press("q")
        await settle(pilot)             # ends only because the job was told to stop: it is held all the time
        assert not isinstance(pilot.app.screen, VmsScreen)
    engine.hold.set()


async def test_what_changed_between_two_points_and_until_now() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "4", "down", "d")
        text = screen_text(pilot)
        assert isinstance(pilot.app.screen, VmChangesScreen) and "2024-11-13" in text and "until now" in text
        assert "1 added, 1 removed, 1 changed" in text and "memory 2048 MiB -> 4096 MiB" in text
        await press(pilot, "4")
        assert "was added" not in screen_text(pilot) and "memory 2048" in screen_text(pilot)
        await press(pilot, "left_square_bracket")
        assert "2024-11-06" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, VmScreen) and "web01" in screen_text(pilot)
        await press(pilot, "escape", "escape", "m", "up", "d")
        assert "VMs from point 2024-11-13" in screen_text(pilot) and "to point 2024-11-20" in screen_text(pilot)


async def test_an_inventory_point_opens_as_it_was() -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "V", "4", "enter")
        text = screen_text(pilot)
        assert "VMs in point 2024-11-20" in text and " 2048 " in text and "Coverage" not in text
        await press(pilot, "s")
        assert "take one from the VMs as they are now" in screen_text(pilot)


async def test_taking_an_inventory_looks_again() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "s", *"before", "enter")
        assert engine.vm_done == ("inventory before",) and "was taken" in screen_text(pilot)
        before = engine.calls.count("vms")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, VmsScreen) and engine.calls.count("vms") == before + 1


async def test_an_inventory_point_is_deleted_after_yes() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "x")
        assert "There is no inventory point under the cursor." in screen_text(pilot)
        await press(pilot, "escape", "4", "x", *"no", "enter")
        assert "delete" not in engine.calls and "No VM and no disk is touched" in screen_text(pilot)
        await press(pilot, *"yes", "enter")
        assert engine.calls.count("delete") == 1 and engine.vm_inventories == 2
        await press(pilot, "enter")
        assert "[4 Points 2]" in screen_text(pilot)


async def test_nothing_is_written_where_one_may_only_look() -> None:
    engine = FakeEngine()
    async with make_app(engine, read_only=True).run_test(size=(80, 24)) as pilot:
        for keys in (("V", "s"), ("escape", *ODD_VM, "5", "w"), ("escape", "W"), ("escape", "s")):
            await press(pilot, *keys)
            assert "read-only" in screen_text(pilot), keys
    assert not engine.vm_done and not {"vm_plan_config", "vm_plan_disks", "vm_take"} & set(engine.calls)


async def test_what_a_killed_rollpoint_left_is_announced_and_put_in_order() -> None:
    engine = FakeEngine()
    engine.vm_half_done = "disks of db01 are half brought back"
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V")
        assert "disks of db01 are half brought back" in screen_text(pilot)
        await press(pilot, "R", *"yes", "enter")
        assert "undone: disks of db01" in screen_text(pilot)
        await press(pilot, "enter")
        assert "half brought back" not in screen_text(pilot)
        await press(pilot, "R")
        assert "No disks were left" in screen_text(pilot)


async def test_no_password_is_on_any_screen_about_vms() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            for scene in VM_SCENES:
                await guide.go(scene)
                assert PASSWORD not in screen_text(pilot), scene.name
            await guide.home()
    machine = inventory().machines[0]
    assert PASSWORD.encode() in machine.document.source     # the test would notice


async def test_a_real_repository_with_broken_and_hostile_files(tmp_path: Path) -> None:
    config(tmp_path, 1, OVM_simple_name="[red]x[/red] \x1b[2J", disk=[f"file:{image(tmp_path, '1.img')},xvda,w"],
           vncpasswd=PASSWORD, vfb=[f"type=vnc,vncpasswd={PASSWORD}"])
    config(tmp_path, 2, repository=OTHER, template=True, disk=["file:/OVS/Repositories/x/gone.img,xvda,w"])
    config(tmp_path, 3).write_bytes(b"name = 'b\xe9'\x00\ndisk = [[[\nimport os\n")
    (repo_path(tmp_path) / ".ovsrepo").write_text("OVS_REPO_ALIAS=gu[b]ests\n")
    image(tmp_path, "orphan.img")
    engine = FakeEngine()
    engine.vm_found = look(tmp_path)
    wanted = {finding.kind for finding in check(engine.vm_found)}
    assert {"missing-disk", "orphan-disk", "unread-statement"} <= wanted
    async with make_app(engine).run_test(size=(160, 50)) as pilot:
        await press(pilot, "V")
        text = screen_text(pilot)
        assert "[red]x[/red] \\x1b[2J" in text and "gu[b]ests" in text and "vm2 (template)" in text
        await press(pilot, "3")
        source = rows(pilot).source
        assert isinstance(source, FindingRows) and {f.kind for f in source.findings} == wanted
        await press(pilot, "1", "slash", *"red", "enter", "down", "enter", "f")
        assert "vncpasswd = '********'" in screen_text(pilot)
        assert PASSWORD not in screen_text(pilot)


async def test_three_hundred_vms_answer_a_key_with_the_rows_on_the_screen_alone(
        monkeypatch: pytest.MonkeyPatch) -> None:
    made = inventory()
    many = tuple(replace(made.machines[i % 6], config=b"OVS/Repositories/0004fb0000030000aaaa/VirtualMachines/%d" % i)
                 for i in range(300))
    engine = FakeEngine()
    engine.vm_found = replace(made, machines=many)
    drawn: list[int] = []
    row = MachineRows.row

    def noted(self: MachineRows, index: int, width: int) -> Row:
        drawn.append(index)
        return row(self, index, width)

    monkeypatch.setattr(MachineRows, "row", noted)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V")
        looked = engine.calls.count("vms")
        drawn.clear()
        await press(pilot, "down")
        assert drawn and len(drawn) <= 2 * 24
        await press(pilot, "asterisk", "end", "slash", *"db")
        assert engine.calls.count("vms") == looked          # no key asks the engine again
        assert len(tree(pilot)) > 100


async def test_a_place_that_fails_says_so_and_lets_one_try_again() -> None:
    engine = FakeEngine()
    engine.fail["vms"] = RollpointError("the repository does not answer", hint="mount it again")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V")
        assert "The repository does not answer" in screen_text(pilot) and "mount it again" in screen_text(pilot)
        engine.fail.clear()
        await press(pilot, "u")
        assert len(tree(pilot)) == 9
        engine.fail["vms"] = RollpointError("the repository does not answer")
        await press(pilot, "u")
        assert "The repository does not answer" in screen_text(pilot)
        await press(pilot, "escape")
        assert len(tree(pilot)) == 9            # what was seen before is still there
