"""The stock `openai` SDK against a real server on loopback."""

from __future__ import annotations

import math

import openai as sdk
import pytest
from openai import OpenAI

USER = {"role": "user", "content": "It crashes."}


def test_models_are_listed_by_name(openai: OpenAI) -> None:
    models = {model.id: model for model in openai.models.list()}
    assert set(models) == {"tickets", "echo", "slow", "pair", "short"}
    assert models["tickets"].smallworks["labels"] == ["bug", "feature", "question"]
    assert openai.models.retrieve("echo").owned_by == "smallworks"


def test_a_chat_with_a_labelling_bundle_answers_the_label_with_its_probabilities(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(model="tickets", messages=[USER])
    assert reply.choices[0].message.content == "bug"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.smallworks["label"] == "bug"
    assert reply.smallworks["probabilities"]["bug"] == pytest.approx(0.7)
    assert sum(reply.smallworks["probabilities"].values()) == pytest.approx(1)


def test_label_probabilities_come_in_the_logprobs_shape_when_asked(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(model="tickets", messages=[USER], logprobs=True, top_logprobs=2)
    (token,) = reply.choices[0].logprobs.content
    assert token.token == "bug"
    assert math.exp(token.logprob) == pytest.approx(0.7)
    assert [top.token for top in token.top_logprobs] == ["bug", "question"]


def test_a_single_user_message_goes_through_the_bundles_own_prompt(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(model="echo", messages=[{"role": "user", "content": "Hi, café!"}])
    assert reply.choices[0].message.content == "Say it.\n\nHi, café!"
    assert reply.usage.prompt_tokens == reply.usage.completion_tokens == len("Say it.\n\nHi, café!".encode())
    assert reply.usage.total_tokens == 2 * reply.usage.prompt_tokens


def test_a_system_message_that_repeats_the_instruction_changes_nothing(openai: OpenAI) -> None:
    system = {"role": "system", "content": " Name the kind\nof the ticket. "}
    assert (
        openai.chat.completions.create(model="tickets", messages=[system, USER]).smallworks["label"] == "bug"
    )


def test_a_labelling_bundle_refuses_other_system_messages_and_earlier_turns(openai: OpenAI) -> None:
    for extra in ({"role": "system", "content": "Be rude."}, {"role": "assistant", "content": "Yes?"}):
        with pytest.raises(sdk.BadRequestError, match="Send one user message alone") as refusal:
            openai.chat.completions.create(model="tickets", messages=[extra, USER])
        assert refusal.value.param == "messages"


def test_earlier_turns_make_a_free_conversation_on_a_writing_bundle(openai: OpenAI) -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    reply = openai.chat.completions.create(model="echo", messages=turns)
    assert reply.choices[0].message.content == "a\n\nb\n\nc"


def test_stop_max_tokens_seed_and_temperature_are_honoured(openai: OpenAI) -> None:
    def say(text: str, **options: object) -> object:
        messages = [{"role": "user", "content": text}]
        return openai.chat.completions.create(model="echo", messages=messages, **options).choices[0]

    assert say("one two", stop=[" two"]).message.content == "Say it.\n\none"
    cut = say("one two", max_completion_tokens=5)
    assert (cut.message.content, cut.finish_reason) == ("Say i", "length")
    words = "a b c d e f g h"
    drawn = [say(words, temperature=1.0, seed=seed).message.content for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_stream_is_the_answer_in_pieces_and_ends_with_its_usage(openai: OpenAI) -> None:
    stream = openai.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "漢字 🎉 \u2028 ½"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "Say it.\n\n漢字 🎉 \u2028 ½"
    assert len(chunks) > 10
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert last.choices == [] and last.usage.completion_tokens == len(text.encode())


def test_a_streamed_label_brings_its_probabilities(openai: OpenAI) -> None:
    *_, last = openai.chat.completions.create(model="tickets", messages=[USER], stream=True)
    assert last.smallworks["probabilities"]["bug"] == pytest.approx(0.7)


def test_completions_answer_each_prompt_in_order(openai: OpenAI) -> None:
    reply = openai.completions.create(model="tickets", prompt=["It crashes.", "Why?"], logprobs=1)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert reply.choices[0].text == "bug"
    assert math.exp(reply.choices[0].logprobs.token_logprobs[0]) == pytest.approx(0.7)
    streamed: dict[int, str] = {}
    for chunk in openai.completions.create(model="echo", prompt=["x", "yz"], stream=True):
        choice = chunk.choices[0]
        streamed[choice.index] = streamed.get(choice.index, "") + choice.text
    assert streamed == {0: "Say it.\n\nx", 1: "Say it.\n\nyz"}


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(openai: OpenAI) -> None:
    with pytest.raises(sdk.NotFoundError, match=r"no model 'gpt-9'.*Available: tickets, echo") as refusal:
        openai.chat.completions.create(model="gpt-9", messages=[USER])
    assert refusal.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("model", "options", "param"),
    [
        ("tickets", {"n": 2}, "n"),
        ("tickets", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ("tickets", {"logit_bias": {"5": 1}}, "logit_bias"),
        ("tickets", {"response_format": {"type": "json_object"}}, "response_format"),
        ("echo", {"logprobs": True}, "logprobs"),
        ("echo", {"max_tokens": 0}, "max_tokens"),
        ("echo", {"temperature": 9}, "temperature"),
        ("echo", {"stop": [1]}, "stop"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    openai: OpenAI, model: str, options: dict[str, object], param: str
) -> None:
    with pytest.raises(sdk.BadRequestError) as refusal:
        openai.chat.completions.create(model=model, messages=[USER], **options)
    assert refusal.value.param == param


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit_is_a_clear_400(openai: OpenAI, stream: bool) -> None:
    long = {"role": "user", "content": "x" * 100}
    with pytest.raises(sdk.BadRequestError, match=r"context is 40\. Shorten the input"):
        openai.chat.completions.create(model="short", messages=[long], stream=stream)
