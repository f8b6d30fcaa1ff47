"""rsync as Rollpoint uses it: the options, the filters, and what its output means.

Options from rsync(1), checked with 3.2 to 3.5. --modify-window=-1 compares times to the nanosecond: without it rsync
misses edits of the same size within one second and sets no sub-second times on directories, links and devices.
LC_ALL=C makes it write every byte of a name that is not printable ASCII as ``\\#ooo``.
"""

from __future__ import annotations

import os
import re
import select
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.errors import NoRoomError, ToolError
from engine.events import Job
from engine.machine.mounts import inner
from engine.run import Arg, Process, call, scratch

FIDELITY = ("-aHAXS", "--numeric-ids", "--modify-window=-1")
# No path holds "//"; rsync leaves tabs in names as they are, so a tab cannot stand between the fields.
_FORMAT = "--out-format=%i//%C//%l//%n //%L"
_ESCAPE = re.compile(rb"\\#([0-7]{3})")
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_TARGET_SIDE = re.compile(r"^rsync: (\[(receiver|generator)\]|.*(mkstemp|rename|recv_files|mkdir|symlink|get_acl)\b)")
_NOISE = re.compile(r"^rsync (error|warning): |^\s*$|^IO error encountered -- skipping file deletion")


@dataclass(frozen=True, slots=True)
class Item:
    """One line of rsync's itemized output: ``code`` is the 11 letters of %i, `csum` the content's checksum or b"",
    `linked` the path this one was hard-linked to or b""."""

    code: bytes
    csum: bytes
    size: int
    path: bytes
    linked: bytes

    @property
    def deleted(self) -> bool:
        """Whether the path was removed from the receiving side."""
        return self.code.startswith(b"*deleting")

    @property
    def only_access(self) -> bool:
        """Whether nothing but mode, owner or group differs."""
        return self.code.startswith(b".") and not self.code[2:].strip(b".pog ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended: the exit status, one sentence for each entry that could not be read, and the sentences about
    what could not be written. A few of the latter come from replacing directories by hard-linked files and mean
    nothing, or are gone in a second pass: who copies has to look what really differs in the end."""

    status: int
    problems: tuple[str, ...]
    unwritten: tuple[str, ...] = ()


def checksum_name() -> str:
    """Return the best whole-file checksum this rsync has: xxh128 (3.2 and newer built with it), else md5."""
    return "xxh128" if b"xxh128" in call(["rsync", "--version"]) else "md5"


def escape_pattern(path: bytes) -> bytes:
    """Return the filter pattern that matches exactly the root-relative `path` (rsync(1), PATTERN MATCHING RULES)."""
    if re.search(rb"[*?\[]", path):
        path = re.sub(rb"([\\*?\[])", rb"\\\1", path)
    return b"/" + path


def parse(line: bytes) -> Item | None:
    """Return the item of one output line (without its newline), or None for a line that is none."""
    fields = line.split(b"//", 4)
    if len(fields) != 5:
        return None
    code, csum, size, name, link = fields
    path = unescape(name[:-1]).rstrip(b"/")
    return Item(code, csum.strip(), int(size) if size.isdigit() else 0, b"" if path == b"." else path,
                unescape(link[4:]) if link.startswith(b" => ") else b"")


def unescape(name: bytes) -> bytes:
    """Undo rsync's escaping of a name."""
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 8)]), name) if b"\\#" in name else name


def checksum_option(algorithm: str) -> tuple[str, ...]:
    """Return what makes rsync report contents by that checksum (`Item.csum`), nothing where this rsync has it not."""
    return (f"--checksum-choice={algorithm}",) if algorithm in ("md5", checksum_name()) else ()


def copy_argv(source: bytes, target: bytes, options: Sequence[Arg] = (), filters: bytes | None = None) -> list[Arg]:
    """Return the argv that makes the directory `target` like `source`; `filters` names a file of exclusions."""
    argv: list[Arg] = ["rsync", *FIDELITY, *options]
    if filters is not None:
        argv.append(b"--exclude-from=" + filters)
    return [*argv, _FORMAT, source.rstrip(b"/") + b"/", target.rstrip(b"/") + b"/"]


def write_filters(path: bytes, patterns: Iterable[bytes]) -> bytes:
    """Write exclusion patterns to a file for `copy_argv`; returns its path."""
    with open(path, "wb") as file:
        file.writelines(p + b"\n" for p in patterns)
    return path


def lines(process: Process, job: Job | None = None, tee: Callable[[bytes], object] | None = None) -> Iterator[bytes]:
    """Yield the output lines of a process; `tee` gets the raw bytes as well.

    rsync may be silent for minutes: `job` is asked five times a second whether to go on.
    """
    rest = b""
    while True:
        while job is not None and not select.select([process.stdout], [], [], 0.2)[0]:
            job.check()
        chunk = process.stdout.read(1 << 16)
        if not chunk:
            break
        if tee is not None:
            tee(chunk)
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        yield from parts
    if rest:
        yield rest


def run(argv: Sequence[Arg], on_item: Callable[[Item], None], job: Job,
        tee: Callable[[bytes], object] | None = None) -> Outcome:
    """Run rsync and hand each item to `on_item` (which may raise: rsync and its children are then ended).

    Exit 24 (source files vanished) and 23 (some entries could not be read or written) come back in the outcome.
    Raises NoRoomError when the target is full, ToolError for everything else.
    """
    with Process(argv) as process:
        for line in lines(process, job, tee):
            item = parse(line)
            if item is not None:
                on_item(item)
        status = process.wait()
        text = process.stderr_text()
    return classify(argv, status, text)


def classify(argv: Sequence[Arg], status: int, text: str) -> Outcome:
    """Decide what an exit status and stderr of rsync mean (rsync(1), EXIT VALUES); see `run`."""
    spoken = [line for line in text.splitlines() if not _NOISE.match(line)]
    said = tuple(map(_readable, spoken))
    if _NO_SPACE.search(text):
        raise NoRoomError(f"no room left: {said[0] if said else 'the file system is full'}")
    if status == 0:
        return Outcome(0, ())
    if status not in (23, 24):
        raise ToolError(inner(argv), status, text)
    if status == 24 or os.geteuid() != 0:  # an ordinary user cannot write everything: each case is worth a warning
        return Outcome(status, said)
    return Outcome(status, tuple(_readable(line) for line in spoken if not _TARGET_SIDE.match(line)),
                   tuple(_readable(line) for line in spoken if _TARGET_SIDE.match(line)))


def _readable(line: str) -> str:
    return re.sub(r"^(rsync: )?(\[\w+\] )?", "", line).strip()


def listed(path: bytes) -> bytes:
    """Return the item for --files-from --from0 that names `path`: a leading # or ; would make it a comment."""
    return b"./" + path + b"\0"


def checksums(root: bytes, algorithm: str, paths: Iterable[bytes] | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield (path, checksum) of regular files below `root`, all or those named, read anew from the disk by rsync."""
    with scratch() as empty, tempfile.TemporaryFile() as names:
        argv: list[Arg] = ["rsync", "-rn", "--checksum", f"--checksum-choice={algorithm}", _FORMAT]
        if paths is not None:
            names.writelines(listed(p) for p in paths)
            names.seek(0)
            argv += ["--from0", "--files-from=-", "--no-recursive"]
        with Process([*argv, root.rstrip(b"/") + b"/", empty + "/"], stdin=names) as process:
            for line in lines(process):
                item = parse(line)
                if item is not None and item.csum:
                    yield item.path, item.csum
            process.check((0, 23, 24))
