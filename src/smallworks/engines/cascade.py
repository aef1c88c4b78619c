"""The cascade engine: bundles asked in turn, cheap to dear, until one is sure enough of its answer.

The rows of a batch that a stage is not sure of go to the next one together. Knows stages that answer and
their thresholds; knows nothing of how these were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from threading import Event

import numpy as np

from smallworks.bundle.manifest import Sureness
from smallworks.engines.predictor import Predictor
from smallworks.engines.sureness import asked, confidence, signals
from smallworks.errors import BundleError
from smallworks.seams import Metered
from smallworks.types import Answer, Choices, Chunk, Completion, Prompt, Sampling, Spent

LEAST = 1e-300
"""The probability that stands for none, so that every logarithm is finite."""
USUAL = Sampling()
Gate = Callable[[str], bool]
"""Whether the stages before the last are to be asked of a text at all."""
ASKED = ("max_tokens", "temperature", "top_p", "seed", "stop")
"""What a request may ask of every stage; all else of how a stage draws is its own."""


class Cascade:
    """Implements seams.Model, seams.Labeller and seams.Writer. As safe for several threads as its stages are.

    A stage answers where the probability of its label, or what `sureness` tells of its text, is its threshold
    or more, and the input seems in scope to it; the last one always does. With a stage that tells so, every
    answer says whether it abstains. `sampling` is what a request changes parts of. What `gate` does not let
    in goes to the last stage at once.
    """

    engine = "cascade"
    context = 0

    def __init__(
        self,
        stages: Sequence[Predictor],
        names: Sequence[str],
        thresholds: Sequence[float],
        *,
        sureness: Sequence[Sureness | None] = (),
        sampling: Sampling = USUAL,
        gate: Gate | None = None,
    ) -> None:
        self.stages = tuple(stages)
        self.writes = self.stages[-1].choices is None
        self.sureness = (*(sureness or [None] * len(thresholds)), None)
        self.sampling = sampling
        self.gate = gate
        self.names = tuple(names)
        self.thresholds = (*thresholds, 0.0)
        self.scoped = any(_scoped(stage) for stage in self.stages)
        self.readers = max(1, sum(_tokens(stage, "x") > 0 for stage in self.stages))

    def label(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text: the first sure stage's own, with the tokens of every stage that was asked."""
        return self._answers(texts, None, None)

    def write(self, text: str, sampling: Sampling | None, *, cancel: Event | None = None) -> Answer:
        return self._answers([text], sampling, cancel)[0]

    def _answers(self, texts: Sequence[str], sampling: Sampling | None, cancel: Event | None) -> list[Answer]:
        found: dict[int, Answer] = {}
        late = {i for i, text in enumerate(texts) if self.gate is not None and not self.gate(text)}
        left = [i for i in range(len(texts)) if i not in late]
        spent: list[tuple[Spent, ...]] = [()] * len(texts)
        before: list[str | None] = [None] * len(texts)
        rungs = zip(self.stages, self.names, self.thresholds, self.sureness, strict=True)
        for place, (stage, name, threshold, how) in enumerate(rungs, 1):
            last = place == len(self.stages)
            left = sorted([*left, *late]) if last else left
            said = self._ask(stage, how, [texts[i] for i in left], sampling, cancel)
            for i, answer in zip(left, said, strict=True):
                spent[i] = (*spent[i], *_spent(name, answer))
                sure = not answer.abstain and _sure(answer, how, before[i]) >= threshold
                if last or sure or answer.finish == "cancelled":
                    found[i] = replace(
                        answer,
                        stage=name,
                        tokens_in=sum(part.tokens_in for part in spent[i]),
                        tokens_out=sum(part.tokens_out for part in spent[i]),
                        abstain=bool(answer.abstain) if self.scoped else None,
                        spent=spent[i],
                        tokens=(),
                    )
                before[i] = answer.text
            left = [i for i in left if i not in found]
        return [found[i] for i in range(len(texts))]

    def _ask(
        self,
        stage: Predictor,
        how: Sureness | None,
        texts: Sequence[str],
        sampling: Sampling | None,
        cancel: Event | None,
    ) -> list[Answer]:
        """A stage's own answers, with log-probabilities where these tell how sure it is.

        None is longer than what is asked of the cascade: limits and budgets go by that.
        """
        if not self.writes:
            return stage.answers(texts) if texts else []
        own = stage.manifest.sampling
        if how is not None and how.signal not in ("agreement", "none"):
            own = asked(stage) or own
        asks = sampling or self.sampling
        wanted = {name: getattr(asks, name) for name in ASKED}
        own = replace(own, **{n: v for n, v in wanted.items() if v != getattr(self.sampling, n)})
        own = replace(own, max_tokens=min(own.max_tokens, asks.max_tokens))
        return [stage.answer(text, own, cancel=cancel) for text in texts]

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        rows = [answer.probabilities or {} for answer in self.label([p.text for p in prompts])]
        known = [[max(LEAST, row.get(label, 0.0)) for label in choices.labels] for row in rows]
        logp: np.ndarray = np.log(np.reshape(known, (len(prompts), len(choices.labels))))
        return logp

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """The label, or what is written, as text."""
        answer = self.write(prompt.text, sampling, cancel=cancel)
        return Completion(
            text=answer.text,
            finish=answer.finish,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            sources=answer.sources,
        )

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        whole = self.generate(prompt, sampling, cancel=cancel)
        yield Chunk(text=whole.text, completion=whole)

    def count(self, text: str) -> int:
        """Tokens that the prompts of all stages around `text` take: the most that a request can come to."""
        return sum(_tokens(stage, text) for stage in self.stages)

    def close(self) -> None:
        for stage in self.stages:
            stage.close()


class PaidCascade(Cascade):
    """One with a stage that is paid by the token: it tells what was spent there. Implements seams.Metered."""

    def spent(self) -> tuple[int, int, int]:
        paid = [stage.model.spent() for stage in self.stages if isinstance(stage.model, Metered)]
        requests, tokens_in, tokens_out = (sum(column) for column in zip(*paid, strict=True))
        return requests, tokens_in, tokens_out


def assemble(
    stages: Sequence[Predictor],
    names: Sequence[str],
    thresholds: Sequence[float],
    *,
    sureness: Sequence[Sureness | None] = (),
    sampling: Sampling = USUAL,
    gate: Gate | None = None,
) -> Cascade:
    """The cascade of opened stages. Raises BundleError where they are not of one task, or one cannot tell how
    sure it is."""
    sureness = sureness or [None] * len(thresholds)
    (_check_writers if stages[-1].choices is None else _check_labels)(stages, names)
    for stage, name, how in zip(stages[:-1], names, sureness, strict=False):
        tells = how is None or how.signal in ("agreement", "none") or asked(stage) is not None
        if not tells or (how is None and stage.choices is None):
            raise BundleError(
                f"The stage '{name}' does not tell how sure it is of what it writes.",
                fix="Get the bundle again from who built it, or make the cascade again.",
            )
    kind = PaidCascade if any(isinstance(stage.model, Metered) for stage in stages) else Cascade
    return kind(stages, names, thresholds, sureness=sureness, sampling=sampling, gate=gate)


def _check_writers(stages: Sequence[Predictor], names: Sequence[str]) -> None:
    for stage, name in zip(stages, names, strict=True):
        if stage.choices is not None or stage.manifest.kind != stages[0].manifest.kind:
            raise BundleError(
                f"The stage '{name}' does not write what '{names[-1]}' does.",
                fix="Put bundles of one task into a cascade.",
            )


def _check_labels(stages: Sequence[Predictor], names: Sequence[str]) -> None:
    labels = [set(stage.choices.labels) if stage.choices else set() for stage in stages]
    for name, known in zip(names, labels, strict=True):
        if not known or known != labels[0]:
            raise BundleError(
                f"The stage '{name}' knows {len(known)} labels and '{names[0]}' {len(labels[0])}, or others.",
                fix="Put bundles of one task and one label set into a cascade.",
            )


def _scoped(stage: Predictor) -> bool:
    """Whether it tells what seems out of scope."""
    inner = stage.model
    return inner.scoped if isinstance(inner, Cascade) else stage.manifest.scope is not None


def _spent(name: str, answer: Answer) -> tuple[Spent, ...]:
    """What a stage took; of one that is a cascade, what each of its own stages did."""
    parts = tuple(replace(part, stage=f"{name}/{part.stage}") for part in answer.spent)
    return parts or (Spent(name, answer.tokens_in, answer.tokens_out),)


def _sure(answer: Answer, how: Sureness | None, before: str | None) -> float:
    """What tells how sure it is; by default the probability of the label, 1 where there are none."""
    if how is not None:
        return confidence(how, signals(answer.tokens), answer.text, before)
    return answer.probabilities[answer.text] if answer.probabilities else 1.0


def _tokens(stage: Predictor, text: str) -> int:
    prompt = stage.render(text)
    return len(prompt.ids) or stage.model.count(prompt.text)
