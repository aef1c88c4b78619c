"""The loss by which checkpoints are compared, against the engine that will answer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smallworks.engines import calibration
from smallworks.engines.transformers import Transformers
from smallworks.tune import TuneRequest
from smallworks.types import Choices, Prompt

from .conftest import PAD, Ask

pytest.importorskip("trl")
CHOICES = Choices(labels=("even", "odd"), codes=("A", "B"), ids=(36, 37))


def test_being_too_sure_costs_nothing_and_being_wrong_does() -> None:
    from smallworks.tune.trainer import label_loss

    random = np.random.default_rng(0)
    logits = random.normal(size=(400, 3))
    right = (logits + random.gumbel(size=logits.shape)).argmax(1)
    ids = np.array([10, 20, 30])[right]

    def loss(scale: float) -> float:
        logp = calibration.apply(scale * logits)
        return label_loss(logp, ids, (10, 20, 30))

    assert loss(1.0) == pytest.approx(loss(8.0), abs=1e-4)
    assert label_loss(np.log(np.full((400, 3), 1 / 3)), ids, (10, 20, 30)) == pytest.approx(np.log(3))
    assert loss(1.0) < loss(0.0) - 0.1


SMALL = {
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "sliding_window": None,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
START = tuple(range(10, 30))


def losses(kind: str, **changes: Any) -> tuple[bool, float, float]:
    """Of a random model of this type: whether a batch is joined, its loss, and that of its rows alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from smallworks.tune import trainer

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **changes})
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    rows = [torch.tensor([*START, *torch.randint(30, 190, (n,)).tolist()]) for n in (6, 9, 4)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    lengths = torch.tensor([len(row) for row in rows])
    place = torch.arange(ids.shape[1])[None]
    labels = ids.masked_fill((place < lengths[:, None] - 2) | (place >= lengths[:, None]), trainer.IGNORED)

    @torch.no_grad()
    def loss(ids: Any, labels: Any, **places: Any) -> float:
        logits = model(input_ids=ids, use_cache=False, **places).logits[:, :-1].flatten(0, 1)
        return float(torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten()))

    alone = [loss(row[None], labels[i : i + 1, : len(row)]) for i, row in enumerate(rows)]
    together, asked, places = trainer.joined(config, ids, labels, lengths)
    return bool(places), loss(together, asked, **places), float(np.mean(alone))


def test_a_batch_of_any_type_that_is_joined_costs_what_its_rows_cost_alone() -> None:
    from smallworks.tune.trainer import JOINABLE

    more = {"opt": {"ffn_dim": 64, "word_embed_proj_dim": 32}}
    for kind in sorted({*JOINABLE, "qwen2", "qwen3", "smollm3"}):
        joined, loss, alone = losses(kind, **more.get(kind, {}))
        assert joined and loss == pytest.approx(alone, abs=1e-4), kind


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("lfm2", {"layer_types": ["conv", "full_attention"]}),
        ("jamba", {}),
        ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}),
        ("mistral", {"sliding_window": 8}),
    ],
)
def test_a_model_whose_rows_a_mask_does_not_part_is_given_them_one_by_one(
    kind: str, changes: dict[str, Any]
) -> None:
    joined, loss, alone = losses(kind, **changes)
    assert not joined and loss == pytest.approx(alone, abs=1e-4)


def test_rows_within_a_sliding_window_are_joined() -> None:
    from smallworks.tune.trainer import joinable

    config = SimpleNamespace(model_type="mistral", sliding_window=8)
    assert [joinable(config, longest) for longest in (8, 9)] == [True, False]


@pytest.mark.slow
def test_the_checkpoint_is_chosen_by_what_the_engine_says_of_the_labels(
    ask: Ask, train: Callable[[TuneRequest], dict[str, Any]]
) -> None:
    request = ask(codes=CHOICES.ids, epochs=3, patience=0, train=24, validation=16, learning_rate=2e-2)
    told = train(request)
    losses = {point["step"]: point["label_loss"] for point in told["curve"]}
    assert told["best_val_loss"] == losses[told["best_step"]] == min(losses.values())
    engine = Transformers(request.base, adapter=request.out / "adapter", threads=1)
    logp = engine.score([Prompt(text="", ids=row.ids[:-2]) for row in request.validation], CHOICES)
    right = np.array([CHOICES.ids.index(row.ids[-2]) for row in request.validation])
    temperature = calibration.fit_temperature(calibration.apply(logp), right)
    settled = calibration.apply(logp, temperature=temperature)
    assert told["best_val_loss"] == pytest.approx(-settled[np.arange(16), right].mean(), abs=1e-4)
