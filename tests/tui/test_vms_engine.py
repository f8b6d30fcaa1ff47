"""The screens about VMs over the real engine: a made-up repository, an inventory point, and a vm.cfg brought back."""

from __future__ import annotations

import os
from pathlib import Path

from engine.config import Config
from engine.service import Engine
from tests.tui.conftest import RGB, press, screen_text, settle
from tests.vm_trees import OTHER, config, image
from tui.app import RollpointApp
from tui.screens.vm import VmScreen
from tui.screens.vmchanges import VmChangesScreen


async def test_from_an_inventory_to_a_vm_cfg_that_is_back(tmp_path: Path) -> None:
    tree, store = tmp_path / "root", tmp_path / "store"
    one = config(tree, 1, disk=[f"file:{image(tree, '1.img')},xvda,w"], vncpasswd="opensesame")
    two = config(tree, 2, repository=OTHER, disk=["file:/OVS/Repositories/x/gone.img,xvda,w"])
    before, other = one.read_bytes(), two.read_bytes()
    app = RollpointApp(Engine(Config(store=str(store), root=str(tree))), host="web01", root=str(tree),
                       store=str(store), look=RGB)
    async with app.run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        await press(pilot, "V")
        assert "2 VMs, 0 templates, 2 disks in 2 repositories" in screen_text(pilot)
        await press(pilot, "s", *"before", "enter")
        assert "was taken" in screen_text(pilot)
        await press(pilot, "enter")
        one.write_bytes(before.replace(b"memory = 1024", b"memory = 2048").replace(b"opensesame", b"other"))
        assert one.read_bytes() != before
        await press(pilot, "4", "d")
        text = screen_text(pilot)
        assert isinstance(pilot.app.screen, VmChangesScreen)
        assert "vm1: memory 1024 MiB -> 2048 MiB" in text and "vncpasswd changed" in text and "opensesame" not in text
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, VmScreen) and "vm1" in screen_text(pilot)
        await press(pilot, "5", "w")
        assert "memory 2048 MiB -> 1024 MiB" in screen_text(pilot)
        if "I know that this VM does not run" in screen_text(pilot):    # where neither xl nor xm is installed
            assert "Refused" in screen_text(pilot)
            await press(pilot, "space")
        await press(pilot, *"yes", "enter")
        assert "was brought back" in screen_text(pilot), screen_text(pilot)
        await press(pilot, "enter")
        assert "1,024 MiB" in screen_text(pilot) or "[5 History" in screen_text(pilot)
    assert one.read_bytes() == before and two.read_bytes() == other
    (kept,) = [name for name in os.listdir(one.parent) if name != "vm.cfg"]
    assert b"memory = 2048" in (one.parent / kept).read_bytes()
