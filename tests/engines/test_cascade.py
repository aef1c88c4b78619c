"""Rows are handed over together, each is answered once, and the answer says by whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from smallworks.bundle.manifest import Calibration, Manifest, Scope, Sureness
from smallworks.engines.cascade import Cascade, PaidCascade, assemble
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.engines.sureness import agreement
from smallworks.errors import BundleError
from smallworks.prompt.renderer import Renderer
from smallworks.types import Choices, Completion, Prompt, PromptSpec, Sampling, Spent, Token

LABELS = ("no", "yes")


class Sure(Fake):
    """Says yes, as surely as the number in the text; remembers what it was asked."""

    def __init__(self, by: float = 0.0, tokens: int = 0) -> None:
        super().__init__()
        self.by, self.tokens, self.asked = by, tokens, list[list[str]]()

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        self.asked.append([prompt.text for prompt in prompts])
        sure = np.array([min(0.99, float(prompt.text) + self.by) for prompt in prompts])
        return np.log(np.stack([1 - sure, sure], axis=1))

    def count(self, text: str) -> int:
        return self.tokens


class Paid(Sure):
    def spent(self) -> tuple[int, int, int]:
        return 3, 20, 2


def stage(model: Fake, labels: tuple[str, ...] = LABELS) -> Predictor:
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=labels))
    manifest = Manifest(task="t", kind="classify", candidate="c", engine="fake", prompt=spec)
    return Predictor(manifest=manifest, model=model, renderer=Renderer(spec))


def cascade(*models: Fake, thresholds: Sequence[float] = (0.8,)) -> Predictor:
    names = ["first", "second", "third"][: len(models)]
    made = assemble([stage(model) for model in models], names, thresholds)
    outer = stage(Fake())
    return replace(outer, model=made, manifest=replace(outer.manifest, engine="cascade"))


def test_unsure_rows_go_on_together_and_sure_ones_do_not() -> None:
    cheap, dear = Sure(), Sure(by=0.3)
    answers = cascade(cheap, dear).answers(["0.9", "0.6", "0.82", "0.55"])
    assert [answer.stage for answer in answers] == ["first", "second", "first", "second"]
    assert cheap.asked == [["0.9", "0.6", "0.82", "0.55"]] and dear.asked == [["0.6", "0.55"]]
    assert answers[1].probabilities == pytest.approx({"no": 0.1, "yes": 0.9})


def test_the_last_stage_answers_whatever_it_thinks() -> None:
    answer = cascade(Sure(), Sure(), Sure(), thresholds=(0.9, 0.9)).answer("0.55")
    assert (answer.stage, answer.text) == ("third", "yes")


def test_nobody_behind_a_sure_stage_is_asked() -> None:
    dear = Sure()
    cascade(Sure(), dear).answers(["0.9", "0.95"])
    assert dear.asked == []


def test_tokens_are_those_of_all_that_were_asked() -> None:
    one = cascade(Sure(tokens=3), Sure(by=0.3, tokens=40))
    assert [answer.tokens_in for answer in one.answers(["0.9", "0.6"])] == [3, 43]
    assert isinstance(one.model, Cascade) and one.model.readers == 2 and one.model.count("0.6") == 43


def test_an_answer_tells_what_each_stage_took() -> None:
    inner = cascade(Sure(tokens=3), Sure(tokens=7))
    made = assemble([inner, stage(Sure(by=0.3, tokens=40))], ["first", "second"], [0.8])
    sure, unsure = made.label(["0.9", "0.6"])
    assert sure.spent == (Spent("first/first", 3, 0),)
    assert [(part.stage, part.tokens_in) for part in unsure.spent] == [
        ("first/first", 3),
        ("first/second", 7),
        ("second", 40),
    ]
    assert unsure.tokens_in == 50


def test_a_batch_is_answered_as_its_rows_alone_are() -> None:
    one, texts = cascade(Sure(), Sure(by=0.2)), ["0.9", "0.6", "0.85", "0.79"]
    together = [(a.text, a.stage, a.probabilities) for a in one.answers(texts)]
    assert together == [(a.text, a.stage, a.probabilities) for a in map(one.answer, texts)]


def test_calibrated_probabilities_are_not_calibrated_again() -> None:
    one = cascade(Sure(), Sure())
    hot = replace(one, manifest=replace(one.manifest, calibration=Calibration(temperature=5.0)))
    assert hot.answer("0.9").probabilities == pytest.approx({"no": 0.1, "yes": 0.9})


def test_only_a_cascade_with_a_paid_stage_is_metered() -> None:
    assert not hasattr(cascade(Sure(), Sure()).model, "spent")
    paid = cascade(Sure(), Paid()).model
    assert isinstance(paid, PaidCascade) and paid.spent() == (3, 20, 2)


def test_stages_of_other_labels_are_refused() -> None:
    with pytest.raises(BundleError, match="'second' knows 1 labels"):
        assemble([stage(Sure()), stage(Sure(), ("no",))], ["first", "second"], [0.8])


def test_it_scores_the_labels_in_the_order_asked() -> None:
    made = cascade(Sure(), Sure()).model
    logp = made.score([Prompt(text="0.9")], Choices(labels=("yes", "no")))
    assert np.exp(logp[0]) == pytest.approx([0.9, 0.1])


def test_what_seems_out_of_scope_goes_on_and_the_last_stage_says_so() -> None:
    known = stage(Sure())
    scoped = replace(known, manifest=replace(known.manifest, scope=Scope(score="probability", at=0.9)))
    made = assemble([scoped, scoped], ["first", "second"], [0.6])
    outer = replace(stage(Fake()), model=made)
    answers = outer.answers(["0.95", "0.8"])
    assert [(a.stage, a.abstain) for a in answers] == [("first", False), ("second", True)]
    mixed = replace(outer, model=assemble([scoped, known], ["first", "second"], [0.6])).answers(["0.8"])
    assert [(a.stage, a.abstain) for a in mixed] == [("second", False)]
    assert cascade(Sure(), Sure()).answer("0.9").abstain is None


def test_what_is_kept_back_goes_on_at_a_threshold_of_nothing_too() -> None:
    known = stage(Sure())
    scoped = replace(known, manifest=replace(known.manifest, scope=Scope(score="probability", at=0.9)))
    outer = replace(stage(Fake()), model=assemble([scoped, known], ["first", "second"], [0.0]))
    assert [answer.stage for answer in outer.answers(["0.95", "0.8"])] == ["first", "second"]


class Writing(Fake):
    """Writes the answer that it knows, token by token as surely as the number in the text."""

    abilities = frozenset({"logprobs"})

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        self.asked = sampling
        done = super().generate(prompt, sampling, cancel=cancel)
        if sampling.logprobs is None:
            return done
        tokens = (Token(text="x", logprob=math.log(float(prompt.text))), Token(text="y", logprob=0.0))
        return replace(done, tokens=tokens)


def writer(model: Fake) -> Predictor:
    spec = PromptSpec(style="raw", kind="generate")
    manifest = Manifest(task="t", kind="generate", candidate="c", engine="fake", prompt=spec)
    return Predictor(manifest=manifest, model=model, renderer=Renderer(spec))


def writing(*models: Fake, sureness: Sequence[Sureness], thresholds: Sequence[float]) -> Predictor:
    names = ["first", "second", "third"][: len(models)]
    made = assemble([writer(model) for model in models], names, thresholds, sureness=sureness)
    outer = writer(Fake())
    return replace(outer, model=made, manifest=replace(outer.manifest, engine="cascade"))


def test_what_is_written_is_handed_over_by_the_least_sure_token() -> None:
    cheap, dear = Writing({"0.9": "cheap", "0.3": "cheap"}), Fake({"0.3": "dear"})
    one = writing(cheap, dear, sureness=[Sureness(signal="weakest")], thresholds=[0.8])
    said = one.answers(["0.9", "0.3"])
    assert [(a.stage, a.text, a.tokens) for a in said] == [("first", "cheap", ()), ("second", "dear", ())]
    assert [part.stage for part in said[1].spent] == ["first", "second"] and said[1].abstain is None
    assert said[1].tokens_out == len("cheap") + len("dear")


def test_a_curve_bends_what_the_tokens_tell() -> None:
    how = Sureness(signal="likelihood", curve=((0.0, 0.01), (0.5, 0.9), (1.0, 1.0)))
    one = writing(Writing(), Fake(), sureness=[how], thresholds=[0.8])
    assert one.answer("0.3").stage == "first"
    assert writing(Writing(), Fake(), sureness=[how], thresholds=[0.99]).answer("0.3").stage == "second"


def test_two_that_agree_answer_and_the_third_does_else() -> None:
    sureness = [Sureness(signal="none"), Sureness(signal="agreement")]
    models = (Fake({"a": "the answer"}), Fake({"a": "The answer!"}), Fake({"b": "third"}))
    one = writing(*models, sureness=sureness, thresholds=[1.0, 1.0])
    assert [(answer.stage, answer.text) for answer in one.answers(["a", "c"])] == [
        ("second", "The answer!"),
        ("second", "c"),
    ]
    other = writing(Fake({"b": "x"}), Fake(), models[2], sureness=sureness, thresholds=[1.0, 0.9])
    assert (other.answer("b").stage, other.answer("b").text) == ("third", "third")


def test_a_request_changes_how_every_stage_draws_and_nothing_else() -> None:
    cheap = Writing()
    one = writing(cheap, Fake(), sureness=[Sureness(signal="weakest")], thresholds=[0.1])
    usual = one.answer("0.9", one.manifest.sampling)
    assert usual.text == "0.9" and cheap.asked.logprobs == 2
    short = one.answer("0.9", replace(one.manifest.sampling, max_tokens=2))
    assert short.text == "0." and short.finish == "length" and cheap.asked.max_tokens == 2


def test_no_stage_writes_more_than_the_request_or_the_cascade_allows() -> None:
    long = writer(Writing())
    long = replace(long, manifest=replace(long.manifest, sampling=Sampling(max_tokens=1024)))
    made = assemble(
        [long, writer(Fake())],
        ["first", "second"],
        [0.1],
        sureness=[Sureness(signal="weakest")],
        sampling=Sampling(max_tokens=4),
    )
    for asked, size in ((None, 4), (Sampling(max_tokens=4), 4), (Sampling(max_tokens=6), 6)):
        answer = made.write("0.9000000", asked)
        assert (answer.stage, answer.tokens_out, long.model.asked.max_tokens) == ("first", size, size)


def test_a_stage_keeps_a_limit_of_its_own_that_is_smaller() -> None:
    short = writer(Writing())
    short = replace(short, manifest=replace(short.manifest, sampling=Sampling(max_tokens=2)))
    names, how = ["first", "second"], [Sureness(signal="weakest")]
    made = assemble([short, writer(Fake())], names, [0.1], sureness=how, sampling=Sampling(max_tokens=4))
    assert made.write("0.9000000", Sampling(max_tokens=4)).text == "0."


def test_a_written_answer_comes_in_one_piece() -> None:
    one = writing(Writing(), Fake(), sureness=[Sureness(signal="weakest")], thresholds=[0.8])
    assert one.whole and [chunk.text for chunk in one.stream("0.9")] == ["0.9"]


def test_a_stage_that_tells_nothing_of_its_text_is_refused() -> None:
    for sureness in ([], [Sureness(signal="weakest")]):
        with pytest.raises(BundleError, match="'first' does not tell how sure"):
            writing(Fake(), Fake(), sureness=sureness, thresholds=[0.5])
    with pytest.raises(BundleError, match="does not write"):
        assemble([stage(Sure()), writer(Fake())], ["first", "second"], [0.5])


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("Yes.", "Yes.", 1),
        ("yes", "Yes!", 1),
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}', 1),
        ("a b", "b c", 0.5),
    ],
)
def test_agreement_reads_words_and_json(one: str, other: str, share: float) -> None:
    assert agreement(one, other) == share and agreement(one, "") == 0


def test_what_a_gate_keeps_out_goes_to_the_last_stage_at_once() -> None:
    models = (Sure(), Sure(), Sure())
    names = ["first", "second", "third"]
    made = assemble(
        [stage(model) for model in models], names, [0.5, 0.5], gate=lambda text: float(text) < 0.9
    )
    answers = made.label(["0.95", "0.6"])
    assert [answer.stage for answer in answers] == ["third", "first"]
    assert models[0].asked == [["0.6"]] and models[1].asked == [] and models[2].asked == [["0.95"]]
    assert [part.stage for part in answers[0].spent] == ["third"]
