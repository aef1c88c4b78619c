"""The first weights already look back, match and vote; training bends what they begin with."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import torch
from training.starter import circuits, config, model
from transformers import LlamaForCausalLM

CODES, OPENER = range(40, 66), 700
KIN = ((2000, 2001, 2002), (2010, 2011))


@pytest.fixture(scope="module")
def fresh() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = config.read(Path(config.__file__).with_name("starter.toml")).shape
    return model.build(shape, circuits.Words(codes=CODES, kin=KIN, openers=[OPENER], common=600)).eval()


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
    assert len(heads.slow) >= 20 and heads.turns[heads.slow[0]] * circuits.REACH < 0.8


def test_words_that_differ_in_capitals_or_a_space_are_alike(fresh: LlamaForCausalLM) -> None:
    table = torch.nn.functional.normalize(fresh.model.embed_tokens.weight, dim=1)
    assert table[2000] @ table[2001] > 0.3 > abs(table[2000] @ table[2010])


def test_the_means_of_a_stretch_reach_no_further(fresh: LlamaForCausalLM) -> None:
    layers = attention(fresh, list(range(1000, 1200)))
    line, asked = layers[0][4][150], layers[0][5][150]
    assert line[135:151].sum() > 0.9 and asked[110:151].sum() > 0.9
    assert line[148:151].sum() > 2 * asked[148:151].sum()


def test_a_question_finds_the_value_of_its_line(fresh: LlamaForCausalLM) -> None:
    """Sixty sheets of six lines, a key of three tokens, an opener, a value of three; keys are asked for."""
    random = torch.Generator().manual_seed(1)
    found = 0
    for _ in range(60):
        tokens = (torch.randperm(3000, generator=random) + 1000).tolist()
        lines = [([*tokens[n : n + 3], OPENER, *tokens[n + 3 : n + 6]]) for n in range(0, 36, 6)]
        asked = int(torch.randint(6, (1,), generator=random))
        question = [*range(300, 305), *lines[asked][:3], *range(305, 312)]
        layers = attention(fresh, [*range(320, 330), *chain.from_iterable(lines), *question])
        found += int(layers[1][6][-1].argmax()) == 10 + 7 * asked + 4
    assert found > 30  # one in six by chance
