"""A batch as one sequence: the losses and gradients are those of the rows, each alone and padded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.prompt import TrainingRow
from smallworks.tune import TuneRequest

from .conftest import PAD, Ask

torch = pytest.importorskip("torch")
prefix = pytest.importorskip("smallworks.tune.prefix")
IGNORED = -100


def batch(rows: list[list[int]], answer: int = 2) -> tuple[Any, Any, Any]:
    """Ids, labels and lengths of rows whose last `answer` tokens are supervised, padded on the right."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    place = torch.arange(longest)[None]
    asked = (place < lengths[:, None] - answer) | (place >= lengths[:, None])
    return ids, ids.masked_fill(asked, IGNORED), lengths


@given(
    st.lists(st.integers(5, 9), max_size=6),
    st.lists(st.lists(st.integers(10, 12), min_size=4, max_size=8), min_size=1, max_size=4),
)
def test_every_row_stands_in_it_with_its_own_positions(start: list[int], rest: list[list[int]]) -> None:
    ids, labels, lengths = batch([start + row for row in rest])
    common = prefix.shared(ids, labels)
    assert common >= min(len(start), int(lengths.min()) - 3)
    one = prefix.join(ids, labels, lengths, common)
    assert one.ids.shape[1] == common + sum(len(start) + len(row) - common for row in rest)
    seen, at = one.mask[0, 0] == 0, common
    for row in range(len(rest)):
        length = int(lengths[row])
        own = [*range(common), *range(at, at + length - common)]
        last = own[-1]
        assert seen[last].nonzero().flatten().tolist() == own
        assert one.positions[0, own].tolist() == list(range(length))
        assert one.ids[0, own].tolist() == ids[row, :length].tolist()
        at += length - common


def test_what_predicts_a_label_is_never_shared() -> None:
    ids, labels, lengths = batch([[5, 6, 7, 8, 1, 2]] * 3)
    assert prefix.shared(ids, labels) == 3
    assert (
        prefix.join(ids, labels, lengths, 3).labels[0].tolist()
        == [IGNORED] * 4
        + [1, 2]
        + [
            IGNORED,
            1,
            2,
        ]
        * 2
    )


def test_long_rows_that_share_little_stay_apart() -> None:
    short, long = torch.tensor([20, 22]), torch.tensor([2000, 2000])
    assert prefix.cheaper(short, 10, hidden=64)
    assert not prefix.cheaper(long, 10, hidden=64)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_joined_tuning_has_the_losses_of_one_row_by_row(
    ask: Ask, train: Callable[[TuneRequest], dict[str, Any]], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def told(out: str) -> list[float]:
        request = ask(out=out, method=method, train=24, epochs=1)
        start = tuple(range(200, 230))
        rows = [
            TrainingRow(ids=start + row.ids, supervised=(False,) * 30 + row.supervised)
            for row in request.train
        ]
        validation = [
            TrainingRow(ids=start + row.ids, supervised=(False,) * 30 + row.supervised)
            for row in request.validation
        ]
        changed = replace(request, train=tuple(rows), validation=tuple(validation))
        return [
            loss for point in train(changed)["curve"] for loss in (point["train_loss"], point["val_loss"])
        ]

    joins = []
    monkeypatch.setattr(
        prefix, "join", lambda *given, join=prefix.join: joins.append(given[3]) or join(*given)
    )
    joined = told("joined")
    assert joins and set(joins) == {30}
    monkeypatch.setattr(prefix, "cheaper", lambda *_, **__: False)
    assert joined == pytest.approx(told("padded"), abs=1e-4)
    assert len(set(joined)) > 2
