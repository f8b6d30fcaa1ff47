"""The checksum of a disk: the SHA-256 of the SHA-256 (32 bytes each) of all its blocks of 4 MiB, the last of which may
be shorter. A block that is a hole is not read, so that the checksum of a disk costs what data it has, and not its size.

By hand, with coreutils:
``split -b 4M --filter=sha256sum DISK | cut -c1-64 | tr a-f A-F | basenc -d -i --base16 | sha256sum``.
"""

from __future__ import annotations

import errno
import hashlib
import os

from engine.events import Job

BLOCK = 4 << 20
_CHUNK = 1 << 20
_HOLE = hashlib.sha256(bytes(BLOCK)).digest()


class Sum:
    """The checksum of an open file of `size` bytes, made in steps from its beginning on. `read` are the bytes that were
    read for it."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._size = fd, size
        self._done = self.read = 0
        self._whole = hashlib.sha256()

    def upto(self, end: int) -> None:
        """Go on with the blocks that end by `end`. Raises OSError, also for a file that has become shorter."""
        end = min(end, self._size)
        while self._done < end and (self._done + BLOCK <= end or end == self._size):
            stop = min(self._done + BLOCK, self._size)
            self._whole.update(_HOLE if self._is_hole(stop) else self._block(stop))
            self._done = stop

    def _is_hole(self, stop: int) -> bool:
        if stop - self._done < BLOCK:
            return False
        try:
            return os.lseek(self._fd, self._done, os.SEEK_DATA) >= stop
        except OSError as error:
            if error.errno == errno.ENXIO:      # nothing but a hole from here on
                return True
            raise

    def _block(self, stop: int) -> bytes:
        block, at = hashlib.sha256(), self._done
        while at < stop:
            data = os.pread(self._fd, min(_CHUNK, stop - at), at)
            if not data:
                raise OSError(errno.EIO, "it has become shorter")
            block.update(data)
            at += len(data)
        self.read += stop - self._done
        return block.digest()

    def hex(self) -> str:
        """Return the checksum, as hexadecimal digits, once it went up to the end."""
        assert self._done == self._size
        return self._whole.hexdigest()


def of_file(path: bytes, job: Job, doing: str = "making checksums") -> tuple[str, int]:
    """Return the checksum of a file, and how many bytes were read for it. Raises OSError, CancelledError."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        made = Sum(file.fileno(), size)
        for start in range(0, size, 16 * BLOCK):
            job.progress(doing, start, size, unit="bytes", current=os.path.basename(path))
            made.upto(start + 16 * BLOCK)
        return made.hex(), made.read
