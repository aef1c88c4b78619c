"""What tells how sure a stage is of its text: the better signal, a rising curve, rows that fit it alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smallworks.bundle.manifest import Sureness
from smallworks.errors import DataError
from smallworks.route.sure import confidences, fit, fitting, parted
from smallworks.types import LOSS, ExampleId, Record


def record(i: int, sure: float, *, said: str = "a b", group: str = "") -> Record:
    return Record(
        example_id=ExampleId(f"r{i}"),
        prompt_hash="",
        expected="a b",
        raw=said,
        parsed=said,
        lenient=said,
        scores={"token_f1": 1.0},
        tokens_in=1,
        tokens_out=1,
        ms=1.0,
        group=group,
        signals={"likelihood": 0.5, "weakest": sure, "margin": 1 - sure},
    )


RNG = np.random.default_rng(0)
SURE = RNG.random(300)
GOOD = RNG.random(300) < SURE
RECORDS = [record(i, float(sure)) for i, sure in enumerate(SURE)]
ALL = np.ones(300, dtype=bool)


def test_the_signal_that_tells_best_is_taken_and_means_what_it_says() -> None:
    pytest.importorskip("sklearn")
    how = fit(RECORDS, GOOD, ALL)
    assert how and how.signal == "weakest"
    xs, ys = zip(*how.curve, strict=True)
    assert list(xs) == sorted(set(xs)) and list(ys) == sorted(set(ys)) and ys[0] > 0 and ys[-1] <= 1
    meant = confidences(how, RECORDS)
    for low in (0.0, 0.25, 0.5, 0.75):
        some = (low <= SURE) & (low + 0.25 > SURE)
        assert meant[some].mean() == pytest.approx(GOOD[some].mean(), abs=0.08)


def test_what_was_never_told_is_not_fitted_and_too_few_rows_are_refused() -> None:
    dumb = [replace(one, signals=None) for one in RECORDS]
    assert fit(dumb, GOOD, ALL) is None
    with pytest.raises(DataError, match="too few"):
        fit(RECORDS, GOOD, ~ALL)


def test_an_answer_that_tells_nothing_or_was_kept_back_goes_on() -> None:
    how = Sureness(signal="weakest")
    silent, kept = replace(RECORDS[0], signals=None), replace(RECORDS[0], scores={LOSS: 1.0})
    assert confidences(how, [silent, kept, RECORDS[1]]).tolist() == [-1.0, -1.0, SURE[1]]


def test_agreement_is_fitted_against_the_stage_before() -> None:
    pytest.importorskip("sklearn")
    same = [record(i, 0.5, said="a b") for i in range(60)]
    before = [record(i, 0.5, said="a b" if i % 2 else "c d") for i in range(60)]
    good = np.array([i % 2 == 1 or i % 10 == 0 for i in range(60)])
    how = fit(same, good, np.ones(60, dtype=bool), before)
    assert how and how.signal == "agreement"
    told = confidences(how, same, before)
    assert told[1] > 0.9 and told[0] < 0.5


def test_rows_of_a_group_fit_together_and_a_third_does() -> None:
    rows = fitting(RECORDS)
    assert 60 < rows.sum() < 140
    grouped = fitting([record(i, 0.5, group=f"g{i // 10}") for i in range(300)])
    assert all(len(set(grouped[i : i + 10])) == 1 for i in range(0, 300, 10))


def test_how_well_good_is_told_from_bad() -> None:
    values = np.array([0.1, 0.2, 0.2, 0.9])
    assert parted(values, np.array([False, False, True, True])) == pytest.approx(0.875)
    assert parted(values, np.ones(4, dtype=bool)) == 0.5
