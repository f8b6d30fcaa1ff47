"""Repositories of made-up VMs, in the layouts of Oracle VM 2 and 3, for the tests to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.events import Job
from engine.vms.inventory import Inventory, scan

REPO = "0004fb0000030000aaaabbbbccccdddd"
OTHER = "0004fb0000030000eeeeffff00001111"


def repo_path(tree: Path, repository: str = REPO) -> Path:
    """The directory of an Oracle VM 3 repository."""
    return tree / "OVS/Repositories" / repository


def config(tree: Path, number: int, *, repository: str = REPO, template: bool = False, **settings: Any) -> Path:
    """Write a vm.cfg the way Oracle VM 3 does: a line per key, Python's own quoting. None leaves a key out."""
    ident = f"0004fb0000060000{number:016x}"
    folder = repo_path(tree, repository) / ("Templates" if template else "VirtualMachines") / ident
    folder.mkdir(parents=True, exist_ok=True)
    values = {"name": ident, "OVM_simple_name": f"vm{number}", "uuid": dashed(ident), "memory": 1024, "vcpus": 2,
              "vif": [f"mac=00:21:f6:00:{number >> 8:02x}:{number & 255:02x},bridge=10238073c2"], "disk": [],
              "OVM_domain_type": "xen_hvm"}
    path = folder / "vm.cfg"
    path.write_text("".join(f"{k} = {v!r}\n" for k, v in {**values, **settings}.items() if v is not None))
    return path


def dashed(ident: str) -> str:
    """A uuid from 32 hex digits."""
    return "-".join((ident[:8], ident[8:12], ident[12:16], ident[16:20], ident[20:]))


def image(tree: Path, name: str, *, size: int = 1 << 20, data: int = 0, repository: str = REPO,
          part: str = "VirtualDisks") -> str:
    """Make a sparse disk image with `data` bytes in it; return its path as a vm.cfg inside the tree names it."""
    path = repo_path(tree, repository) / part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(os.urandom(data))
        file.truncate(size)
    return f"/OVS/Repositories/{repository}/{part}/{name}"


def look(tree: Path, wanted: Sequence[str] = ("auto",)) -> Inventory:
    """The inventory of a tree."""
    return scan(str(tree), wanted, Job())
