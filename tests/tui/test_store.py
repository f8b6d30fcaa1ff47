"""The screens about the store, its log, its settings, and points over time."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.audit import AuditEntry
from engine.errors import BusyError, DamageError
from engine.results import Damage
from engine.text import message
from tests.tui.conftest import make_app, press, screen_text, settle
from tests.tui.fake_engine import HOSTILE, NOW, FakeEngine
from tui.screens.details import DetailScreen
from tui.screens.points import PointsScreen
from tui.screens.recover import RecoverScreen
from tui.screens.verify import VerifyScreen

# --- store and jobs ----------------------------------------------------------------------------------------------


async def test_health_and_log() -> None:
    engine = FakeEngine()
    when = "2024-11-20T03:00:00+00:00"
    engine.log.insert(0, AuditEntry(when, "lena", "delete", "20241118T223240Z", "failed", "busy"))
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "S")
        text = screen_text(pilot)
        assert "Store and jobs 13 entries in the log" in text and "1.6 GiB  the tree 1.4 GiB" in text
        assert "79% of 2.0 GiB" in text and "12, 2 pinned, 1 DAMAGED" in text and "point 8  pack-001.tar.zst" in text
        assert "nobody writes to the store now" in text and "usually every 7 h" in text
        assert "2024-11-20 03:00  lena        delete              FAILED  point 8  busy" in text
        assert "delete point 8 (20241118T223240Z)   failed   busy" in text
        await press(pilot, "down")
        assert "2024-11-20 02:10:00 +0000   root   snapshot point 12" in screen_text(pilot)


async def test_the_log_is_filtered_and_filter_and_screen_are_left() -> None:
    engine = FakeEngine()
    engine.log.append(AuditEntry("2024-10-01T00:00:00+00:00", "lena", "verify", "12 points", "damage"))
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "S", "slash", *"lena dam")
        assert "verify      DAMAGE  12 points" in screen_text(pilot) and "snapshot" not in screen_text(pilot)
        await press(pilot, *"zz")
        assert "The log has no such entry." in screen_text(pilot)
        await press(pilot, "enter", "escape")
        assert "snapshot" in screen_text(pilot)
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_verify_and_repair_from_the_store() -> None:
    engine = FakeEngine()
    engine.damage = (Damage("", b"", "catalog.sqlite: not a database"),)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "S", "v")
        assert isinstance(pilot.app.screen, VerifyScreen) and "Only point" not in screen_text(pilot)
        await press(pilot, "enter")
        assert "DAMAGE: 1 finding in 12 points" in screen_text(pilot)
        await press(pilot, "enter", "f")
        assert "Nothing is known to be unfinished." in screen_text(pilot)
        await press(pilot, *"no", "enter")
        assert "repair" not in engine.calls
        await press(pilot, *"yes", "enter")
        assert "An unfinished snapshot was undone." in screen_text(pilot)


async def test_work_under_way_and_unfinished() -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, unfinished="a snapshot begun at 03:00", rollback="a rollback to point 3 of /",
                           safety=engine.list[0].id)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert isinstance(pilot.app.screen, RecoverScreen)  # it announces itself
        await press(pilot, "escape", "S")
        text = screen_text(pilot)
        assert "INTERRUPTED  a rollback to point 3" in text and "UNFINISHED  a snapshot begun" in text
        assert "R Unfinished work" in text
        await press(pilot, "R", "u", *"yes", "enter")
        assert "undo" in engine.calls
        await press(pilot, "enter")
        engine.state = replace(engine.state, holder="root@web01, pid 812, `rollpoint snapshot`")
        await press(pilot, "u")
        assert "BUSY  root@web01, pid 812" in screen_text(pilot) and "Work       root@web01" in screen_text(pilot)


async def test_read_only_verifies_but_repairs_nothing() -> None:
    engine = FakeEngine()
    async with make_app(engine, read_only=True).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "S", "f")
        assert "This is read-only" in screen_text(pilot) and "f Repair" not in screen_text(pilot)
        await press(pilot, "v", "enter")
        assert "verify" in engine.calls and "repair" not in engine.calls


@pytest.mark.parametrize("error", [DamageError("the log is gone", hint="rollpoint repair"), OSError(5, "I/O error")])
async def test_a_store_that_cannot_be_read(error: Exception) -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        engine.fail["audit"] = error
        await press(pilot, "S")
        assert "The store cannot be read." in screen_text(pilot) and "Traceback" not in screen_text(pilot)
        engine.fail.clear()
        await press(pilot, "f5")
        assert "12 entries in the log" in screen_text(pilot)


async def test_a_store_that_is_not_there_yet() -> None:
    engine = FakeEngine(0)
    engine.state = replace(engine.state, exists=False)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "S", "v")
        assert "There is no store yet" in screen_text(pilot) and "The log is empty." in screen_text(pilot)
        assert not isinstance(pilot.app.screen, VerifyScreen)


async def test_a_long_log_costs_no_more_than_a_screen() -> None:
    engine = FakeEngine()
    engine.log = [AuditEntry(f"2024-11-20T02:10:{n % 60:02d}+00:00", "root", "verify", str(n), "done")
                  for n in range(5000)]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "S", "G")
        assert "verify 4999   done" in screen_text(pilot)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_words_in_log_settings_and_documents(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    shown = message(text)[:40]
    engine = FakeEngine()
    engine.log = [AuditEntry(text, text, text, text, text, text)]
    engine.state = replace(engine.state, path=text, holder=text)
    doc = {text: {text: [text, text]}, "boot": text, "lspci": f"{text}\n{text}"}
    engine.list = [replace(p, doc=p.doc | doc, problems=(text,), state="damaged") for p in engine.list]
    engine.settings = lambda: [(text, text, text)]  # type: ignore[method-assign]
    async with make_app(engine).run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        await press(pilot, "S")
        assert screen_text(pilot).count(message(text)[:16]) >= 4
        await press(pilot, "escape", "c")
        assert shown in screen_text(pilot)
        await press(pilot, "escape", "enter")
        assert shown in "".join(screen_text(pilot).replace("\n", ""))
        await press(pilot, "escape", "o", "4")
        assert pilot.app.is_running
        for char in screen_text(pilot).replace("\n", ""):
            assert char.isprintable()


# --- settings ----------------------------------------------------------------------------------------------------


async def test_settings_with_their_origin_and_the_whole_value() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "c")
        text = screen_text(pilot)
        assert re.search(r"Settings \d+   1 set by somebody", text)
        assert "retention.min_keep" in text and "default" in text
        await press(pilot, "slash", *"daily", "enter")
        assert "Comes from /etc/rollpoint/config.yaml:7" in screen_text(pilot)
        await press(pilot, "escape", "slash", *"excludes", "enter")
        assert "var/lib/heartbeat/*" in screen_text(pilot)
        await press(pilot, "tab", "end")
        assert "/swap.img" in screen_text(pilot)
        await press(pilot, "escape", "slash", *"nothing like it")
        assert "has all these words" in screen_text(pilot)
        await press(pilot, "enter", "escape", "u", "q")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_settings_that_cannot_be_read() -> None:
    engine = FakeEngine()
    engine.fail["settings"] = BusyError("held", hint="wait")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "c")
        assert "Held" in screen_text(pilot) and "What to do: wait" in screen_text(pilot)
        await press(pilot, "enter", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


# --- over time ---------------------------------------------------------------------------------------------------


async def test_points_by_day_week_month_and_one_by_one() -> None:
    async with make_app(FakeEngine(30)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "o")
        text = screen_text(pilot)
        assert "[2 Days 10]" in text and "2024-11-19       3    29 MiB" in text
        assert "about 184 MiB a day lately" in text and "limit in about 2 days if nothing goes" in text
        await press(pilot, "3")
        assert "2024 week 46    22   1.4 GiB  #######" in screen_text(pilot)
        await press(pilot, "right")
        assert "[4 Months 1]" in screen_text(pilot)
        await press(pilot, "enter")
        assert not isinstance(pilot.app.screen, DetailScreen)
        await press(pilot, "1", "down")
        assert "11-19 19:32   point 29   own size 6.5 MiB" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, DetailScreen) and "Point 29" in screen_text(pilot)
        await press(pilot, "escape", "h", "q")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_growth_of_a_store_that_cannot_be_read() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        engine.fail["points"] = OSError(5, "I/O error")
        await press(pilot, "o")
        assert "I/O error" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_an_old_last_point_is_called_old() -> None:
    engine = FakeEngine()
    engine.list = [replace(p, created=p.created - timedelta(days=1)) for p in engine.list]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "Last good 24 h ago OLD" in screen_text(pilot)
        engine.list = [replace(p, doc={}) for p in engine.list]
        await press(pilot, "u")
        assert "Last good 24 h ago" in screen_text(pilot) and "OLD" not in screen_text(pilot)
        engine.list = [replace(p, created=NOW - timedelta(days=3)) for p in engine.list]
        await press(pilot, "u")
        assert "Last good 3 d ago OLD" in screen_text(pilot)


@pytest.mark.parametrize("width", [80, 200])
async def test_a_rollback_that_waits_for_the_next_boot_is_seen(width: int) -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(width, 24)) as pilot:
        await settle(pilot)
        assert "NEXT BOOT" not in screen_text(pilot)
        engine.state = replace(engine.state, ordered="a rollback to point 9 will be done at the next boot\x1b[31m")
        await press(pilot, "u")
        assert "ROLLBACK AT NEXT BOOT" in screen_text(pilot) and "Last good" in screen_text(pilot)
        await press(pilot, "S")
        assert "will be done at the next boot" in screen_text(pilot)
        assert "\x1b" not in screen_text(pilot) and "rollback --undo" in screen_text(pilot)


async def test_it_says_how_full_the_storage_is() -> None:
    engine = FakeEngine()
    engine.have_storage()
    engine.waiting = ("vg/root merges when it is next activated",)
    async with make_app(engine).run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "S")
        text = screen_text(pilot)
        assert "lvm: 91 % of the data of vg/pool is in use" in text and "remove snapshots, or make room" in text
        assert "zfs: 43 % of the pool tank is in use" in text and "merges when it is next activated" in text


async def test_without_such_storage_it_says_nothing_of_it() -> None:
    async with make_app().run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "S")
        assert "Storage" not in screen_text(pilot) and "Pending" not in screen_text(pilot)
