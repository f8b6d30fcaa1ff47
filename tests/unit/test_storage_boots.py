"""Going back to a snapshot beside a /boot that stays: each kernel without modules is judged by what it is there for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import storageback, storageboot
from engine.backend import Opened
from engine.config import Config
from engine.machine import bootcheck
from engine.machine.mounts import Space
from engine.results import Finding
from engine.scopes import Scope


@pytest.mark.parametrize("held,said", [
    (("A",), [("warning", "/boot is"), ("blocker", "the kernel B")]),
    ((), [("blocker", "/boot is")]),
])
def test_the_kernel_that_starts_by_itself_counts_most(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: tuple[str, ...], said: list[tuple[str, str]]) -> None:
    root, point = tmp_path / "root", tmp_path / "point"
    (root / "boot").mkdir(parents=True)
    for release in "AB":
        (root / "boot" / f"vmlinuz-{release}").write_bytes(b"")
    (point / "usr/lib/modules").mkdir(parents=True)
    for release in held:
        (point / "usr/lib/modules" / release).mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == os.fsencode(root / "boot"))
    monkeypatch.setattr(storageboot, "foresee", lambda *_: [
        Finding("warning" if release == "A" else "blocker", f"the kernel {release} in /boot {bootcheck.NO_MODULES}")
        for release in "AB" if release not in held])
    opened = Opened(Space(), os.fsencode(point), os.fsencode(point), (b"",))
    found = storageback._boots(Config(root=str(root)), opened, storageback.tree_of(opened, "p"), Scope())
    assert [(f.level, " ".join(f.text.split()[:2 if f.text[0] == "/" else 3])) for f in found] == said
