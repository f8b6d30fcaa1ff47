"""The screen of changes: tree and flat list, kinds, filter, packages, a million rows, stopping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.entries import Change, Kind, Status
from engine.errors import DamageError, RollpointError
from engine.results import Software
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine, changes, entry, hostile_changes
from tests.tui.test_changetree import million
from tui.changetree import walk_key
from tui.screens.browse import BrowseScreen
from tui.screens.changes import ChangesScreen, software_line
from tui.screens.filediff import FileDiffScreen
from tui.screens.history import HistoryScreen
from tui.screens.points import PointsScreen
from tui.summary import VIEWS, rows_by_view, summarize
from tui.widgets.changepane import ChangePane


def tree_of_changes() -> tuple[Change, ...]:
    """Changes of every kind, in several directories."""
    def one(path: bytes, status: Status, kind: Kind = Kind.FILE, size: int = 1500) -> Change:
        old = None if status is Status.CREATED else entry(path, size // 2, kind)
        mode = 0o600 if status is Status.ATTRS else 0o644
        after = Kind.LINK if status is Status.TYPE else kind
        new = None if status is Status.DELETED else entry(path, size, after, mode)
        what = {Status.CHANGED: ("content", "size"), Status.TYPE: ("type",), Status.ATTRS: ("mode",)}.get(status, ())
        return Change(path, status, old, new, what)

    found = [one(b"boot/vmlinuz-6.1.0-27", Status.CREATED, size=8_000_000), one(b"boot/grub/grub.cfg", Status.CHANGED),
             one(b"etc/ssh", Status.ATTRS, Kind.DIR), one(b"etc/ssh/sshd_config", Status.CHANGED),
             one(b"etc/ssh/moduli", Status.DELETED), one(b"etc/fstab", Status.CHANGED),
             one(b"etc/mtab", Status.TYPE), one(b"srv", Status.ATTRS, Kind.DIR),
             *(one(b"usr/share/doc/pkg/file%02d" % i, Status.CREATED) for i in range(12))]
    return tuple(sorted(found, key=lambda c: walk_key(c.path)))


def engine_with(*found: Change) -> FakeEngine:
    """An engine with these differences."""
    engine = FakeEngine()
    engine.found = found or tree_of_changes()
    return engine


def rows(pilot: AppPilot) -> list[str]:
    """The rows of the list, without blanks at their ends."""
    pane = pilot.app.screen.query_one(ChangePane)
    source = pane.rows.source
    return ["".join(text for text, _ in source.row(i, pane.rows.size.width)).rstrip() for i in range(len(source))]


def names(pilot: AppPilot) -> list[str]:
    """What stands in the last column of each row."""
    width = 28 if pilot.app.screen.query_one(ChangePane).rows.size.width >= 50 else 9
    return [row[width:].strip() for row in rows(pilot)]


async def opened(pilot: AppPilot) -> ChangePane:
    """Go to the changes since the newest point."""
    await settle(pilot)
    await press(pilot, "d")
    assert isinstance(pilot.app.screen, ChangesScreen)
    return pilot.app.screen.query_one(ChangePane)


def test_summary_counts_each_kind_once() -> None:
    made = changes(100)
    found = FakeEngine()
    found.found = made
    summary = summarize(found.diff(found.list[0], None))
    assert sum(t.count for t in summary.tallies.values()) == 100
    assert summary.tally(Status.CREATED).bytes == sum(c.new.size for c in made if c.status is Status.CREATED and c.new)
    assert summary.tally(Status.ATTRS).bytes == 0
    assert [len(found) for found in summary.views] == [100, 20, 40, 20, 20]
    for (_, statuses), indexes in zip(VIEWS, summary.views, strict=True):
        assert {made[i].status for i in indexes} <= set(statuses)
        assert list(indexes) == sorted(indexes)


def test_filter_matches_what_is_shown() -> None:
    made = (Change(b"etc/\xff[red]", Status.CREATED, None, entry(b"x"), ()), *changes(10))
    assert list(rows_by_view(made, "XFF red")[0]) == [0]
    assert len(rows_by_view(made, "service 00000")[0]) == 10
    assert [len(r) for r in rows_by_view(made, "nothing like it")] == [0, 0, 0, 0, 0]


async def test_the_tree_and_its_counts() -> None:
    async with make_app(engine_with()).run_test(size=(80, 30)) as pilot:
        await opened(pilot)
        text = screen_text(pilot)
        assert "Changes since point 12" in text and "ago, until now" in text
        assert "13 created   4 changed   2 attributes   1 deleted   7.7 MiB in all" in text
        assert "kernel 6.1.0-27-amd64 comes, 2 packages, 2 changes in /boot" in text
        assert names(pilot) == ["v boot/", "v grub/", "grub.cfg", "vmlinuz-6.1.0-27", "v etc/", "fstab", "mtab",
                                "v ssh/", "moduli", "sshd_config", "srv/", "v usr/share/doc/pkg/",
                                *(f"file{i:02d}" for i in range(12))]
        shown = rows(pilot)
        assert shown[0].startswith(" +1 M1") and "7.6 MiB" in shown[0]
        assert shown[4].startswith(" M3 a1 -1") and shown[10].startswith(" a ") and shown[8].startswith(" - ")


async def test_opening_and_closing() -> None:
    async with make_app(engine_with()).run_test(size=(80, 30)) as pilot:
        pane = await opened(pilot)
        await press(pilot, "left")
        assert names(pilot)[:2] == ["> boot/", "v etc/"]
        await press(pilot, "left")                  # closed already and at the top: stays
        assert pane.rows.cursor == 0
        await press(pilot, "right", "right", "right")
        assert names(pilot)[:3] == ["v boot/", "v grub/", "grub.cfg"] and pane.current_path == b"boot/grub/grub.cfg"
        await press(pilot, "left")
        assert pane.current_path == b"boot/grub"
        await press(pilot, "space", "left")
        assert pane.current_path == b"boot" and names(pilot)[1] == "> grub/"
        await press(pilot, "enter")
        assert names(pilot)[0] == "> boot/" and not isinstance(pilot.app.screen, FileDiffScreen)
        await press(pilot, "asterisk")
        assert len(names(pilot)) == 24
        await press(pilot, "G", "asterisk")
        assert names(pilot) == ["> boot/", "> etc/", "srv/", "> usr/share/doc/pkg/"]
        assert pane.current_path == b"usr/share/doc/pkg"
        await press(pilot, "asterisk", "g", "2", "1")
        assert len(names(pilot)) == 24, "open directories stay open when another kind was shown"


async def test_flat_and_back_keep_the_place() -> None:
    async with make_app(engine_with()).run_test(size=(80, 30)) as pilot:
        pane = await opened(pilot)
        await press(pilot, *["down"] * 9)
        assert pane.current_path == b"etc/ssh/sshd_config"
        await press(pilot, "f")
        assert pane.current_path == b"etc/ssh/sshd_config"
        assert names(pilot)[0] == "/boot/grub/grub.cfg" and len(names(pilot)) == 20
        assert "/etc/ssh/" in names(pilot) and "Tree" in screen_text(pilot)
        await press(pilot, "left", "right", "space", "asterisk")
        assert len(names(pilot)) == 20
        await press(pilot, "f")
        assert pane.current_path == b"etc/ssh/sshd_config" and len(names(pilot)) == 24


async def test_kinds() -> None:
    async with make_app(engine_with()).run_test(size=(80, 30)) as pilot:
        await opened(pilot)
        for key, label, expected in (
                ("2", "[2 Created 13]", ["v boot/", "vmlinuz-6.1.0-27", "v usr/share/doc/pkg/"]),
                ("3", "[3 Changed 4]", ["v boot/grub/", "grub.cfg", "v etc/", "fstab", "mtab"]),
                ("4", "[4 Attributes 2]", ["etc/ssh/", "srv/"]),
                ("5", "[5 Deleted 1]", ["v etc/ssh/", "moduli"]), ("1", "[1 All 20]", ["v boot/", "v grub/"])):
            await press(pilot, key)
            assert label in screen_text(pilot) and names(pilot)[:len(expected)] == expected, key
        await press(pilot, "9")
        assert "[1 All 20]" in screen_text(pilot)


async def test_filter_as_you_type_shows_paths_with_their_parents() -> None:
    async with make_app(engine_with()).run_test(size=(80, 30)) as pilot:
        pane = await opened(pilot)
        await press(pilot, "asterisk", "slash", *"SSH conf")
        assert names(pilot) == ["v etc/ssh/", "sshd_config"]
        await press(pilot, "enter", "down")
        assert pane.rows.has_focus and pane.current_path == b"etc/ssh/sshd_config"
        await press(pilot, "5")
        assert names(pilot) == [] and "No path of this kind has all these words." in screen_text(pilot)
        await press(pilot, "1", "escape")
        assert not pane.filtering and isinstance(pilot.app.screen, ChangesScreen)
        assert names(pilot) == ["> boot/", "> etc/", "srv/", "> usr/share/doc/pkg/"], "as it was before the search"
        await press(pilot, "slash", *"zzz", "enter", "slash", *["backspace"] * 3, "enter")
        assert not pane.filtering and len(names(pilot)) == 4
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_details_and_the_difference_of_a_path() -> None:
    engine = engine_with()
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        assert "2 created" not in screen_text(pilot) and "1 created, 1 changed   7.6 MiB" in screen_text(pilot)
        await press(pilot, "down", "down")
        assert "/boot/grub/grub.cfg   file changed   size 750 -> 1,500   content" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, FileDiffScreen) and "- was" in screen_text(pilot)
        await press(pilot, "escape", *["down"] * 5)
        assert "/etc/ssh/   directory changed its attributes" in screen_text(pilot)
        await press(pilot, "i")
        assert isinstance(pilot.app.screen, FileDiffScreen) and "0644 -> 0600" in screen_text(pilot)
        await press(pilot, "escape", "left", "left", "i")
        assert isinstance(pilot.app.screen, ChangesScreen), "nothing happened to /etc itself"
        engine.fail["change"] = RollpointError("no")
        await press(pilot, "down")
        assert "/etc/fstab   file changed" in screen_text(pilot)


async def test_a_directory_that_only_leads_to_matches_shows_nothing_of_its_own() -> None:
    async with make_app(engine_with()).run_test(size=(120, 30)) as pilot:
        await opened(pilot)
        assert " a1 " in rows(pilot)[7] and "mode" in rows(pilot)[7] and "ssh/" in rows(pilot)[7]
        await press(pilot, "slash", *"moduli", "enter")
        assert "ssh/" in rows(pilot)[0] and "mode" not in rows(pilot)[0] and rows(pilot)[0].startswith(" -1 ")
        assert "/etc/ssh/   1 deleted" in screen_text(pilot)


async def test_packages_kernels_and_boot() -> None:
    async with make_app(engine_with()).run_test(size=(80, 30)) as pilot:
        await opened(pilot)
        await press(pilot, "6")
        lines = [line.strip() for line in screen_text(pilot).splitlines()]
        at = lines.index("kernel 6.1.0-27-amd64 comes")
        assert lines[at + 1:at + 5] == ["M /boot/grub/grub.cfg", "+ /boot/vmlinuz-6.1.0-27",
                                        "openssl 3.0.11 -> 3.0.15", "libssl3 3.0.11 -> 3.0.15"]
        await press(pilot, "enter", "f", "space", "left", "asterisk", "i")
        assert isinstance(pilot.app.screen, ChangesScreen), "a kernel is no path"
        await press(pilot, "down", "enter")
        assert isinstance(pilot.app.screen, FileDiffScreen) and "/boot/grub/grub.cfg" in screen_text(pilot)
        await press(pilot, "escape", "slash")
        assert "[1 All" not in screen_text(pilot) and "[5 Deleted" in screen_text(pilot)


async def test_packages_that_cannot_be_compared() -> None:
    engine = engine_with()
    engine.fail["software"] = DamageError("pack-001 is damaged", hint="run verify")
    async with make_app(engine).run_test(size=(80, 30)) as pilot:
        await opened(pilot)
        assert "packages and kernels cannot be compared (6)" in screen_text(pilot) and len(names(pilot)) == 24
        await press(pilot, "6")
        assert "Pack-001 is damaged" in screen_text(pilot) and "run verify" in screen_text(pilot)
        await press(pilot, "escape")
        engine.fail.clear()
        engine.changed_software = Software(notes=("what becomes of the packages cannot be said: no rpm",))
        await press(pilot, "d")
        assert "not all can be said (6)" in screen_text(pilot)
        await press(pilot, "6")
        assert "no rpm" in screen_text(pilot)


def test_the_line_about_software() -> None:
    def line(*args: Any) -> str:
        return "".join(text for text, _ in software_line(*args))

    assert line(None, 0) == line(Software(), 0) == ""
    assert line(Software(("a 1 -> 2",)), 0) == "1 package" and line(None, 3) == "3 changes in /boot"
    kernels = tuple(f"kernel {n} comes" for n in range(5))
    assert line(Software((), kernels), 0).endswith("kernel 2 comes and 2 more")


async def test_two_points_can_be_swapped() -> None:
    engine = engine_with()
    asked: list[tuple[int, int | None]] = []
    before = engine.changes

    def watched(older: Any, newer: Any, *rest: Any) -> Iterator[Change]:
        asked.append((older.number, newer and newer.number))
        return before(older, newer, *rest)

    engine.changes = watched  # type: ignore[assignment]
    async with make_app(engine).run_test(size=(110, 30)) as pilot:
        await settle(pilot)
        pilot.app.push_screen(ChangesScreen(engine.list[3], engine.list[0]))
        await settle(pilot)
        assert "Changes from point 9" in screen_text(pilot) and ", to point 12" in screen_text(pilot)
        await press(pilot, "slash", "g", "enter", "s")
        assert "Changes from point 12" in screen_text(pilot) and len(names(pilot)) == 24
        await press(pilot, "escape", "d", "s")
        assert asked == [(9, 12), (12, 9), (12, None)], "there is no way back from now"


async def test_nothing_changed_and_errors() -> None:
    engine = engine_with()
    engine.found = ()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "j", "enter", "space", "left", "right", "asterisk", "f", "f", "i", "3", "slash", "x")
        assert "Nothing changed." in screen_text(pilot)
        await press(pilot, "escape", "escape")
        engine.found, engine.fail["content"] = changes(), DamageError("pack-001 is damaged", hint="verify")
        await press(pilot, "d", "down", "enter")
        assert "Pack-001 is damaged" in screen_text(pilot)
        await press(pilot, "escape", "escape")
        engine.fail["changes"] = DamageError("the catalog is damaged", hint="repair")
        await press(pilot, "d")
        assert "The catalog is damaged" in screen_text(pilot)


async def test_comparing_is_stopped_by_escape() -> None:
    engine = FakeEngine()
    engine.hold.clear()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("d")
        await until(pilot, lambda: "Comparing" in screen_text(pilot), "progress")
        assert "esc Stop" in screen_text(pilot)
        await press(pilot, "f", "slash", "asterisk", "right", "i", "6", "s", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_hostile_names_in_tree_flat_list_and_detail() -> None:
    engine = engine_with(*sorted(hostile_changes(), key=lambda c: walk_key(c.path)))
    async with make_app(engine).run_test(size=(100, 40)) as pilot:
        pane = await opened(pilot)
        text = screen_text(pilot)
        for literal in ("v srv/[b]dir/", "[red]alarm", "esc\\x1b[2Jape", "caf\\xe9 latin", "new\\x0aline",
                        "bidi\\u202eexe.txt", "back\\\\slash"):
            assert literal in text, text
        assert all(char.isprintable() for char in text.replace("\n", ""))
        await press(pilot, "f", "G", "slash", *"x1b", "enter")
        assert names(pilot) == ["/srv/[b]dir/esc\\x1b[2Jape"]
        assert pane.current_path == b"srv/[b]dir/esc\x1b[2Jape"


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (20, 5), (200, 60)])
async def test_sizes(size: tuple[int, int]) -> None:
    deep = Change(b"/".join([b"directory"] * 60), Status.CREATED, None, entry(b"x"))
    found = sorted((*tree_of_changes(), deep), key=lambda c: walk_key(c.path))
    async with make_app(engine_with(*found)).run_test(size=size) as pilot:
        await opened(pilot)
        for key in ("down", "right", "asterisk", "G", "f", "2", "6", "1", "f", "slash", "x", "escape"):
            await press(pilot, key)
            lines = screen_text(pilot).splitlines()
            assert len(lines) == size[1] and "web01" in lines[0]
        if size[0] >= 40:
            assert "boot/" in screen_text(pilot)
        if size == (40, 10):    # header, what is compared, kinds, titles, the line of detail and the keys take six
            assert len([line for line in screen_text(pilot).splitlines() if "/" in line]) >= 4


async def test_a_million_changes() -> None:
    engine = engine_with()
    engine.changes = lambda *_: million()  # type: ignore[method-assign]
    async with make_app(engine).run_test(size=(120, 50)) as pilot:
        await settle(pilot)
        await pilot.press("d")
        await until_there(pilot)
        assert "1 All 1,000,000" in screen_text(pilot)
        most = 0
        for key in ("asterisk", "G", "up", "pageup", "left", "left", "g", "down", "pagedown", "right", "end", "k",
                    "space", "f", "G", "pageup", "f", "G", "asterisk", "right", "asterisk", "pagedown"):
            await pilot.press(key)
            screen_text(pilot)
            most = max(most, len(rows_now(pilot)))
        assert most > 1_000_000
        await press(pilot, "slash", *"lib007/module_00", "enter")
        await until(pilot, lambda: len(rows_now(pilot)) == 1 + 10 + 10 * 10, "the search")


async def until_there(pilot: AppPilot) -> None:
    """Wait for a comparison that takes its time."""
    end = time.monotonic() + 60
    while pilot.app.screen.query_one("#changes").has_class("-gone"):
        assert time.monotonic() < end, screen_text(pilot)
        await asyncio.sleep(0.05)
    await settle(pilot)


def rows_now(pilot: AppPilot) -> range:
    """As many places as the list has rows."""
    return range(len(pilot.app.screen.query_one(ChangePane).rows.source))




async def test_from_changes_to_history_and_browse() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "d", "h")
        assert isinstance(pilot.app.screen, HistoryScreen)
        await press(pilot, "escape", "b")
        assert isinstance(pilot.app.screen, BrowseScreen)
        await press(pilot, "escape", "3", "f", "enter", "h")
        assert isinstance(pilot.app.screen, HistoryScreen)
        await press(pilot, "escape", "escape", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_changes_of_one_directory_only() -> None:
    engine = FakeEngine()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.push_screen(ChangesScreen(engine.list[3], None, (b"etc/ssh",)))
        await settle(pilot)
        assert "in /etc/ssh" in " ".join(screen_text(pilot).split())
        assert engine.compared == (b"etc/ssh",) and "software" not in engine.calls
