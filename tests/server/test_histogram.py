"""Our histogram tells at /metrics what prometheus_client's own would."""

from __future__ import annotations

from threading import Thread

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from smallworks.server.histogram import Histogram

BUCKETS = (0.001, 0.25, 1, 10, 600)


def told(kind: type, amounts: list[tuple[str, float]]) -> list[bytes]:
    registry = CollectorRegistry()
    histogram = kind("seconds", "How long.", ("bundle",), buckets=BUCKETS, registry=registry)
    for bundle, amount in amounts:
        histogram.labels(bundle).observe(amount)
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]


@given(st.lists(st.tuples(st.sampled_from('ab"\n'), st.sampled_from((*BUCKETS, 0, 0.5, 1e6)))))
def test_it_tells_what_the_librarys_own_does(amounts: list[tuple[str, float]]) -> None:
    assert told(Histogram, amounts) == told(prometheus_client.Histogram, amounts)


def test_without_labels_it_is_told_before_anything_was_observed() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "How long.", buckets=BUCKETS, registry=registry)
    assert registry.get_sample_value("seconds_count") == 0
    histogram.observe(0.5)
    assert registry.get_sample_value("seconds_bucket", {"le": "1.0"}) == 1


def test_threads_lose_nothing() -> None:
    registry = CollectorRegistry()
    one = Histogram("seconds", "How long.", buckets=BUCKETS, registry=registry).labels()

    def observe() -> None:
        for _ in range(1000):
            one.observe(1)

    threads = [Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.told() == ([0, 0, 4000, 0, 0, 0], 4000.0)


def test_other_labels_than_its_own_and_a_second_of_its_name_are_refused() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "How long.", ("bundle",), buckets=BUCKETS, registry=registry)
    with pytest.raises(ValueError, match="labels"):
        histogram.labels()
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram("seconds", "Again.", buckets=BUCKETS, registry=registry)
