"""Asking before something is changed: only a typed `yes` goes on, and without a terminal nothing is asked
at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from engine.errors import NotConfirmedError, UsageError
from engine.points import RestorePoint
from tui.commands._context import Context
from tui.output import is_terminal

NOTHING_CHANGED = "nothing was changed"


def can_ask() -> bool:
    """Return whether somebody sits there who can read a question and type an answer."""
    return is_terminal(sys.stdin) and (is_terminal(sys.stdout) or is_terminal(sys.stderr))


def require_terminal(yes: bool) -> None:
    """Raise NotConfirmedError early where a question would come later that nobody can answer."""
    if not yes and not can_ask():
        raise NotConfirmedError(f"there is no terminal to ask on: {NOTHING_CHANGED}",
                                hint="--yes goes on without the question; --dry-run only looks")


def confirm(context: Context, question: str, yes: bool) -> None:
    """Return when the admin types exactly ``yes`` (or gave --yes); raise NotConfirmedError in every other
    case."""
    require_terminal(yes)
    if yes:
        return
    if _ask(context, f"{question} Type yes to go on: ") != "yes":
        raise NotConfirmedError(f"not confirmed: {NOTHING_CHANGED}")


def choose_point(context: Context, points: Sequence[RestorePoint]) -> RestorePoint:
    """Ask for the number of one of `points`, or the id of one that has none; raises NotConfirmedError (nothing typed,
    Ctrl-C) or UsageError."""
    what = "Number" if all(point.number for point in points) else "Number or id"
    answer = _ask(context, f"{what} of the restore point to go back to (Ctrl-C changes nothing): ")
    if not answer.strip():
        raise NotConfirmedError(f"no restore point was chosen: {NOTHING_CHANGED}")
    for point in points:
        if answer.strip() == (str(point.number) if point.number else point.id):
            return point
    raise UsageError(f"there is no restore point with the number {answer.strip()!r}: {NOTHING_CHANGED}")


def _ask(context: Context, question: str) -> str:
    try:
        context.out.prompt(question)
        answer = sys.stdin.readline() if sys.stdin is not None else ""
    except KeyboardInterrupt:
        context.out.note("")
        raise NotConfirmedError(f"interrupted: {NOTHING_CHANGED}") from None
    except OSError:
        answer = ""                 # the terminal went away
    if not answer.endswith("\n"):
        context.out.note("")        # end of input: the cursor still stands behind the question
    return answer.rstrip("\r\n")
