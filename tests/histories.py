"""Random histories of a tree: a start, then for each restore point what happened before it.

A history is plain data made of small numbers, so that hypothesis can shrink it, and its `repr` can be pasted
into a test. `history()` is the hypothesis strategy, `seeded(number)` the same without hypothesis.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import strategies as st

from tests.operations import BY_NAME, FOR_ALL, FOR_ROOT, Operation
from tests.world import World

POINTS = 10
_NUMBER = 4096


class Op(NamedTuple):
    """One operation of tests.operations and the three numbers that choose where and what."""

    name: str
    a: int = 0
    b: int = 0
    c: int = 0


@dataclass(frozen=True)
class History:
    """What happens: `start` and `points[0]` before the first point, `points[i]` between points i-1 and i.

    `dice` are random numbers for the test to use.
    """

    start: tuple[Op, ...]
    points: tuple[tuple[Op, ...], ...]
    dice: tuple[int, ...] = ()

    def __repr__(self) -> str:
        def short(ops: Sequence[Op]) -> str:
            return "(" + "".join(f"Op({op.name!r}, {op.a}, {op.b}, {op.c}), " for op in ops) + ")"

        points = "".join(f"        {short(ops)},\n" for ops in self.points)
        return (
            f"History(\n    start={short(self.start)},\n    points=(\n{points}    ),\n    dice={self.dice!r})"
        )


# A tree with something of every kind, so that the operations of a history find something to work on.
START = (
    Op("create", 0, 0, 3),
    Op("create", 0, 3, 6),
    Op("mkdir", 0, 6, 1),
    Op("mkdir", 0, 2, 2),
    Op("create", 1, 10, 4),
    Op("create", 2, 11, 5),
    Op("create", 2, 12, 7),
    Op("big", 1, 4, 8),
    Op("sparse", 2, 41, 3),
    Op("symlink", 0, 20, 0),
    Op("link", 0, 1, 7),
    Op("link", 1, 2, 25),
    Op("special", 1, 30, 0),
    Op("special", 2, 31, 2),
    Op("special", 0, 32, 4),
    Op("special", 1, 33, 1),
    Op("special", 2, 40, 3),
    Op("mkdir", 1, 17, 11),
    Op("acl", 2, 5, 3),
    Op("acl", 1, 7, 2),
    Op("xattr", 3, 1, 5),
    Op("xattr", 1, 0, 1),
    Op("chmod", 1, 5, 0),
    Op("chmod", 4, 3, 0),
    Op("touch", 5, 1, 1),
    Op("trusted", 0, 0, 0),
    Op("chown", 6, 3, 4),
    Op("symlink", 2, 24, 4),
    Op("mkdir", 3, 9, 0),
    Op("big", 2, 8, 3),
    Op("capability", 2, 10, 1),
)


def operations(*, privileged: bool) -> list[str]:
    """Return the names of the operations a history may use, each as often as its weight says."""
    table: dict[Operation, int] = FOR_ALL | (FOR_ROOT if privileged else {})
    return [op.__name__ for op, weight in table.items() for _ in range(weight)]


def history(*, privileged: bool, points: int = POINTS, most: int = 8) -> st.SearchStrategy[History]:
    """Return a strategy for histories of `points` points with at most `most` operations before each."""
    number = st.integers(0, _NUMBER - 1)
    op = st.builds(Op, st.sampled_from(operations(privileged=privileged)), number, number, number)
    step = st.lists(op, min_size=0, max_size=most).map(tuple)
    usable = [o for o in START if privileged or o.name not in {f.__name__ for f in FOR_ROOT}]
    start = st.lists(st.booleans(), min_size=len(usable), max_size=len(usable)).map(
        lambda chosen: tuple(o for o, left_out in zip(usable, chosen, strict=True) if not left_out)
    )
    return st.builds(
        History,
        start,
        st.lists(step, min_size=points, max_size=points).map(tuple),
        st.lists(st.integers(0, 999), min_size=8, max_size=8).map(tuple),
    )


def some(number: int, *, privileged: bool, count: int = 4) -> tuple[Op, ...]:
    """Return the `count` operations that belong to a number."""
    rng = random.Random(number)
    names = operations(privileged=privileged)
    return tuple(
        Op(rng.choice(names), rng.randrange(_NUMBER), rng.randrange(_NUMBER), rng.randrange(_NUMBER))
        for _ in range(count)
    )


def seeded(seed: int, *, privileged: bool, points: int = POINTS, most: int = 8) -> History:
    """Return the history that belongs to a number, with the full start."""
    rng = random.Random(seed)
    steps = tuple(
        some(rng.randrange(1 << 30), privileged=privileged, count=rng.randint(0, most)) for _ in range(points)
    )
    usable = tuple(o for o in START if privileged or o.name not in {f.__name__ for f in FOR_ROOT})
    return History(usable, steps, tuple(rng.randrange(1000) for _ in range(8)))


def apply(world: World, ops: Sequence[Op]) -> None:
    """Do `ops` to the tree, in order. Without privileges, what its own modes forbid is left undone."""
    for op in ops:
        if world.privileged:
            BY_NAME[op.name](world, op.a, op.b, op.c)
        else:
            with contextlib.suppress(PermissionError):
                BY_NAME[op.name](world, op.a, op.b, op.c)
