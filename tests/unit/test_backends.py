"""The one list of points: every kind is asked, and one that fails or hangs harms no other."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from engine import backends
from engine.config import Config, Zfs
from engine.configsections import Btrfs, Lvm
from engine.errors import RefusedError, ToolError, UsageError
from engine.points import RestorePoint

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)


def point(ident: str, backend: str, hours: float, number: int = 0) -> RestorePoint:
    return RestorePoint(ident, backend, number, NOON + timedelta(hours=hours))


class Kind:
    """A backend that answers as it is told."""

    def __init__(self, name: str, answer: Callable[[], list[RestorePoint]]) -> None:
        self.name, self.points = name, answer


def failing() -> list[RestorePoint]:
    raise ToolError(["zfs", "list"], 1, "internal error: \x1b[31mout of memory", hint="look at the pool")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a backend that hangs waits for; it is let go at the end."""
    event = threading.Event()
    yield event
    event.set()


def use(monkeypatch: pytest.MonkeyPatch, *kinds: Kind) -> None:
    monkeypatch.setattr(backends, "of", lambda config: list(kinds))


def test_all_points_come_in_one_list_sorted_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [point("r2", "replica", 2, 2), point("r1", "replica", 0, 1)]
    use(monkeypatch, Kind("zfs", lambda: [point("z", "zfs", 1)]), Kind("lvm", lambda: [point("l", "lvm", 3)]))
    found = backends.listing(Config(), kept)
    assert [p.id for p in found.points] == ["l", "r2", "z", "r1"]
    assert found.troubles == ()


def test_a_kind_that_fails_is_shown_with_the_reason_and_the_others_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Kind("zfs", failing), Kind("lvm", lambda: [point("l", "lvm", 3)]))
    found = backends.listing(Config(), [point("r", "replica", 0, 1)])
    assert [p.id for p in found.points] == ["l", "r"]
    [trouble] = found.troubles
    assert trouble.backend == "zfs"
    assert "out of memory" in trouble.reason and "\x1b" not in trouble.reason
    assert trouble.hint == "look at the pool"


def test_a_defect_in_one_kind_is_a_trouble_too(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Kind("lvm", lambda: [point("x", "lvm", int("no number"))]))
    found = backends.listing(Config(), [point("r", "replica", 0, 1)])
    assert [p.id for p in found.points] == ["r"]
    assert "ValueError" in found.troubles[0].reason


def test_a_kind_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    def hanging() -> list[RestorePoint]:
        gate.wait()
        return [point("late", "zfs", 9)]

    use(monkeypatch, Kind("zfs", hanging), Kind("lvm", lambda: [point("l", "lvm", 3)]))
    found = backends.listing(Config(), limit=0.5)
    assert [t.backend for t in found.troubles] == ["zfs"]
    assert "no answer after 0.5 s" in found.troubles[0].reason
    assert [p.id for p in found.points] == ["l"]


def test_nothing_is_asked_where_the_configuration_names_nothing_and_the_root_is_no_machine(tmp_path: object) -> None:
    assert backends.of(Config(root=str(tmp_path))) == []


def test_an_empty_list_is_a_no_even_when_it_is_asked_for_by_name() -> None:
    config = Config(zfs=Zfs(datasets=()), lvm=Lvm(volumes=()), btrfs=Btrfs(subvolumes=()))
    assert backends.of(config) == []
    with pytest.raises(RefusedError, match="nothing of btrfs"):
        backends.get(config, "btrfs")


def test_an_unknown_backend_is_a_typing_mistake() -> None:
    with pytest.raises(UsageError, match="'tape'"):
        backends.get(Config(), "tape")


def test_auto_asks_a_kind_on_the_running_system_alone_and_only_if_it_is_here() -> None:
    [kind] = [k for k in backends._KINDS if k.name == "btrfs"]
    here = dataclasses.replace(kind, here=lambda: True)
    assert here.wanted(Config(root="/"))
    assert not here.wanted(Config(root="/mnt"))
    assert not dataclasses.replace(kind, here=lambda: False).wanted(Config(root="/"))
    assert here.wanted(Config(root="/mnt", btrfs=Btrfs(subvolumes=("/mnt/home",))))


def test_how_each_kind_stands_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named: it is asked, and its program names itself or is missing; else the reason why not."""
    monkeypatch.setattr(backends, "call", lambda argv, timeout: f"  {argv[0]}   9.1(2)\nmore".encode())
    config = Config(zfs=Zfs(datasets=("tank",)), btrfs=Btrfs(subvolumes=()), lvm=Lvm(volumes=("auto",)), root="/tmp")
    found = {state.backend: state for state in backends.states(config)}
    assert set(found) == {"zfs", "lvm", "btrfs"}
    assert found["zfs"] == backends.State("zfs", True, tool="zfs 9.1(2)")
    assert not found["btrfs"].asked and "switched off" in found["btrfs"].why
    assert not found["lvm"].asked and "/tmp is not the running system" in found["lvm"].why

    def missing(argv: tuple[str, ...], timeout: float) -> bytes:
        raise ToolError(argv, 127, "not found")

    monkeypatch.setattr(backends, "call", missing)
    state = next(s for s in backends.states(config) if s.backend == "zfs")
    assert state.asked and not state.tool and "zfs" in state.fault and "install" in state.hint
    # With `auto` alone, the device mapper may be there for something else than LVM; a btrfs that is mounted is one.
    monkeypatch.setattr("os.path.exists", lambda path: True)
    monkeypatch.setattr(backends, "mounts", lambda: [SimpleNamespace(fstype=b"btrfs")])
    found = {state.backend: state for state in backends.states(Config(root="/"))}
    assert not found["lvm"].asked and found["lvm"].why == "lvm is not installed"
    assert found["btrfs"].asked and found["btrfs"].hint == "install btrfs-progs"
