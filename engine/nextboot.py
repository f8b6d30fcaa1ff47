"""A rollback ordered for the next boot, when nothing else runs: systemd's offline updates (systemd.offline-updates(7)).

/system-update leads to STORE/next-boot, so that systemd boots into system-update.target, which wants our unit. That one
is skipped unless the link leads to an order of ours; it first removes the link, so that whatever fails never happens
twice, then runs the copy of this program that lies beside the order, and the machine boots again. The units are gone
before anything is compared: no point holds them.

STORE/next-boot holds order.json while it waits, begun.json from the moment it was claimed, and in the end run.json and
log, until somebody has seen how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from engine.errors import DamageError, RefusedError
from engine.machine import mounts
from engine.replica.layout import NEXT_BOOT, Store, fsync_dir, remove_tree, user_name, write_file
from engine.rescue import itself, kit
from engine.results import RollbackPlan
from engine.run import environment
from engine.text import printable

PLACE, ORDER, BEGUN, RUN, LOG = NEXT_BOOT, b"order.json", b"begun.json", b"run.json", b"log"
LINKS = (b"/system-update", b"/etc/system-update")      # the second one since systemd 254
UNIT = b"rollpoint-next-boot.service"
UNITS = b"/etc/systemd/system"
WANTS = UNITS + b"/system-update.target.wants"
MODULE = "tui.next_boot"
_RUNNING = "/run/systemd/system"                        # sd_booted(3)
_TEXT = """\
# Written by Rollpoint for one boot, and removed by it: `rollpoint rollback --undo` takes the order back.
[Unit]
Description=Roll back to restore point {number} (Rollpoint)
Documentation=man:systemd.offline-updates(7)
DefaultDependencies=no
Requires=sysinit.target
After=sysinit.target system-update-pre.target
Before=system-update.target shutdown.target
Conflicts=shutdown.target
RequiresMountsFor={store}
ConditionPathExists=/system-update/order.json
SuccessAction=reboot
FailureAction=reboot

[Service]
Type=oneshot
StandardOutput=journal+console
StandardError=journal+console
ExecStartPre=-{rm} -f /system-update
ExecStart={python} -I {program} {run} {module} {store}
# For systemd before 236, which knows no SuccessAction.
ExecStopPost=-{systemctl} --no-block reboot
"""


# --- ordering ------------------------------------------------------------------------------------------------------


def order(store: Store, plan: RollbackPlan, words: Mapping[str, Any]) -> None:
    """Order a plan that was confirmed for the next boot; `words` are what the program that carries it out has to know
    (JSON). Durable when this returns. The caller holds the write lock.

    Raises RefusedError where it cannot work, and then nothing is left behind.
    """
    refuse(store, plan.root)
    place = store.place(PLACE)
    remove_tree(place)
    os.mkdir(place, 0o700)
    fsync_dir(store.path)       # the link must never outlive what it leads to
    try:
        write_file(os.path.join(place, kit.PROGRAM), kit.make().files[kit.PROGRAM])
        document = {"point": plan.point.id, "number": plan.point.number, "user": user_name(),
                    "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), "order": dict(words)}
        write_file(os.path.join(place, ORDER), json.dumps(document).encode())
        os.makedirs(WANTS, exist_ok=True)
        write_file(os.path.join(UNITS, UNIT), unit(store, plan.point.number).encode())
        os.symlink(b"../" + UNIT, os.path.join(WANTS, UNIT))
        fsync_dir(WANTS)
        fsync_dir(UNITS)
        os.symlink(place, LINKS[0])     # the last step: only now does the next boot look at any of it
        fsync_dir(b"/")
    except BaseException:
        cancel(store)
        raise


def refuse(store: Store, root: str) -> None:
    """Raise RefusedError where a rollback cannot be ordered for the next boot."""
    if root != "/" or not os.path.isdir(_RUNNING) or os.geteuid() != 0:
        raise RefusedError("only the running system can be rolled back at its next boot, by root and with systemd",
                           hint="roll it back now, without --at-next-boot")
    if pending(store):
        raise RefusedError(pending(store), hint="`rollpoint rollback --undo` takes that order back")
    for link in LINKS:
        if os.path.lexists(link):
            raise RefusedError(f"another offline update is ordered already: {printable(link)} leads to "
                               f"{printable(os.readlink(link)) if os.path.islink(link) else 'no link'}",
                               hint="let that happen first (reboot), or remove the link")
    mount = mounts.mount_of(store.path)
    if mount.point != b"/" and (mount.fstype not in mounts.LOCAL_TYPES
                                or mount.point.strip(b"/") not in mounts.fstab_points(b"/")):
        raise RefusedError(f"the store lies on {printable(mount.point)}, which is not mounted early at every boot",
                           hint="a local file system in /etc/fstab is needed; or roll back now, or from a rescue CD")
    if any(byte < 0x21 or byte > 0x7e for byte in store.path):
        raise RefusedError(f"a unit of systemd cannot name the store {printable(store.path)}",
                           hint="give it a path of plain ASCII characters without spaces")


def unit(store: Store, number: int) -> str:
    """Return the unit that carries the order out."""
    python = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    tools = {name: shutil.which(name, path=environment()["PATH"]) or f"/bin/{name}" for name in ("rm", "systemctl")}
    program = os.fsdecode(store.place(PLACE, kit.PROGRAM))
    quoted = {name: _quoted(word) for name, word in
              {"python": python, "program": program, "store": os.fsdecode(store.path), **tools}.items()}
    return _TEXT.format(number=number, run=itself.RUN, module=MODULE, **quoted)


def _quoted(word: str) -> str:
    """Return a word as a unit file has it (systemd.syntax(7), systemd.service(5), Command lines)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word else word


# --- looking, taking back ------------------------------------------------------------------------------------------


def pending(store: Store) -> str:
    """Return a sentence about a rollback that is ordered, or was and did not come to an end; "" when there is none."""
    for name in (ORDER, BEGUN):
        try:
            said = _read(store, name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError):
            return "an order for the next boot cannot be read"
        what = f"a rollback to point {said['number']} ({said['point']})"
        if name == BEGUN:
            return f"{what} was begun at a boot and did not come to its end"
        if _ours(store):
            return f"{what} will be done at the next boot (ordered {said['time']} by {said['user']})"
        return f"{what} was ordered for the next boot and did not happen (ordered {said['time']} by {said['user']})"
    return ""


def needed(store: Store) -> dict[str, str]:
    """Return the point that an order needs, with the reason."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return {str(_read(store, ORDER)["point"]): "needed by the rollback that is ordered for the next boot"}
    return {}


def _read(store: Store, name: bytes) -> dict[str, Any]:
    with open(store.place(PLACE, name), "rb") as file:
        said = json.load(file)
    if not isinstance(said, dict) or {"number", "point", "time", "user", "order"} - said.keys():
        raise ValueError("no order")
    return said


def _ours(store: Store) -> list[bytes]:
    """Return the links that lead to this store's order."""
    return [link for link in LINKS if os.path.islink(link) and os.readlink(link) == store.place(PLACE)]


def cancel(store: Store) -> None:
    """Take an order back: the link first, then everything else. What is not there is passed over."""
    _leave_systemd(store)
    remove_tree(store.place(PLACE))


def _leave_systemd(store: Store) -> None:
    for link in _ours(store):
        os.unlink(link)
        fsync_dir(os.path.dirname(link))
    for path in (os.path.join(WANTS, UNIT), os.path.join(UNITS, UNIT)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            fsync_dir(os.path.dirname(path))
    with contextlib.suppress(OSError):      # it was there before, with another unit in it
        os.rmdir(WANTS)


# --- at that boot --------------------------------------------------------------------------------------------------


def claim(store: Store) -> dict[str, Any]:
    """Take the order, and leave nothing that could make it happen again. Returns its words.

    Raises RefusedError when there is none, DamageError when it cannot be read.
    """
    _leave_systemd(store)
    try:
        said = _read(store, ORDER)
    except FileNotFoundError:
        raise RefusedError("no rollback is ordered for this boot") from None
    except (OSError, ValueError) as error:
        raise DamageError(f"the order for this boot cannot be read: {error}",
                          hint="order the rollback again") from error
    os.rename(store.place(PLACE, ORDER), store.place(PLACE, BEGUN))
    fsync_dir(store.place(PLACE))
    return dict(said["order"])


def ended(store: Store, record: str, log: str) -> None:
    """Keep what the run came to, which lies in /run, beyond the reboot."""
    for path, name in ((log, LOG), (record, RUN)):
        with open(path, "rb") as file:
            write_file(store.place(PLACE, name), file.read())
    settle(store)
    fsync_dir(store.place(PLACE))


def settle(store: Store) -> None:
    """A rollback has come to its end: one that was begun at a boot and interrupted is no news any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(store.place(PLACE, BEGUN))


def outcome(store: Store) -> tuple[bytes, bytes] | None:
    """Return record and log of a run that has ended at a boot, once: they are removed. None when there is none."""
    try:
        with open(store.place(PLACE, RUN), "rb") as record, open(store.place(PLACE, LOG), "rb") as log:
            found = record.read(), log.read()
    except OSError:
        return None
    if os.access(store.path, os.W_OK):
        remove_tree(store.place(PLACE))
    return found
