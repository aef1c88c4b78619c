"""The search: the rules' own setting first, bad trials cut short, the same study after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from smallworks.errors import MissingExtra, UserError
from smallworks.recipes import sweep
from smallworks.recipes import tune as recipe
from smallworks.recipes.tuning import Dials, Tuned
from smallworks.recipes.workshop import Workshop
from smallworks.tune.options import Forgetting

from .conftest import write_task

pytest.importorskip("optuna")
BEST = 1.2e-3
"""Where the made-up loss is least."""
VALIDATIONS = 4


@pytest.fixture
def shop(tmp_path: Path, tiny_folder: Path) -> Iterator[Workshop]:
    task = write_task(tmp_path / "task", train=60, test=20)
    with recipe.workshop(task, Dials(), base=str(tiny_folder)) as shop:
        yield shop


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Dials]:
    """The dials of each tuning; a loss that falls with every validation stands in for it."""
    dials: list[Dials] = []

    def tuned(shop: Workshop, asked: Dials, *, validated: Callable[[int, float], None]) -> Tuned:
        dials.append(asked)
        assert asked.learning_rate is not None
        far = abs(log(asked.learning_rate / BEST)) + 0.01 * abs((asked.rank or 16) - 16)
        for step in range(1, VALIDATIONS + 1):
            validated(10 * step, far + 1 / step)
        forgot = Forgetting(general_before=1, general_after=1, own_before=1, own_after=1)
        return Tuned(
            weights=Path(),
            part="adapter",
            method="lora",
            sha256="",
            steps=10 * VALIDATIONS,
            best_val_loss=far + 1 / VALIDATIONS,
            forgetting=forgot,
            curve=(),
            seconds=1.0,
        )

    monkeypatch.setattr(sweep, "tuned", tuned)
    return dials


def test_it_begins_with_the_rules_cuts_bad_trials_short_and_ends_with_the_best(
    shop: Workshop, tried: list[Dials]
) -> None:
    trials, best = sweep.sweep(shop, Dials(), 8)
    assert (tried[0].learning_rate, tried[0].rank) == (6e-4, 16)
    assert all(6e-4 / 5 <= dials.learning_rate <= 6e-4 * 5 for dials in tried if dials.learning_rate)
    whole = {t.number: t for t in trials if t.state == "whole"}
    least = min(whole.values(), key=lambda t: t.loss or 0.0)
    assert (best.learning_rate, best.rank) == (least.learning_rate, least.rank)
    assert [t.number for t in trials] == list(range(8))
    assert (least.loss or 9) < (trials[0].loss or 0)
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned and all(t.steps < 10 * VALIDATIONS for t in pruned)
    assert all(t.steps == 10 * VALIDATIONS for t in whole.values())


def test_an_interrupted_sweep_goes_on_and_ends_as_it_would_have(
    shop: Workshop, tried: list[Dials], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    straight = [(t.learning_rate, t.rank, t.loss) for t in sweep.sweep(shop, Dials(), 5)[0]]
    first, tuned = list(tried), sweep.tuned
    elsewhere = replace(shop, steps=replace(shop.steps, folder=tmp_path / "elsewhere"))

    def interrupted(*given: Any, **named: Any) -> Tuned:
        if len(tried) == 5 + 3:
            raise KeyboardInterrupt
        return tuned(*given, **named)

    monkeypatch.setattr(sweep, "tuned", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(elsewhere, Dials(), 5)
    monkeypatch.setattr(sweep, "tuned", tuned)
    told, _ = sweep.sweep(elsewhere, Dials(), 5)
    assert tried[5:9] == first[:4], "what was interrupted is tried again"
    assert [(t.learning_rate, t.rank, t.loss) for t in told[:4]] == straight[:4]
    assert len(told) == 5 and len(tried) == 10
    assert sweep.sweep(elsewhere, Dials(), 5)[0] == told and len(tried) == 10


def test_trials_that_all_lose_their_way_are_told_and_not_tried_again(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def tuned(shop: Workshop, asked: Dials, *, validated: Callable[[int, float], None]) -> Tuned:
        tried.append(asked)
        validated(10, float("nan"))
        raise AssertionError("a loss that is no number ends a trial")

    monkeypatch.setattr(sweep, "tuned", tuned)
    for _ in range(2):
        with pytest.raises(UserError, match=r"None of the 3 trials came to an end.*--learning-rate"):
            sweep.sweep(shop, Dials(), 3)
    assert len(tried) == 3


@pytest.mark.parametrize(
    ("dials", "searched"),
    [
        (Dials(rank=8), {"learning_rate"}),
        (Dials(learning_rate=1e-3), {"rank"}),
        (Dials(method="full"), {"learning_rate"}),
        (Dials(method="dora"), {"learning_rate", "rank"}),
    ],
)
def test_what_is_given_is_not_searched(dials: Dials, searched: set[str]) -> None:
    assert set(sweep._searched(dials)) == searched


@pytest.mark.parametrize(
    ("dials", "trials", "said"),
    [
        (Dials(), 1, "--sweep 1 is not 2 to 500"),
        (Dials(rank=8, learning_rate=1e-3), 4, "nothing to search"),
        (Dials(method="full", learning_rate=1e-3), 4, "nothing to search"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(dials: Dials, trials: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        sweep.check(dials, trials)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtra) as refused:
        sweep.check(Dials(), 4)
    assert refused.value.extra == "sweep"
