"""Runs inside the guest: the verbs of the LVM backend, each answer one JSON document.

    python3 lvm_verbs.py PLACE VOLUMES VERB [WORD…]     PLACE: rollpoint.pyz, or what it was unpacked into;
                                                        VOLUMES: as in the configuration, with commas between

An error of Rollpoint's is an answer too: {"error": its class, "message": …, "hint": …}.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, sys.argv[1])
from engine.config import Config, Lvm
from engine.errors import RollpointError
from engine.events import Job
from engine.machine import lvmreport
from engine.results import SnapshotRequest
from engine.run import call
from engine.volumes.lvm import LvmBackend

warnings: list[str] = []
job = Job(on_warning=warnings.append)
backend = LvmBackend(Config(lvm=Lvm(volumes=tuple(sys.argv[2].split(",")))))


def plain(value: object) -> object:
    """Return a value of the engine as JSON takes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value.decode() if isinstance(value, bytes) else value if isinstance(value, int | float | str) else (
        None if value is None else str(value))


def point(name: str):  # type: ignore[no-untyped-def]
    """Return a point by its id, or by its comment."""
    return next(p for p in backend.points() if name in (p.id, p.comment))


def record(*names: str) -> list[dict[str, str]]:
    """Return the record of each place of points."""
    found = []
    for name in names:
        with backend.open(point(name), job) as opened:
            found.append({place.decode(): call(opened.space.wrap(
                ["sh", "/run/record", os.path.join(opened.inside, place)]), timeout=300).decode()
                for place in opened.places})
    return found


def copy(name: str, path: str, to: str) -> None:
    """Copy a file out of a point."""
    with backend.open(point(name), job) as opened:
        subprocess.run([b"cp", b"-a", os.path.join(opened.path, path.encode()), to], check=True)


def back(name: str, meanwhile: str = "") -> list[str]:
    """Set the volumes of a point back, after something else happened."""
    plan = backend.native(point(name))
    subprocess.run(["sh", "-ec", meanwhile], check=True)
    return backend.set_back(plan, job)


def times(number: str) -> dict[str, list[float]]:
    """Return how long the bare lvs and the list of points take, in turn."""
    found: dict[str, list[float]] = {"lvs": [], "points": []}
    for _ in range(int(number)):
        for what, run in (("lvs", lambda: call(["lvs", "-a"])), ("points", backend.points)):
            began = time.monotonic()
            run()
            found[what].append(time.monotonic() - began)
    return found


VERBS = {
    "list": backend.points, "levels": backend.levels, "pending": backend.pending, "record": record, "copy": copy,
    "take": lambda comment, *tags: backend.take(SnapshotRequest(comment, tags), job), "times": times,
    "pin": lambda name: backend.annotate(point(name), pinned=True),
    "comment": lambda name, text: backend.annotate(point(name), comment=text),
    "losses": lambda *names: backend.losses([point(n) for n in names]),
    "delete": lambda *names: backend.delete([point(n) for n in names], job),
    "native": lambda name: backend.native(point(name)), "back": back,
    "report": lambda: call(lvmreport.QUESTION).decode(), "pairs": lambda: call(lvmreport.OLD_QUESTION).decode(),
}
try:
    answer = plain(VERBS[sys.argv[3]](*sys.argv[4:]))       # type: ignore[operator]
except RollpointError as error:
    answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
print(json.dumps({"answer": answer, "warnings": warnings}))
