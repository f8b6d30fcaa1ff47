"""An inventory as JSON and back (format: "Inventory points" in engine/replica/FORMAT.md).

Of a VM the JSON has what its vm.cfg does not say: where it lies and what there is of its disks. What the vm.cfg says is
read from its bytes again, by the parser that reads it now, so that a better one sees more in old points too. Bytes are
text with surrogates for what is no UTF-8, as os.fsdecode makes it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from engine.errors import DamageError
from engine.vms.diskspec import DiskSpec
from engine.vms.inventory import Image, Inventory, Machine, Unread
from engine.vms.machines import Facts, facts
from engine.vms.places import DiskState, Identity
from engine.vms.repositories import ConfigFile, Repository
from engine.vms.statements import Document, read

_STATE = tuple(field.name for field in fields(DiskState) if field.name not in ("spec", "path", "repository",
                                                                               "identity"))


def encode(inventory: Inventory, blobs: Mapping[bytes, str]) -> dict[str, Any]:
    """Return an inventory as JSON can hold it. `blobs` are the SHA-256 of the vm.cfg files, by `Machine.config`."""
    return {
        "repositories": [{
            "path": _text(r.path), "kind": r.kind, "alias": r.alias, "troubles": r.troubles,
            "configs": [[_text(c.path), c.template, c.certain] for c in r.configs],
            "images": [_text(path) for path in r.images]} for r in inventory.repositories],
        "machines": [_machine(machine, blobs[machine.config]) for machine in inventory.machines],
        "unread": [[_text(u.config), _text(u.repository), u.why] for u in inventory.unread],
        "images": [[_text(i.path), _text(i.repository), i.apparent, i.allocated, list(i.identity)]
                   for i in inventory.images],
        "troubles": list(inventory.troubles), "skipped": [_text(path) for path in inventory.skipped],
    }


def _machine(machine: Machine, blob: str) -> dict[str, Any]:
    return {"config": _text(machine.config), "file": _text(machine.file), "repository": _text(machine.repository),
            "template": machine.template, "blob": blob, "named": sorted(map(list, machine.named)),
            "disks": [_disk(disk) for disk in machine.disks]}


def _disk(disk: DiskState) -> dict[str, Any]:
    return {"source": disk.spec.source, "path": _text(disk.path), "repository": _text(disk.repository),
            "identity": None if disk.identity is None else list(disk.identity),
            **{name: getattr(disk, name) for name in _STATE}}


def decode(document: Mapping[str, Any], content: Callable[[str], bytes]) -> Inventory:
    """Return the inventory of a document; `content` returns a blob by its SHA-256. Raises DamageError where it is not
    what `encode` writes, and what `content` raises."""
    try:
        places = tuple(Repository(
            _bytes(r["path"]), r["kind"], r["alias"], [ConfigFile(_bytes(p), t, c) for p, t, c in r["configs"]],
            [_bytes(path) for path in r["images"]], list(r["troubles"])) for r in document["repositories"])
        return Inventory(
            places, tuple(_read_machine(one, content) for one in document["machines"]),
            tuple(Unread(_bytes(config), _bytes(place), why) for config, place, why in document["unread"]),
            tuple(Image(_bytes(path), _bytes(place), apparent, allocated, _identity(identity))
                  for path, place, apparent, allocated, identity in document["images"]),
            tuple(document["troubles"]), tuple(_bytes(path) for path in document["skipped"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamageError(f"the inventory is not of the form this Rollpoint knows: {error!r}",
                          hint="use the Rollpoint that wrote it, or a newer one") from error


def _read_machine(one: Mapping[str, Any], content: Callable[[str], bytes]) -> Machine:
    document, known = _parsed(content(one["blob"]))
    states = {state["source"]: state for state in one["disks"]}
    return Machine(_bytes(one["config"]), _bytes(one["file"]), _bytes(one["repository"]), one["template"], document,
                   known, tuple(_state(spec, states.get(spec.source)) for spec in known.disks),
                   frozenset(_identity(found) for found in one["named"]))


@functools.lru_cache(maxsize=4096)
def _parsed(data: bytes) -> tuple[Document, Facts]:
    """What a vm.cfg says; most are the same in many points."""
    document = read(data)
    return document, facts(document)


def _state(spec: DiskSpec, state: Mapping[str, Any] | None) -> DiskState:
    if state is None:
        return DiskState(spec, "disk", trouble="what there was of it was not recorded")
    return DiskState(spec, path=_bytes(state["path"]), repository=_bytes(state["repository"]),
                     identity=None if state["identity"] is None else _identity(state["identity"]),
                     **{name: state[name] for name in _STATE})


def _identity(found: list[Any]) -> Identity:
    kind, first, second, name = found
    return str(kind), int(first), int(second), str(name)


def _text(path: bytes) -> str:
    return os.fsdecode(path)


def _bytes(text: str) -> bytes:
    return os.fsencode(text)
