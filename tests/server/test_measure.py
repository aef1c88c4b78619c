"""What a request may take at most is never less than what it took."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks import starter
from smallworks.bundle.manifest import Manifest
from smallworks.engines.fake import Fake
from smallworks.engines.linear import Linear, LinearHead
from smallworks.engines.predictor import Predictor
from smallworks.prompt import Template, TextTokenizer
from smallworks.prompt.renderer import Renderer
from smallworks.server.ask import Ask, Asks, Batch
from smallworks.server.measure import Measure
from smallworks.types import Answer, Choices, Message, PromptSpec, Sampling

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def taken(answers: list[Answer]) -> int:
    return sum(answer.tokens_in + answer.tokens_out for answer in answers)


@settings(max_examples=40)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), most=st.integers(1, 100))
def test_answers_take_no_more_than_was_measured(
    writing: Callable[..., Predictor], texts: list[str], most: int
) -> None:
    predictor = writing()
    sampling = Sampling(max_tokens=most)
    said = tuple(Message(role="user", content=text) for text in texts)
    single = (Ask(predictor=predictor, sampling=sampling, inputs=text) for text in texts)
    free = Ask(predictor=predictor, sampling=sampling, messages=said)
    for work in (Asks(tuple(single)), Asks((free,))):
        assert taken(work.answers(Event())) <= work.most(Measure(predictor))


@settings(max_examples=40)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_labels_take_no_more_than_was_measured(labelling: Callable[..., Predictor], texts: list[str]) -> None:
    batch = Batch(labelling(), tuple(texts))
    assert taken(batch.answers(Event())) <= batch.most(Measure(batch.predictor))


def test_nothing_takes_more_than_the_context(writing: Callable[..., Predictor]) -> None:
    predictor = writing(Fake(context=100))
    assert Measure(predictor).tokens(["x" * 500], 64) == 100
    assert Measure(predictor).tokens(["x"], 20) < 100


def test_an_engine_without_tokens_takes_none() -> None:
    labels = ("bug", "feature")
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=labels))
    manifest = Manifest(task="t", kind="classify", candidate="linear", engine="linear", prompt=spec)
    model = Linear(LinearHead(labels, (), (), np.zeros(2)))
    predictor = Predictor(manifest=manifest, model=model, renderer=Renderer(spec))
    assert Measure(predictor).tokens(["x" * 500], 1) == 0


NASTY = st.lists(
    st.sampled_from(["<|im_end|>", "<s>", "</s>", "[INST]", "\ufdfa", "🎉", "é", "a", " "]), max_size=20
)


@pytest.mark.parametrize("model", ["starter", "tok-phi-3-mini"])
def test_a_real_tokenizer_makes_no_more_tokens_than_bytes(model: str, request: pytest.FixtureRequest) -> None:
    folder = (
        starter.MODEL if model == "starter" else request.getfixturevalue("shared_files") / "fixtures" / model
    )
    spec = PromptSpec(style="chat", kind="generate", instruction="Say it.")
    renderer = Renderer(spec, Template.load(folder), TextTokenizer.load(folder))
    manifest = Manifest(task="t", kind="generate", candidate="lm", engine="fake", prompt=spec)
    predictor = Predictor(manifest=manifest, model=Fake(), renderer=renderer)
    measure = Measure(predictor)

    @settings(max_examples=60)
    @given(text=TEXTS | NASTY.map("".join))
    def holds(text: str) -> None:
        assert len(predictor.render(text).ids) <= measure.tokens([text], 0)
        turns = [Message(role="user", content=text), Message(role="assistant", content=text)]
        said = [turn.content for turn in (*turns, turns[0])]
        assert len(renderer.chat([*turns, turns[0]]).ids) <= measure.tokens(said, 0)

    holds()


@pytest.mark.parametrize("cut", [0, 3, 17])
def test_an_answer_that_broke_off_counts_what_was_said(writing: Callable[..., Predictor], cut: int) -> None:
    ask = Ask(predictor=writing(), sampling=Sampling(max_tokens=64), inputs="some words more")
    whole = Asks((ask,))
    said = list(whole.pieces(Event()))[: cut + 1]
    answer = whole.broken_off(said)
    assert answer.text == "".join(piece.text for piece in said)
    assert (answer.tokens_in, answer.tokens_out) == (len("Say it.\n\nsome words more"), cut + 1)
