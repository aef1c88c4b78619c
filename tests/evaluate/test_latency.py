"""Percentiles are times that some request took."""

import math
from statistics import NormalDist, mean

import numpy as np
import pytest

from smallworks.errors import DataError
from smallworks.evaluate.latency import in_order, latency, percentile


@pytest.mark.parametrize(("q", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_by_nearest_rank(q: float, value: float) -> None:
    assert percentile([float(x) for x in range(100, 0, -1)], q) == value


def test_one_time_is_every_percentile() -> None:
    found = latency([3.5], rows=10, seconds=2)
    assert (found.p50, found.p95, found.p99, found.n, found.rows_per_second) == (3.5, 3.5, 3.5, 1, 5.0)


def test_nothing_timed_is_refused() -> None:
    with pytest.raises(DataError, match="No request was timed"):
        latency([], rows=0, seconds=1)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("kept", [0.0, 0.9], ids=["independent", "slow ones together"])
def test_the_interval_of_a_percentile_holds_the_true_one(q: float, kept: float) -> None:
    """Log-normal times; with `kept` each is like the one before, as in a line. 100 runs of 1,500 requests."""
    draws = np.random.default_rng(3).normal(size=(1500, 100))
    for at in range(1, len(draws)):
        draws[at] = kept * draws[at - 1] + math.sqrt(1 - kept**2) * draws[at]
    truth = math.exp(NormalDist().inv_cdf(q))
    found = [in_order(list(run), q) for run in np.exp(draws.T)]
    covered = mean(float(p.low <= truth and (p.high is None or truth <= p.high)) for p in found)
    assert 0.88 <= covered <= 1.0


def test_the_ranks_of_an_interval_are_those_of_the_binomial() -> None:
    """The textbook case: of 12 values ranks 3 and 10 hold the median at 96.1 %; 2 and 11 would hold more."""
    found = in_order([float(x) for x in range(1, 13)], 0.5)
    assert (found.value, found.low, found.high) == (6.0, 3.0, 10.0)


def test_few_times_tell_no_upper_end_of_a_p99() -> None:
    found = in_order([float(x) for x in range(50)], 0.99)
    assert found.high is None and found.low <= found.value == 49.0
    assert in_order([2.0], 0.5).low == 0.0
