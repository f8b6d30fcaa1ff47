"""A directory over all points: what happened when, the bar, what is shown in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.entries import Entry, Kind, Life, Span, Status
from engine.errors import RefusedError
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_tree import entry, spans
from tui.listing import BELOW, Event, Listing, View, arrange, bucket, cell_of, load


def listing(*lives: Life, live: tuple[Entry, ...] = (), points: int = 6,
            below: dict[bytes, tuple[int, ...]] | None = None) -> Listing:
    return Listing(b"d", lives, live, range(1, points + 1), below)


def glyphs(found: Listing, index: int = 0) -> list[tuple[int, str]]:
    return [(found.numbers[e.index], e.glyph) for e in found.events(index)]


def test_what_happened_to_a_name() -> None:
    made = listing(spans(b"d/a", (2, 3), (4, None)), spans(b"d/b", (1, 2)), spans(b"d/c", (1, 1), (5, None)),
                   spans(b"d/d", (1, None)))
    assert glyphs(made, 0) == [(2, "+"), (4, "M")] and made.bar(0, 9) == ".+=M=="
    assert glyphs(made, 1) == [(3, "-")] and made.bar(1, 9) == "==-..."
    assert glyphs(made, 2) == [(2, "-"), (5, "+")] and made.bar(2, 9) == "=-..+="
    assert glyphs(made, 3) == [] and made.bar(3, 9) == "======"


def test_attributes_and_types_have_glyphs_of_their_own() -> None:
    first, second = entry(b"d/x"), entry(b"d/x", mode=0o600)
    life = Life(b"x", (Span(1, 2, first), Span(3, 4, second), Span(5, None, replace(second, kind=Kind.DIR, size=0))))
    assert listing(life).bar(0, 6) == "==a=T="


def test_hard_links_alone_count_as_attributes() -> None:
    life = Life(b"x", (Span(1, 2, entry(b"d/x")), Span(3, None, replace(entry(b"d/x"), link=7))))
    assert glyphs(listing(life)) == [(3, "a")]


def test_points_that_were_deleted_since() -> None:
    life = spans(b"d/x", (2, 3), (4, 4), (5, 9), (12, 13))
    made = Listing(b"d", (life,), (), (1, 5, 10, 14))
    assert made.bar(0, 4) == ".+-." and glyphs(made) == [(5, "+"), (10, "-")]
    assert Listing(b"d", (life,), (), (6, 7)).bar(0, 4) == "=="      # nobody knows when it came
    assert Listing(b"d", (life,), (), ()).bar(0, 4) == ""


def test_what_is_below_a_directory() -> None:
    folder = spans(b"d/sub", (2, 4), kind=Kind.DIR)
    made = listing(folder, below={b"sub": (1, 2, 4, 6)})
    assert made.bar(0, 6) == ".+m=-." and Event(2, BELOW) in made.events(0)


def test_a_cell_for_several_points_shows_the_gravest() -> None:
    made = listing(spans(b"d/x", (1, 1), (2, 2), (3, None)), spans(b"d/y", (1, 4), (6, None)), points=6)
    assert made.bar(0, 3) == "MM=" and made.bar(1, 3) == "==-" and made.bar(1, 1) == "-"


@given(count=st.integers(1, 500), cells=st.integers(1, 40))
def test_every_point_is_in_exactly_one_cell(count: int, cells: int) -> None:
    cells = min(count, cells)
    covered = [i for cell in range(cells) for i in range(*bucket(count, cells, cell))]
    assert covered == list(range(count))
    for index in {0, count // 2, count - 1}:
        low, high = bucket(count, cells, cell_of(count, cells, index))
        assert low <= index < high


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(1, 5)), max_size=6), st.integers(1, 30))
def test_bar_and_point_agree(runs: list[tuple[int, int, int]], last: int) -> None:
    found, at = [], 1
    for index, (gap, more, length) in enumerate(runs):
        first = at + (gap if more else 0)
        found.append(Span(first, first + length - 1, entry(b"d/x", index + 1)))
        at = first + length
    life = Life(b"x", tuple(found))
    made = Listing(b"d", (life,), (), range(1, last + 1))
    for number, glyph in zip(made.numbers, made.bar(0, last), strict=True):
        assert (life.at(number) is None) == (glyph in ".-"), (number, made.bar(0, last))


def names(found: Listing, view: View) -> list[bytes]:
    return [found.names[i].name for i in arrange(found, view).rows]


MADE = listing(spans(b"d/big", (1, 3), (4, 4), (5, None)), spans(b"d/gone", (1, 2)), spans(b"d/late", (5, None)),
               spans(b"d/sub", (1, None), kind=Kind.DIR),
               live=(entry(b"d/big", 9), entry(b"d/new", 5000), entry(b"d/late", 1000)))


def test_what_is_shown() -> None:
    assert names(MADE, View(2)) == [b"sub", b"big", b"gone", b"late", b"new"]
    assert names(MADE, View(3)) == [b"sub", b"big", b"late", b"new"]
    assert names(MADE, View(3, deleted=True)) == [b"sub", b"big", b"gone", b"late", b"new"]
    assert names(MADE, View(3, keep=b"gone")) == [b"sub", b"big", b"gone", b"late", b"new"]
    assert names(MADE, View(3, words="L A")) == [b"late"]
    assert names(MADE, View(3, words="zz", keep=b"big")) == [b"big"]


def test_orders() -> None:
    assert names(MADE, View(5, "size")) == [b"sub", b"new", b"big", b"late"]
    assert names(MADE, View(5, "size", live=True)) == [b"sub", b"new", b"late", b"big"]
    assert names(MADE, View(5, "time"))[1] == b"big"
    assert names(MADE, View(5, "changes", deleted=True)) == [b"sub", b"big", b"gone", b"late", b"new"]


def test_tally_and_difference() -> None:
    tally = arrange(MADE, View(5)).tally
    assert (tally.here, tally.changed, tally.only_here, tally.only_live, tally.elsewhere) == (3, 1, 1, 1, 1)
    assert MADE.beside(MADE.index_of(b"big") or 0, 5) is Status.CHANGED
    assert MADE.beside(MADE.index_of(b"new") or 0, 5) is Status.CREATED
    assert MADE.beside(MADE.index_of(b"late") or 0, 5) is None
    assert MADE.index_of(b"nothing") is None


def test_loading_joins_what_the_engine_says() -> None:
    engine = FakeEngine()
    loaded = load(engine, "replica", b"etc", View(12))
    assert [p.number for p in loaded.points] == list(range(1, 13))
    assert [one.name for one in loaded.listing.names] == sorted(one.name for one in loaded.listing.names)
    assert loaded.arranged == arrange(loaded.listing, View(12))
    engine.fail["live_listing"] = RefusedError("permission denied")
    assert load(engine, "replica", b"etc", View(12)).listing.trouble == "permission denied"
    engine.fail["lives"] = RefusedError("no")
    with pytest.raises(RefusedError):
        load(engine, "replica", b"etc", View(12))
