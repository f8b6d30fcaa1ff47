r"""A VM's configuration in xl's own grammar (libxlu_cfg_l.l), for `xl create FILE`.

xl refuses the files of Oracle VM: no capital letters in keys, no True and False, no dictionaries. What it cannot hold
is left out and named.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.text import message, printable
from engine.vms.diskspec import READ, SHARED, DiskSpec
from engine.vms.secrets import HIDDEN, hidden, hidden_value

if TYPE_CHECKING:
    from engine.vms.inventory import Machine
    from engine.vms.literals import Value
    from engine.vms.recreate import Script

_KEY = re.compile(r"[a-z][._0-9a-z]*")


def write(machine: Machine, made: Script) -> None:
    """Add the lines of the configuration; of what it leaves out, sentences."""
    made.lines.append("# for xl create; made from " + printable(machine.config.rpartition(b"/")[2]))
    for key, value in machine.document.values.items():
        if key == "disk":
            continue
        text = _written(hidden_value(key, value)) if _KEY.fullmatch(key) else None
        if text is None:
            made.unknown.append(f"{printable(key)} is left out: xl has no such key or value")
            continue
        if HIDDEN in text:
            mark = made.gap(key, f"{key} holds a secret, which is not shown")
            text = text.replace(HIDDEN, mark)
        made.lines.append(f"{key} = {text}")
    disks = [_disk(state.spec, made) for state in machine.disks]
    made.lines.append(f"disk = {_list([_string(disk) for disk in disks if disk])}")


def _written(value: Value) -> str | None:
    """A value in xl's grammar; None for one that it does not have."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int) and value >= 0:
        return str(value)
    if isinstance(value, tuple):
        items = [_written(item) for item in value]
        return None if None in items else _list([item for item in items if item is not None])
    return None


def _list(items: list[str]) -> str:
    return f"[ {', '.join(items)} ]" if items else "[ ]"


def _string(text: str) -> str:
    return '"' + "".join(_char(char) for char in text) + '"'


def _char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if message(char) == char:
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _disk(spec: DiskSpec, made: Script) -> str:
    """An entry of `disk`, with keys, so that no path can be taken for something else; "" for one that is none."""
    vdev = printable(spec.vdev) or "?"
    if spec.problem:
        made.unknown.append(f"the disk {vdev} is left out: its entry is not understood")
        return ""
    words = [f"format={spec.format or 'raw'}", f"vdev={spec.vdev}", f"access={'ro' if spec.access == READ else 'rw'}"]
    if spec.access == SHARED:
        made.unknown.append(f"the disk {vdev} is shared (w!), which xl has no word for: its own checks are in the way")
    words += ["devtype=cdrom"] if spec.cdrom else []
    words += [f"{key}={value}" for key, value in (("backend", spec.backend), ("backendtype", spec.backendtype),
                                                  ("script", spec.script)) if value]
    words += [f"{key}={value}" if value else key for key, value in spec.others if key != "protocol"]
    target = spec.target
    if hidden(target) != target:
        target = made.gap(f"target of {vdev}", "it holds a secret, which is not shown")
    return ",".join([*words, f"target={target}"])
