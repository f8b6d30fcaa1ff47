"""What each key of the configuration may hold: a YAML node -> the value, or `Wrong` with what was expected.

The nodes are those of `yaml.compose` (tag, value, start_mark); PyYAML itself is not imported here. Types are
strict: ``yes`` is no number, ``1`` is no path, and a string where a list belongs is not taken for a list of
one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from engine.text import printable

_UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def duration(text: str) -> int | None:
    """Return the seconds in ``3600``, ``45min``, ``12h``, ``90d``, ``4w`` or ``2y`` (365 d), else None."""
    found = re.fullmatch(r"([0-9]{1,9})\s*(s|min|h|d|w|y|)", text.strip())
    return int(found[1]) * _UNITS[found[2]] if found else None


def duration_text(seconds: int) -> str:
    """Return a duration in the largest unit that fits it exactly: ``90 days``, ``1 hour``, ``90 s``."""
    for size, unit in ((86400, "day"), (3600, "hour")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}{'' if seconds == size else 's'}"
    return f"{seconds} s"


class Wrong(Exception):
    """A value that cannot be used: what was `expected`, what was `got`, and in which `line`."""

    def __init__(self, expected: str, node: Any, got: str = "") -> None:
        super().__init__(expected)
        self.expected, self.line, self.got = expected, node.start_mark.line + 1, got or shown(node)


def shown(node: Any) -> str:
    """Return a node's value as an error message shows it."""
    if node.id != "scalar":
        return {"sequence": "a list", "mapping": "a mapping"}[node.id]
    if node.tag.endswith(":null"):
        return "nothing"
    value = printable(node.value)
    value = value if len(value) <= 60 else value[:57] + "..."
    if node.tag.rpartition(":")[2] not in ("str", "bool", "int", "float", "timestamp"):
        return printable(node.tag)
    return f"'{value}'" if node.tag.endswith(":str") else value


def is_tag(node: Any, tag: str) -> bool:
    """Whether a node is a scalar of that YAML type."""
    return bool(node.id == "scalar" and node.tag == f"tag:yaml.org,2002:{tag}")


def _whole(expected: str, least: int) -> Callable[[Any], int]:
    def convert(node: Any) -> int:
        # YAML 1.1 reads 010 as eight and 1:30 as ninety: nobody who writes that here means it.
        plain = is_tag(node, "int") and re.fullmatch(r"0|[1-9][0-9]{0,8}", node.value)
        if not plain or int(node.value) < least:
            raise Wrong(expected, node)
        return int(node.value)
    return convert


def _seconds(node: Any) -> int:
    text = node.value if is_tag(node, "int") or is_tag(node, "str") else ""
    seconds = duration(text)
    if seconds is None or (text != "0" and text.startswith("0")):
        raise Wrong("an age such as 3600 (seconds), 45min, 12h, 90d, 4w or 2y", node)
    return seconds


def _ratio(node: Any) -> float:
    try:
        value = float(node.value) if is_tag(node, "float") or is_tag(node, "int") else 0.0
    except ValueError:      # .inf, .nan, 1:30
        value = 0.0
    if not 1 <= value < 1e6:
        raise Wrong("a number from 1 (the store holds the source once), or null for no limit", node)
    return value


def _switch(node: Any) -> bool:
    if not is_tag(node, "bool"):
        raise Wrong("true or false", node)
    return node.value.lower() in ("yes", "true", "on")


def _path(node: Any) -> str:
    value = node.value if is_tag(node, "str") else ""
    if not value.startswith("/") or not encodable(value):
        raise Wrong("an absolute path", node)
    return normal(value)


def _below_root(node: Any) -> str:
    path = _path(node) if is_tag(node, "str") and node.value.startswith("/") else "/"
    if path == "/":
        raise Wrong("the absolute path of a directory below the root", node)
    return path


def _auto_or_path(what: str) -> Callable[[Any], str]:
    def convert(node: Any) -> str:
        if is_tag(node, "str") and node.value == "auto":
            return "auto"
        try:
            return _path(node)
        except Wrong:
            raise Wrong(f"auto or the absolute path of a {what}", node) from None
    return convert


def _disks(node: Any) -> tuple[str, ...]:
    expected = "auto, or a list of disks (or image files) as absolute paths"
    if is_tag(node, "str") and node.value == "auto":
        return ("auto",)
    if node.id != "sequence":
        raise Wrong(expected, node)
    try:
        return tuple(dict.fromkeys(_path(child) for child in node.value))
    except Wrong as wrong:
        raise Wrong(expected, node, f"{wrong.got} in it") from None


def pattern_fault(value: str) -> str:
    """Return "" for an exclude pattern that can be given to rsync, or else what was expected instead."""
    if not value.strip() or "\n" in value or "\r" in value or not encodable(value):
        return "an rsync exclude pattern"
    # rsync reads these as orders: "!" drops every exclusion before it, the store's own among them.
    if value[0] in "!#;" or re.match(r"[-+] ", value):
        return "an rsync exclude pattern that does not begin with !, #, ;, '+ ' or '- '"
    return "" if value.strip("/*") else "an rsync exclude pattern that leaves something to save"


def _pattern(node: Any) -> str:
    value: str = node.value if is_tag(node, "str") else ""
    fault = pattern_fault(value)
    if fault:
        raise Wrong(fault, node)
    return value


def _list(item: Callable[[Any], str], least: int = 0) -> Callable[[Any], tuple[str, ...]]:
    def convert(node: Any) -> tuple[str, ...]:
        if node.id != "sequence":
            raise Wrong("a list", node)
        if len(node.value) < least:
            raise Wrong("a list that is not empty", node, "an empty one")
        return tuple(item(child) for child in node.value)
    return convert


def _added(item: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    whole = _list(item)
    return lambda node: () if is_tag(node, "null") else whole(node)


def _or_none(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda node: None if is_tag(node, "null") else inner(node)


def encodable(text: str) -> bool:
    """Whether a text can be the name of a file."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def normal(path: str) -> str:
    """Return an absolute path without ``//``, ``.``, ``..`` or a last slash, without a look at the disk."""
    return os.path.normpath(path).replace("//", "/", 1)     # POSIX lets normpath keep two leading slashes


_WAYS = "off, auto or required"


def _consistent(node: Any) -> tuple[tuple[str, str], ...]:
    """A word for all sources, or a mapping of mount points to words (the others: off)."""
    ways: dict[str, str] = {}
    for key, value in node.value if node.id == "mapping" else ((None, node),):
        name = "*" if key is None else _mount_point(key)
        if name in ways:
            raise Wrong("each mount point once", key)
        ways[name] = _way(value)
    return tuple((name, way) for name, way in ways.items() if way != "off")


def _way(node: Any) -> str:
    if is_tag(node, "bool") and not _switch(node):      # YAML 1.1 reads off so
        return "off"
    if is_tag(node, "str") and node.value in ("auto", "required"):
        return str(node.value)
    raise Wrong(f"{_WAYS}, or a mapping of mount points to these", node)


def _mount_point(node: Any) -> str:
    try:
        return _path(node)
    except Wrong:
        raise Wrong("the absolute path of a mount point", node) from None


def _auto_or(fits: Callable[[str], bool], expected: str) -> Callable[[Any], str]:
    def convert(node: Any) -> str:
        value: str = node.value if is_tag(node, "str") else ""
        if value != "auto" and not fits(value):
            raise Wrong(expected, node)
        return value
    return convert


def _is_dataset(name: str) -> bool:
    """Whether a name can be that of a ZFS data set (zfs(8): letters, digits, and these; a snapshot has an @)."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_.: %-]*(/[A-Za-z0-9_.: %-]+)*", name) is not None


def _is_volume(name: str) -> bool:
    """Whether a name can be VG/LV (lvm(8): valid names)."""
    return re.fullmatch(r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]*/[A-Za-z0-9_.+][A-Za-z0-9_.+-]*", name) is not None


def _owner(node: Any) -> str:
    value: str = node.value if is_tag(node, "str") else ""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", value):
        raise Wrong("the name of a program as `list` shows it (sanoid, snapper, ...), or unknown", node)
    return value


_COUNT = _whole("a whole number of points, 0 for none", 0)
KEYS: dict[str, Callable[[Any], Any]] = {
    "store": _path, "root": _path, "excludes": _list(_pattern), "exclude": _added(_pattern),
    "databases": _added(_below_root), "sources": _list(_auto_or_path("mount point"), 1),
    "consistent": _consistent, "staging": _or_none(_path),
    "read_only": _switch, "compare_checksums": _switch,
    "boot.disks": _disks, "boot.restore": _switch, "boot.facts": _switch,
    "zfs.datasets": _list(_auto_or(_is_dataset, "auto or the name of a data set")), "zfs.recursive": _switch,
    "lvm.volumes": _list(_auto_or(_is_volume, "auto or a logical volume as VG/LV")),
    "lvm.size": _whole("percent of the origin, from 1", 1), "lvm.most": _whole("a number of snapshots, from 1", 1),
    "btrfs.subvolumes": _list(_auto_or_path("subvolume")),
    **{f"{name}.prune": _list(_owner) for name in ("zfs", "lvm", "btrfs")},
    "vms.repositories": _list(_auto_or_path("directory"), 1), "vms.points": _switch,
    "vms.manager_backup": _or_none(_path),
    "retention.min_keep": _whole("a whole number of points, at least 1", 1), "retention.min_age": _seconds,
    "retention.max_store_ratio": _or_none(_ratio), "retention.max_age": _or_none(_seconds),
    **{f"retention.{name}": _COUNT for name in ("hourly", "daily", "weekly", "monthly", "yearly")},
}
