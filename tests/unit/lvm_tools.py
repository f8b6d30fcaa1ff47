"""LVM's tools as scripts on PATH: lvs prints a report that a test has written, the others note how they were called."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30
EXTENT = 4 * MIB
Row = dict[str, str]
_NOTED = ("lvcreate", "lvremove", "lvchange", "lvconvert", "blkid", "blockdev")


def row(name: str, attr: str = "-wi-ao----", *, group: str = "my-vg", size: int = GIB, role: str = "public",
        origin: str = "", pool: str = "", minor: int = -1, free: int = 8 * GIB, tags: Sequence[str] = (),
        fill: str = "", metadata: str = "", **more: str) -> Row:
    """A row as lvs 2.03.16 prints it; the attributes say what is open, merging and left out at activation."""
    thick = role.endswith("thicksnapshot")
    return {
        "vg_name": group, "lv_name": name, "lv_uuid": f"uuid-{group}-{name.strip('[]')}", "lv_attr": attr,
        "lv_role": role, "origin": origin, "pool_lv": pool, "lv_size": str(size), "snap_percent": fill,
        "data_percent": fill, "metadata_percent": metadata, "lv_merging": "merging" if attr[0] in "SO" else "",
        "lv_snapshot_invalid": ("snapshot invalid" if attr[4] == "I" else "") if thick else "unknown",
        "lv_merge_failed": "" if thick else "unknown", "lv_health_status": "", "lv_when_full": "",
        "lv_check_needed": "unknown", "lv_device_open": "open" if attr[5] == "o" else "",
        "lv_skip_activation": "skip activation" if attr[9] == "k" else "", "lv_time": "1795194062",
        "lv_tags": ",".join(tags), "lv_kernel_major": "253" if minor >= 0 else "-1", "lv_kernel_minor": str(minor),
        "vg_size": str(16 * GIB), "vg_free": str(free), "vg_extent_size": str(EXTENT), **more}


def thick(name: str, origin: str, *, fill: str = "10.00", attr: str = "swi-a-s---", size: int = 512 * MIB,
          **more: object) -> Row:
    """A thick snapshot."""
    return row(name, attr, role="public,snapshot,thicksnapshot", origin=origin, fill=fill, size=size, minor=40,
               **more)      # type: ignore[arg-type]


def thin(name: str, origin: str, *, attr: str = "Vwi---tz-k", **more: object) -> Row:
    """A thin snapshot, not active."""
    return row(name, attr, role="public,snapshot,thinsnapshot", origin=origin, pool="pool",
               **more)      # type: ignore[arg-type]


def pool(*, fill: str = "5.00", metadata: str = "11.00", attr: str = "twi-aotz--", name: str = "pool") -> Row:
    """A thin pool."""
    return row(name, attr, role="private", fill=fill, metadata=metadata, minor=30)


class Tools:
    """The scripts, in a directory of their own; `calls` are the commands that were given."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._script("lvs", f'echo "$LC_ALL${{LVM_SYSTEM_DIR-}}" >>{place}/seen; cat {place}/report')
        for name in _NOTED:
            self._script(name, f"""
                printf '%s\\0' {name} "$@" >>{place}/calls; printf '\\n' >>{place}/calls
                if [ -e {place}/fail-{name} ]; then
                    case "$*" in *"$(cat {place}/fail-{name})"*) exit_with=5;; esac
                fi
                [ ! -e {place}/then-{name} ] || cp {place}/then-{name} {place}/report
                if [ -n "$exit_with" ]; then
                    echo '  WARNING: Sum of all sizes.' >&2; echo '  Out of order.' >&2; exit 5
                fi
                [ ! -e {place}/say-{name} ] || cat {place}/say-{name}""")

    def _script(self, name: str, text: str) -> None:
        path = self.place / name
        path.write_text(f"#!/bin/sh\nexit_with=\n{text}\n", encoding="ascii")
        path.chmod(0o755)

    def replace(self, name: str, text: str) -> None:
        """Be another program under that name."""
        self._script(name, text)

    def report(self, *rows: Row) -> None:
        """What lvs prints from now on."""
        (self.place / "report").write_text(as_json(rows), encoding="ascii")

    def then(self, tool: str, *rows: Row) -> None:
        """What lvs prints after that tool has run."""
        (self.place / f"then-{tool}").write_text(as_json(rows), encoding="ascii")

    def fail(self, tool: str, when: str) -> None:
        """Let a tool fail, after its work, when this is among its words."""
        (self.place / f"fail-{tool}").write_text(when, encoding="ascii")

    def say(self, tool: str, text: str) -> None:
        """Let a tool print something."""
        (self.place / f"say-{tool}").write_text(text, encoding="ascii")

    def given(self, *names: str) -> list[list[str]]:
        """The commands of these tools that were given."""
        return [words for words in self.calls if words[0] in names]

    @property
    def calls(self) -> list[list[str]]:
        """The commands that were given, but lvs."""
        path = self.place / "calls"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [line.split("\0")[:-1] for line in text.split("\n") if line]

    def seen(self) -> str:
        """What lvs has found in its environment, at its last call."""
        return (self.place / "seen").read_text(encoding="ascii").splitlines()[-1]


def as_json(rows: Sequence[Row]) -> str:
    """A report as lvs prints it with ``--reportformat json``."""
    return json.dumps({"report": [{"lv": list(rows)}], "log": []})


def as_pairs(rows: Sequence[Row]) -> str:
    """The same with ``--nameprefixes --noheadings``."""
    return "".join("  " + " ".join(f"LVM2_{k.upper()}='{v}'" for k, v in one.items()) + "\n" for one in rows)


def path_with(place: Path) -> str:
    """PATH with the tools before all others."""
    return f"{place}{os.pathsep}/usr/sbin{os.pathsep}/usr/bin{os.pathsep}/sbin{os.pathsep}/bin"
