"""The JSON of `vms`: every text printable, and without the passwords that a vm.cfg can hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from engine.text import json_path, printable
from engine.vms.literals import Pairs
from engine.vms.secrets import hidden, hidden_value

if TYPE_CHECKING:
    from engine.vms.coverage import Part
    from engine.vms.findings import VmFinding
    from engine.vms.inventory import Machine
    from engine.vms.literals import Value
    from engine.vms.places import DiskState
    from engine.vms.repositories import Repository


def without_secrets(value: Any) -> Any:
    """Hide secrets once more in all texts of a document: no field of it may show one, whatever it is made of."""
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value


def safe(text: str) -> str:
    """Return a text as it can be shown: printable, without secrets."""
    return printable(hidden(text))


def pair_texts(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the parameters of a device as texts, ``key=value`` or ``word``."""
    return [safe(f"{key}={hidden_value(key, value)}" if value else key) for key, value in pairs]


def plain_value(value: Value) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Pairs):
        return {str(plain_value(key)): plain_value(item) for key, item in value.items}
    return value


def path_json(path: bytes) -> dict[str, str]:
    """Return the JSON form of a path, without secrets."""
    text = os.fsdecode(path)
    return json_path(path) if hidden(text) == text else {"path": "/" + safe(text)}


def repository_json(repository: Repository) -> dict[str, Any]:
    """Return the JSON form of a repository."""
    return {**path_json(repository.path), "kind": repository.kind, "alias": safe(repository.alias),
            "troubles": [safe(trouble) for trouble in repository.troubles]}


def machine_json(machine: Machine) -> dict[str, Any]:
    """Return the JSON form of a VM or template."""
    facts = machine.facts
    return {
        "name": machine.name, "domain": safe(facts.name), "simple_name": safe(facts.title), "uuid": safe(facts.uuid),
        "template": machine.template, "config": path_json(machine.config),
        "repository": path_json(machine.repository)["path"],
        "type": safe(facts.kind), "memory_mib": facts.memory, "max_memory_mib": facts.max_memory,
        "vcpus": facts.vcpus, "max_vcpus": facts.max_vcpus, "description": safe(facts.description),
        "apparent_bytes": machine.apparent, "allocated_bytes": machine.allocated,
        "disks": [disk_json(disk) for disk in machine.disks],
        "networks": [{"mac": safe(n.mac), "bridge": safe(n.bridge), "model": safe(n.model), "type": safe(n.kind),
                      "ip": safe(n.ip), "script": safe(n.script), "name": safe(n.name), "others": pair_texts(n.others),
                      "problem": n.problem} for n in facts.nics],
        "consoles": [{"type": safe(c.kind), "others": pair_texts(c.others)} for c in facts.consoles],
        "pci": [{"address": safe(d.address), "slot": safe(d.slot), "others": pair_texts(d.others), "problem": d.problem}
                for d in facts.pci],
        "host_files": [{"key": key, "path": safe(path)} for key, path in facts.host_files],
        "problems": [{"line": p.line, "key": safe(p.key), "text": safe(p.text)} for p in facts.problems],
    }


def disk_json(disk: DiskState) -> dict[str, Any]:
    """Return the JSON form of a disk and of what there is of it."""
    spec = disk.spec
    return {
        "device": safe(spec.vdev), "access": spec.access, "cdrom": spec.cdrom, "kind": disk.kind,
        "target": safe(spec.target), "format": spec.format or "raw", "prefixes": list(spec.prefixes),
        "backend": safe(spec.backend), "backendtype": safe(spec.backendtype), "script": safe(spec.script),
        "others": pair_texts(spec.others), "exists": disk.exists, "apparent_bytes": disk.apparent,
        "allocated_bytes": disk.allocated, "trouble": safe(disk.trouble), "problem": spec.problem,
        "repository": path_json(disk.repository)["path"] if disk.repository else None,
    }


def finding_json(finding: VmFinding) -> dict[str, Any]:
    """Return the JSON form of a finding."""
    return {"kind": finding.kind, "level": finding.level, "text": finding.text, "hint": finding.hint,
            "machines": list(finding.machines), **(path_json(finding.path) if finding.path else {"path": None})}


def part_json(part: Part) -> dict[str, Any]:
    """Return the JSON form of what is held of a part of a VM."""
    return {"part": safe(part.what), **path_json(part.path), "points": part.points, "newest": part.newest or None,
            "as_it_is": part.same, "why": part.why,
            "by": [{"backend": one.backend, "points": one.points, "newest": one.newest, "as_it_is": one.same,
                    "what": one.what} for one in part.shares]}


def held_json(found: list[Part] | None) -> list[dict[str, Any]] | None:
    """Return the JSON form of what is held of a VM; None where nobody knows."""
    return None if found is None else [part_json(part) for part in found]
