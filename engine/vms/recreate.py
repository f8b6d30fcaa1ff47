r"""What makes a VM anew: commands for Oracle VM Manager's CLI, or a configuration for `xl create`.

The CLI's grammar is that of its guides (3.2 E35336, 3.3 E50252, 3.4 E64086: create Vm, create VirtualDisk, create
VmDiskMapping, create Vnic). A value with blanks stands in quotes, in which a slash, not a backslash, escapes. Objects
can be named by name or id; of disks and ISOs the file's name is the id. Two forms are not in a guide that was at hand:
3.2's ``add Vnic … to Vm``, and whether 3.3's create Vnic is that of 3.4; scripts say so.

What a vm.cfg does not say (networks go by other names in the Manager, the pool, names of physical disks), and what must
not be shown (passwords), stands in the script as ``@WHAT@`` and is listed beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.text import message, printable
from engine.vms.devices import Nic
from engine.vms.inventory import Machine
from engine.vms.literals import Value
from engine.vms.places import DRIVE, ISO, NETWORK, ON_DEVICES, DiskState
from engine.vms.secrets import hidden

TARGETS = ("3.4", "3.3", "3.2", "xl")
_BARE = re.compile(r"[A-Za-z0-9_.:@-]+")
_DOMAIN_TYPES = frozenset({"XEN_HVM", "XEN_HVM_PV_DRIVERS", "XEN_PVM", "LDOMS_PVM"})
_BOOT = {"c": "DISK", "d": "CDROM", "n": "PXE"}
_WEIGHT, _PRIORITY = 27500, 50      # what the Manager writes for its default; other pairs are not known
_LETTER = re.compile(r"(?:xvd|hd|sd|vd)([a-z])")


@dataclass(slots=True)
class Script:
    """The lines of a script, and in sentences what has to be filled in or seen to by hand."""

    lines: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def gap(self, what: str, why: str) -> str:
        """Return the mark that stands for something unknown, and say why it is."""
        mark = "@" + (re.sub(r"[^A-Za-z0-9]+", "_", what).strip("_").upper() or "VALUE") + "@"
        self.unknown.append(f"{mark}: {why}")
        return mark


def script(machine: Machine, target: str, networks: Mapping[str, str], pool: str = "") -> Script:
    """Return what makes a VM anew. `target` is one of TARGETS; `networks` gives the Manager's name of each bridge,
    `pool` that of the server pool."""
    made = Script()
    made.unknown += [f"line {problem.line} of the vm.cfg: {problem.text}; it is not in the script"
                     for problem in machine.facts.problems]
    if target == "xl":
        from engine.vms.xlfile import write

        write(machine, made)
        return made
    name = _machine(machine, made, pool)
    taken: set[int] = set()
    for disk in machine.disks:
        _disk(machine, disk, made, target, taken, name)
    for number, nic in enumerate(machine.facts.nics):
        _nic(nic, number, made, target, networks, name)
    if machine.facts.nics and target != "3.4":
        form = "`add Vnic … to Vm`" if target == "3.2" else "3.4's form of `create Vnic`"
        made.unknown.append(f"{form} could not be checked against the guide of {target}: try it with the first one")
    return made


def quoted(text: str) -> str:
    """Return a value as the CLI reads it."""
    return text if _BARE.fullmatch(text) else '"' + re.sub(r"""([/"'])""", r"/\1", text) + '"'


def _value(made: Script, what: str, text: str) -> str:
    """A text as a value; a mark where it cannot be written (control characters) or must not be shown."""
    if hidden(text) != text:
        return made.gap(what, "it holds a secret, which is not shown")
    if message(text) != text:
        return made.gap(what, f"it holds characters that cannot be typed: {printable(text)}")
    return quoted(text)


def _machine(machine: Machine, made: Script, pool: str) -> str:
    """Write `create Vm`; return the VM's name as a word."""
    facts, values = machine.facts, machine.document.values
    words: list[str] = []

    def put(key: str, value: object) -> None:
        words.append(f"{key}={value}")

    for key, amount in (("memory", facts.memory), ("memoryLimit", facts.max_memory or facts.memory),
                        ("cpuCount", facts.vcpus), ("cpuCountLimit", facts.max_vcpus or facts.vcpus)):
        put(key, amount if amount is not None else made.gap(key, "the vm.cfg does not say"))
    _shares(values, put, made)
    if isinstance(values.get("OVM_high_availability"), bool):
        put("highAvailability", "Yes" if values["OVM_high_availability"] else "No")
    put("domainType", _domain_type(machine, made))
    for key, name in (("OVM_os_type", "osType"), ("keymap", "keymapName")):
        text = values.get(key)
        if isinstance(text, str) and text:
            put(name, _value(made, name, text))
    if values.get("usbdevice") == "tablet":
        put("mouseType", "USB_TABLET")
    order = [_BOOT[letter] for letter in str(values.get("boot") or "") if letter in _BOOT]
    if order:
        put("bootOrder", "'" + ",".join(order) + "'")
    put("repository", quoted(printable(machine.repository.rpartition(b"/")[2])))
    name = _value(made, "name", facts.title or machine.name)
    put("name", name)
    if facts.description:
        put("description", _value(made, "description", facts.description))
    why = "a vm.cfg does not name its server pool (--pool NAME)"
    where = _value(made, "server pool", pool) if pool else made.gap("server pool", why)
    made.lines.append(f"create Vm {' '.join(words)} on ServerPool name={where}")
    if machine.template:
        made.unknown.append("it is a template: what is made is a VM, to be turned into one")
    return name


def _shares(values: Mapping[str, Value], put: Callable[[str, object], None], made: Script) -> None:
    weight, cap = values.get("cpu_weight"), values.get("cpu_cap")
    if weight == _WEIGHT:
        put("cpuPriority", _PRIORITY)
    elif weight is not None:
        made.unknown.append(f"cpu_weight is {_shown(weight)}: which cpuPriority that was is not known")
    if cap == 0:
        put("cpuUtilizationCap", 100)
    elif cap is not None:
        made.unknown.append(f"cpu_cap is {_shown(cap)}: which cpuUtilizationCap that was is not known")


def _shown(value: Value) -> str:
    return str(value) if isinstance(value, int | float) else "set"


def _domain_type(machine: Machine, made: Script) -> str:
    kind = machine.facts.kind.upper()
    if kind in _DOMAIN_TYPES:
        return kind
    return {"HVM": "XEN_HVM", "PV": "XEN_PVM"}.get(kind) or made.gap("domain type", f"{printable(kind)} is none of the "
                                                                     "Manager's")


def _slot(vdev: str, taken: set[int]) -> int | None:
    """The slot of a virtual device: xvda is 0. None for what has none (a partition, a second one)."""
    found = _LETTER.fullmatch(vdev)
    slot = ord(found[1]) - ord("a") if found else -1
    if slot < 0 or slot in taken:
        return None
    taken.add(slot)
    return slot


def _disk(machine: Machine, disk: DiskState, made: Script, target: str, taken: set[int], name: str) -> None:
    vdev = printable(disk.spec.vdev) or "?"
    slot = _slot(disk.spec.vdev, taken)
    why = f"{vdev} is no device with a slot of its own"
    shown = made.gap(f"slot of {vdev}", why) if slot is None else str(slot)
    device = _device(machine, disk, made, target, vdev)
    words = [f"slot={shown}", *([device] if device else []), f"name={quoted(vdev)}"]
    made.lines.append(f"create VmDiskMapping {' '.join(words)} on Vm name={name}")


def _device(machine: Machine, disk: DiskState, made: Script, target: str, vdev: str) -> str:
    """What is mapped; "" for 3.2's empty drive."""
    def word(kind: str) -> str:
        return "storageDevice" if target == "3.2" else kind

    file = disk.spec.target.rpartition("/")[2]
    if disk.spec.problem:
        return f"{word('virtualDisk')}={made.gap(f'disk {vdev}', 'its entry in the vm.cfg is not understood')}"
    if not disk.spec.target:
        return "" if target == "3.2" else "virtualCd=EMPTY_CDROM"
    if disk.kind == DRIVE:
        made.unknown.append(f"{vdev} was a drive of the host; an empty one is made")
        return "" if target == "3.2" else "virtualCd=EMPTY_CDROM"
    if disk.kind == ISO and disk.spec.cdrom:
        return f"{word('virtualCd')}={_value(made, f'ISO of {vdev}', file)}"
    if disk.kind in ON_DEVICES or disk.kind == NETWORK:
        why = f"the Manager's name or id of {printable(hidden(disk.spec.target))}"
        return f"{word('physicalDisk')}={made.gap(f'physical disk {vdev}', why)}"
    if disk.exists is False:
        return f"{word('virtualDisk')}={_new_disk(machine, disk, made, target, vdev)}"
    return f"{word('virtualDisk')}={_value(made, f'disk {vdev}', file)}"


def _new_disk(machine: Machine, disk: DiskState, made: Script, target: str, vdev: str) -> str:
    """Make a disk that is missing; its size is not known, and what was on it has to be restored."""
    title = machine.facts.title or machine.name
    name = _value(made, f"name of {vdev}", f"{title}_{vdev}")
    size = made.gap(f"size of {vdev} in GiB", f"{printable(hidden(disk.spec.target))} is missing: its size is not "
                    "known, and what was on it has to be restored")
    yes, no = ("yes", "no") if target == "3.2" else ("Yes", "No")
    shareable = yes if disk.spec.access == "w!" else no
    where = quoted(printable((disk.repository or machine.repository).rpartition(b"/")[2]))
    made.lines.append(f"create VirtualDisk name={name} size={size} sparse={yes} shareable={shareable} "
                      f"on Repository id={where}")
    return name


def _nic(nic: Nic, number: int, made: Script, target: str, networks: Mapping[str, str], vm: str) -> None:
    if nic.bridge in networks:
        network = _value(made, f"network {number}", networks[nic.bridge])
    else:
        bridge = printable(hidden(nic.bridge))
        network = made.gap(f"network of {bridge or f'interface {number}'}", "the Manager's name of the network "
                           + (f"{bridge} (--network {bridge}=NAME)" if bridge else "of this interface"))
    mac = _value(made, f"MAC of interface {number}", nic.mac) if nic.mac else ""
    if target == "3.2":
        mac = mac or made.gap(f"MAC of interface {number}", "the vm.cfg does not say; 3.2 names interfaces by it")
        made.lines.append(f"create Vnic name={mac} network={network}")
        made.lines.append(f"add Vnic name={mac} to Vm name={vm}")
        return
    address = f" macAddress={mac}" if mac else ""
    made.lines.append(f"create Vnic name=eth{number} network={network}{address} on Vm name={vm}")
