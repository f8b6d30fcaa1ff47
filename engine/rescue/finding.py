"""Looking at all disks of a rescue system for stores and for systems, reading only.

Each device is looked into by another process (engine.rescue.looking), for a disk that is dying may never answer, and
a process that waits for it does not even hear SIGKILL.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from engine.errors import RefusedError, RollpointError, ToolError, UsageError
from engine.events import Job
from engine.machine.filesystems import FileSystem, names_of, recorded
from engine.machine.mounts import mount_of, mounts
from engine.rescue import looking
from engine.rescue.survey import FoundPoint, FoundStore, FoundSystem, Survey, Unreadable
from engine.run import Process, call, scratch
from engine.text import message, printable

_COLUMNS = "NAME,PATH,TYPE,FSTYPE,UUID,LABEL,PARTUUID,SIZE,MODEL,SERIAL,PKNAME"
_LEFT_OUT = ("loop", "rom")                 # a loop device is looked at when it is named
_MEMORY = re.compile(r"/dev/z?ram\d")
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from engine.rescue.looking import main; main()"
_SHARE = re.compile(r"[^/:]+:/.*|\[[0-9a-fA-F:]+\]:/.*")
_LIST_SECONDS, _ACTIVATE_SECONDS = 30, 120
_ACTIVATION = (("LVM", ("vgchange", "-ay")), ("RAID", ("mdadm", "--assemble", "--scan")))
# What a container of that type is, and how its contents become visible.
_CONTAINERS = {
    "LVM2_member": ("a physical volume of LVM that is not active", "--activate activates it"),
    "linux_raid_member": ("a part of a RAID that is not assembled", "--activate assembles it"),
    "crypto_LUKS": ("an encrypted volume", "open it with cryptsetup open {} NAME"),
    "zfs_member": ("a part of a ZFS pool", "import it with zpool import -R /mnt"),
}


def survey(job: Job, *, devices: Sequence[str] = (), also: Sequence[str] = (), shares: Sequence[str] = (),
           paths: Sequence[str] = (), activate: bool = False, seconds: float = 20) -> Survey:
    """Look at every block device (or at `devices` alone), at the loop devices in `also`, and at the NFS shares that are
    named, ``server:/path``. Stores are looked for three directories deep, and in `paths` of each device.

    Each is mounted read-only in a private mount namespace, without replaying its journal, and given `seconds` to
    answer. With `activate` LVM volumes are activated and RAIDs assembled first. What cannot be read is listed with
    the reason. Raises RefusedError without root, UsageError for a device that is none, CancelledError.
    """
    if os.geteuid() != 0:
        raise RefusedError("only root can look into the disks", hint="run it as root")
    notes = [note for what, argv in _ACTIVATION for note in _activate(what, argv)] if activate else []
    listed, closed = _listed(devices, also, job)
    listed += [_share(share) for share in shares]
    answers = list(_answers(listed, paths, seconds, job)) if listed else []
    file_systems, stores, systems, unreadable = [], [], [], []
    for one, answer in zip(listed, answers, strict=True):
        known = replace(one, fstype=str(answer.get("fstype") or one.fstype), uuid=str(answer.get("uuid") or one.uuid),
                        label=str(answer.get("label") or one.label), member=str(answer.get("member") or ""))
        if known.fstype in _CONTAINERS:
            closed.append(known)
        elif answer.get("why"):
            unreadable.append(Unreadable(known, message(str(answer["why"]))))
        if known.fstype and known.fstype not in (*_CONTAINERS, "swap"):
            file_systems.append(known)
        stores += [_store(known, found) for found in answer.get("stores", ())]
        systems += [_system(known, found) for found in answer.get("systems", ())]
    notes += [f"{printable(c.device)} is {_CONTAINERS[c.fstype][0]}: "
              + _CONTAINERS[c.fstype][1].format(printable(c.device)) for c in closed]
    return Survey(tuple(stores), tuple(systems), tuple(unreadable), tuple(file_systems), tuple(notes))


def is_share(text: str) -> bool:
    """Whether somebody means an NFS share by this: ``server:/path``."""
    return _SHARE.fullmatch(text) is not None


def _activate(what: str, argv: tuple[str, ...]) -> Iterator[str]:
    try:
        call(argv, timeout=_ACTIVATE_SECONDS)
    except ToolError as error:
        yield f"{what} was not activated: {error.message}"


def _share(text: str) -> FileSystem:
    if not is_share(text):
        raise UsageError(f"{printable(text)} is no NFS share", hint="name it as server:/path")
    return FileSystem(text, "nfs")


# --- which devices there are ---------------------------------------------------------------------------------------


def _listed(devices: Sequence[str], also: Sequence[str], job: Job) -> tuple[list[FileSystem], list[FileSystem]]:
    """Return the devices to look into, and containers that nobody has opened."""
    job.progress("listing devices")
    for device in (*devices, *also):
        if not device.startswith("/") or not os.path.exists(device):
            raise UsageError(f"there is no device {printable(device)}", hint="`lsblk` shows those there are")
    try:
        named = [*devices, *also] if devices else []
        out = call(["lsblk", "-J", "-b", "-o", _COLUMNS, *map(os.fsencode, named)], timeout=_LIST_SECONDS)
        nodes = json.loads(out)["blockdevices"]
    except ToolError as error:
        raise RollpointError(f"the devices cannot be listed: {error.message}",
                             hint="name the devices with --device; they must be block devices") from error
    where = _mounted()
    found: dict[str, FileSystem] = {}
    for node, top in _leaves(nodes, None):
        kind, path = str(node.get("type") or ""), str(node.get("path") or f"/dev/{node['name']}")
        if not devices and (kind in _LEFT_OUT or _MEMORY.match(path)) and path not in also:
            continue
        if int(node.get("size") or 0) > 0 and path not in found:
            found[path] = _file_system(path, node, top, where)
    closed = [f for f in found.values() if f.fstype in _CONTAINERS]
    return [f for f in found.values() if f.fstype not in _CONTAINERS], closed


def _leaves(nodes: Sequence[Mapping[str, Any]], top: Mapping[str, Any] | None
            ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the devices that nothing else is made of, each with the disk it is on. (The paths of a multipath device
    carry its file system too.)"""
    for node in nodes:
        below = node.get("children")
        if below:
            yield from _leaves(below, top or node)
        else:
            yield node, top or node


def _file_system(path: str, node: Mapping[str, Any], top: Mapping[str, Any], where: Mapping[str, list[str]]
                 ) -> FileSystem:
    text = {k: str(node.get(k) or "") for k in ("fstype", "uuid", "label", "partuuid")}
    disk = str(top.get("path") or "") if top is not node or not node.get("pkname") else f"/dev/{node['pkname']}"
    return FileSystem(path, **text, size=int(node.get("size") or 0), disk=disk,
                      model=str(top.get("model") or "").strip(), serial=str(top.get("serial") or "").strip(),
                      mounted=tuple(where.get(os.path.realpath(path), ())))


def _mounted() -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for mount in mounts():
        if mount.source.startswith(b"/"):
            places.setdefault(os.path.realpath(os.fsdecode(mount.source)), []).append(os.fsdecode(mount.point))
    return places


# --- asking --------------------------------------------------------------------------------------------------------


def _answers(listed: Sequence[FileSystem], paths: Sequence[str], seconds: float, job: Job
             ) -> Iterator[dict[str, Any]]:
    """Yield what is found on each device, in their order; a new process goes on after one that hangs."""
    left = list(listed)
    with scratch() as place:
        while left:
            process = Process([sys.executable, "-I", "-B", "-c", _PROGRAM, json.dumps(sys.path), place], feed=True)
            try:
                for answer in _asked(process, left, paths, seconds, job, len(listed)):
                    left.pop(0)
                    yield answer
            finally:
                process.stdin.close()
                process.stdout.close()
                process.abandon()


def _asked(process: Process, wanted: Sequence[FileSystem], paths: Sequence[str], seconds: float, job: Job, total: int
           ) -> Iterator[dict[str, Any]]:
    """Ask the process about one device after the other; the last answer may be that it hangs, or has died."""
    rest = bytearray()
    for one in list(wanted):
        job.progress("looking into the disks", total - len(wanted), total, current=os.fsencode(one.device))
        question = {"device": one.device, "fstype": one.fstype, "paths": list(paths), "seconds": seconds / 2}
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(question).encode() + b"\n")
        line = _line(process, rest, seconds, job)
        if not line:
            trace = process.stderr_text().strip().splitlines()
            yield {"why": f"no answer within {seconds:.0f} s" if line is None else
                   "looking into it failed" + (f": {trace[-1]}" if trace else "")}
            return
        yield json.loads(line)


def _line(process: Process, rest: bytearray, seconds: float, job: Job) -> bytes | None:
    """Return the next line, b"" at the end, None when it does not come in time."""
    waited = 0.0
    while b"\n" not in rest:
        job.check()
        if not select.select([process.stdout], [], [], 0.2)[0]:
            waited += 0.2
            if waited > seconds:
                return None
            continue
        chunk = process.stdout.read(1 << 16)
        if not chunk:
            return b""
        rest += chunk
    line, _, more = bytes(rest).partition(b"\n")
    rest[:] = more
    return line


def store_in(directory: str) -> FoundStore | None:
    """Return the store in a directory that is mounted already, None where there is none."""
    path = os.path.realpath(os.fsencode(directory))
    found = looking.store(path)
    if found is None:
        return None
    mount = mount_of(path)
    uuid, label, partuuid = names_of(mount)
    on = FileSystem(os.fsdecode(mount.source), os.fsdecode(mount.fstype), uuid, label, partuuid,
                    mounted=(os.fsdecode(mount.point),))
    return _store(on, {"path": os.fsdecode(path), **found})


# --- answers -------------------------------------------------------------------------------------------------------


def _store(on: FileSystem, found: Mapping[str, Any]) -> FoundStore:
    points = sorted((_point(p) for p in found.get("points", ())), key=lambda p: (p.number, p.id), reverse=True)
    text = {k: message(str(found.get(k) or "")) for k in ("id", "host", "machine_id", "problem")}
    return FoundStore(on, str(found["path"]), format=int(found.get("format") or 0), count=int(found["count"]),
                      points=tuple(points), **text)


def _point(found: Mapping[str, Any]) -> FoundPoint:
    created = datetime.fromtimestamp(0, UTC)
    with suppress(ValueError):
        created = datetime.fromisoformat(str(found.get("created")))
    number = found.get("number")
    return FoundPoint(str(found.get("id") or ""), number if isinstance(number, int) else 0,
                      created if created.tzinfo else created.replace(tzinfo=UTC), str(found.get("comment") or ""),
                      recorded(found.get("sources")))


def _system(on: FileSystem, found: Mapping[str, Any]) -> FoundSystem:
    return FoundSystem(on, str(found["within"]), message(str(found["name"])), message(str(found["host"])),
                       message(str(found["machine_id"])), tuple(message(str(k)) for k in found["kernels"]),
                       bool(found["has_fstab"]))
