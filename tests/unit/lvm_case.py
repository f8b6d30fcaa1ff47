"""A machine whose root lies on a thick volume and whose /home on a thin one, for tests of the LVM backend by the
book."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.config import Config, Lvm
from engine.machine.mounts import Mount
from engine.volumes.lvm import LvmBackend
from engine.volumes.lvmtags import Label, written
from tests.unit.lvm_tools import GIB, Tools, path_with, pool, row, thick, thin

ID = "2026-11-20_17-20-22-lvm"
WHEN = datetime(2026, 11, 20, 17, 20, 22, tzinfo=UTC)
ROOT = row("root", "owi-aos---", role="public,origin,thickorigin", minor=0, size=4 * GIB)
HOME = row("home", "Vwi-aotz--", role="public,origin,thinorigin", pool="pool", minor=1)
VOLUMES = ("my-vg/root", "my-vg/home")


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Put the tools on PATH, / on my-vg/root and /home on my-vg/home, and an initramfs that is as it should be."""
    found = Tools(tmp_path)
    monkeypatch.setenv("PATH", path_with(tmp_path))
    monkeypatch.setenv("LVM_SYSTEM_DIR", "/elsewhere")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    table = [Mount(b"253:0", b"/", b"/", b"ext4", b"/dev/mapper/my--vg-root"),
             Mount(b"253:1", b"/", b"/home", b"xfs", b"/dev/mapper/my--vg-home"),
             Mount(b"253:1", b"/sub", b"/srv", b"xfs", b"/dev/mapper/my--vg-home"),
             Mount(b"253:1", b"/", b"/mnt", b"xfs", b"/dev/mapper/my--vg-home")]
    for module in ("lvmlist", "lvmtake"):
        monkeypatch.setattr(f"engine.volumes.{module}.mounts", lambda: table)
    monkeypatch.setattr("engine.volumes.lvm.mounts", lambda: table)
    monkeypatch.setattr("engine.volumes.lvmtake.root_fault", lambda: ())
    monkeypatch.setattr("engine.volumes.lvmmerge.root_fault", lambda: ())
    found.report(ROOT, HOME, pool())
    return found


def backend(*volumes: str, size: int = 20) -> LvmBackend:
    return LvmBackend(Config(store="/nowhere/store", lvm=Lvm(volumes or VOLUMES, size)))


def label(name: str, origin: str, place: bytes, **more: object) -> list[str]:
    made = Label(ID, name, origin, place, "before", ("t",), reason="manual")
    return written(dataclasses.replace(made, **more))       # type: ignore[arg-type]


OURS = (thick("root-rp-1", "root", tags=label("root-rp-1", "root", b"")),
        thin("home-rp-1", "home", tags=label("home-rp-1", "home", b"home")))
