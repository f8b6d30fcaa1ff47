"""One hierarchy of errors. Each class owns its exit code; each instance says what happened and what to do next.

The exit codes are the command line's contract: 0 done, 1 failed, 2 usage, 3 done with warnings, 4 busy,
5 refused for safety, 6 not confirmed, 7 damage found, 8 configuration.
"""

from __future__ import annotations

from collections.abc import Sequence


class RollpointError(Exception):
    """Something could not be done. `hint` is the next thing the admin should do; it may be empty."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RollpointError):
    """The request makes no sense as it stands: an unknown point, an ambiguous prefix, a bad path."""

    exit_code = 2


class BusyError(RollpointError):
    """Another Rollpoint (or a mounted point) holds what this one needs."""

    exit_code = 4


class RefusedError(RollpointError):
    """Going on could do harm, so nothing was done."""

    exit_code = 5


class NotEmptyError(RefusedError):
    """A directory to copy into holds something already, and nobody said that it may be replaced."""


class ChangedError(RefusedError):
    """What was agreed to is not what would be done now: it has to be looked at and agreed to anew."""


class NotConfirmedError(RollpointError):
    """The admin did not type `yes`, or there was nobody to ask."""

    exit_code = 6


class DamageError(RollpointError):
    """Something in the store is not what was written there."""

    exit_code = 7


class ConfigError(RollpointError):
    """The configuration cannot be used."""

    exit_code = 8


class CancelledError(RollpointError):
    """The admin stopped the work; the store and the target are in a defined state."""


class NoRoomError(RollpointError):
    """A file system is full. `missing` is how many bytes more are needed, or None when that is not known."""

    def __init__(self, message: str, *, missing: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.missing = missing


class ToolError(RollpointError):
    """An external program failed. Its exit status and what it wrote to stderr are kept."""

    def __init__(self, argv: Sequence[str | bytes], status: int, stderr: str, *, hint: str = "") -> None:
        words = [w.decode("utf-8", "backslashreplace") if isinstance(w, bytes) else w for w in argv]
        tail = stderr.strip().splitlines()[-1] if stderr.strip() else "no message"
        super().__init__(f"{words[0]} failed with status {status}: {tail}", hint=hint)
        self.argv = words
        self.status = status
        self.stderr = stderr
