"""Turns at a bundle: key by key, so that nobody starves behind somebody else's queue."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.turns import Turns


class Bench:
    """One place whose first work is held until all others wait; the order in which they were served."""

    def __init__(self) -> None:
        self.turns = Turns(1, "bench")
        self.served: list[str] = []
        self._go = Event()
        self._all = [self.turns.submit("first", 1, self._go.wait)]

    def submit(self, who: str, cost: int = 1, name: str = "") -> Future[None]:
        self._all.append(self.turns.submit(who, cost, lambda: self.served.append(name or who)))
        return self._all[-1]

    def run(self) -> list[str]:
        self._go.set()
        for future in self._all:
            if not future.cancelled():
                future.result(10)
        return self.served


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.run()
    bench.turns.shutdown()


def test_a_newcomer_is_served_after_at_most_one_of_a_crowd(bench: Bench) -> None:
    for _ in range(200):
        bench.submit("crowd", 100)
    bench.submit("newcomer", 100)
    assert bench.run().index("newcomer") <= 1


def test_keys_take_turns_by_tokens_and_their_own_come_in_order(bench: Bench) -> None:
    for number in range(4):
        bench.submit("large", 300, f"large {number}")
    for number in range(9):
        bench.submit("small", 100, f"small {number}")
    served = bench.run()
    assert [each for each in served if each.startswith("small")] == [f"small {n}" for n in range(9)]
    assert served.index("large 2") > served.index("small 5")  # three small ones for a large one
    assert served.index("large 3") < served.index("small 8") + 2


def test_what_is_cancelled_in_line_costs_nothing_and_holds_nobody_up(bench: Bench) -> None:
    gone = [bench.submit("crowd", 1000) for _ in range(50)]
    assert all(future.cancel() for future in gone)
    bench.submit("crowd", 1, "crowd again")
    bench.submit("other", 5)
    bench.submit("other", 5)
    assert bench.run() == ["crowd again", "other", "other"]


def test_what_is_cancelled_in_line_keeps_nothing_in_memory(bench: Bench) -> None:
    class Large:
        def answer(self) -> None: ...

    large = Large()
    kept, futures = weakref.ref(large), [bench.turns.submit("crowd", 1, large.answer) for _ in range(50)]
    del large
    assert kept() is not None
    assert all(future.cancel() for future in futures)
    assert kept() is None
    assert bench.turns._pool._work_queue.qsize() == 0  # nor does a thread wait to look for it


def test_one_party_is_served_first_come_first_served(bench: Bench) -> None:
    for number in range(20):
        bench.submit("all", 20 - number, str(number))
    assert bench.run() == [str(number) for number in range(20)]


def test_a_failure_is_its_own_works_and_the_next_goes_on() -> None:
    turns = Turns(1, "bench")
    failed = turns.submit("a", 1, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(10)
    assert turns.submit("a", 1, lambda: 5).result(10) == 5
    turns.shutdown()


def test_shutting_down_cancels_what_waits_and_lets_the_rest_end() -> None:
    turns, go, begun = Turns(1, "bench"), Event(), Event()
    under_way = turns.submit("a", 1, lambda: begun.set() or go.wait(60))
    assert begun.wait(60)
    waits = turns.submit("a", 1, lambda: 5)
    turns.shutdown()
    go.set()
    assert waits.cancelled() and under_way.result(10)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), min_size=1, max_size=40))
def test_no_key_gets_ahead_by_more_than_one_piece_of_work(works: list[tuple[str, int]]) -> None:
    bench = Bench()
    for number, (who, cost) in enumerate(works):
        bench.submit(who, cost, f"{who} {cost} {number}")
    left = {who: [cost for name, cost in works if name == who] for who, _ in works}
    got = dict.fromkeys(left, 0)
    for name in bench.run():
        who, cost = name.split()[0], int(name.split()[1])
        waiting = [other for other in left if left[other]]
        assert got[who] <= min(got[other] for other in waiting)  # the least served is next
        got[who] += cost
        left[who].remove(cost)
    bench.turns.shutdown()
