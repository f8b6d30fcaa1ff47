"""What boot loaders would offer: the menus of GRUB 2, the Boot Loader Specification, GRUB legacy and SYSLINUX.

Read leniently, line by line, the way grub-mkconfig and the distributions write them: nothing is run, what a shell
would have to decide (an `if`) is taken as if all of it held. Sources: GRUB manual 2.12 ("menuentry", "submenu",
"The GRUB environment block", "default"), UAPI.1 Boot Loader Specification, GRUB legacy manual, SYSLINUX wiki.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.machine.tree import Tree

_MAX_LINES = 50_000
_LINUX = frozenset({"linux", "linux16", "linuxefi"})
_INITRD = frozenset({"initrd", "initrd16", "initrdefi"})
_XEN = frozenset({"multiboot", "multiboot2", "xen_hypervisor"})
_MODULE = frozenset({"module", "module2", "xen_module"})
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to boot. Paths are as the menu has them, without a device in front; `hypervisor` is Xen's image."""

    title: str
    id: str = ""
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    hypervisor: str = ""
    menu: tuple[str, ...] = ()      # ids or titles of the submenus it is in


@dataclass(frozen=True, slots=True)
class Menu:
    """A boot loader's menu: `default` is the index in `entries` that starts by itself (None: nobody can say), `notes`
    are sentences about it; `searches` are the file system UUIDs that GRUB looks for."""

    kind: str
    source: str
    entries: tuple[Entry, ...]
    default: int | None = 0
    notes: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()


def menus(tree: Tree, boot: bytes = b"boot", esps: Iterable[bytes] = ()) -> list[Menu]:
    """Return the menus of a system: those in /boot, and systemd-boot's on the EFI system partitions `esps`."""
    found: list[Menu] = []
    for name in (b"grub2", b"grub"):
        text = tree.text(os.path.join(boot, name, b"grub.cfg"))
        if text is not None:
            env = grubenv(tree.read(os.path.join(boot, name, b"grubenv")) or b"")
            found.append(_grub(text, _shown(boot, name, b"grub.cfg"), env, lambda: bls_entries(tree, boot)))
    for place in dict.fromkeys((*esps, boot)):
        entries = bls_entries(tree, place)
        loader = tree.text(os.path.join(place, b"loader/loader.conf"))
        if entries and (loader is not None or not found):
            found.append(_systemd_boot(entries, loader or "", _shown(place, b"loader/entries")))
    for path in (b"grub/menu.lst", b"grub/grub.conf"):
        text = tree.text(os.path.join(boot, path))
        if text is not None and not found:
            found.append(_legacy(text, _shown(boot, path)))
    for path in (b"extlinux/extlinux.conf", b"syslinux/syslinux.cfg", b"extlinux.conf"):
        text = tree.text(os.path.join(boot, path))
        if text is not None and not found:
            found.append(_syslinux(text, _shown(boot, path)))
    return found


def _shown(*parts: bytes) -> str:
    return "/" + os.path.join(*parts).decode("utf-8", "backslashreplace")


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines()[:_MAX_LINES]:
        if (bare := line.strip()) and not bare.startswith("#"):
            yield bare


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def grubenv(data: bytes) -> dict[str, str]:
    """Return the variables of GRUB's environment block: 1024 bytes, filled up with ``#``."""
    pairs = (line.partition("=") for line in data[:65536].decode("utf-8", "surrogateescape").splitlines())
    return {name: value for name, mark, value in pairs if mark and not name.startswith("#")}


# --- GRUB 2 --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Block:
    kind: str
    name: str
    entry: Entry = field(default_factory=lambda: Entry(""))


class _Grub:
    """A reader of one grub.cfg."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.variables = dict(env)
        self.default = ""
        self.stack: list[_Block] = []
        self.entries: list[Entry] = []
        self.order: list[tuple[str, ...]] = []      # where each entry stands: submenu titles and its own
        self.searches: list[str] = []
        self.bls = False

    def expand(self, text: str) -> str:
        """Replace variables; one that is not set is nothing (GRUB manual, "Shell-like scripting")."""
        return _VARIABLE.sub(lambda m: self.variables.get(m[1] or m[2], ""), text)

    def line(self, line: str) -> None:
        if line.startswith("}"):
            self._close()
            return
        words = _words(line)
        head = words[0] if words else ""
        if head in ("menuentry", "submenu", "function"):
            self._open(head, words)
        elif head == "set" and len(words) > 1 and "=" in words[1]:
            self._set(*words[1].split("=", 1))
        elif head == "search" or head == "search.fs_uuid":
            self._search(words)
        elif head == "blscfg" and not any(b.kind == "function" for b in self.stack):
            self.bls = True
        elif self.stack and self.stack[-1].kind == "menuentry":
            self.stack[-1].entry = _command(self.stack[-1].entry, head, [self.expand(w) for w in words[1:]])

    def _open(self, kind: str, words: list[str]) -> None:
        title = words[1] if len(words) > 1 else ""
        options = [w for w in words if w != "{"]
        ident = next((options[i + 1] for i, w in enumerate(options[:-1])
                      if w in ("--id", "$menuentry_id_option") or w.startswith("--id=")), "")
        ident = next((w[5:] for w in options if w.startswith("--id=")), ident)
        if words[-1] == "{" or not words[-1].endswith("}"):
            self.stack.append(_Block(kind, ident or title, Entry(title, ident)))

    def _close(self) -> None:
        block = self.stack.pop() if self.stack else None
        if block is not None and block.kind == "menuentry":
            menu = tuple(b.name for b in self.stack if b.kind == "submenu")
            self.entries.append(replace(block.entry, menu=menu))

    def _set(self, name: str, value: str) -> None:
        inside = bool(self.stack)
        if name == "default" and not inside:
            # The branch for `next_entry` (one boot only) does not make the lasting default.
            if "next_entry" not in value:
                self.default = value
        elif not inside and self.expand(value):
            self.variables[name] = self.expand(value)

    def _search(self, words: list[str]) -> None:
        if words[0] == "search.fs_uuid":
            self.searches += words[1:2]
        elif "--fs-uuid" in words or "-u" in words:
            plain = [w for w in words[1:] if not w.startswith("-") and not w.startswith("'")]
            after = words.index("--set") + 1 if "--set" in words else 0
            self.searches += [w for w in plain if not after or w != words[after]][-1:]


def _command(entry: Entry, head: str, words: list[str]) -> Entry:
    """Return an entry with one of its commands taken in."""
    paths = [_path(w) for w in words if w and not w.startswith("-")]
    if head in _LINUX and words:
        return replace(entry, kernel=_path(words[0]), options=tuple(words[1:]))
    if head in _INITRD:
        return replace(entry, initrds=entry.initrds + tuple(paths))
    if head in _XEN and paths:
        return replace(entry, hypervisor=paths[0])
    if head in _MODULE and paths:
        if entry.hypervisor and not entry.kernel:
            return replace(entry, kernel=paths[0], options=tuple(words[1:]))
        return replace(entry, initrds=(*entry.initrds, paths[0])) if entry.kernel else entry
    return entry


def _path(word: str) -> str:
    """Return a path without the device that GRUB allows in front: ``(hd0,msdos1)/vmlinuz``."""
    return re.sub(r"^\([^)]*\)", "", word)


def _grub(text: str, source: str, env: Mapping[str, str], bls: Callable[[], list[Entry]]) -> Menu:
    reader = _Grub(env)
    for line in _lines(text):
        reader.line(line)
    entries = reader.entries
    if reader.bls:
        entries = [replace(e, options=tuple(reader.expand(" ".join(e.options)).split()),
                           initrds=tuple(w for i in e.initrds for w in reader.expand(i).split()))
                   for e in bls()] + entries
    wanted = reader.expand(reader.default) or "0"
    index, notes = _default(entries, wanted)
    once = env.get("next_entry", "")
    if once:
        notes.append(f"grubenv says that the next start takes {once!r}")
        index_once, missing = _default(entries, once)
        index = index if missing else index_once
    return Menu("GRUB 2", source, tuple(entries), index, tuple(notes), tuple(dict.fromkeys(reader.searches)))


def _default(entries: list[Entry], wanted: str) -> tuple[int | None, list[str]]:
    """Return the index of the entry that ``default`` names; GRUB takes the first where it names none."""
    if not entries:
        return None, []
    found = _find(entries, wanted.split(">"), 0)
    if found is not None:
        return found, []
    return 0, [f"the default entry {wanted!r} does not exist: GRUB takes the first one, {entries[0].title!r}"]


def _find(entries: list[Entry], path: list[str], depth: int) -> int | None:
    """Find an entry by number, title or id, level by level."""
    level: list[tuple[tuple[str, ...], int]] = []       # names of each node of this level, and its first entry
    for number, entry in enumerate(entries):
        if len(entry.menu) > depth:
            names: tuple[str, ...] = (entry.menu[depth],)
            if level and level[-1][0] == names:
                continue
        else:
            names = tuple(n for n in (entry.title, entry.id, entry.id.removesuffix(".conf")) if n)
        level.append((names, number))
    chosen = next((n for names, n in level if path[0] in names), None)
    if chosen is None and path[0].isdecimal() and int(path[0]) < len(level):
        chosen = level[int(path[0])][1]
    if chosen is None or len(entries[chosen].menu) == depth:
        return chosen
    name = entries[chosen].menu[depth]
    inside = [n for n in range(chosen, len(entries)) if entries[n].menu[depth:depth + 1] == (name,)]
    found = _find([entries[n] for n in inside], path[1:] or ["0"], depth + 1)
    return None if found is None else inside[found]


def searched(text: str) -> tuple[str, ...]:
    """Return the file system UUIDs that a grub.cfg (such as the short one on an ESP) searches for."""
    return _grub(text, "", {}, list).searches


# --- the others ----------------------------------------------------------------------------------------------------


def bls_entries(tree: Tree, place: bytes) -> list[Entry]:
    """Return the entries in ``loader/entries`` of a partition, newest first (as file names with numbers in them sort).
    """
    found = []
    for name in sorted(tree.names(os.path.join(place, b"loader/entries")), key=_version_key, reverse=True):
        text = tree.text(os.path.join(place, b"loader/entries", name)) if name.endswith(b".conf") else None
        if text is None:
            continue
        pairs = [(words[0], words[1]) for line in _lines(text) if len(words := line.split(None, 1)) == 2]
        values = dict(pairs)
        initrds = tuple(value for key, value in pairs if key == "initrd")
        kernel = values.get("linux") or values.get("efi") or values.get("uki") or ""
        found.append(Entry(values.get("title", ""), os.fsdecode(name), kernel, initrds,
                           tuple(" ".join(v for k, v in pairs if k == "options").split())))
    return found


def _version_key(name: bytes) -> list[tuple[int, int, bytes]]:
    return [(1, int(part), b"") if part.isdigit() else (0, 0, part) for part in re.findall(rb"\d{1,18}|\D+", name)]


def _systemd_boot(entries: list[Entry], loader: str, source: str) -> Menu:
    values = dict(words for line in _lines(loader) if len(words := line.split(None, 1)) == 2)
    pattern = values.get("default", "*")
    shape = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern))
    index = next((n for n, e in enumerate(entries) if shape.fullmatch(e.id)
                  or shape.fullmatch(e.id.removesuffix(".conf"))), None)
    notes = () if index is not None or pattern.startswith("@") else (
        f"the default {pattern!r} of loader.conf fits no entry: the first one is taken",)
    return Menu("Boot Loader Specification", source, tuple(entries), index or 0, notes)


def _legacy(text: str, source: str) -> Menu:
    entries: list[Entry] = []
    default = "0"
    for line in _lines(text):
        head, _, rest = line.replace("=", " ", 1).partition(" ") if line.startswith("default") else line.partition(" ")
        words = rest.split()
        if head == "default" and words:
            default = words[0]
        elif head == "title":
            entries.append(Entry(rest.strip()))
        elif entries and head == "kernel" and words:
            path = _path(words[0])
            xen = os.path.basename(path).startswith("xen")
            entries[-1] = (replace(entries[-1], hypervisor=path) if xen
                           else replace(entries[-1], kernel=path, options=tuple(words[1:])))
        elif entries and head in ("module", "initrd"):
            entries[-1] = _command(entries[-1], head, words)
    index = int(default) if default.isdecimal() and int(default) < len(entries) else 0
    return Menu("GRUB legacy", source, tuple(entries), index if entries else None)


def _syslinux(text: str, source: str) -> Menu:
    entries: list[Entry] = []
    default = ""
    for line in _lines(text):
        head, _, rest = line.partition(" ")
        head, words = head.lower(), rest.split()
        if head == "default" and words:
            default = words[0]
        elif head == "label":
            entries.append(Entry(rest.strip(), rest.strip()))
        elif entries and head in ("kernel", "linux") and words:
            entries[-1] = replace(entries[-1], kernel=words[0])
        elif entries and head == "initrd":
            entries[-1] = replace(entries[-1], initrds=tuple(rest.strip().split(",")))
        elif entries and head == "append":
            initrds = tuple(p for w in words if w.startswith("initrd=") for p in w[7:].split(","))
            entries[-1] = replace(entries[-1], options=tuple(words), initrds=entries[-1].initrds + initrds)
    index = next((n for n, e in enumerate(entries) if e.id == default), 0)
    return Menu("SYSLINUX", source, tuple(entries), index if entries else None)
