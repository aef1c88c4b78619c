"""What a level came to, from shots made by hand."""

from __future__ import annotations

import pytest

from smallworks.evaluate.level import level
from smallworks.evaluate.load import UNSENT, Load, Reply, Run, Shot


def shot(due: float, took: float, cause: str = "", **reply: float) -> Shot:
    return Shot(due=due, free=due, sent=due, ended=due + took, reply=Reply(cause=cause, **reply))


def run(*shots: Shot, busy: float = 0.1) -> Run:
    return Run(start=0.0, end=10.0, shots=shots, busy=busy)


def test_fast_failures_are_counted_by_cause_and_do_not_flatter_the_times() -> None:
    done = level(
        Load(clients=1), run(shot(0, 0.2), shot(1, 0.001, "503"), shot(2, 0.001, "503"), shot(3, 0.4))
    )
    assert done.errors == {"503": 2} and (done.requests, done.answered, done.waited) == (4, 2, 0)
    assert done.latency and done.latency["p50"].value == pytest.approx(200)
    assert done.per_second == pytest.approx(0.2)


def test_requests_that_waited_in_vain_count_as_long_as_they_waited() -> None:
    done = level(Load(clients=1), run(shot(0, 0.1), shot(1, 60, "timeout"), shot(2, 3, UNSENT)))
    assert done.latency and done.latency["p99"].value == pytest.approx(60_000) and done.waited == 2
    assert "2 had no answer in time" in " ".join(done.notes)


def test_answers_after_the_measured_time_are_no_throughput() -> None:
    done = level(Load(clients=1), run(shot(9, 0.5), shot(9.5, 2.0)))
    assert (done.answered, done.per_second) == (2, pytest.approx(0.1))


def test_first_tokens_and_the_time_of_each_further_one() -> None:
    done = level(Load(clients=1), run(shot(1.0, 0.5, first=1.2, tokens_out=4, tokens_in=7)))
    assert done.first and done.first["p50"].value == pytest.approx(200)
    assert done.each and done.each["p50"].value == pytest.approx(100)  # 300 ms for the three after it
    assert done.tokens_out_per_second == pytest.approx(0.4)


def test_what_the_reader_must_know_is_said() -> None:
    late = Load(rate=1.0)
    behind = level(late, run(*(shot(at, 20) for at in range(10)), busy=0.95))
    assert [note.partition(":")[0] for note in behind.notes] == [
        "past its capacity",
        "this load tool was short of time itself",
    ]
    assert level(late, run(*(shot(at, 0.1) for at in range(10)))).notes == ()


def test_a_level_without_an_answer_has_no_times() -> None:
    done = level(Load(clients=1), run(shot(0, 0.1, "refused")))
    assert (done.latency, done.first, done.slowest, done.tokens_in) == (None, None, None, 0.0)
