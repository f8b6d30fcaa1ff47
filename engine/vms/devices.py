"""Specifications of devices in both dialects -> typed values: network interfaces, consoles, PCI devices.

`parameters` splits at commas as xend and xl do: neither knows quotes. What cannot be understood stays in `others`, or
makes a `problem`; nothing raises. Disks are in `engine.vms.diskspec`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.vms.literals import Pairs, Value

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_PCI = re.compile(r"(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7]|\*)(?:@([0-9a-f]{1,2}))?",
                  re.IGNORECASE)

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface (vif). `mac` is in lower case, "" where it is made up at each start; `others` are the
    parameters without a field of their own, words without ``=`` with an empty value."""

    source: str
    mac: str = ""
    bridge: str = ""
    ip: str = ""
    model: str = ""
    kind: str = ""
    script: str = ""
    name: str = ""
    rate: str = ""
    backend: str = ""
    others: Parameters = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Console:
    """A graphical console (vfb): ``vnc``, ``sdl``, ``spice`` or "", and its parameters, which may hold a password."""

    source: str
    kind: str = ""
    others: Parameters = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A PCI device of the host. `address` is ``0000:03:00.0`` (function ``*``: all); `slot` is where the guest sees
    it, "" where that is not said."""

    source: str
    address: str = ""
    slot: str = ""
    others: Parameters = ()
    problem: str = ""


def parameters(text: str) -> Parameters:
    """Return the pairs of ``k=v,k=v``, keys in lower case; a word without ``=`` has an empty value."""
    found = []
    for part in text.split(","):
        key, _, value = part.partition("=")
        if part.strip():
            found.append((key.strip().lower(), value.strip()))
    return tuple(found)


def items(value: Value) -> tuple[list[str], str]:
    """Return the texts of a list in a configuration, and what is odd about it: not a list, not all texts. None and ""
    are an empty list, a single text is a list of one."""
    if value is None or value == "":
        return [], ""
    if isinstance(value, str):
        return [value], "expected a list, got a text"
    if not isinstance(value, tuple):
        return [], f"expected a list, got {kind_of(value)}"
    texts = [item for item in value if isinstance(item, str)]
    odd = next((item for item in value if not isinstance(item, str)), None)
    return texts, "" if len(texts) == len(value) else f"expected texts in the list, got {kind_of(odd)}"


def kind_of(value: Value) -> str:
    """Return what a value is, in words."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Pairs):
        return "a dictionary"
    return "a list" if isinstance(value, tuple) else "a number"


_NIC_FIELDS = {"mac": "mac", "bridge": "bridge", "ip": "ip", "model": "model", "type": "kind", "script": "script",
               "vifname": "name", "rate": "rate", "backend": "backend"}


def nic(text: str) -> Nic:
    """Return what a vif specification says; the empty one is an interface with every default."""
    fields: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for key, value in parameters(text):
        name = _NIC_FIELDS.get(key)
        if name is None or name in fields:
            others.append((key, value))
        else:
            fields[name] = value
    mac = fields.pop("mac", "").lower().replace("-", ":")
    problem = f"{mac} is no MAC address" if mac and not _MAC.fullmatch(mac) else ""
    return Nic(text, mac, **fields, others=tuple(others), problem=problem)


def console(text: str) -> Console:
    """Return what a vfb specification says."""
    found = parameters(text)
    kinds = [value for key, value in found if key == "type"]
    kinds += [word for word in ("vnc", "spice", "sdl") if (word, "1") in found]
    return Console(text, kinds[0].lower() if kinds else "", tuple(pair for pair in found if pair[0] != "type"))


def pci(text: str) -> PciDevice:
    """Return what a pci specification says: ``[DDDD:]BB:DD.F[@SLOT][,key=value…]``, also as ``bdf=…``."""
    pairs = parameters(text)
    place = next((value for key, value in pairs if key == "bdf"), text.split(",")[0].strip())
    found = _PCI.fullmatch(place)
    others = tuple(pair for pair in pairs if pair != (place.lower(), "") and pair[0] != "bdf")
    if not found:
        return PciDevice(text, others=others, problem="it is no address of a PCI device")
    domain, bus, device, function, slot = found.groups()
    address = f"{int(domain or '0', 16):04x}:{int(bus, 16):02x}:{int(device, 16):02x}.{function}"
    return PciDevice(text, address, (slot or "").lower(), others)
