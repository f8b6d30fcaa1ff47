"""Which lines of two texts belong together. Pure, and bounded: never slower than a few seconds, however large.

Lines that occur once on both sides are anchors (the patience method); what lies between two anchors is small as a
rule and matched by difflib. Where it is not, and the work would grow beyond `BUDGET`, it counts as replaced whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

BUDGET = 6_000_000
"""How many steps (comparisons of two lines) one matching may take in all."""
_AREA = 400_000
"""How many pairs of lines difflib is given at once, at most."""


class Block(NamedTuple):
    """`size` equal lines: from `old` on in the old text, from `new` on in the new one."""

    old: int
    new: int
    size: int


class Matching(NamedTuple):
    """The equal blocks in their order, and whether some stretch was too large to be looked at line by line."""

    blocks: list[Block]
    coarse: bool


def match(old: Sequence[Hashable], new: Sequence[Hashable]) -> Matching:
    """Return what two sequences have in common, in order."""
    names: dict[Hashable, int] = {}
    a = [names.setdefault(line, len(names)) for line in old]
    b = [names.setdefault(line, len(names)) for line in new]
    found: list[Block] = []
    left, coarse = BUDGET, False
    todo = [(0, len(a), 0, len(b))]
    while todo:
        low_a, high_a, low_b, high_b = _trimmed(a, b, todo.pop(), found)
        if low_a == high_a or low_b == high_b:
            continue
        left -= high_a - low_a + high_b - low_b
        anchors = _anchors(a[low_a:high_a], b[low_b:high_b]) if left > 0 else []
        if anchors:
            todo += _between(anchors, low_a, high_a, low_b, high_b)
            found += [Block(low_a + i, low_b + j, 1) for i, j in anchors]
            continue
        in_both = set(a[low_a:high_a]).intersection(b[low_b:high_b])
        some_a = [i for i in range(low_a, high_a) if a[i] in in_both]
        some_b = [j for j in range(low_b, high_b) if b[j] in in_both]
        area = len(some_a) * len(some_b)
        if area > min(_AREA, left):
            coarse = True
            continue
        left -= area
        found += _small(a, b, some_a, some_b)
    return Matching(_merged(found), coarse)


def _small(a: list[int], b: list[int], some_a: list[int], some_b: list[int]) -> list[Block]:
    """What difflib finds, looking only at some places of each side."""
    if not some_a:
        return []
    blocks = SequenceMatcher(None, [a[i] for i in some_a], [b[j] for j in some_b], autojunk=False)
    return [Block(some_a[i + n], some_b[j + n], 1) for i, j, size in blocks.get_matching_blocks() for n in range(size)]


def _trimmed(a: list[int], b: list[int], place: tuple[int, int, int, int],
             found: list[Block]) -> tuple[int, int, int, int]:
    """Cut what is equal at both ends off a stretch, and add it to `found`."""
    low_a, high_a, low_b, high_b = place
    start = low_a
    while low_a < high_a and low_b < high_b and a[low_a] == b[low_b]:
        low_a, low_b = low_a + 1, low_b + 1
    if low_a > start:
        found.append(Block(start, low_b - (low_a - start), low_a - start))
    end = high_a
    while high_a > low_a and high_b > low_b and a[high_a - 1] == b[high_b - 1]:
        high_a, high_b = high_a - 1, high_b - 1
    if high_a < end:
        found.append(Block(high_a, high_b, end - high_a))
    return low_a, high_a, low_b, high_b


def _anchors(a: list[int], b: list[int]) -> list[tuple[int, int]]:
    """Pairs of places of lines that occur once on each side, in an order that both sides keep: as many as can be."""
    where = _once(b)
    pairs = [(i, where[line]) for line, i in sorted(_once(a).items(), key=lambda item: item[1]) if line in where]
    # The longest run that rises on both sides, by patience: each pile's top, and what lay on top to its left.
    tops: list[int] = []
    piles: list[int] = []
    back = [-1] * len(pairs)
    for at, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        back[at] = piles[pile - 1] if pile else -1
        if pile == len(tops):
            tops.append(j)
            piles.append(at)
        else:
            tops[pile], piles[pile] = j, at
    run, at = [], piles[-1] if piles else -1
    while at >= 0:
        run.append(pairs[at])
        at = back[at]
    return run[::-1]


def _once(lines: list[int]) -> dict[int, int]:
    """The place of each line that occurs exactly once."""
    seen: dict[int, int] = {}
    for at, line in enumerate(lines):
        seen[line] = -1 if line in seen else at
    return {line: at for line, at in seen.items() if at >= 0}


def _between(anchors: list[tuple[int, int]], low_a: int, high_a: int, low_b: int,
             high_b: int) -> list[tuple[int, int, int, int]]:
    """The stretches around anchors that have lines on both sides."""
    found, at_a, at_b = [], low_a, low_b
    for i, j in [*((low_a + i, low_b + j) for i, j in anchors), (high_a, high_b)]:
        if at_a < i and at_b < j:
            found.append((at_a, i, at_b, j))
        at_a, at_b = i + 1, j + 1
    return found


def _merged(found: list[Block]) -> list[Block]:
    """Blocks in order, neighbours joined."""
    out: list[Block] = []
    for block in sorted(found):
        last = out[-1] if out else None
        if last and last.old + last.size == block.old and last.new + last.size == block.new:
            out[-1] = last._replace(size=last.size + block.size)
        else:
            out.append(block)
    return out
