"""`rollpoint demo`: a small server, ten points of its last nine days, and the mess its admin made today.

The points are taken by the real engine, only their times are set back. Needs no root and about ten seconds.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine import config as configuration
from engine.config import Config
from engine.demo_text import BOOT_UUID, SITE
from engine.demo_tree import KERNEL, Machine, grow_logs, install, upgrade
from engine.errors import RefusedError
from engine.events import Job
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.text import printable

_MARKER = "rollpoint-demo"
_BUILDING, _WHOLE = "being built\n", "whole\n"


@dataclass(frozen=True, slots=True)
class _Act:
    """What happened to the machine until a point was taken `ago`, and what the point is called."""

    ago: timedelta
    happened: Callable[[Machine], None]
    comment: str = ""
    tags: tuple[str, ...] = ()
    pin: bool = False
    reason: str = "manual"


def build(where: str, job: Job, *, now: datetime | None = None) -> Config:
    """Make the demo in the directory `where` (``machine`` and ``store`` in it) and return its configuration.

    A demo that is whole already is left as it is; one whose making was interrupted is made again. `now` is
    the moment all ages count back from (the clock when None). Raises RefusedError for a directory that holds
    anything else, and whatever `Engine.snapshot` raises.
    """
    where = os.path.abspath(where)
    machine, store = os.path.join(where, "machine"), os.path.join(where, "store")
    marker = os.path.join(where, _MARKER)
    state = _state(where, marker)
    if state != _WHOLE:
        for left in (machine, store):
            if os.path.lexists(left):
                shutil.rmtree(left)
        os.makedirs(where, exist_ok=True)
        _mark(marker, _BUILDING)
        _play(machine, store, job, now or datetime.now(UTC))
        _mark(marker, _WHOLE)
    return configuration.load(store=store, root=machine)


def _state(where: str, marker: str) -> str:
    """Return what the marker says, "" for an empty or missing directory."""
    try:
        names = os.listdir(where)
    except FileNotFoundError:
        return ""
    except OSError as err:
        raise RefusedError(f"{printable(where)} cannot hold the demo: {err.strerror}",
                           hint="name a directory that is empty or does not exist") from err
    if not names:
        return ""
    if os.path.islink(marker) or not os.path.isfile(marker):
        raise RefusedError(f"{printable(where)} is not empty and holds no demo; nothing was touched",
                           hint="name a directory that is empty or does not exist")
    with open(marker, encoding="utf-8", errors="replace") as file:
        return file.read(100)


def _mark(marker: str, state: str) -> None:
    with open(marker, "w", encoding="utf-8") as file:
        file.write(state)


def _play(root: str, store: str, job: Job, now: datetime) -> None:
    """Let the days pass: change the machine, take a point, and so on; then break it."""
    acts = _acts()
    machine = Machine(root, now)
    for number, act in enumerate(acts):
        job.progress("building the demo", number, len(acts), unit="points")
        machine.now = now - act.ago - timedelta(minutes=2)
        act.happened(machine)
        if number == 0:
            engine = Engine(configuration.load(store=store, root=root))
        engine.snapshot(SnapshotRequest(comment=act.comment, tags=act.tags, pin=act.pin, reason=act.reason,
                                        when=now - act.ago), job)
    machine.now = now - timedelta(minutes=20)
    _break(machine)
    job.progress("building the demo", len(acts), len(acts), unit="points")


def _acts() -> tuple[_Act, ...]:
    def ago(days: int, hours: int = 0) -> timedelta:
        return timedelta(days=days, hours=hours)

    night = ("nightly",)
    return (
        _Act(ago(9, 4), install, "machine set up", ("setup",), pin=True),
        _Act(ago(7, 6), _a_quiet_day, "", night, reason="schedule"),
        _Act(ago(6, 1), _new_site, "shop.example.org goes live"),
        _Act(ago(5, 6), _a_quiet_day, "", night, reason="schedule"),
        _Act(ago(4, 3), lambda machine: grow_logs(machine, 400), "before apt upgrade", ("apt", "before"),
             pin=True, reason="hook"),
        _Act(ago(4, 2), upgrade, "after apt upgrade", ("apt", "after"), reason="hook"),
        _Act(ago(3, 6), _rotate_logs, "", night, reason="schedule"),
        _Act(ago(2, 5), _lose_a_service, "cleaned up old units"),
        _Act(ago(1, 6), _clean_up, "", night, reason="schedule"),
        _Act(ago(0, 5), _harden_ssh, "ssh: allow only the admins"),
    )


def _a_quiet_day(machine: Machine) -> None:
    grow_logs(machine, 1500)
    machine.append("home/anna/notes.txt", f"{machine.now:%A}: quiet\n")


def _new_site(machine: Machine) -> None:
    grow_logs(machine, 600)
    machine.write("etc/nginx/sites-available/shop", SITE.replace("NAME", "shop.example.org"))
    machine.symlink("etc/nginx/sites-enabled/shop", "../sites-available/shop")
    machine.edit("etc/nginx/nginx.conf", "worker_connections 768", "worker_connections 4096")
    machine.edit("etc/hosts", "demo.example.org demo", "demo.example.org shop.example.org demo")


def _rotate_logs(machine: Machine) -> None:
    os.rename(machine.at("var/log/syslog"), machine.at("var/log/syslog.1"))
    machine.write("var/log/syslog", "", 0o640)
    grow_logs(machine, 1200)


def _lose_a_service(machine: Machine) -> None:
    """The unit, its link and its cron job go: whoever tidied up took the shop's mailer for a leftover."""
    grow_logs(machine, 900)
    machine.remove("etc/systemd/system/multi-user.target.wants/shop-orders.service")
    machine.remove("usr/lib/systemd/system/shop-orders.service")
    machine.remove("etc/cron.d/shop-orders")


def _clean_up(machine: Machine) -> None:
    grow_logs(machine, 1500)
    machine.remove("var/cache/apt/archives")
    os.chmod(machine.at("home/ben"), 0o700)
    machine.remove("srv/www/shop/images/item-07.jpg")


def _harden_ssh(machine: Machine) -> None:
    grow_logs(machine, 800)
    machine.edit("etc/ssh/sshd_config", "UsePAM yes\n", "UsePAM yes\nAllowGroups sudo\nMaxAuthTries 3\n")


def _break(machine: Machine) -> None:
    """What no point has seen: sshd does not start with this, the next boot finds no /boot and no kernel."""
    grow_logs(machine, 200)
    machine.edit("etc/ssh/sshd_config", "PermitRootLogin prohibit-password", "PermitRootLogin nope\nPrt 22")
    machine.edit("etc/fstab", BOOT_UUID, BOOT_UUID.replace("b3a7", "ba37"))
    machine.remove(f"boot/initrd.img-{KERNEL}")
    machine.remove("etc/nginx/sites-enabled/shop")
    os.chmod(machine.at("etc/shadow"), 0o644)
    machine.write("etc/ssh/sshd_config.orig", "Port 22\n")
