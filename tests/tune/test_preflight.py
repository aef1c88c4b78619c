"""Planted faults, each of which trains elsewhere with a healthy-looking loss; each is refused here."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from smallworks.errors import DataError, MissingExtra, ModelError
from smallworks.prompt import TrainingRow
from smallworks.tune import TuneRequest
from smallworks.tune.preflight import preflight

from .conftest import END, PAD, Ask


def spoil(request: TuneRequest, index: int, row: TrainingRow) -> TuneRequest:
    rows = list(request.train)
    rows[index] = row
    return replace(request, train=tuple(rows))


def test_a_sound_request_is_counted(ask: Ask) -> None:
    checked = preflight(ask(train=40))
    assert checked.supervised_tokens == 80
    assert checked.tokens == sum(len(row.ids) for row in checked.request.train)
    assert checked.too_long == 0 and 5 < checked.longest < 25


def test_no_rows_at_all(ask: Ask) -> None:
    with pytest.raises(DataError, match="no training rows"):
        preflight(ask(train=0))


def test_a_mask_over_everything(ask: Ask) -> None:
    request = ask()
    masked = tuple(replace(row, supervised=(False,) * len(row.ids)) for row in request.train)
    with pytest.raises(DataError, match="all 40 training rows"):
        preflight(replace(request, train=masked))


def test_a_mask_over_one_row(ask: Ask) -> None:
    request = ask()
    row = request.train[6]
    with pytest.raises(DataError, match=r"1 of 40 training rows \(first: row 7\)"):
        preflight(spoil(request, 6, replace(row, supervised=(False,) * len(row.ids))))


def test_a_stop_token_outside_the_loss(ask: Ask) -> None:
    request = ask()
    row = request.train[2]
    with pytest.raises(DataError, match=r"end-of-turn token \(id 2\) is outside the loss in training row 3"):
        preflight(spoil(request, 2, replace(row, supervised=(*row.supervised[:-1], False))))


def test_a_stop_token_that_is_missing(ask: Ask) -> None:
    request = ask()
    row = request.train[2]
    with pytest.raises(DataError, match="is missing in training row 3"):
        preflight(spoil(request, 2, TrainingRow(ids=row.ids[:-1], supervised=row.supervised[:-1])))


def test_tokens_learned_after_the_stop_token(ask: Ask) -> None:
    request = ask()
    row = request.train[0]
    with pytest.raises(DataError, match="is missing in training row 1"):
        preflight(spoil(request, 0, TrainingRow(ids=(*row.ids, 202), supervised=(*row.supervised, True))))


def test_padding_that_is_the_stop_token(ask: Ask) -> None:
    with pytest.raises(ModelError, match=r"id 2\) is also the end-of-turn token") as refused:
        preflight(ask(pad_id=END))
    assert "tokenizer_config.json" in refused.value.fix and "<|pad|>" in refused.value.fix


def test_padding_outside_the_vocabulary(ask: Ask) -> None:
    with pytest.raises(ModelError, match="not one of the model's 5632 tokens"):
        preflight(ask(pad_id=99_999))


def test_ids_of_another_tokenizer(ask: Ask) -> None:
    row = TrainingRow(ids=(5900, END), supervised=(False, True))
    with pytest.raises(ModelError, match=r"hold token id 5900; the model at .* knows 5632"):
        preflight(spoil(ask(), 0, row))


def test_a_few_long_rows_are_left_out_and_counted(ask: Ask) -> None:
    long = TrainingRow(ids=(*range(100, 200), END), supervised=(False,) * 100 + (True,))
    checked = preflight(spoil(ask(max_length=50), 4, long))
    assert checked.too_long == 1 and len(checked.request.train) == 39
    assert long not in checked.request.train


def test_many_long_rows_are_refused(ask: Ask) -> None:
    with pytest.raises(DataError, match=r"training rows \(\d+%\) are longer than 12 tokens"):
        preflight(ask(max_length=12))


def test_the_context_of_the_base_bounds_the_length(ask: Ask) -> None:
    long = TrainingRow(ids=(*range(100, 400), END), supervised=(False,) * 300 + (True,))
    assert preflight(spoil(ask(max_length=1000), 4, long)).too_long == 1


def test_validation_rows_that_are_trained_on(ask: Ask) -> None:
    request = ask(validation=8)
    leaked = (*request.validation[:3], request.train[5])
    with pytest.raises(DataError, match=r"1 of 4 validation rows are also training rows \(first: row 4\)"):
        preflight(replace(request, validation=leaked))


def test_validation_rows_are_checked_like_the_others(ask: Ask) -> None:
    row = TrainingRow(ids=(5, PAD), supervised=(False, False))
    with pytest.raises(DataError, match="all 1 validation rows"):
        preflight(replace(ask(), validation=(row,)))


def test_a_base_too_narrow_for_blocks_of_four_bits_is_refused_with_the_way_out(
    ask: Ask, wide_base: Path
) -> None:
    with pytest.raises(
        ModelError, match=r"takes 32 numbers and gives \d+; nf4 wants multiples of 64"
    ) as refused:
        preflight(ask(method="qlora"))
    assert "--method qlora-int8" in refused.value.fix
    preflight(ask(method="qlora-int8"))
    preflight(replace(ask(method="qlora"), base=wide_base))


@pytest.mark.parametrize("method", ["qlora", "qlora-int8"])
def test_without_bitsandbytes_the_extra_is_named(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else found(name)
    )
    with pytest.raises(MissingExtra, match=f"--method {method} needs bitsandbytes") as refused:
        preflight(ask(method=method))
    assert refused.value.extra == "quant"
    preflight(ask(method="dora"))
