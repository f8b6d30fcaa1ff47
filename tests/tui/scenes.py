"""Every screen and dialog by the keys that lead to it. The walks of test_walk.py, test_traps.py and test_terminal.py go
through this list: a new screen is one line here, and all of them judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from textual.screen import Screen

from engine.backends import Trouble
from engine.config import Retention
from engine.errors import RollpointError
from engine.points import RestorePoint
from engine.results import Damage, Finding
from engine.vms.inventory import Inventory
from engine.vms.running import UNKNOWN, RunState
from tests.tui.conftest import AppPilot, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_storage import storage_points
from tui.app import RollpointApp
from tui.screens.browse import BrowseScreen
from tui.screens.find import FindScreen
from tui.screens.history import HistoryScreen
from tui.screens.points import PointsScreen
from tui.screens.run import RUN

YES = (*"yes", "enter")
AGREE = ("r", "enter", "enter", "enter")
"""To the step of a rollback in which yes is to be typed."""
ODD_VM = ("V", "slash", *"web01", "enter", "down", "enter")
"""To the VM that has hostile texts wherever a string can be."""
WRITES = frozenset({"snapshot", "rollback", "resume", "undo", "prune", "prune_all", "delete", "annotate", "restore",
                    "repair", "save_rules", "order", "take_order_back", "vm_settle", "vm_take", "vm_take_disks",
                    "vm_bring_back_config", "vm_restore_disks", "set_back"})
"""The verbs that change something."""


def nothing(_: FakeEngine) -> None:
    """The engine as it is."""


def _damaged(engine: FakeEngine) -> None:
    engine.damage = engine.damage or (Damage(engine.list[0].id, b"etc/hosts", "checksum differs"),)


def _interrupted(engine: FakeEngine) -> None:
    text = engine.state.rollback or "the rollback to point 7 was interrupted"
    engine.state = replace(engine.state, rollback=text, safety=engine.state.safety or engine.list[1].id)


def _ordered(engine: FakeEngine) -> None:
    text = engine.state.rollback or "a rollback to point 7 will be done at the next boot"
    engine.state = replace(engine.state, ordered=text, rollback="")


def _no_place(engine: FakeEngine) -> None:
    engine.missing = (engine.pair[1] if engine.pair[0] == b"" else b"home",)


def _unfinished(engine: FakeEngine) -> None:
    text = engine.state.unfinished or "an unfinished snapshot"
    engine.state = replace(engine.state, unfinished=text)


def _blocked(engine: FakeEngine) -> None:
    text = engine.findings[0].text
    engine.findings = (Finding("blocker", text, text), *engine.findings)


def _different(engine: FakeEngine) -> None:
    engine.differences = engine.differences or ("/etc/hosts: content",)


def _failing(engine: FakeEngine) -> None:
    text = engine.findings[0].text
    engine.fail["changes"] = RollpointError(f"cannot read {text}", hint=f"look at {text}")


def _unreadable(engine: FakeEngine) -> None:
    engine.fail["points"] = RollpointError(f"cannot read {engine.findings[0].text}")


def _damaged_boot(engine: FakeEngine) -> None:
    engine.boot_damage = engine.boot_damage or ("boot/disk-1.gap is not what was saved",)


def _boot_changes(engine: FakeEngine) -> None:
    engine.boot_planned = ("/dev/sda: boot code: zeroes -> GRUB 2 (440 of 440 bytes differ)",)


def _no_boot_pieces(engine: FakeEngine) -> None:
    engine.no_boot_pieces = True


def _empty(engine: FakeEngine) -> None:
    engine.list = []


def _no_vms(engine: FakeEngine) -> None:
    engine.vm_found = Inventory((), (), (), (), (), ())


def _no_manager(engine: FakeEngine) -> None:
    engine.vm_no_manager = True


def _no_vm_store(engine: FakeEngine) -> None:
    engine.vm_store = False


def _vm_snapshots(engine: FakeEngine) -> None:
    engine.vm_storage, engine.vm_whole = tuple(storage_points(engine.vm_text)[:2]), True


def _vm_troubles(engine: FakeEngine) -> None:
    engine.vm_troubles = (f"lvm: {engine.vm_text or 'vgs has failed'}",)


def _unreadable_vms(engine: FakeEngine) -> None:
    engine.fail["vms"] = RollpointError(f"cannot read {engine.findings[0].text}")


def _half_done(engine: FakeEngine) -> None:
    engine.vm_half_done = engine.vm_text or "disks of db01 are half brought back"


def _running_vm(engine: FakeEngine) -> None:
    engine.vm_state = RunState(UNKNOWN, engine.vm_text or "xl list gave no answer")


def _storage(engine: FakeEngine) -> None:
    engine.have_storage(engine.vm_text)
    engine.storage_troubles = (Trouble("btrfs", engine.vm_text or "no answer", engine.vm_text),)
    engine.waiting = (engine.vm_text or "vg/root merges when it is next activated",)


def _thinning(engine: FakeEngine) -> None:
    _storage(engine)
    engine.rules_now, engine.prunable = Retention(min_keep=1, daily=1), "zrepl"


def _held(engine: FakeEngine) -> None:
    _storage(engine)
    engine.native_blocked = engine.vm_text or "tank/home@a has a hold"


def _etc(engine: FakeEngine) -> Screen[Any]:
    return BrowseScreen(engine.list[0], b"etc", b"fstab")


def _srv(engine: FakeEngine) -> Screen[Any]:
    return BrowseScreen(engine.list[0], b"srv")


def _history(_: FakeEngine) -> Screen[Any]:
    return HistoryScreen(b"etc/nginx.conf")


def _hostile_history(engine: FakeEngine) -> Screen[Any]:
    return HistoryScreen(engine.tree.directories[b"srv"][0].spans[-1].entry.path)


def _snapshot(engine: FakeEngine) -> Screen[Any]:
    return BrowseScreen(engine.storage[0], b"srv")


def _find(_: FakeEngine) -> Screen[Any]:
    return FindScreen()


@dataclass(frozen=True)
class Scene:
    """`keys` lead from the list of points to the screen of class `screen`, on which (at 80x24) `wanted` is to be read.

    `says`: texts of the engine stand there. `set_up` is done to the engine before. `held`: work does not end there.
    `opens` makes a screen that is opened over the list before the keys are pressed, for one that no key leads to.
    """

    name: str
    keys: tuple[str, ...]
    screen: str
    wanted: str
    says: bool = True
    set_up: Callable[[FakeEngine], None] = nothing
    held: bool = False
    opens: Callable[[FakeEngine], Screen[Any]] | None = None

    @property
    def does(self) -> set[str]:
        """The verbs that may have changed something on the way: those that were asked for by yes, or take a point."""
        if self.keys[-4:] == YES:
            return set(WRITES)
        if self.keys[:1] == ("V",):
            return {"vm_take", "vm_take_disks"} if self.keys[-2:] == ("s", "enter") else set()
        return {"snapshot"} if self.keys[:2] == ("s", "enter") else set()


SCENES = (
    Scene("points", (), "PointsScreen", "Own size"),
    Scene("empty store", (), "PointsScreen", "There is no restore point yet", says=False, set_up=_empty),
    Scene("unreadable store", (), "PointsScreen", "Press u to look again", set_up=_unreadable),
    Scene("filter of points", ("slash", "z", "z"), "PointsScreen", "No point has all these words", says=False),
    Scene("points of the storage", ("g",), "PointsScreen", "PENDING", set_up=_storage),
    Scene("one kind of points", ("K", "K"), "PointsScreen", "Only btrfs", set_up=_storage),
    Scene("details of the storage's", ("g", "enter"), "DetailScreen", "Volume", set_up=_storage),
    Scene("details", ("enter",), "DetailScreen", "Contents"),
    Scene("changes", ("d",), "ChangesScreen", "Changes since"),
    Scene("changes created", ("d", "2"), "ChangesScreen", "[2 Created"),
    Scene("filter of changes", ("d", "slash", "s"), "ChangesScreen", "Changes since"),
    Scene("changes in a list", ("d", "f"), "ChangesScreen", "Changes since"),
    Scene("changes of packages", ("d", "6"), "ChangesScreen", "[6 Software", says=False),
    Scene("difference of a file", ("d", "down", "enter"), "FileDiffScreen", "000000.conf"),
    Scene("comparing", ("d",), "ChangesScreen", "Comparing", held=True),
    Scene("rollback", ("r",), "RollbackScreen", "What is to be rolled back?", says=False),
    Scene("rollback changes", ("r", "enter"), "RollbackScreen", "It will"),
    Scene("rollback largest", ("r", "enter", "3"), "RollbackScreen", "[3 Largest"),
    Scene("rollback system", ("r", "enter", "7"), "RollbackScreen", "[7 System"),
    Scene("rollback boot", ("r", "enter", "8"), "RollbackScreen", "[8 Boot", says=False, set_up=_boot_changes),
    Scene("rollback boot as bytes", ("r", "enter", "8", "enter"), "PairScreen", "afterwards", says=False,
          set_up=_boot_changes),
    Scene("rollback blocked", ("r", "enter"), "RollbackScreen", "BLOCKED", set_up=_blocked),
    Scene("rollback planning", ("r", "enter"), "RollbackScreen", "Comparing", held=True),
    Scene("rollback safety", ("r", "enter", "enter"), "RollbackScreen", "safety point first", says=False),
    Scene("rollback confirm", AGREE, "RollbackScreen", "Roll back now?"),
    Scene("rollback at the next boot", (*AGREE, "tab"), "RollbackScreen", "at the next boot?", says=False),
    Scene("rollback ordered", (*AGREE, "tab", *YES), "RollbackScreen", "Ordered:", says=False),
    Scene("rollback merging", ("r", "enter", "A", "M"), "MergeScreen", "become directories?", set_up=_no_place),
    Scene("rollback merged", ("r", "enter", "A", "M", "space", "enter"), "RollbackScreen", "becomes a directory",
          set_up=_no_place),
    Scene("rollback no", (*AGREE, *"no", "enter"), "RollbackScreen", "Nothing was done"),
    Scene("rollback done", (*AGREE, *YES), "RollbackScreen", "Verified", says=False),
    Scene("rollback differs", (*AGREE, *YES), "RollbackScreen", "NOT AS RECORDED", set_up=_different),
    Scene("two ways back", ("g", "r"), "WaysScreen", "[By content]", set_up=_storage),
    Scene("a way that is blocked", ("g", "r", "tab"), "WaysScreen", "BLOCKED", set_up=_held),
    Scene("set volumes back", ("g", "r", "n", "enter"), "NativeScreen", "for good?", set_up=_storage),
    Scene("volumes set back", ("g", "r", "n", "enter", *YES), "NativeScreen", "were set back", set_up=_storage),
    Scene("by content", ("g", "r", "enter", "enter"), "RollbackScreen", "It will", set_up=_storage),
    Scene("take", ("s",), "TakeScreen", "Take a restore point", says=False),
    Scene("take with ZFS", ("s", "tab", "tab", "tab", "right"), "TakeScreen", "copies nothing", says=False,
          set_up=_storage),
    Scene("delete one of the storage's", ("g", "x"), "DeleteScreen", "the clone", set_up=_storage),
    Scene("taking", ("s", "enter"), "TakeScreen", "Copying", held=True),
    Scene("quit while taking", ("s", "enter", "ctrl+c"), "QuitScreen", "Not finished yet", says=False, held=True),
    Scene("taken", ("s", "enter"), "TakeScreen", "was taken"),
    Scene("delete", ("x",), "DeleteScreen", "for good?"),
    Scene("delete no", ("x", *"no", "enter"), "DeleteScreen", "Nothing was done"),
    Scene("deleted", ("x", *YES), "DeleteScreen", "1 point removed", says=False),
    Scene("prune", ("P",), "PruneScreen", "SAVED RULES", says=False),
    Scene("prune calendar", ("P", "c"), "PruneScreen", "Week of", says=False),
    Scene("prune with the storage", ("P", "tab"), "PruneScreen", "btrfs 1 stay", set_up=_thinning),
    Scene("prune the storage too", ("P", "x"), "PruneNowScreen", "as the storage works it out", set_up=_thinning),
    Scene("pruned", ("P", "x", *YES), "PruneNowScreen", "points removed", says=False, set_up=_thinning),
    Scene("growth", ("o",), "GrowthScreen", "[2 Days", says=False),
    Scene("boot", ("B",), "BootScreen", "it will not boot"),
    Scene("boot code", ("B", "2"), "BootScreen", "DIFFERENT"),
    Scene("boot code as bytes", ("B", "2", "down", "enter"), "PairScreen", "1 place", says=False),
    Scene("a program of the ESP", ("B", "2", "G", "enter"), "FileDiffScreen", "old.efi", says=False),
    Scene("disk layout", ("B", "3"), "BootScreen", "partition table of"),
    Scene("partition table", ("B", "3", "enter"), "PairScreen", "1 place", says=False),
    Scene("facts", ("B", "4"), "BootScreen", "df -PTl"),
    Scene("a fact", ("B", "4", "down", "enter"), "PairScreen", "19046440", says=False),
    Scene("boot damage", ("B",), "BootScreen", "DAMAGED", set_up=_damaged_boot),
    Scene("no boot pieces", ("B",), "BootScreen", "holds no boot pieces", set_up=_no_boot_pieces),
    Scene("store", ("S",), "StoreScreen", "entries in the log", says=False),
    Scene("rescue", ("Z",), "RescueScreen", "Enter looks at all disks", says=False),
    Scene("rescue stores", ("Z", "enter"), "RescueScreen", "UNUSABLE"),
    Scene("rescue systems", ("Z", "enter", "2"), "RescueScreen", "Debian GNU/Linux 12"),
    Scene("rescue mapping", ("Z", "enter", "enter"), "RescueScreen", "the same", says=False),
    Scene("rescue notes", ("Z", "enter", "4"), "RescueScreen", "cannot be read"),
    Scene("rescue device", ("Z", "enter", "enter", "m"), "DeviceScreen", "Which device is"),
    Scene("rescue open", ("Z", "enter", "enter", "enter"), "OpenScreen", "Mount and open"),
    Scene("VMs", ("V",), "VmsScreen", "VM or template"),
    Scene("VMs with disks", ("V", "asterisk"), "VmsScreen", "xvda"),
    Scene("looking at VMs", ("V",), "VmsScreen", "Reading configurations", held=True),
    Scene("no VMs", ("V",), "VmsScreen", "No repository of VMs", says=False, set_up=_no_vms),
    Scene("VMs that cannot be read", ("V",), "VmsScreen", "Press u to look again", set_up=_unreadable_vms),
    Scene("filter of VMs", ("V", "slash", *"web"), "VmsScreen", "web01"),
    Scene("coverage", ("V", "2"), "VmsScreen", "Held as", says=False),
    Scene("gaps", ("V", "2", "n"), "VmsScreen", "NOT HELD", says=False),
    Scene("coverage by snapshots", ("V", "2"), "VmsScreen", "its volume", says=False, set_up=_vm_snapshots),
    Scene("coverage that is not sure", ("V", "2"), "VmsScreen", "Not all points could be asked", set_up=_vm_troubles),
    Scene("coverage without a store", ("V", "2"), "VmsScreen", "is not known", says=False, set_up=_no_vm_store),
    Scene("findings about VMs", ("V", "3"), "VmsScreen", "orphan"),
    Scene("a finding about VMs", ("V", "3", "enter"), "FindingScreen", "Look into"),
    Scene("inventory points", ("V", "4"), "VmsScreen", "Comment"),
    Scene("inventory of a point", ("V", "4", "enter"), "VmsScreen", "VMs in point"),
    Scene("the Manager", ("V", "M"), "VmHostScreen", "TO LOOK INTO"),
    Scene("the Manager's backups", ("V", "M", "2"), "VmHostScreen", "by hand"),
    Scene("recipes of file systems", ("V", "M", "3"), "VmHostScreen", "mkfs.ocfs2"),
    Scene("recipes in a point", ("V", "4", "enter", "M"), "VmHostScreen", "File systems in"),
    Scene("no Manager", ("V", "M"), "VmHostScreen", "There is no Oracle VM Manager", says=False, set_up=_no_manager),
    Scene("changes of VMs", ("V", "4", "d"), "VmChangesScreen", "was added"),
    Scene("take an inventory", ("V", "s"), "TakeInventoryScreen", "Take an inventory point", says=False),
    Scene("an inventory taken", ("V", "s", "enter"), "TakeInventoryScreen", "was taken", says=False),
    Scene("delete an inventory", ("V", "4", "x"), "DeleteInventoryScreen", "No VM and no disk is touched"),
    Scene("disks half brought back", ("V", "R"), "SettleScreen", "Put them in order now?", set_up=_half_done),
    Scene("a VM", ODD_VM, "VmScreen", "UUID"),
    Scene("disks of a VM", (*ODD_VM, "2"), "VmScreen", "Target"),
    Scene("coverage of a VM", (*ODD_VM, "3"), "VmScreen", "as it is now"),
    Scene("history of a VM", (*ODD_VM, "5"), "VmScreen", "What became of it"),
    Scene("a VM as it was", (*ODD_VM, "5", "enter"), "VmScreen", "as in point"),
    Scene("a vm.cfg", (*ODD_VM, "f"), "PairScreen", "Passwords are hidden", says=False),
    Scene("a vm.cfg then and now", (*ODD_VM, "5", "d"), "PairScreen", "memory = 2048", says=False),
    Scene("script for a VM", (*ODD_VM, "m"), "ScriptScreen", "create Vm"),
    Scene("save a script", (*ODD_VM, "m", "w"), "SaveScreen", "Save the script", says=False),
    Scene("vm.cfg back", (*ODD_VM, "5", "w"), "ConfigBackScreen", "Bring it back?"),
    Scene("vm.cfg back refused", (*ODD_VM, "5", "w"), "ConfigBackScreen", "Refused", set_up=_running_vm),
    Scene("vm.cfg was brought back", (*ODD_VM, "5", "w", *YES), "ConfigBackScreen", "was brought back", says=False),
    Scene("disks from which point", (*ODD_VM, "W"), "DisksFromScreen", "all that belong to no other VM"),
    Scene("disks from snapshots too", (*ODD_VM, "W"), "DisksFromScreen", "zfs", set_up=_vm_snapshots),
    Scene("disks back", (*ODD_VM, "W", "enter"), "DisksBackScreen", "Replace these disks?"),
    Scene("disks were brought back", (*ODD_VM, "W", "enter", *YES), "DisksBackScreen", "brought back", says=False),
    Scene("disks of a VM taken", (*ODD_VM, "s", "enter"), "TakeDisksScreen", "was taken", says=False),
    Scene("settings", ("c",), "SettingsScreen", "Comes from", says=False),
    Scene("palette", ("colon", "p", "r", "u"), "PaletteScreen", "prune: try rules", says=False),
    Scene("verify", ("v",), "VerifyScreen", "Re-read all data", says=False),
    Scene("verified", ("v", "enter"), "VerifyScreen", "DAMAGE", set_up=_damaged),
    Scene("comment", ("e",), "CommentScreen", "Comment of a point"),
    Scene("recover", ("R",), "RecoverScreen", "undo: return to", set_up=_interrupted),
    Scene("resume", ("R", "r"), "FinishRollbackScreen", "Go on now?", set_up=_interrupted),
    Scene("resumed", ("R", "r", *YES), "FinishRollbackScreen", "Rolled back to point", says=False,
          set_up=_interrupted),
    Scene("ordered", ("R",), "RecoverScreen", "take the order back", set_up=_ordered),
    Scene("take back", ("R", "c"), "TakeBackScreen", "Take the order back?", set_up=_ordered),
    Scene("repair", ("R", "f"), "RepairScreen", "Repair it now?", set_up=_unfinished),
    Scene("repaired", ("R", "f", *YES), "RepairScreen", "undone", says=False, set_up=_unfinished),
    Scene("help", ("question_mark",), "HelpScreen", "take a restore point", says=False),
    Scene("help on changes", ("d", "question_mark"), "HelpScreen", "open a directory", says=False),
    Scene("an error", ("d",), "MessageScreen", "What to do", set_up=_failing),
    Scene("browse", (), "BrowseScreen", "fstab", says=False, opens=_etc),
    Scene("browse odd names", (), "BrowseScreen", "esc", opens=_srv),
    Scene("a file", ("enter",), "FileScreen", "content of", opens=_srv),
    Scene("difference to now", ("c",), "FileDiffScreen", "fstab", opens=_etc, says=False),
    Scene("marked and restored", ("space", "w"), "RestoreScreen", "Restore", opens=_srv, says=False),
    Scene("browse a snapshot", (), "BrowseScreen", "esc", opens=_snapshot, set_up=_storage),
    Scene("history", (), "HistoryScreen", "nginx", opens=_history, says=False),
    Scene("history of an odd name", (), "HistoryScreen", "/srv/", opens=_hostile_history),
    Scene("find", (*"conf", "enter"), "FindScreen", "conf", opens=_find, says=False),
)
NAMES = [scene.name for scene in SCENES]


class Guide:
    """Leads an app through scenes and back; every scene finds the engine as it was at first. A context manager: in the
    end nothing is held, or the app could not end."""

    def __init__(self, pilot: AppPilot, engine: FakeEngine) -> None:
        self.pilot, self.engine = pilot, engine
        self._before = {name: getattr(engine, name) for name in
                        ("state", "damage", "findings", "differences", "boot_damage", "no_boot_pieces", "boot_planned",
                         "vm_found", "vm_storage", "vm_whole", "vm_troubles", "vm_state", "vm_store", "vm_done",
                         "vm_half_done", "vm_inventories", "vm_no_manager", "missing",
                         "storage", "storage_text", "storage_troubles", "fill", "waiting", "native_blocked",
                         "rules_now", "prunable")}
        self._points: tuple[RestorePoint, ...] = tuple(engine.list)

    def __enter__(self) -> Guide:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.hold.set()

    async def go(self, scene: Scene) -> None:
        """Go there; first back to the list of points, with escape alone."""
        engine, pilot = self.engine, self.pilot
        await self.prepare(scene)
        if scene.held:
            engine.hold.clear()
            await self.open(scene)
            for key in scene.keys:
                await pilot.press(key)
                await pilot.pause()
            await until(pilot, lambda: self.screen == scene.screen, scene.name)
            return
        await self.open(scene)
        await settle(pilot)
        for key in scene.keys:      # each key after what the one before has brought
            await press(pilot, key)
        await until(pilot, lambda: getattr(pilot.app.screen, "step", "") != RUN, f"the end of the run: {scene.name}")
        assert self.screen == scene.screen, f"{scene.name}: {self.screen} is open:\n{screen_text(pilot)}"

    async def prepare(self, scene: Scene) -> None:
        """Set the engine up for a scene and list the points anew."""
        engine = self.engine
        await self.home()       # what is interrupted is announced by a dialog of its own at the start
        for name, value in self._before.items():
            setattr(engine, name, value)
        engine.list, engine.fail = list(self._points), {}
        engine.calls.clear()
        scene.set_up(engine)
        await press(self.pilot, "u")

    async def open(self, scene: Scene) -> None:
        """Open the screen that the keys of a scene are for, where it is another than the list."""
        if scene.opens is not None:
            self.pilot.app.push_screen(scene.opens(self.engine))
            await self.pilot.pause()

    async def try_keys(self, scene: Scene) -> None:
        """Press the keys of a scene, wherever they lead: where the engine fails, not to the scene."""
        await self.open(scene)
        for key in scene.keys:
            await self.pilot.press(key)

    @property
    def screen(self) -> str:
        """The class of the screen in front."""
        return type(self.pilot.app.screen).__name__

    async def home(self) -> None:
        """Go back to the list with escape alone, and let go what was held."""
        app = self.pilot.app
        assert isinstance(app, RollpointApp)
        if not self.engine.hold.is_set():
            self.engine.hold.set()
            await settle(self.pilot)
        await until(self.pilot, lambda: getattr(app.screen, "step", "") != RUN, "the end of a run")    # not left before
        await press(self.pilot, "escape")       # on the list itself it clears the filter
        for _ in range(8):
            if isinstance(app.screen, PointsScreen):
                break
            await press(self.pilot, "escape")
        assert isinstance(app.screen, PointsScreen), f"escape does not leave:\n{screen_text(self.pilot)}"
        assert app.is_running and not app._exit
