"""The fake engine beyond the contract: scripts, echoes, its pace, and that it costs next to nothing."""

import time
from threading import Event

import numpy as np
import pytest

from smallworks.engines.fake import Fake
from smallworks.errors import RequestError
from smallworks.types import Choices, Prompt, Sampling

ASK = Prompt(text="What colour is the sky?")


def test_echoes_what_it_was_not_told():
    assert Fake().generate(ASK, Sampling()).text == ASK.text


def test_says_what_it_was_told():
    assert Fake({ASK.text: "Blue."}).generate(ASK, Sampling()).text == "Blue."


def test_scores_what_it_was_told():
    fake = Fake(scores={ASK.text: {"yes": 0.75, "no": 0.25}})
    scores = fake.score([ASK], Choices(labels=("no", "yes")))
    assert np.exp(scores[0]) == pytest.approx([0.25, 0.75])


def test_made_up_scores_differ_between_prompts_but_not_between_runs():
    choices = Choices(labels=("a", "b", "c"))
    one, two = Fake().score([ASK, Prompt(text="else")], choices), Fake().score([ASK], choices)
    assert (one[0] == two[0]).all()
    assert (one[0] != one[1]).all()


def test_a_stop_string_past_the_last_token_is_not_met():
    fake = Fake({ASK.text: "one two three"})
    assert fake.generate(ASK, Sampling(max_tokens=6, stop=("two",))).text == "one tw"


def test_a_paced_answer_can_be_cancelled_midway():
    cancel, shown = Event(), ""
    for chunk in Fake(pace=0.001).stream(ASK, Sampling(), cancel=cancel):
        shown += chunk.text
        if shown == "What":
            cancel.set()
    assert shown == "What"
    assert chunk.completion.finish == "cancelled"
    assert chunk.completion.tokens_out == 4


def test_a_schema_is_refused_rather_than_ignored():
    with pytest.raises(RequestError, match="schema"):
        Fake().generate(ASK, Sampling(schema={"type": "object"}))


def test_an_answer_costs_microseconds():
    fake, sampling, best = Fake(), Sampling(), 1.0
    for _ in range(200):
        began = time.perf_counter()
        fake.generate(ASK, sampling)
        best = min(best, time.perf_counter() - began)
    assert best < 1e-3  # 10 microseconds measured
