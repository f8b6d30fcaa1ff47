"""Asking zfs(8) and zpool(8): exact names only, a time limit for every question, and values that survive their lists.

Their output is asked for with -H and -p (tabs, plain numbers); locales do not reach them (engine.run).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from engine.errors import ToolError, UsageError
from engine.run import call

ASK_SECONDS = 30.0
"""For questions. A pool that is suspended, or a disk that does not answer, lets them hang."""
CHANGE_SECONDS = 900.0
"""For changes: they wait until the pool has written them down."""
_VALUE_BYTES = 8000         # zfsprops(7): a user property's value has less than 8192
_BATCH = 100                # names in one command: far below what the kernel takes as arguments
_NOT_LOADED = ("modules are not loaded", "module is not loaded", "/dev/zfs")


def zfs(words: Sequence[str], seconds: float = 0, *, ok: Sequence[int] = (0,)) -> str:
    """Run zfs, no longer than so many seconds (0: a question's), and return what it wrote to stdout. Raises ToolError
    with what to do next."""
    return _run("zfs", words, seconds or ASK_SECONDS, ok)


def zpool(words: Sequence[str]) -> str:
    """Ask zpool, and return what it wrote to stdout. Raises ToolError with what to do next."""
    return _run("zpool", words, ASK_SECONDS, (0,))


def _run(tool: str, words: Sequence[str], seconds: float, ok: Sequence[int]) -> str:
    try:
        return call([tool, *words], ok=ok, timeout=seconds).decode("utf-8", "surrogateescape")
    except ToolError as error:
        failed = ToolError([tool, *words], error.status, error.stderr, hint=_hint(error))
        first = error.stderr.strip().partition("\n")[0]     # what follows are names, and advice to use -r or -R
        if first:
            failed.message = f"{tool} {words[0]} failed with status {error.status}: {first}"
            failed.args = (failed.message,)
        raise failed from None


def _hint(error: ToolError) -> str:
    if error.status == 127:
        return "install zfsutils-linux (or zfs), or take `zfs` out of the configuration"
    if error.status == 124:
        return ("a pool may be suspended, or a disk does not answer: `zpool status -x`; if there are only very many "
                "snapshots, name the data sets that matter in the configuration, under `zfs.datasets`")
    if any(words in error.stderr for words in _NOT_LOADED):
        return "`modprobe zfs`, then `zpool import`"
    return "`zpool status` tells how the pool is"


def batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield names in lists that are short enough for one command."""
    every = list(names)
    for start in range(0, len(every), _BATCH):
        yield every[start:start + _BATCH]


def encoded(text: str) -> str:
    r"""Return a text as the value of a user property: what would break a list (control characters, bytes that are no
    UTF-8), ``%`` itself and a lone ``-``, which stands for no value, as ``%`` and two hexadecimal digits a byte.

    Raises UsageError for one that is too long.
    """
    if text == "-":
        return "%2D"
    value = re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029%\ud800-\udfff]",
                   lambda m: "".join(f"%{b:02X}" for b in m[0].encode("utf-8", "surrogateescape")), text)
    if len(value.encode("utf-8", "surrogateescape")) > _VALUE_BYTES:
        raise UsageError(f"{len(text)} characters are too long for a property of ZFS",
                         hint="shorten the comment or the tags")
    return value


def decoded(value: str) -> str:
    """Return the text that `encoded` has made a value of; ``-`` is no value."""
    if value == "-":
        return ""
    data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), value.encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")
