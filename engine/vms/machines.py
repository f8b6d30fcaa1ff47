"""A vm.cfg that was read -> what an admin wants to know of the VM: names, size, kind, devices, files of the host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.vms.devices import Console, Nic, PciDevice, console, items, kind_of, nic, pci
from engine.vms.diskspec import DiskSpec, disk
from engine.vms.literals import Value
from engine.vms.statements import Document, Problem

# Programs and files of the host that a configuration names: listed, never run, opened or copied.
_HOST_FILES = ("kernel", "ramdisk", "bootloader", "loader", "firmware", "firmware_override", "system_firmware",
               "acpi_firmware", "smbios_firmware", "nvram", "device_model", "device_model_override",
               "device_model_stubdomain_override")
_DOMAIN_KEYS = frozenset({"memory", "disk", "vif", "kernel", "builder", "bootloader", "type", "vcpus", "maxmem"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What a vm.cfg says of its VM. `name` is the domain's; `title` the one people use (OVM_simple_name), "" where none
    is set. Memory is in MiB, None where the file does not say. `kind` is Oracle VM's domain type or xl's type, and
    else ``hvm`` or ``pv``. `problems` say, with lines, what of the file could not be understood."""

    name: str
    title: str
    uuid: str
    memory: int | None
    max_memory: int | None
    vcpus: int | None
    max_vcpus: int | None
    kind: str
    description: str
    disks: tuple[DiskSpec, ...]
    nics: tuple[Nic, ...]
    consoles: tuple[Console, ...]
    pci: tuple[PciDevice, ...]
    host_files: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]


def is_domain(document: Document) -> bool:
    """Whether a file is about a VM at all (not a CPU pool, nor some other file of settings): it sets a name and
    something that only VMs have, whether or not what it sets could be read."""
    keys = {statement.key for statement in document.statements}
    return "name" in keys and not _DOMAIN_KEYS.isdisjoint(keys)


def facts(document: Document) -> Facts:
    """Return what a document says."""
    values = document.values
    lines = {statement.key: statement.line for statement in document.statements if statement.key}
    problems = list(document.problems)
    disks = tuple(disk(text) for text in _list(values, "disk", lines, problems))
    nics = tuple(nic(text) for text in _list(values, "vif", lines, problems))
    consoles = tuple(console(text) for text in _list(values, "vfb", lines, problems))
    devices = tuple(pci(text) for text in _list(values, "pci", lines, problems))
    faults: dict[str, list[str]] = {"disk": [one.problem for one in disks], "vif": [one.problem for one in nics],
                                    "pci": [one.problem for one in devices]}
    problems += [Problem(lines[key], f"{key} {number}: {fault}", key)
                 for key, found in faults.items() for number, fault in enumerate(found, 1) if fault]
    numbers = {key: _number(values, key, lines, problems) for key in ("memory", "maxmem", "vcpus", "maxvcpus")}
    return Facts(
        name=_text(values, "name"), title=_text(values, "OVM_simple_name"), uuid=_text(values, "uuid"),
        memory=numbers["memory"], max_memory=numbers["maxmem"], vcpus=numbers["vcpus"],
        max_vcpus=numbers["maxvcpus"], kind=_kind(values), description=_text(values, "OVM_description"),
        disks=disks, nics=nics, consoles=consoles, pci=devices,
        host_files=tuple((key, _text(values, key)) for key in _HOST_FILES if _text(values, key)),
        problems=tuple(sorted(problems, key=lambda problem: problem.line)))


def plain_id(text: str) -> str:
    """Return an id so that its spellings are equal: without dashes, in lower case. "" for none and for all zeroes."""
    plain = text.replace("-", "").strip().lower()
    return "" if not plain.strip("0") else plain


def _list(values: Mapping[str, Value], key: str, lines: Mapping[str, int], problems: list[Problem]) -> list[str]:
    texts, odd = items(values.get(key))
    if odd:
        problems.append(Problem(lines[key], f"{key}: {odd}", key))
    return texts


def _text(values: Mapping[str, Value], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


def _number(values: Mapping[str, Value], key: str, lines: Mapping[str, int], problems: list[Problem]) -> int | None:
    """A whole number, also as a text; "" and None are what generators write for "not yet"."""
    value = values.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch(r"[ \t]*[0-9]{1,12}[ \t]*", value):
        return int(value)
    if type(value) is int and 0 <= value < 10**12:
        return value
    problems.append(Problem(lines[key], f"{key}: expected a whole number, got {kind_of(value)}", key))
    return None


def _kind(values: Mapping[str, Value]) -> str:
    given = _text(values, "OVM_domain_type") or _text(values, "type")
    if given:
        return given
    return "hvm" if _text(values, "builder").lower() == "hvm" else "pv"
