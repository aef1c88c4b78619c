"""The first weights already look back, match and vote; training bends what they begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training.starter import circuits, config, model
from transformers import LlamaForCausalLM

CODES = range(40, 66)


@pytest.fixture(scope="module")
def fresh() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = config.read(Path(config.__file__).with_name("starter.toml")).shape
    return model.build(shape, CODES).eval()


def attention(fresh: LlamaForCausalLM, ids: list[int]) -> list[torch.Tensor]:
    """Of each layer, [heads, length, length]."""
    with torch.no_grad():
        return [each[0] for each in fresh(torch.tensor([ids]), output_attentions=True).attentions]


def test_layer_0_looks_one_two_and_three_back(fresh: LlamaForCausalLM) -> None:
    layers = attention(fresh, list(range(1000, 1200)))
    for head, distance in ((0, 1), (1, 2), (2, 3)):
        assert layers[0][head].diagonal(-distance)[10:].mean() > 0.5


def test_a_repeated_token_finds_what_followed_it_and_itself(fresh: LlamaForCausalLM) -> None:
    ids = list(range(1000, 1040))
    layers = attention(fresh, [*ids, *ids])
    followed, same = layers[1][0], layers[1][4]
    places = range(45, 80)
    assert torch.stack([followed[place, place - 39] for place in places]).mean() > 0.5
    assert torch.stack([same[place, place - 40] for place in places]).mean() > 0.5


def test_the_codes_share_a_direction(fresh: LlamaForCausalLM) -> None:
    table = torch.nn.functional.normalize(fresh.model.embed_tokens.weight, dim=1)
    codes, others = table[list(CODES)], table[1000:1026]
    assert (codes @ codes.T).mean() > 0.4 > (others @ others.T).mean() + 0.2


def test_circuits_reach_as_far_as_they_say(fresh: LlamaForCausalLM) -> None:
    heads = circuits.Heads(fresh, 1)
    assert len(heads.slow) >= 20 and heads.turns[heads.slow[0]] * circuits.REACH < 0.6
