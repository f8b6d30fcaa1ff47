"""One entry of `disk = [...]` in either dialect -> a `DiskSpec`.

xm (blkif.py): ``type:rest,dev,mode[,backend[,protocol]]``. xl (xl-disk-configuration(5), libxlu_disk_l.l):
``[key=value|flag,]* [target,[format,[vdev,[access]]]] [key=value|flag,]* [target=target]``, where words without ``=``
fill the first field that is still unset, ``target=`` swallows the rest of the text, and the prefixes of xm are
deprecated: after one there is no format field. Read here is what either would take, so that the rules join:

- a word in the place of the format that is none, but can be a virtual device, is the virtual device;
- ``w!`` (shared, xm's own) is an access, as are ``ro`` and ``rw``;
- what follows the access is xm's backend domain and protocol.

A path that does not begin with ``/`` is below /dev. Nothing raises: `problem` says why an entry is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from engine.vms.devices import Parameters

READ, WRITE, SHARED = "r", "w", "w!"
_MAX_LENGTH = 8192
_FORMATS = frozenset({"raw", "qcow", "qcow2", "vhd", "qed", "vmdk", "empty"})
_FORMAT_PREFIXES = frozenset({"raw", "qcow", "qcow2", "vhd", "qed", "vmdk"})
_SCRIPT_PREFIXES = frozenset({"iscsi", "nbd", "enbd", "drbd", "npiv"})
_PLAIN_PREFIXES = frozenset({"tapdisk", "tap", "tap2", "aio", "ioemu", "file", "phy", "sync", "ram"})
_ACCESS = {"r": READ, "ro": READ, "w": WRITE, "rw": WRITE, "w!": SHARED, "!": SHARED, "rw!": SHARED, "": ""}
_FLAGS = frozenset({"cdrom", "discard", "no-discard", "direct-io-safe", "trusted", "untrusted", "colo"})
_KEYS = frozenset({"format", "vdev", "access", "devtype", "backend", "backendtype", "script", "specification",
                   "direct-io-safe", "grant_usage", "colo-host", "colo-port", "colo-export", "active-disk",
                   "hidden-disk", "trusted"})
_KEY = re.compile(r"([a-z][-a-z0-9_]*)[ \t]*=(.*)", re.DOTALL)
_PREFIX = re.compile(r"([a-z][a-z0-9]*):(.*)", re.DOTALL)
_VDEV = re.compile(r"(?:(?:xvd|hd|sd|vd|ubd)[a-z]{1,3}[0-9]*|d[0-9]+(?:p[0-9]+)?|0x[0-9a-f]+|[0-9]+|cdrom)")
# Targets of qemu's own drivers are addresses, not paths.
_ADDRESS = re.compile(r"(?:rbd|sheepdog|gluster(?:\+\w+)?|nfs|https?|ftps?|nbd(?:\+\w+)?|iscsi|ssh|json|cephfs):.*",
                      re.DOTALL)


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk of a VM. `target` is its path, made absolute, an address (`is_path` False), or "" for an empty drive;
    `format` is "" where raw is meant; `access` is ``r``, ``w`` or ``w!``; `prefixes` are those of xm that stood before
    the target (``tap``, ``aio``); `backend` is the domain that serves it, "" for the host; `script` is the host's
    program that makes the device. `problem` says why an entry is no disk."""

    source: str
    target: str = ""
    format: str = ""
    vdev: str = ""
    access: str = WRITE
    cdrom: bool = False
    prefixes: tuple[str, ...] = ()
    backend: str = ""
    backendtype: str = ""
    script: str = ""
    others: Parameters = ()
    problem: str = ""

    @property
    def is_path(self) -> bool:
        """Whether the target is a path on the host."""
        return bool(self.target) and not self.script and not _ADDRESS.fullmatch(self.target)


@dataclass(slots=True)
class _Draft:
    """The fields set so far; None is one that is still unset."""

    target: str | None = None
    format: str | None = None
    vdev: str | None = None
    access: str | None = None
    cdrom: bool = False
    script: str = ""
    prefixes: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    others: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""

    def fault(self, text: str) -> None:
        self.problem = self.problem or text


def disk(source: str) -> DiskSpec:
    """Return what an entry of `disk` says."""
    draft, rest = _Draft(), source
    if len(source) > _MAX_LENGTH:
        return DiskSpec(source, problem=f"it is longer than {_MAX_LENGTH} characters")
    while rest and not draft.problem:
        rest = rest.lstrip(" \t\n")
        key = _KEY.match(rest)
        if key and key[1] == "target":
            _target(draft, key[2])
            break
        part, _, after = rest.partition(",")
        rest = after
        if key := _KEY.match(part):
            _named(draft, key[1], key[2].strip())
        elif part in _FLAGS:
            _flag(draft, part)
        else:
            _positional(draft, part.strip())
    return _finished(source, draft)


def _named(draft: _Draft, key: str, value: str) -> None:
    if key in draft.named:
        draft.fault(f"{key}= stands there twice")
    draft.named[key] = value
    if key == "format":
        _format(draft, value)
    elif key == "vdev":
        _vdev(draft, value)
    elif key == "access":
        _access(draft, value)
    elif key == "devtype":
        if value not in ("cdrom", "disk"):
            draft.fault("devtype= is neither cdrom nor disk")
        draft.cdrom = draft.cdrom or value == "cdrom"
    elif key not in ("backend", "backendtype", "script"):
        draft.others.append((key, value))
        if key not in _KEYS:
            draft.fault("it has an unknown parameter")


def _flag(draft: _Draft, word: str) -> None:
    if word == "cdrom":
        draft.cdrom = True
    else:
        draft.others.append((word, ""))


def _positional(draft: _Draft, word: str) -> None:
    if draft.target is None:
        _target(draft, word)
    elif not draft.prefixes and draft.format is None and not _is_vdev(word):
        _format(draft, word)
    elif draft.vdev is None:
        draft.format = draft.format or ""       # its place is behind us
        _vdev(draft, word)
    elif draft.access is None:
        _access(draft, word)
    elif "backend" not in draft.named:
        draft.named["backend"] = word if word != "0" else ""
    elif not any(key == "protocol" for key, _ in draft.others):
        draft.others.append(("protocol", word))
    else:
        draft.fault("it has too many fields")


def _is_vdev(word: str) -> bool:
    return word not in _FORMATS and _VDEV.fullmatch(_bare(word)) is not None


def _bare(word: str) -> str:
    return word.removeprefix("ioemu:").removesuffix(":cdrom").removesuffix(":disk").lower()


def _target(draft: _Draft, text: str) -> None:
    if draft.target is not None:
        draft.fault("its target stands there twice")
    found = _PREFIX.fullmatch(text)
    while found and found[1] in _FORMAT_PREFIXES | _SCRIPT_PREFIXES | _PLAIN_PREFIXES:
        word, text = found[1], found[2]
        draft.prefixes.append(word)
        if word in _FORMAT_PREFIXES:
            draft.format = word
        elif word in _SCRIPT_PREFIXES:
            draft.script = f"block-{word}"
            break
        found = _PREFIX.fullmatch(text)
    if found and found[2].startswith("/") and not _ADDRESS.fullmatch(text):
        draft.fault("its prefix is unknown")
    draft.target = text


def _format(draft: _Draft, word: str) -> None:
    if draft.format:
        draft.fault("its format stands there twice")
    draft.format = word.lower()
    if word and draft.format not in _FORMATS:
        draft.fault("its format is unknown")


def _vdev(draft: _Draft, word: str) -> None:
    if draft.vdev:
        draft.fault("its virtual device stands there twice")
    draft.cdrom = draft.cdrom or word.endswith(":cdrom")
    draft.vdev = _bare(word)
    if word and not _VDEV.fullmatch(draft.vdev):
        draft.fault("its virtual device has no such name")


def _access(draft: _Draft, word: str) -> None:
    if draft.access:
        draft.fault("its access stands there twice")
    if word.lower() not in _ACCESS:
        draft.fault("its access is none of r, ro, w, rw, w!")
    draft.access = _ACCESS.get(word.lower(), "")


def _finished(source: str, draft: _Draft) -> DiskSpec:
    script = draft.named.get("script") or draft.script
    target = "" if draft.format == "empty" else draft.target or ""
    if target and not script and not target.startswith("/") and not _ADDRESS.fullmatch(target):
        target = f"/dev/{target}"
    if target.startswith("/"):
        target = re.sub("/{2,}", "/", target)
    if not draft.vdev:
        draft.fault("it names no virtual device")
    if not target and not draft.cdrom and draft.format != "empty":
        draft.fault("it names neither a file nor a device")
    access = draft.access or (READ if draft.cdrom else WRITE)
    return DiskSpec(source, target, "" if draft.format in ("raw", "empty") else draft.format or "", draft.vdev or "",
                    access, draft.cdrom or draft.format == "empty", tuple(draft.prefixes),
                    draft.named.get("backend", ""), draft.named.get("backendtype", ""), script, tuple(draft.others),
                    draft.problem)
