"""A virtual machine of the lab: started in QEMU without KVM, given orders through its agent, ended by process id."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

QEMU = "qemu-system-x86_64"
_CHUNK = 192 << 10
BOOT_SECONDS = 300
_SILENT_SECONDS = 20
KERNEL_OPTIONS = ("console=ttyS0 panic=-1 quiet systemd.show_status=0 mitigations=off nokaslr audit=0 apparmor=0 "
                  "ipv6.disable=1 cryptomgr.notests nowatchdog")
# What a console says when nothing more will come of a boot, as regular expressions.
_DEAD_ENDS = (
    rb"No bootable device", rb"BdsDxe: No bootable option", rb"Shell> ", rb"grub rescue>", rb"grub> ", rb"Kernel panic",
    rb"\(initramfs\)", rb"emergency mode", rb"Boot failed: not a bootable disk", rb"error: file `[^']*' not found",
    rb"error: no such device", rb"Failed to start .*[Mm]anager")


@dataclass(frozen=True)
class Done:
    """How a command in the guest ended."""

    rc: int
    out: bytes
    err: bytes


class NoBoot(Exception):
    """The machine did not come up; the text is the end of its console."""


class Machine:
    """One run of a virtual machine. `disks` are raw images, in order /dev/vda, /dev/vdb, …; with `kernel` and `initrd`
    it is booted directly, else as its firmware does (BIOS, or UEFI with `uefi`, a directory for its variables).

    Disks in `volatile` keep nothing that is written to them. `memory` is in MiB.
    """

    def __init__(self, disks: Sequence[str], *, kernel: str = "", initrd: str = "", append: str = "", uefi: str = "",
                 volatile: Sequence[str] = (), memory: int = 1024) -> None:
        self._place = tempfile.mkdtemp(prefix="rollpoint-lab-")
        self._socket: socket.socket | None = None
        self._rest = b""
        # No VGA: the BIOS then speaks on the serial line too, so that the console tells all. Level 5 page tables only
        # cost an emulator time.
        argv = [QEMU, "-machine", f"{'q35' if uefi else 'pc'},graphics=off", "-accel", "tcg,thread=multi,tb-size=512",
                "-cpu", "max,la57=off", "-smp", "2", "-m", str(memory), "-nodefaults", "-display", "none", "-no-reboot",
                "-serial", f"file:{self._place}/console", "-device", "virtio-rng-pci", "-device", "virtio-serial",
                "-chardev", f"socket,id=lab,path={self._place}/lab,server=on,wait=off",
                "-device", "virtserialport,chardev=lab,name=lab"]
        for disk in disks:
            argv += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"
                     + (",snapshot=on" if disk in volatile else "")]
        if kernel:
            argv += ["-kernel", kernel, "-initrd", initrd, "-append", f"{KERNEL_OPTIONS} {append}"]
        if uefi:
            argv += _firmware(uefi)
        with open(f"{self._place}/qemu", "wb") as said:
            self._qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                          start_new_session=True)

    # --- coming up and going down ----------------------------------------------------------------------------------

    def wait_up(self, seconds: float = BOOT_SECONDS) -> str:
        """Wait for the agent and return the running kernel's release; raises NoBoot."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._qemu.poll() is not None:
                raise NoBoot(f"the machine ended by itself: {self.console()}")
            if self._socket is None and os.path.exists(f"{self._place}/lab"):
                self._connect()
            if self._socket is not None:
                self._socket.settimeout(1)
                try:
                    said = self._line()
                except TimeoutError:
                    continue
                return str(said["hello"])
        raise NoBoot(f"not up after {seconds:.0f} s: {self.console()}")

    def wait_dead(self, seconds: float = BOOT_SECONDS) -> str:
        """Wait until it is sure that the machine does not come up, and return why; AssertionError when it does.

        That is so when its console says so, when it ended by itself, or when the BIOS has jumped to a boot sector and
        nothing was heard of a boot loader for a while (zeroes run as code make no sound).
        """
        end, jumped = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            try:
                self.wait_up(1)
            except NoBoot:
                pass
            else:
                raise AssertionError(f"the machine came up: {self.console()}")
            text = self._said()
            dead = next((found[0] for end_ in _DEAD_ENDS if (found := re.search(end_, text))), b"")
            if dead or self._qemu.poll() is not None:
                return dead.decode() or "it ended by itself"
            if b"Booting from Hard Disk" in text.rstrip().rpartition(b"\n")[2]:
                jumped = jumped or time.monotonic()
                if time.monotonic() > jumped + _SILENT_SECONDS:
                    return "the boot sector does nothing"
        return f"not up after {seconds:.0f} s: {self.console()}"

    def _connect(self) -> None:
        found = socket.socket(socket.AF_UNIX)
        try:
            found.connect(f"{self._place}/lab")
        except OSError:
            found.close()
        else:
            self._socket = found

    def console(self) -> str:
        """Return the end of what the machine wrote to its serial console."""
        return (self._said() + Path(f"{self._place}/qemu").read_bytes())[-4000:].decode("utf-8", "backslashreplace")

    def _said(self) -> bytes:
        return Path(f"{self._place}/console").read_bytes() if os.path.exists(f"{self._place}/console") else b""

    def power_off(self) -> None:
        """Shut down in order and wait for the end."""
        with contextlib.suppress(NoBoot):       # the answer may come too late
            self.run(["systemctl", "--no-block", "poweroff"], check=False)
        self._qemu.wait(timeout=120)

    def pull_the_plug(self) -> None:
        """End the machine at once, as a power cut does."""
        if self._qemu.poll() is None:
            os.killpg(self._qemu.pid, signal.SIGKILL)
        self._qemu.wait()

    def wait_off(self, seconds: float = 120) -> None:
        """Wait until the machine has ended by itself (a reboot ends it too)."""
        self._qemu.wait(timeout=seconds)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _value: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.pull_the_plug()
        if self._socket is not None:
            self._socket.close()
        shutil.rmtree(self._place, ignore_errors=True)

    # --- orders ----------------------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], *, check: bool = True, timeout: float = 300, stdin: bytes = b"") -> Done:
        """Run a command in the guest."""
        order = {"argv": list(argv), "timeout": timeout, "stdin": base64.b64encode(stdin).decode()}
        said = self._order(order, timeout)
        done = Done(int(said["rc"]), base64.b64decode(said["out"]), base64.b64decode(said["err"]))
        if check and done.rc:
            text = (done.out[-4000:] + done.err[-4000:]).decode("utf-8", "backslashreplace")
            raise AssertionError(f"{list(argv)} ended with {done.rc}: {text}")
        return done

    def sh(self, script: str, *, check: bool = True, timeout: float = 300) -> str:
        """Run a shell script in the guest and return what it wrote."""
        return self.run(["sh", "-ec", script], check=check, timeout=timeout).out.decode("utf-8", "backslashreplace")

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file in the guest."""
        for start in range(0, max(1, len(data)), _CHUNK):
            chunk = base64.b64encode(data[start:start + _CHUNK]).decode()
            self._order({"put": path, "data": chunk, "mode": mode, "append": start > 0}, 60)

    def get(self, path: str) -> bytes:
        """Read a file of the guest."""
        return base64.b64decode(self._order({"get": path}, 60)["data"])

    def _order(self, order: dict[str, Any], timeout: float) -> dict[str, Any]:
        assert self._socket is not None, "wait_up first"
        self._socket.settimeout(timeout + 30)
        self._socket.sendall(json.dumps(order).encode() + b"\n")
        said = self._line()
        assert "error" not in said, f"{order.get('argv', '')}: {said['error']}"
        return said

    def _line(self) -> dict[str, Any]:
        assert self._socket is not None
        while b"\n" not in self._rest:
            data = self._socket.recv(1 << 16)
            if not data:
                raise NoBoot(f"the machine went away: {self.console()}")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line))


def _firmware(place: str) -> list[str]:
    """Return the options of a UEFI firmware (Debian's ovmf) whose variables are kept in the directory `place`."""
    variables = os.path.join(place, "OVMF_VARS.fd")
    if not os.path.exists(variables):
        shutil.copyfile("/usr/share/OVMF/OVMF_VARS_4M.fd", variables)
    return ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,format=raw,file={variables}"]
