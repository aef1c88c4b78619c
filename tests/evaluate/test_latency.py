"""Percentiles are times that some request took."""

import pytest

from smallworks.errors import DataError
from smallworks.evaluate.latency import latency, percentile


@pytest.mark.parametrize(("q", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_by_nearest_rank(q: float, value: float) -> None:
    assert percentile([float(x) for x in range(100, 0, -1)], q) == value


def test_one_time_is_every_percentile() -> None:
    found = latency([3.5], rows=10, seconds=2)
    assert (found.p50, found.p95, found.p99, found.n, found.rows_per_second) == (3.5, 3.5, 3.5, 1, 5.0)


def test_nothing_timed_is_refused() -> None:
    with pytest.raises(DataError, match="No request was timed"):
        latency([], rows=0, seconds=1)
