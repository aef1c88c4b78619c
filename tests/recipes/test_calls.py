"""Many questions: bounded at once, paced, within a budget, and every answer on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smallworks.errors import RequestError, UpstreamError, UserError
from smallworks.recipes import calls as module
from smallworks.recipes.calls import Calls, Limits
from smallworks.recipes.journal import FILE, Journal, keeping
from smallworks.recipes.teacher import Said


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with keeping(tmp_path / "work", "a test") as opened:
        yield opened


def said(text: str = "yes", tokens: int = 1) -> Said:
    return Said(text=text, tokens_in=tokens, tokens_out=0)


def cost(answer: Said) -> float:
    return float(answer.tokens_in)


def test_no_more_are_under_way_than_allowed(journal: Journal) -> None:
    lock, now, most = threading.Lock(), 0, 0
    three = threading.Barrier(3)  # broken, and so a failure, unless three are under way together

    def ask() -> Said:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        three.wait(timeout=60)
        with lock:
            now -= 1
        return said()

    calls = Calls(journal=journal, limits=Limits(at_once=3), price=cost)
    assert calls.run((str(i), ask) for i in range(30)) == "all asked"
    assert (most, calls.asked) == (3, 30)


def test_requests_are_paced(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(module.time, "sleep", sleep)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    Calls(journal=journal, limits=Limits(per_minute=120), price=cost).run((str(i), said) for i in range(5))
    assert slept == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("at_once", [1, 4])
def test_one_dear_answer_lowers_what_may_still_be_asked(journal: Journal, at_once: int) -> None:
    def questions() -> Iterator[Any]:
        for number in range(50):
            yield str(number), lambda number=number: said(tokens=20 if number == 2 else 1)

    calls = Calls(journal=journal, limits=Limits(at_once=at_once, budget=40), price=cost, expected=1.0)
    assert calls.run(questions()) == "budget"
    assert 20 < calls.spent <= 40


def test_what_one_answer_is_expected_to_cost_counts_before_any_is_known(journal: Journal) -> None:
    calls = Calls(journal=journal, limits=Limits(budget=0.5), price=cost, expected=1.0)
    assert calls.run([("a", said)]) == "budget" and calls.asked == 0


def test_a_failure_stops_the_asking_and_keeps_what_was_answered(journal: Journal) -> None:
    def fail() -> Said:
        raise UpstreamError("down", fix="wait")

    calls = Calls(journal=journal, limits=Limits(at_once=1), price=cost)
    with pytest.raises(UpstreamError):
        calls.run([("a", said), ("b", fail), *((f"c{i}", said) for i in range(9))])
    assert "a" in journal and calls.asked < 5


def test_a_refused_request_is_no_failure_once_others_were_answered(journal: Journal) -> None:
    def refuse() -> Said:
        raise RequestError("too long", fix="shorten")

    calls = Calls(journal=journal, limits=Limits(at_once=1), price=cost)
    assert calls.run([("a", said), *((f"r{i}", refuse) for i in range(9))]) == "all asked"
    assert len(calls.refused) == 9 and "r0" not in journal


def test_a_journal_is_read_back_without_a_torn_last_line(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    odd = Said(text="a\u2028\ud83d b", tokens_in=1, tokens_out=2, probabilities={"x": 0.5}, date="2026-11-21")
    with keeping(folder, "a test") as first:
        first.add("one", odd)
        first.add("two", said())
    with (folder / FILE).open("ab") as file:
        file.write(b'["three", {"te')
    with keeping(folder, "a test") as again:
        assert "three" not in again and again.get("two") == said()
        assert again.get("one") == odd
        again.add("three", said("late"))
    with keeping(folder, "a test") as last:
        assert [one.text for one in last] == [odd.text, "yes", "late"]


def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    with (
        keeping(tmp_path / "work", "a labelling"),
        pytest.raises(UserError, match="Another process works on a labelling"),
        keeping(tmp_path / "work", "a labelling"),
    ):
        pass
