"""Arguments that several verbs share, and checks of what an admin typed."""

from __future__ import annotations

from argparse import ArgumentParser

from engine.errors import UsageError

BACKENDS = ("replica", "zfs", "lvm", "btrfs", "vms", "vmdisks")


def point_argument(parser: ArgumentParser) -> None:
    """Add the positional POINT."""
    parser.add_argument("point", metavar="POINT", help="id, unique prefix, number, or `latest`")
    latest_argument(parser)


def latest_argument(parser: ArgumentParser) -> None:
    """Add --backend to a verb that takes a POINT."""
    backend_argument(parser, "`latest` is the newest point of this backend (default: of the replica, if it has any)")


def yes_argument(parser: ArgumentParser) -> None:
    """Add --yes."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def backend_argument(parser: ArgumentParser, what: str) -> None:
    """Add --backend; `check_backend` judges its value."""
    parser.add_argument("--backend", metavar="NAME", help=f"{what} (there are: {', '.join(BACKENDS)})")


def check_backend(name: str | None) -> None:
    """Raise UsageError for a backend that does not exist."""
    if name is not None and name not in BACKENDS:
        raise UsageError(f"there is no backend {name!r}", hint=f"there are: {', '.join(BACKENDS)}")


def check_text(what: str, value: str) -> str:
    """Return a comment or tag that an admin typed; raise UsageError when it is no valid UTF-8 text."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"the {what} is no valid UTF-8 text",
                         hint="check the terminal's character set") from None
    return value


def no_nul(value: str) -> str:
    """Return a path that an admin typed; raise UsageError when it holds a NUL, which no path can."""
    if "\0" in value:
        raise UsageError("a path cannot hold a NUL character")
    return value
