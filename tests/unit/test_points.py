"""How an admin names a point: id, number, `latest`, a unique prefix; and what is said when that fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.points import RestorePoint, resolve

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)


def point(ident: str, number: int, hours: float = 0) -> RestorePoint:
    return RestorePoint(ident, "replica", number, NOON + timedelta(hours=hours))


POINTS = [point("20240310-120000", 12, 2), point("20240309-120000", 9, 1), point("20240309-110000", 2, 0)]


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        ("latest", 12),
        ("20240309-120000", 9),
        ("12", 12),
        ("9", 9),
        ("002", 2),
        ("20240310", 12),
        ("20240309-11", 2),
    ],
)
def test_a_point_can_be_named_in_four_ways(spec: str, number: int) -> None:
    assert resolve(POINTS, spec).number == number


def test_latest_is_the_youngest_wherever_it_stands_and_of_two_the_higher_number() -> None:
    assert resolve([point("a", 1, 1), point("b", 2, 5), point("c", 3, 2)], "latest").id == "b"
    assert resolve([point("a", 8), point("b", 9), point("c", 7)], "latest").id == "b"


def test_a_number_goes_before_a_prefix_and_a_whole_id_is_never_ambiguous() -> None:
    assert resolve([point("20", 7), point("2", 8), point("200", 9)], "20").number == 7
    assert resolve([point("2024", 1), point("2025", 2)], "2").id == "2025"


def test_an_id_that_is_the_number_of_another_is_ambiguous() -> None:
    with pytest.raises(UsageError, match="'7' fits 2 restore points: 7, x"):
        resolve([point("7", 1), point("x", 7)], "7")


@pytest.mark.parametrize(
    "spec", ["", " ", "3", "-1", "x", "20240310-1200000", "LATEST", "\u00b2", "\u0661x", "\0"]
)
def test_what_names_no_point(spec: str) -> None:
    with pytest.raises(UsageError, match="no restore point is called") as caught:
        resolve(POINTS, spec)
    assert caught.value.exit_code == 2 and "rollpoint list" in caught.value.hint


def test_an_ambiguous_prefix_names_those_it_fits() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(POINTS, "20240309")
    assert caught.value.message == "'20240309' fits 2 restore points: 20240309-120000, 20240309-110000"
    many = [point(f"p{n}", n) for n in range(10)]
    with pytest.raises(UsageError, match=r"fits 10 restore points: p0, p1, p2, p3, \u2026"):
        resolve(many, "p")


@pytest.mark.parametrize("spec", ["latest", "1", ""])
def test_without_any_point_it_says_how_to_take_one(spec: str) -> None:
    with pytest.raises(UsageError, match="there is no restore point yet") as caught:
        resolve([], spec)
    assert "rollpoint snapshot" in caught.value.hint


@given(
    st.lists(st.text("ab1", min_size=1, max_size=4), min_size=1, max_size=8, unique=True),
    st.text("ab1", max_size=5),
)
def test_what_is_found_is_what_was_meant(idents: list[str], spec: str) -> None:
    points = [point(ident, 100 + n) for n, ident in enumerate(idents)]
    fitting = [ident for ident in idents if spec and ident.startswith(spec)]
    try:
        found = resolve(points, spec).id
    except UsageError:
        assert spec not in idents and len(fitting) != 1
    else:
        assert found == spec or [found] == fitting


def test_the_age_is_in_seconds_and_negative_for_the_future() -> None:
    assert point("a", 1).age(NOON + timedelta(minutes=2)) == 120
    assert point("a", 1).age(NOON - timedelta(seconds=1)) == -1
    assert point("a", 1).age() > 0
