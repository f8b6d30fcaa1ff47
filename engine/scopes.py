"""What a rollback may touch: the words of the command line and the screens, and what they come to for one point.

``system`` is everything, boot sectors included (unless the configuration says `boot: {restore: false}`); ``files`` is
everything but those; ``boot`` is /boot, the EFI system partition and the boot sectors; ``fs=/home`` is one of the file
systems that the point recorded, without those mounted below it; ``path=/etc`` one file or directory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.config import Config
from engine.errors import UsageError
from engine.machine import filesystems
from engine.points import RestorePoint
from engine.replica import rsync
from engine.results import ScopeChoice
from engine.text import inner_path, shown_path

SYSTEM, FILES, BOOT = "system", "files", "boot"
KNOWN = ("`system` (the default: everything that points hold), `files` (the same without boot sectors), `boot`, "
         "`fs=MOUNTPOINT` and `path=PATH` (may be given again)")


@dataclass(frozen=True, slots=True)
class Scope:
    """What the words come to: everything (no `paths`) or these paths and what is in them, less `but` (what is below
    those that end with a slash). `mounts` are the file systems it is limited to (none: as configured), `boot` says
    whether boot sectors are meant."""

    words: tuple[str, ...] = (SYSTEM,)
    paths: tuple[bytes, ...] = ()
    but: tuple[bytes, ...] = ()
    mounts: tuple[bytes, ...] = ()
    boot: bool = False

    def spares(self, path: bytes) -> bool:
        """Whether a path stays as it is although it may lie in one of `paths`."""
        return any(path == b or path.startswith(b.rstrip(b"/") + b"/") for b in self.but)

    def may_reach(self, shown: str) -> bool:
        """Whether it may touch a path that is known only as `shown_path` writes it."""
        def inside(top: bytes) -> bool:
            name = shown_path(top)
            return shown == name or shown.startswith(name.rstrip("/") + "/")

        spared = any(inside(b.rstrip(b"/")) and shown_path(b) != shown + "/" for b in self.but)
        return not spared and (not self.paths or any(map(inside, self.paths)))

    def narrowed(self, config: Config) -> Config:
        """Return the configuration with what this scope leaves alone excluded and not even mounted in the view."""
        patterns = [rsync.escape_pattern(b.rstrip(b"/")) + (b"/*" if b.endswith(b"/") else b"") for b in self.but]
        sources = tuple(os.fsdecode(b"/" + m) for m in self.mounts)
        return replace(config, excludes=(*config.excludes, *map(os.fsdecode, patterns)),
                       sources=sources or config.sources)


def check(words: Sequence[str]) -> tuple[str, ...]:
    """Return scopes that somebody typed, each once, ``system`` for none. Raises UsageError for what makes no sense."""
    for word in words:
        kind, mark, value = word.partition("=")
        if word not in (SYSTEM, FILES, BOOT) and (kind not in ("fs", "path") or not mark or not value
                                                  or "\0" in value or (kind == "path" and not inner_path(value))):
            raise UsageError(f"there is no scope {word!r}", hint=f"the scopes are {KNOWN}")
    unique = tuple(dict.fromkeys(words))
    for whole in (SYSTEM, FILES):
        if whole in unique and len(unique) > 1:
            raise UsageError(f"the scope `{whole}` holds every path already", hint=f"give either `{whole}` or parts")
    kinds = {word.partition("=")[0] == "fs" for word in unique}
    if len(kinds) > 1:
        raise UsageError("file systems and other scopes do not go together", hint="roll back one after the other")
    return unique or (SYSTEM,)


def resolve(words: Sequence[str], config: Config, point: RestorePoint) -> Scope:
    """Return what scopes come to for one point. Raises UsageError."""
    unique = check(words)
    if unique[0] in (SYSTEM, FILES):
        return Scope(unique, boot=unique[0] == SYSTEM and config.boot.restore)
    if unique[0].startswith("fs="):
        return _file_systems(unique, config, point)
    paths = [inner_path(word.removeprefix("path=")) for word in unique if word != BOOT]
    paths += _boot_paths(point) if BOOT in unique else []
    return Scope(unique, outermost(paths), boot=BOOT in unique)


def recorded(point: RestorePoint) -> list[bytes]:
    """Return where the file systems of a point were mounted, or its volumes are, relative to its root."""
    if point.parts:
        return [part.place for part in point.parts if part.place is not None]
    return [one.place for one in filesystems.recorded(point.doc.get("sources"))]


def _boot_paths(point: RestorePoint) -> list[bytes]:
    fat = [inner_path(str(s["mount"])) for s in point.doc.get("sources", ()) if s.get("type") == "vfat"]
    return [b"boot", *(p for p in fat if os.path.basename(p).lower() in (b"efi", b"esp"))]


def outermost(paths: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the paths that lie in no other one, each once."""
    unique = dict.fromkeys(paths)
    return tuple(p for p in unique if not any(_below(p, other) for other in unique))


def _below(path: bytes, other: bytes) -> bool:
    return path != other and (not other or path.startswith(other + b"/"))


def _file_systems(words: tuple[str, ...], config: Config, point: RestorePoint) -> Scope:
    chosen, known = [inner_path(word[3:]) for word in words], recorded(point)
    for path in chosen:
        if path not in known:
            raise UsageError(f"point {point.id} holds no file system that was mounted at {shown_path(path)}",
                             hint="it holds " + ", ".join(map(shown_path, known)) if known else "")
    others = [m for m in known if m not in chosen and m]
    for between in others:
        if any(_below(c, between) for c in chosen) and any(_below(between, c) for c in chosen):
            raise UsageError(f"{shown_path(between)} lies between the chosen file systems",
                             hint="choose it too, or roll them back one after the other")
    root = os.path.realpath(os.fsencode(config.root))
    but = tuple(m if os.path.lexists(os.path.join(root, m)) else m + b"/" for m in others)
    return Scope(words, () if b"" in chosen else outermost(chosen), but, tuple(chosen))


def choices(point: RestorePoint, *, boot: bool, pieces: bool) -> list[ScopeChoice]:
    """Return what a rollback to a point can be limited to: `boot` tells whether it has a /boot, `pieces` whether it
    has boot sectors."""
    found = [ScopeChoice(SYSTEM, "everything that the point holds" + (", boot sectors too" if pieces else ""))]
    if pieces:
        found.append(ScopeChoice(FILES, "every file, no boot sector"))
    if boot:
        found.append(ScopeChoice(BOOT, "/boot and the ESP" + (", and the boot sectors" if pieces else "")))
    if len(recorded(point)) > 1:
        found += [ScopeChoice(f"fs={source['mount']}", f"the file system there ({source.get('type', '?')})")
                  for source in point.doc["sources"]]
    return [*found, ScopeChoice("path=", "one file or directory, with all below it")]
