"""The first weights already look back, match and vote; training bends what they begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training.starter import circuits, config, model
from training.starter.tokenizer import Form
from transformers import LlamaForCausalLM

CODES = range(40, 66)
SCAR = 2000  # a token whose other form is the next one


@pytest.fixture(scope="module")
def fresh() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = config.read(Path(config.__file__).with_name("starter.toml")).shape
    forms = [Form(number, spaced=False, capital=False) for number in range(shape.vocab_size)]
    forms[SCAR + 1] = Form(SCAR, spaced=True, capital=True)
    return model.build(shape, CODES, forms).eval()


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


def test_a_value_is_found_by_the_name_before_it(fresh: LlamaForCausalLM) -> None:
    """Before "name, colon, value", later "name, quote": the value is found, or the token after it."""
    name, colon, value, quote = 1500, 1501, 1502, 1503
    ids = [*range(1000, 1020), name, colon, value, *range(1020, 1040), name, quote]
    for layer in (1, 2):
        place = ids.index(value)
        assert attention(fresh, ids)[layer][6][-1, place : place + 2].sum() > 0.5


def test_forms_of_one_word_are_nearly_one_vector(fresh: LlamaForCausalLM) -> None:
    table = torch.nn.functional.normalize(fresh.model.embed_tokens.weight, dim=1)
    assert table[SCAR] @ table[SCAR + 1] > 0.8 > 0.5 > table[SCAR] @ table[SCAR + 2]


def test_the_codes_share_a_direction(fresh: LlamaForCausalLM) -> None:
    table = torch.nn.functional.normalize(fresh.model.embed_tokens.weight, dim=1)
    codes, others = table[list(CODES)], table[1000:1026]
    assert (codes @ codes.T).mean() > 0.4 > (others @ others.T).mean() + 0.2


def test_circuits_reach_as_far_as_they_say(fresh: LlamaForCausalLM) -> None:
    heads = circuits.Heads(fresh, 1)
    assert len(heads.slow) >= 20 and heads.turns[heads.slow[0]] * circuits.REACH < 0.6
