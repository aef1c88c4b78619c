"""Load: how many ask, when each request is due, and whose waiting is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from statistics import mean

import pytest

from smallworks.errors import UserError
from smallworks.evaluate.latency import percentile
from smallworks.evaluate.load import UNSENT, Load, Reply, Run, plan, run


def waits(done: Run) -> list[float]:
    return [shot.ended - shot.due for shot in done.shots]


def test_even_arrivals_come_evenly_and_poisson_ones_at_random_with_the_same_mean() -> None:
    even = list(plan(Load(rate=50, arrivals="fixed", seconds=2, warmup=0), seed=0))
    assert [round(b - a, 9) for a, b in pairwise(even)] == [0.02] * (len(even) - 1)
    drawn = list(plan(Load(rate=50, seconds=100, warmup=0), seed=1))
    gaps = [b - a for a, b in pairwise(drawn)]
    assert mean(gaps) == pytest.approx(0.02, rel=0.05)
    assert sum(gap > 0.02 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.03)  # e⁻¹
    assert drawn == list(plan(Load(rate=50, seconds=100, warmup=0), seed=1))


def test_a_closed_loop_has_as_many_requests_under_way_as_clients() -> None:
    lock, inside, most = threading.Lock(), [0], [0]

    def ask(number: int) -> Reply:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.005)
        with lock:
            inside[0] -= 1
        return Reply()

    done = run(Load(clients=3, seconds=0.3, warmup=0), ask)
    assert most[0] == 3 and len(done.shots) > 3


def test_the_warm_up_is_sent_and_not_measured() -> None:
    numbers: list[int] = []
    done = run(
        Load(rate=100, arrivals="fixed", seconds=0.2, warmup=0.2), lambda n: numbers.append(n) or Reply()
    )
    assert len(done.shots) < len(numbers) and min(shot.due for shot in done.shots) >= done.start


def test_no_more_requests_are_measured_than_asked_for() -> None:
    for load in (Load(clients=2, seconds=30, warmup=0, most=7), Load(rate=500, seconds=30, warmup=0, most=7)):
        assert len(run(load, lambda n: Reply()).shots) == 7


@pytest.mark.parametrize("wrong", [{"most": 0}, {"most": -3}, {"at_once": 0}])
def test_a_load_of_no_requests_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="is none"):
        Load(rate=5, **wrong)


def test_what_can_no_longer_be_sent_is_given_up_only_until_enough_were_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walked: list[float] = []

    def counted(load: Load, seed: int) -> Iterator[float]:
        for due in plan(load, seed):
            walked.append(due)
            yield due

    monkeypatch.setattr("smallworks.evaluate.load.plan", counted)
    slow = Load(rate=1000, arrivals="fixed", seconds=1, warmup=0, most=20, at_once=1, grace=0)
    done = run(slow, lambda number: time.sleep(1.1) or Reply())
    assert len(done.shots) == 20 and done.shots[-1].reply.cause == UNSENT
    assert len(walked) == 21  # the plan has a thousand


class Stalling:
    """Answers at once, one request at a time, but for one stall that holds up everybody."""

    def __init__(self, seconds: float, at: int) -> None:
        self._seconds, self._at, self._turn = seconds, at, threading.Lock()

    def __call__(self, number: int) -> Reply:
        with self._turn:
            if number == self._at:
                time.sleep(self._seconds)
        return Reply()


def test_an_open_loop_counts_the_waiting_of_all_that_were_due_in_a_stall() -> None:
    stall = 0.4
    closed = run(Load(clients=1, seconds=10, warmup=0, most=150), Stalling(stall, at=50))
    assert percentile(waits(closed), 0.99) < stall / 2  # one of 150: the tool waited with its next requests
    for at_once in (64, 1):  # also with a single connection, whose requests leave late
        load = Load(rate=200, arrivals="fixed", seconds=0.75, warmup=0, at_once=at_once, grace=10)
        opened = run(load, Stalling(stall, at=50))
        assert len(opened.shots) == 150
        assert percentile(waits(opened), 0.99) > stall / 2
        late = sum(wait > stall / 2 for wait in waits(opened))
        assert late >= 200 * stall / 2 * 0.8  # those that were due in the first half of the stall


def test_what_could_not_be_sent_in_time_is_counted_as_long_as_it_waited() -> None:
    load = Load(rate=100, arrivals="fixed", seconds=0.2, warmup=0, at_once=1, grace=0.1)
    done = run(load, lambda n: time.sleep(0.1) or Reply())
    unsent = [shot for shot in done.shots if shot.reply.cause == UNSENT]
    assert len(done.shots) == 20 and unsent
    assert all(shot.ended - shot.due > 0.1 for shot in unsent)


def test_a_fault_of_ours_ends_the_run_and_is_raised() -> None:
    def broken(number: int) -> Reply:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        run(Load(clients=2, seconds=30, warmup=0), broken)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "0 clients and 0 a second"),
        ({"clients": 2, "rate": 3.0}, "positive number of one of them"),
        ({"clients": 5000}, "5,000 at once"),
        ({"clients": 1, "seconds": 0.0}, "0 seconds is out of range"),
        ({"clients": 1, "warmup": -1.0}, "-1 warm-up is out of range"),
    ],
)
def test_a_load_that_is_none_is_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Load(**values)  # type: ignore[arg-type]


def test_a_thread_that_is_slow_to_begin_is_not_waited_for_before(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Thread.start

    def slowly(thread: threading.Thread) -> None:
        if thread.name == "load" and threading.current_thread().name == "load":
            time.sleep(0.4)  # longer than the run looks away
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    done = run(Load(rate=50, seconds=0.3, warmup=0), lambda number: Reply())
    assert done.shots
