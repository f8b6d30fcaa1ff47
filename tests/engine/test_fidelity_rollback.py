"""Random histories of ten points: the live tree rolls back to any point and forward again, exactly."""

from __future__ import annotations

import pytest

from tests.engine.fidelity import budget, run_chunk, there_and_back

pytestmark = pytest.mark.root


@pytest.mark.parametrize("chunk", range(budget(0.25)))
def test_rolling_back_and_forward_is_exact(place: str, chunk: int) -> None:
    run_chunk(there_and_back, place, 20_000 + chunk)
