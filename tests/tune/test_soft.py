"""What a teacher holds of the labels is learned as it stands: the loss, its gradient, and where it leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from smallworks import files, starter
from smallworks.engines import shape
from smallworks.engines.transformers import Transformers, load
from smallworks.errors import DataError
from smallworks.prompt import TrainingRow
from smallworks.tune import TuneRequest
from smallworks.tune.options import raw
from smallworks.tune.preflight import preflight
from smallworks.types import Choices, Prompt

from .conftest import END, PAD, Ask

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
CODES = (36, 37, 38)
SHARES = (0.7, 0.3, 0.0)
EMPTY = float("nan")


def starter_loss(shares: Any) -> tuple[Any, Any, Any]:
    """Of two rows of the starter: the loss, the logits before their label and end, and their gradient."""
    from smallworks.tune import soft

    model = load(starter.MODEL)
    ids = torch.tensor([[*range(40, 60), 36, END], [*range(70, 90), 37, END]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, -3:-1].flatten(0, 1)
    logits.requires_grad_()
    begins = torch.tensor([True, False, True, False])
    loss = soft.loss(logits, ids[:, -2:].flatten(), begins, torch.tensor(shares), CODES)
    loss.backward()
    return loss.item(), logits.detach().double().log_softmax(-1), logits.grad


def test_the_loss_is_the_divergence_from_the_shares_and_the_rest_cross_entropy() -> None:
    loss, logp, _ = starter_loss([SHARES, [EMPTY] * 3])
    divergence = sum(
        p * (np.log(p) - float(logp[0, code])) for p, code in zip(SHARES, CODES, strict=True) if p
    )
    hard = -float(logp[1, END] + logp[2, 37] + logp[3, END])
    assert loss == pytest.approx(divergence + hard, rel=1e-5)


def test_its_gradient_leads_from_what_is_said_to_the_shares() -> None:
    _, logp, gradient = starter_loss([SHARES, [EMPTY] * 3])
    wanted = torch.zeros(logp.shape[1], dtype=torch.double)
    wanted[list(CODES)] = torch.tensor(SHARES, dtype=torch.double)
    assert torch.allclose(gradient[0].double(), logp[0].exp() - wanted, atol=1e-6)


def test_shares_of_one_label_alone_are_a_label() -> None:
    soft, _, by_shares = starter_loss([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    hard, _, by_label = starter_loss([[EMPTY] * 3] * 2)
    assert soft == pytest.approx(hard, rel=1e-6)
    assert torch.allclose(by_shares, by_label, atol=1e-7)


def test_rows_without_shares_are_the_rows_and_the_batches_that_they_were(ask: Ask) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from smallworks.tune import run, worker
    from smallworks.tune.soft import Collator

    request = ask(train=3, validation=2)
    old = [
        [{"ids": r.ids, "supervised": r.supervised} for r in p] for p in (request.train, request.validation)
    ]
    base = {f.name: files.hash_file(f) for f in shape.weight_files(request.base)}
    assert request.key() == files.hash_value({"base": base, "rows": old, "options": request.options.fixing()})
    run.write_rows(request)
    rows = list(worker._rows(request.out / "train.jsonl"))
    before, after = DataCollatorForLanguageModeling(pad_token_id=PAD)(rows), Collator(pad_token_id=PAD)(rows)
    assert before.keys() == after.keys() and all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.5, 0.5), (1.5, -0.5, 0.0)])
def test_shares_that_are_no_probabilities_of_the_labels_are_refused(
    ask: Ask, shares: tuple[float, ...]
) -> None:
    request = ask(codes=CODES)
    spoilt = replace(request, train=(replace(request.train[0], shares=shares), *request.train[1:]))
    with pytest.raises(DataError, match=r"training row 1 are no probabilities of the 3 labels"):
        preflight(spoilt)


def test_a_row_keeps_its_shares_on_the_way_to_the_worker(ask: Ask) -> None:
    row = TrainingRow(ids=(5, 36, END), supervised=(False, True, True), shares=SHARES)
    assert TrainingRow(**raw(row)) == row and raw(replace(row, shares=())).keys() == {"ids", "supervised"}
    request = ask()
    assert replace(request, train=(row,)).key() != replace(request, train=(replace(row, shares=()),)).key()
    assert asdict(row)["shares"] == SHARES


@pytest.mark.slow
def test_a_model_that_is_taught_shares_says_them(
    ask: Ask, train: Callable[[TuneRequest], dict[str, Any]]
) -> None:
    """Of rows without any sign of their label: taught labels, it would say the one of all rows."""
    request = ask(codes=CODES, method="full", epochs=6, patience=0, validation=0, learning_rate=2e-2)
    start = tuple(range(200, 220))
    rows = [
        TrainingRow(ids=(*start, 300 + i, 36, END), supervised=(False,) * 21 + (True, True), shares=SHARES)
        for i in range(24)
    ]
    train(replace(request, train=tuple(rows)))
    engine = Transformers(request.out / "model", threads=1)
    choices = Choices(labels=("a", "b", "c"), codes=("A", "B", "C"), ids=CODES)
    said = np.exp(engine.score([Prompt(text="", ids=(*start, 310))], choices))[0]
    assert said / said.sum() == pytest.approx(SHARES, abs=0.1) and said.sum() > 0.9
