"""What every engine must do, whatever it is made of. The engines are listed in conftest.py."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from smallworks import seams
from smallworks.errors import ModelError, RequestError
from smallworks.types import Sampling

GREEDY = Sampling(max_tokens=200)


def first(subject):
    """The first recital: its prompt and the answer that is known."""
    text, answer = next(iter(subject.recitals.items()))
    return subject.prompt(text), answer


def greedy(subject, **changes):
    """Greedy sampling that ends where the tiny model's turn ends."""
    ends = () if subject.choices.ids == () else (2,)
    return replace(GREEDY, stop_ids=ends, **changes)


def test_is_a_model(model):
    assert isinstance(model, seams.Model)
    assert model.engine


def test_recites_what_it_knows(subject, speaker):
    for text, answer in subject.recitals.items():
        completion = speaker.generate(subject.prompt(text), greedy(subject))
        assert completion.text == answer
        assert completion.finish == "stop"


def test_streams_what_it_generates(subject, speaker):
    for prompt in subject.prompts:
        chunks = list(speaker.stream(prompt, greedy(subject)))
        assert chunks[-1].completion == speaker.generate(prompt, greedy(subject))
        assert "".join(chunk.text for chunk in chunks) == chunks[-1].completion.text
        assert all(chunk.completion is None for chunk in chunks[:-1])
        assert len(chunks) > 5


def test_no_chunk_splits_a_character(subject, speaker):
    for prompt in subject.prompts:
        for chunk in speaker.stream(prompt, greedy(subject)):
            assert "\N{REPLACEMENT CHARACTER}" not in chunk.text


@pytest.mark.parametrize("stop", ["quay", "quay opened", "7 o'", "gulls (hungry", " ", "🎉"])
def test_stop_strings_end_the_answer_and_are_not_part_of_it(subject, speaker, stop):
    prompt, answer = first(subject)
    completion = speaker.generate(prompt, greedy(subject, stop=(stop,)))
    assert completion.text == answer[: answer.index(stop)]
    assert completion.finish == "stop"


def test_a_stream_never_lets_out_part_of_a_stop_string(subject, speaker):
    prompt, answer = first(subject)
    chunks = list(speaker.stream(prompt, greedy(subject, stop=("quay opened at 7 o'clock;", "absent"))))
    shown = "".join(chunk.text for chunk in chunks)
    assert shown == answer[: answer.index("quay")] == chunks[-1].completion.text


def test_half_a_stop_string_is_text_after_all(subject, speaker):
    prompt, answer = first(subject)
    for stop in ("paid. Really", "paid.\n", "opened at noon"):
        chunks = list(speaker.stream(prompt, greedy(subject, stop=(stop,))))
        assert "".join(chunk.text for chunk in chunks) == answer


def test_the_earliest_stop_string_wins(subject, speaker):
    prompt, answer = first(subject)
    completion = speaker.generate(prompt, greedy(subject, stop=("clock", "quay", "opened")))
    assert completion.text == answer[: answer.index("quay")]


def test_stop_ids_end_the_answer_and_are_not_part_of_it(subject, speaker):
    if not subject.tokens:
        pytest.skip("no token ids")
    # An answer in ASCII: an engine may not know the ids of one whose characters are split.
    prompt = subject.prompts[2]
    whole = speaker.generate(prompt, Sampling(max_tokens=20))
    stop = whole.ids[12]
    at = whole.ids.index(stop)
    cut = speaker.generate(prompt, Sampling(max_tokens=20, stop_ids=(stop,)))
    assert (cut.ids, cut.finish, cut.tokens_out) == (whole.ids[:at], "stop", at)
    assert whole.text.startswith(cut.text)


def test_max_tokens_end_the_answer(subject, speaker):
    prompt, answer = first(subject)
    completion = speaker.generate(prompt, greedy(subject, max_tokens=6))
    assert completion.finish == "length"
    assert completion.tokens_out == 6
    assert answer.startswith(completion.text.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_tokens_are_counted(subject, speaker):
    if not subject.tokens:
        pytest.skip("no token ids")
    text = list(subject.recitals)[2]
    completion = speaker.generate(subject.prompt(text), greedy(subject))
    assert completion.tokens_in == len(subject.prompt(text).ids) == speaker.count(text)
    assert completion.tokens_out == len(completion.ids) == speaker.count(completion.text)


def test_the_same_seed_draws_the_same_answer(subject, speaker):
    prompt, _ = first(subject)
    warmest = 3.0 if subject.tokens else 2.0  # what OpenAI-shaped servers take at most
    hot = greedy(subject, temperature=warmest, max_tokens=24)
    texts = {seed: speaker.generate(prompt, replace(hot, seed=seed)).text for seed in range(4)}
    assert len(set(texts.values())) > 1
    for seed, text in texts.items():
        assert speaker.generate(prompt, replace(hot, seed=seed)).text == text
        assert "".join(chunk.text for chunk in speaker.stream(prompt, replace(hot, seed=seed))) == text


def test_a_narrow_top_p_is_greedy(subject, speaker):
    prompt, answer = first(subject)
    if speaker.engine in ("fake", "http"):
        pytest.skip("draws words, not tokens, here and behind http")
    completion = speaker.generate(prompt, greedy(subject, temperature=0.7, top_p=1e-6, seed=5))
    assert completion.text == answer


def test_a_cancelled_answer_ends_with_what_there_is(subject, speaker):
    prompt, answer = first(subject)
    cancel, shown = Event(), []
    for chunk in speaker.stream(prompt, greedy(subject), cancel=cancel):
        shown.append(chunk)
        if len(shown) == 3:
            cancel.set()
    completion = shown[-1].completion
    assert completion.text == "".join(chunk.text for chunk in shown)
    # An engine that runs ahead of its reader may have finished already.
    assert completion.finish == "cancelled" or completion.text == answer


def test_cancelled_before_the_start_is_no_answer(subject, speaker):
    prompt, _ = first(subject)
    cancel = Event()
    cancel.set()
    completion = speaker.generate(prompt, greedy(subject), cancel=cancel)
    assert (completion.text, completion.finish, completion.tokens_out) == ("", "cancelled", 0)


def test_closing_a_stream_frees_the_engine(subject, speaker):
    prompt, answer = first(subject)
    for _ in range(12):
        stream = speaker.stream(prompt, greedy(subject))
        next(stream)
        stream.close()
    began = time.perf_counter()
    assert speaker.generate(prompt, greedy(subject)).text == answer
    assert time.perf_counter() - began < 30


def test_concurrent_answers_are_those_given_alone(subject, speaker):
    prompts = [prompt for prompt, _ in zip(itertools.cycle(subject.prompts), range(8), strict=False)]
    alone = [speaker.generate(prompt, greedy(subject)) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda prompt: speaker.generate(prompt, greedy(subject)), prompts))
    assert together == alone


def test_label_scores_are_a_distribution(subject, model):
    scores = model.score(subject.prompts, subject.choices)
    assert scores.shape == (len(subject.prompts), len(subject.choices.labels))
    assert scores.dtype == np.float64
    assert np.exp(scores).sum(axis=1) == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(scores).all()


def test_label_scores_do_not_depend_on_company_or_history(subject, model):
    prompts = [*subject.prompts, *(subject.prompt(text + "x" * n) for n, text in enumerate(subject.recitals))]
    together = model.score(prompts, subject.choices)
    alone = np.vstack([model.score([prompt], subject.choices) for prompt in reversed(prompts)])[::-1]
    assert together == pytest.approx(alone, abs=1e-4)
    assert model.score(prompts, subject.choices) == pytest.approx(together, abs=1e-4)


def test_no_prompts_have_no_scores(subject, model):
    assert model.score([], subject.choices).shape == (0, len(subject.choices.labels))


def test_a_prompt_that_does_not_fit_is_refused_with_both_lengths(subject, speaker):
    prompt = subject.prompt("far too long " * 200)
    for attempt in (
        lambda: speaker.generate(prompt, greedy(subject)),
        lambda: list(speaker.stream(prompt, greedy(subject))),
    ):
        with pytest.raises(RequestError) as caught:
            attempt()
        if subject.tokens:
            assert str(len(prompt.ids)) in caught.value.what
            assert str(speaker.context) in caught.value.what


def test_closing_twice_is_closing_once(subject):
    model = subject.make()
    model.close()
    model.close()
    if subject.generates:
        with pytest.raises(ModelError):
            model.generate(subject.prompts[0], greedy(subject))
