r"""The configuration: YAML files and the command line -> one frozen `Config`, or one error with all mistakes.

What is read, later over earlier:

1. the defaults below;
2. ``/etc/system_snapshots.conf``, ``/etc/rollpoint/system_snapshots.conf`` (ClusterMaker's: `_clustermaker`);
3. ``/etc/rollpoint/config.yaml``, then ``/etc/rollpoint/conf.d/*.yaml`` by name;
4. ``--store`` and ``--root``.

A value replaces an earlier one, with two exceptions that add to it: ``exclude`` (to the patterns, while
``excludes`` replaces them all) and ``databases``. The databases named, one path a line, in
``database_locations`` and ``rollpoint/database_locations`` under /etc and under the root's own /etc are added
too. With ``--config FILE`` that file alone is read. With both ``--store`` and ``--root`` nothing of the
system is read but the root's own lists of databases, so that anything can be tried on any directory. In YAML
a byte that is no UTF-8 is written as "\udcXX".
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from engine.configsections import SECTIONS as SECTIONS
from engine.configsections import Boot as Boot
from engine.configsections import Btrfs as Btrfs
from engine.configsections import Lvm as Lvm
from engine.configsections import Retention as Retention
from engine.configsections import Vms as Vms
from engine.configsections import Zfs as Zfs
from engine.configvalues import (
    KEYS,
    Wrong,
    duration,
    duration_text,
    encodable,
    is_tag,
    normal,
    pattern_fault,
    shown,
)
from engine.errors import ConfigError
from engine.text import message, printable

# rsync filter patterns, ClusterMaker's own first. `*/mnt/` needs a directory before it: rsync leaves out
# srv/mnt and srv/a/mnt, but not mnt at the top of the tree, hence `/mnt/*` as well (tried with rsync 3.5).
# `/dev/*`, not `/dev`: a restored system cannot boot without the empty directories to mount on.
DEFAULT_EXCLUDES = (
    "*/mnt/", "var/lib/heartbeat/*", "/var/lock/subsys/*", "/dev/*", "/sys/*", "/proc/*", "/tmp/*",
    "*.pid", "*.*$", "*.swp",
    "/run/*", "/mnt/*", "/media/*", "/lost+found", "/swapfile", "/swap.img",
)
# Words that leave open what a key of ClusterMaker's means; any but these make it another one (keep DAYS,
# min FREE).
_PLAIN_WORDS = {"min", "minimum", "keep", "number", "num", "count", "of", "to", "system", "restore",
                "snapshot", "snapshots", "point", "points", "backup", "backups", "store", "primary",
                "filesystem", "fs"}
_MAX_BYTES = 1 << 20     # no configuration is longer; a device or a log given by mistake is


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set.

    `databases` are absolute paths as seen inside `root`; `sources` are mount points to take, or ``auto``;
    `consistent` is for which of them a momentary snapshot is read, as pairs of a mount point (``*``: all) and
    ``auto`` or ``required``; `staging` is where opened points unpack (None: in the store); `compare_checksums` is
    rsync's --checksum. `origins` says for each key (``retention.daily``) where its value comes from; `notes` are
    warnings about what was read. `home` is the directory of config.yaml and conf.d ("": they were not read).
    """

    store: str = "/var/lib/rollpoint/store"
    root: str = "/"
    excludes: tuple[str, ...] = DEFAULT_EXCLUDES
    databases: tuple[str, ...] = ()
    retention: Retention = field(default_factory=Retention)
    boot: Boot = field(default_factory=Boot)
    vms: Vms = field(default_factory=Vms)
    zfs: Zfs = field(default_factory=Zfs)
    lvm: Lvm = field(default_factory=Lvm)
    btrfs: Btrfs = field(default_factory=Btrfs)
    sources: tuple[str, ...] = ("auto",)
    consistent: tuple[tuple[str, str], ...] = ()
    staging: str | None = None
    read_only: bool = False
    compare_checksums: bool = False
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    home: str = field(default="", compare=False)

    def consistency(self, mount_point: str) -> str:
        """Return ``off``, ``auto`` or ``required``: whether a source is read from a momentary snapshot."""
        ways = dict(self.consistent)
        return ways.get(mount_point, ways.get("*", "off"))


class _Draft:
    """What has been read so far: values and origins by key, notes, and every problem met on the way."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"excludes": DEFAULT_EXCLUDES, "databases": ()}
        self.origins: dict[str, str] = {}
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.home = ""

    def put(self, key: str, value: Any, origin: str) -> None:
        """Take a value over; `exclude` and `databases` add to what is there, once each."""
        if key in ("exclude", "databases"):
            key = "excludes" if key == "exclude" else key
            before = self.values[key]
            first = self.origins.get(key) or ("default" if before else "")
            origin = f"{first}, {origin}" if first else origin
            value = tuple(dict.fromkeys(before + value))
            if value == before:
                return
        self.values[key], self.origins[key] = value, origin

    def wrong(self, where: str, text: str) -> None:
        self.problems.append(f"{message(where)}: {message(text)}")

    def finish(self) -> Config:
        if self.problems:
            rest = self.problems[1:11] + (["and more"] if len(self.problems) > 11 else [])
            raise ConfigError(self.problems[0], hint="also: " + "; ".join(rest) if rest else "")
        nested: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        plain: dict[str, Any] = {}
        for key, value in self.values.items():
            section, _, name = key.rpartition(".")
            (nested[section] if section else plain)[name] = value
        origins = {name: self.origins.get(name, "default") for name in _names()}
        sections = {name: made(**nested[name]) for name, made in SECTIONS.items()}
        return Config(origins=origins, notes=tuple(self.notes), home=self.home, **sections, **plain)


def load(config_file: str | None = None, store: str | None = None, root: str | None = None, *,
         etc: str = "/etc") -> Config:
    """Return the configuration from the files (see the module's text) and the command line's values.

    Raises ConfigError ("FILE:LINE: KEY: expected X, got Y", the other mistakes in its hint) for a file that
    is unreadable, not safe (as root: not root's own, or writable by others) or wrong in any place.
    """
    draft = _Draft()
    own = os.path.join(etc, "rollpoint")
    system = config_file is None and (store is None or root is None)
    if config_file is not None:
        _yaml(draft, config_file, _read(draft, config_file, needed=True))
    if system:
        draft.home = own
        for path in (os.path.join(etc, "system_snapshots.conf"), os.path.join(own, "system_snapshots.conf")):
            _clustermaker(draft, path, _read(draft, path))
        for path in [os.path.join(own, "config.yaml"), *_conf_d(draft, own)]:
            _yaml(draft, path, _read(draft, path))
    for key, given in (("store", store), ("root", root)):
        if given is not None:
            if not given or not encodable(given):
                draft.wrong("command line", f"--{key}: expected a directory, got '{printable(given)}'")
            draft.put(key, normal(os.path.abspath(given)), "command line")
    if config_file is None:
        target = draft.values.get("root", "/")
        places = {etc: True} if system else {}
        places.setdefault(etc if target == "/" else os.path.join(target, "etc"), target == "/")
        for place, ours in places.items():
            for name in ("database_locations", "rollpoint/database_locations"):
                path = os.path.join(place, name)
                _database_list(draft, path, _read(draft, path, trusted=not ours))
    return draft.finish()


def _conf_d(draft: _Draft, own: str) -> list[str]:
    folder = os.path.join(own, "conf.d")
    found = []
    for place in (own, folder):
        try:
            names = sorted(name for name in os.listdir(place) if not name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as err:
            draft.wrong(place, f"cannot be read: {err.strerror}")
            continue
        draft.notes += [message(f"{place}/{name} is not read: the name must end in .yaml") for name in names
                        if name.endswith(".yml")]
        if place == folder:
            found = [os.path.join(folder, name) for name in names if name.endswith(".yaml")]
    return found


def _read(draft: _Draft, path: str, *, needed: bool = False, trusted: bool = False) -> bytes | None:
    """Return a file's bytes, None where it is missing. `trusted`: whoever owns it (another tree's list)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as err:
        if needed or not isinstance(err, FileNotFoundError | NotADirectoryError):
            why = err.strerror if isinstance(err, OSError) else "the name holds a NUL character"
            draft.wrong(path, f"cannot be read: {why}")
        return None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_BYTES:
            draft.wrong(path, "expected a regular file of at most 1 MiB")
        elif trusted or os.geteuid() != 0 or _safe(draft, path, info):
            return os.read(fd, _MAX_BYTES)
    except OSError as err:
        draft.wrong(path, f"cannot be read: {err.strerror}")
    finally:
        os.close(fd)
    return None


def _safe(draft: _Draft, path: str, info: os.stat_result) -> bool:
    """Whether only root can change the file: whoever can change it decides what root runs and removes."""
    folders = {os.path.dirname(os.path.abspath(path)), os.path.dirname(os.path.realpath(path))}
    for name, found in [(path, info), *((folder, os.stat(folder)) for folder in sorted(folders))]:
        # In a sticky directory nobody can replace a file of root's.
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()):
            draft.wrong(path, f"refused: {name} belongs to uid {found.st_uid}, not to root (chown root)")
            return False
        if found.st_mode & 0o022 and not sticky:
            draft.wrong(path, f"refused: {name} is writable by others than root (chmod go-w)")
            return False
    return True


def _yaml(draft: _Draft, path: str, data: bytes | None) -> None:
    if data is None:
        return
    import yaml  # 20 ms, and only needed where there is a file

    try:
        # The pure Python loader: it is the same on a rescue system, and its nodes carry line numbers.
        top = yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        draft.wrong(f"{path}:{line}", f"expected UTF-8 text, got byte 0x{data[err.start]:02x}")
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        draft.wrong(f"{path}:{mark.line + 1 if mark else 1}", f"no valid YAML: {err.problem or err.context}")
    except (yaml.YAMLError, RecursionError, ValueError) as err:
        spot = getattr(err, "position", 0)
        line = data.decode("utf-8-sig").count("\n", 0, spot) + 1
        draft.wrong(f"{path}:{line}", f"no valid YAML: {getattr(err, 'reason', 'nested too deep')}")
    else:
        if top is not None and not is_tag(top, "null"):
            _mapping(draft, path, top, "")


def _mapping(draft: _Draft, path: str, node: Any, prefix: str) -> None:
    known = [key.removeprefix(prefix) for key in KEYS if key.rpartition(".")[0] == prefix[:-1]]
    known += [] if prefix else list(SECTIONS)
    if node.id != "mapping":
        name = f"{prefix[:-1]}: " if prefix else ""
        draft.wrong(f"{path}:{node.start_mark.line + 1}",
                    f"{name}expected a mapping (KEY: VALUE lines), got {shown(node)}")
        return
    seen: dict[str, int] = {}
    for key_node, value in node.value:
        line = key_node.start_mark.line + 1
        name = key_node.value if key_node.id == "scalar" else "?"
        key = prefix + name
        if name not in known:
            draft.wrong(f"{path}:{line}", f"{printable(key)}: {_nearest(name, known)}")
        elif name in seen:
            draft.wrong(f"{path}:{line}", f"{key}: expected once, got it again (first in line {seen[name]})")
        elif key in SECTIONS:
            if not is_tag(value, "null"):
                _mapping(draft, path, value, f"{key}.")
        else:
            try:
                draft.put(key, KEYS[key](value), message(f"{path}:{line}"))
            except Wrong as err:
                draft.wrong(f"{path}:{err.line}", f"{key}: expected {err.expected}, got {err.got}")
        seen.setdefault(name, line)


def _nearest(name: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    return f"unknown key, did you mean {close[0]}?" if close else "unknown key, known are " + ", ".join(known)


def _database_list(draft: _Draft, path: str, data: bytes | None) -> None:
    """Add the paths of a ClusterMaker `database_locations`: one a line, ``#`` comments (`` # `` after one).

    A line that is no absolute path is an error: a database that is missed would be overwritten by a rollback.
    """
    for number, raw in enumerate((data or b"").splitlines(), 1):
        line = re.sub(rb"\s+#\s.*$", b"", raw).strip()
        if not line or line.startswith(b"#"):
            continue
        name = os.fsdecode(line)
        if not name.startswith("/") or not encodable(name) or normal(name) == "/":
            draft.wrong(f"{path}:{number}", f"expected a database's absolute path, got '{printable(line)}'")
        else:
            draft.put("databases", (normal(name),), message(f"{path}:{number}"))


def _clustermaker(draft: _Draft, path: str, data: bytes | None) -> None:
    """Take over what a ClusterMaker `system_snapshots.conf` says.

    Its grammar was never published, so shell-like KEY=VALUE lines are taken by the words in the key (a ratio
    or factor; a minimum age or number; exclusions, which are added). All else becomes a note, never an error:
    that file was not written for Rollpoint.
    """
    text = os.fsdecode(data or b"").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                key, value = _clustermaker_line(line)
                draft.put(key, value, message(f"{path}:{number}"))
            except ValueError as err:
                draft.notes.append(message(f"{path}:{number}: ignored: {err}"))


def _clustermaker_line(line: str) -> tuple[str, Any]:
    """Return our key and the value that a ``KEY=VALUE`` line means; ValueError says why it means none."""
    found = re.fullmatch(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*)", line)
    if not found:
        raise ValueError("no KEY=VALUE line")
    values = shlex.split(found[2].strip("() \t"), comments=True)
    words = set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found[1]).lower().split("_"))
    if any(word.startswith("exclu") for word in words):
        patterns = " ".join(values).split()
        for pattern in patterns:
            if pattern_fault(pattern):
                raise ValueError(f"{printable(pattern)}: expected {pattern_fault(pattern)}")
        # Its `/dev` would take the mount point away with what is in it; the defaults have `/dev/*` already.
        return "exclude", tuple(p for p in patterns if p.rstrip("/") + "/*" not in DEFAULT_EXCLUDES)
    value = values[0] if len(values) == 1 else ""
    if words & {"ratio", "factor"} and words <= _PLAIN_WORDS | {"ratio", "factor", "max", "maximum", "size"}:
        if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", value) or float(value) < 1:
            raise ValueError("expected a ratio from 1")
        return "retention.max_store_ratio", float(value)
    ages = {"age", "second", "seconds", "secs", "time"}
    if words & {"min", "minimum", "keep"} and words <= _PLAIN_WORDS | ages:
        number, aged = duration(value), words & ages
        if number is None or (not aged and (number < 1 or not value.isdecimal())):
            raise ValueError("expected a whole number")
        return ("retention.min_age" if aged else "retention.min_keep"), number
    raise ValueError(f"unknown key {found[1]}")


def settings(config: Config) -> list[tuple[str, str, str]]:
    """Return every setting as (key, value, origin), all printable, in the order a screen shows them."""
    rows = []
    for key in _names():
        section, _, name = key.rpartition(".")
        value = getattr(getattr(config, section) if section else config, name)
        rows.append((key, _value_text(key, value), config.origins.get(key, "default")))
    return rows


def _names() -> list[str]:
    plain = [f.name for f in fields(Config) if f.name not in (*SECTIONS, "origins", "notes", "home")]
    return plain + [f"{section}.{f.name}" for section, made in SECTIONS.items() for f in fields(made)]


def _value_text(key: str, value: Any) -> str:
    if key.endswith("_age"):
        return "no limit" if value is None else duration_text(value)
    if key.endswith("_ratio"):
        return "no limit" if value is None else f"{value:g} x the source"
    if key == "consistent":
        return ", ".join(way if place == "*" else f"{printable(place)}: {way}" for place, way in value) or "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(message if key == "excludes" else printable, value)) or "none"
    if key == "vms.manager_backup":
        return "none" if value is None else printable(value)
    return "in the store" if value is None else printable(str(value))
