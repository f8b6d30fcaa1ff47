"""restore.sh in an environment of its own: a PATH with nothing but links to the tools that it may use."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.engine.harness import CHECKOUT

SCRIPT = os.path.join(CHECKOUT, "engine", "rescue", "restore.sh")
TEXT = Path(SCRIPT).read_bytes()
# What the script says it needs, and sh itself.
TOOLS = ("rsync", "zstd", "awk", "sed", "grep", "sort", "cut", "paste", "tr", "od", "dd", "head", "tail", "wc", "cat",
         "cmp", "find", "xargs", "stat", "ln", "mv", "cp", "rm", "rmdir", "ls", "mkdir", "mkfifo", "mknod", "mktemp",
         "dirname", "chmod", "chown", "touch", "id")
EXTRA = ("sha256sum", "setfattr", "setfacl", "tar")
PROGRAMS = ("rsync", "zstd", "tar", "setfattr", "setfacl")  # busybox has none of these, or not what it takes
SHELLS = {"dash": "dash", "busybox": "busybox", "all-busybox": "busybox"}


def toolbox(where: str, shell: str, extra: tuple[str, ...] = EXTRA) -> str:
    """Make a directory of links: the shell as `sh`, and the allowed tools, from busybox for ``all-busybox``.

    Returns the directory, to be all of PATH.
    """
    os.makedirs(where)
    os.symlink(str(shutil.which(SHELLS[shell])), os.path.join(where, "sh"))
    for name in (*TOOLS, *extra):
        source = "busybox" if shell == "all-busybox" and name not in PROGRAMS else name
        os.symlink(str(shutil.which(source)), os.path.join(where, name))
    return where


def run_script(tools: str, *words: str, script: str = SCRIPT, user: int | None = None
               ) -> subprocess.CompletedProcess[str]:
    """Run restore.sh with these words, nothing else in its environment.

    There is a socket in its TMPDIR, for it can make sockets only where there is one already.
    """
    temporary = tempfile.mkdtemp(prefix="rp", dir="/tmp")
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.join(temporary, "socket"))
        os.chmod(temporary, 0o777)
        return _run(tools, [script, *words], user, temporary)
    finally:
        shutil.rmtree(temporary)


def _run(tools: str, words: list[str], user: int | None, temporary: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([os.path.join(tools, "sh"), *words], env={"PATH": tools, "HOME": "/", "TMPDIR": temporary},
                          cwd="/", capture_output=True, text=True, errors="backslashreplace", stdin=subprocess.DEVNULL,
                          timeout=300, user=user, group=user, extra_groups=None if user is None else [])


def script_copy(where: str) -> str:
    """Copy the script to a place that everybody may read."""
    target = os.path.join(where, "restore.sh")
    Path(target).write_bytes(TEXT)
    os.chmod(target, 0o644)
    return target
