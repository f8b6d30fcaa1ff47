"""Whether a VM runs: what `xl list` and `xm list` say, and Oracle VM's lock where a pool of servers shares it.

The tools are asked for all domains at once, within a time limit. A listing counts only when Domain-0 is in it: one that
failed, is empty or cut off says nothing. A domain that exists holds its disks, whatever its state (paused, crashed,
being shut down). A VM that is in no listing is stopped, unless its repository is shared (OCFS2, NFS): then another
server of the pool may run it, and Oracle VM's own lock is asked (`ovs-agent-dlm`: only a VM that runs nowhere can be
locked). Formats: xl_info.c and libxl's JSON of Xen; xend's S-expressions.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.errors import ToolError
from engine.machine.mounts import mount_of
from engine.run import call
from engine.text import printable
from engine.vms.inventory import Machine
from engine.vms.machines import plain_id

RUNNING, STOPPED, UNKNOWN = "running", "stopped", "unknown"
LIMIT = 15.0
"""Seconds within which a tool has to answer."""

_LISTS = (("xl", "list", "-l"), ("xl", "list", "-v"), ("xm", "list", "-l"), ("xm", "list"))
_LOCK = "ovs-agent-dlm"
_SHARED = frozenset({b"ocfs2", b"nfs", b"nfs4", b"gfs2"})
_ZERO = "00000000-0000-0000-0000-000000000000"
# Name, ID, Mem, VCPUs, State, Time; read from the right, since names can hold blanks.
_ROW = re.compile(r"(?P<name>.+?)\s+(?P<id>\d+)\s+\d+\s+\d+\s+(?P<state>[-rbpscdwS]{6})\s+[\d.]+"
                  r"(?:\s+(?P<uuid>[-0-9a-f]{36})\b.*)?")
_WORD = re.compile(r"""\s*(?:(?P<mark>[()])|'(?P<quoted>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)"|"""
                   r"""(?P<atom>[^\s()]+))""")


@dataclass(frozen=True, slots=True)
class RunState:
    """`state` is ``running`` (its domain exists, paused and crashed ones included), ``stopped`` or ``unknown``, which
    is never to be taken for stopped; `why` says what it was told by."""

    state: str
    why: str

    @property
    def stopped(self) -> bool:
        """Whether it is known not to run."""
        return self.state == STOPPED


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain that exists on this server. `uuid` is "" where the listing does not say."""

    name: str
    uuid: str
    zero: bool = False


class Unlisted(Exception):
    """A listing that says nothing; the message is why."""


def running(machine: Machine, root: str) -> RunState:
    """Return whether a VM runs, as far as that can be told from here. `root` is where its paths begin."""
    troubles: list[str] = []
    found = _domains(troubles)
    if found is None:
        return RunState(UNKNOWN, "; ".join(dict.fromkeys(troubles)))
    tool, domains = found
    uuid, names = plain_id(machine.facts.uuid), {machine.facts.name} - {""}
    for domain in domains:
        name = domain.name.partition("--")[0]       # while it migrates, --incoming or --migratedaway follows it
        if (uuid and plain_id(domain.uuid) == uuid) or not names.isdisjoint((domain.name, name)):
            return RunState(RUNNING, f"`{tool}` lists the domain {printable(domain.name)}")
    if not names and not (uuid and all(domain.uuid for domain in domains)):
        return RunState(UNKNOWN, f"its vm.cfg does not say its name, and `{tool}` no uuids" if uuid else
                        "its vm.cfg says neither its name nor its uuid")
    shared = _shared_on(machine, root)
    return _lock(machine, shared) if shared else RunState(STOPPED, f"`{tool}` does not list it")


def _domains(troubles: list[str]) -> tuple[str, list[Domain]] | None:
    """Ask the tools in turn; the first that gives a whole listing counts."""
    for argv in _LISTS:
        shown = " ".join(argv)
        try:
            out = call(argv, timeout=LIMIT).decode("utf-8", "replace")
            domains = list(parse(out))
            if any(domain.zero for domain in domains):
                return shown, [domain for domain in domains if not domain.zero]
            troubles.append(f"`{shown}` does not list Domain-0, so it says nothing")
        except ToolError as error:
            troubles.append(f"{argv[0]} is not installed here" if error.status == 127 else error.message)
        except Unlisted as error:
            troubles.append(f"`{shown}` cannot be understood: {error}")
    return None


def parse(out: str) -> Iterator[Domain]:
    """Yield the domains of a listing: JSON (xl list -l), S-expressions (xm list -l) or a table. Those that only xend
    keeps, and that do not exist at present, are left out. Raises Unlisted."""
    text = out.strip()
    if text.startswith("["):
        yield from _from_json(text)
    elif text.startswith("("):
        yield from _from_sexp(text)
    else:
        yield from _from_table(text)


def _from_json(text: str) -> Iterator[Domain]:
    try:
        for one in json.loads(text):
            about = one["config"]["c_info"]
            number = one["domid"]
            yield Domain(str(about.get("name", "")), str(about.get("uuid", "")), number == 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unlisted(f"it is not the JSON that xl writes ({type(error).__name__})") from error


def _from_table(text: str) -> Iterator[Domain]:
    lines = text.splitlines()
    if not lines or not re.match(r"Name\s+ID\s+Mem", lines[0]):
        raise Unlisted("it has no heading")
    for line in lines[1:]:
        row = _ROW.fullmatch(line.rstrip())
        if row is not None:
            yield Domain(row["name"].strip(), row["uuid"] or "", row["id"] == "0")
        elif not re.search(r"\s\d+\s+\d+\s+[\d.]+$", line):     # kept by xend, with neither ID nor state
            raise Unlisted(f"a line of it: {printable(line[:60])}")


def _from_sexp(text: str) -> Iterator[Domain]:
    for domain in _tree(text):
        if not isinstance(domain, list) or not domain or domain[0] != "domain":
            raise Unlisted("it is not a list of domains")
        values = {item[0]: item[1] for item in domain[1:] if isinstance(item, list) and len(item) == 2 and isinstance(
            item[0], str) and isinstance(item[1], str)}
        number, uuid = values.get("domid", ""), values.get("uuid", "")
        if number:
            yield Domain(values.get("name", ""), uuid, number == "0" or uuid == _ZERO)


def _tree(text: str) -> Iterable[object]:
    """S-expressions as lists of texts and lists. Raises Unlisted where brackets do not match."""
    stack: list[list[object]] = [[]]
    at = 0
    while found := _WORD.match(text, at):
        at = found.end()
        if found["mark"] == "(":
            stack.append([])
            if len(stack) > 64:
                raise Unlisted("it is nested too deep")
        elif found["mark"]:
            done = stack.pop()
            if not stack:
                raise Unlisted("its brackets do not match")
            stack[-1].append(done)
        else:
            stack[-1].append(next(found[kind] for kind in ("quoted", "double", "atom") if found[kind] is not None))
    if len(stack) != 1 or text[at:].strip():
        raise Unlisted("it ends in the middle")
    return stack[0]


def _shared_on(machine: Machine, root: str) -> str:
    """The kind of shared file system that the VM's configuration lies on, "" where no other server can see it."""
    place = os.path.realpath(os.path.join(os.fsencode(root), machine.file))
    kind = mount_of(place).fstype
    return kind.decode("ascii", "replace") if kind in _SHARED else ""


def _lock(machine: Machine, shared: str) -> RunState:
    """Ask Oracle VM's lock manager, by taking the VM's lock and giving it back."""
    why = f"its repository is shared ({shared}), so another server of the pool may run it"
    uuid = plain_id(machine.facts.uuid) or machine.facts.name
    try:
        call([_LOCK, "--lock", "--uuid", uuid], timeout=LIMIT)
    except ToolError as error:
        if error.status == 127:
            return RunState(UNKNOWN, f"{why}; {_LOCK}, which knows, is not installed here")
        return RunState(UNKNOWN, f"{why}; {_LOCK} gives no lock on it: {error.message}")
    try:
        call([_LOCK, "--unlock", "--uuid", uuid], timeout=LIMIT)
    except ToolError as error:
        return RunState(UNKNOWN, f"{why}; its lock was taken and could not be given back ({error.message}): run "
                        f"`{_LOCK} --unlock --uuid {printable(uuid)}`")
    return RunState(STOPPED, f"no server of the pool holds its lock ({_LOCK})")
