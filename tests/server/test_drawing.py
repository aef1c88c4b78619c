"""Several draws, log-probabilities of tokens and biases on them, through the stock client."""

from __future__ import annotations

import math

import openai as sdk
import pytest
from openai import OpenAI

USER = {"role": "user", "content": "Write one sentence about the sea."}


def test_n_gives_so_many_draws_that_a_seed_repeats(real: OpenAI) -> None:
    def draw(seed: int) -> list[str]:
        reply = real.chat.completions.create(
            model="starter", messages=[USER], n=3, temperature=1.0, seed=seed, max_tokens=12
        )
        assert [choice.index for choice in reply.choices] == [0, 1, 2]
        assert reply.usage.completion_tokens > 3 and reply.usage.prompt_tokens < 60
        return [choice.message.content for choice in reply.choices]

    first = draw(7)
    assert first == draw(7)
    assert len(set(first)) == 3


def test_one_draw_of_a_seed_is_the_first_of_several(real: OpenAI) -> None:
    wanted = {"model": "starter", "messages": [USER], "temperature": 1.0, "seed": 3, "max_tokens": 8}
    alone = real.chat.completions.create(**wanted).choices[0].message.content
    assert real.chat.completions.create(n=2, **wanted).choices[0].message.content == alone


def test_n_of_completions_goes_prompt_by_prompt(real: OpenAI) -> None:
    reply = real.completions.create(
        model="echo", prompt=["a b c", "x y z"], n=2, temperature=1.0, seed=1, max_tokens=64
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert all("a" in choice.text.split() for choice in reply.choices[:2])
    assert all("x" in choice.text.split() for choice in reply.choices[2:])


@pytest.mark.parametrize("model", ["tickets", "echo"])
def test_draws_that_would_all_be_alike_are_refused(real: OpenAI, model: str) -> None:
    with pytest.raises(sdk.BadRequestError, match="alike") as refusal:
        real.chat.completions.create(model=model, messages=[USER], n=2, temperature=0)
    assert refusal.value.param == "n"


@pytest.mark.parametrize("stream", [False, True])
def test_the_tokens_of_an_answer_come_with_their_logprobs(real: OpenAI, stream: bool) -> None:
    wanted = {"model": "starter", "messages": [USER], "max_tokens": 8, "logprobs": True, "top_logprobs": 3}
    if stream:
        chunks = list(real.chat.completions.create(stream=True, **wanted))
        told = [token for c in chunks if c.choices[0].logprobs for token in c.choices[0].logprobs.content]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        choice = real.chat.completions.create(**wanted).choices[0]
        told, text = choice.logprobs.content, choice.message.content
    assert b"".join(bytes(token.bytes) for token in told).decode() == text
    for token in told:
        assert len(token.top_logprobs) == 3
        # Greedy: what was drawn is the most probable.
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)
        assert 0 < sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1 + 1e-6


def test_logprobs_are_of_the_model_not_of_the_temperature(real: OpenAI) -> None:
    def first(temperature: float) -> float:
        reply = real.chat.completions.create(
            model="starter",
            messages=[USER],
            max_tokens=1,
            temperature=temperature,
            seed=1,
            logprobs=True,
            top_logprobs=1,
        )
        return reply.choices[0].logprobs.content[0].top_logprobs[0].logprob

    assert first(0.0) == pytest.approx(first(1.7), abs=1e-4)


def test_completions_tell_logprobs_with_offsets(real: OpenAI) -> None:
    choice = real.completions.create(model="starter", prompt="The sea", max_tokens=6, logprobs=2).choices[0]
    told = choice.logprobs
    assert "".join(told.tokens) == choice.text
    assert all(
        choice.text[at:].startswith(token) for token, at in zip(told.tokens, told.text_offset, strict=True)
    )
    assert all(len(top) == 2 for top in told.top_logprobs)


def test_a_bias_bans_a_token(real: OpenAI, starter: object) -> None:
    wanted = {"model": "starter", "messages": [USER], "max_tokens": 1, "logprobs": True, "top_logprobs": 1}
    first = real.chat.completions.create(**wanted).choices[0].message.content
    (banned,) = starter.renderer.tokenizer.encode(first)  # type: ignore[attr-defined]
    other = real.chat.completions.create(logit_bias={str(banned): -100}, **wanted).choices[0].message.content
    assert other != first


@pytest.mark.parametrize(
    ("model", "options", "param"),
    [
        ("echo", {"logprobs": True}, "logprobs"),
        ("echo", {"logit_bias": {"5": 1}}, "logit_bias"),
        ("starter", {"logit_bias": {"-5": 1}}, "logit_bias"),
        ("starter", {"logit_bias": {"9999999": 1}}, "logit_bias"),
        ("starter", {"logit_bias": {"5": 101}}, "logit_bias.5"),
        ("starter", {"n": 17, "temperature": 1}, "n"),
        ("starter", {"presence_penalty": 0.5}, "presence_penalty"),
        ("tickets", {"logit_bias": {"5": 1}}, "logit_bias"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_by_name(
    real: OpenAI, model: str, options: dict[str, object], param: str
) -> None:
    with pytest.raises(sdk.BadRequestError) as refusal:
        real.chat.completions.create(model=model, messages=[USER], **options)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("options", "param"),
    [({"echo": True}, "echo"), ({"suffix": "x"}, "suffix"), ({"best_of": 3}, "best_of")],
)
def test_fields_of_old_completions_are_refused_with_the_fix(
    real: OpenAI, options: dict[str, object], param: str
) -> None:
    with pytest.raises(sdk.BadRequestError) as refusal:
        real.completions.create(model="starter", prompt="x", **options)
    assert refusal.value.param == param
