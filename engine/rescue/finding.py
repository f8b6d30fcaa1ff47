"""Looking at all disks of a rescue system for stores and for systems, reading only."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import RollpointError
from engine.events import Job
from engine.rescue.survey import Survey


def survey(job: Job, *, devices: Sequence[str] = (), shares: Sequence[str] = (), activate: bool = False,
           seconds: float = 20) -> Survey:
    """Look at every block device (or at `devices` alone) and at the NFS shares that are named, ``server:/path``.

    Each is mounted read-only in a private mount namespace, without replaying its journal, and given `seconds` to
    answer. With `activate` LVM volumes are activated and RAIDs assembled first. What cannot be read is listed with
    the reason. Raises RefusedError without root, CancelledError.
    """
    raise RollpointError("not there yet")
