"""Who answers for a point: the one place where that is decided."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from engine.points import RestorePoint

REPLICA = "replica"
P = ParamSpec("P")
T = TypeVar("T")


def of_any_backend(method: Callable[P, T]) -> Callable[P, T]:
    """Make a verb of `Engine` one for all points: where a point (or the point of a plan) that it is given is none of
    the replica, `Engine.storage` answers, with its method of the same name."""
    name = method.__name__

    @functools.wraps(method)
    def verb(*args: P.args, **kwargs: P.kwargs) -> T:
        given = (getattr(arg, "point", arg) for arg in (*args[1:], *kwargs.values()))
        if all(arg.backend == REPLICA for arg in given if isinstance(arg, RestorePoint)):
            return method(*args, **kwargs)
        answer: T = getattr(args[0].storage, name)(*args[1:], **kwargs)     # type: ignore[attr-defined]
        return answer

    return verb
