"""Random histories of ten points: each restores exactly, also after deletions and without its catalog."""

from __future__ import annotations

import pytest

from tests.engine.fidelity import budget, catalog, deletions, run_chunk

pytestmark = pytest.mark.root


@pytest.mark.parametrize("chunk", range(budget(0.35)))
def test_other_points_stay_exact_when_points_are_deleted(place: str, chunk: int) -> None:
    run_chunk(deletions, place, chunk)


@pytest.mark.parametrize("chunk", range(budget(0.25)))
def test_points_are_exact_with_and_without_the_catalog(place: str, chunk: int) -> None:
    run_chunk(catalog, place, 10_000 + chunk)
