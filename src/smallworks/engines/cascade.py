"""The cascade engine: bundles asked in turn, cheap to dear, until one is sure enough of its label.

The rows of a batch that a stage is not sure of go to the next one together. Knows stages that answer and
their thresholds; knows nothing of how these were chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event

import numpy as np

from smallworks.engines.predictor import Predictor
from smallworks.errors import BundleError
from smallworks.seams import Metered
from smallworks.types import Answer, Choices, Chunk, Completion, Prompt, Sampling, Spent

LEAST = 1e-300
"""The probability that stands for none, so that every logarithm is finite."""


class Cascade:
    """Implements seams.Model and seams.Labeller. As safe to call from several threads as its stages are.

    A stage answers where the probability of its label is its threshold or more and the input seems in scope
    to it; the last one always does. With a stage that tells so, every answer says whether it abstains.
    """

    engine = "cascade"
    context = 0

    def __init__(
        self, stages: Sequence[Predictor], names: Sequence[str], thresholds: Sequence[float]
    ) -> None:
        self.stages = tuple(stages)
        self.names = tuple(names)
        self.thresholds = (*thresholds, 0.0)
        self.scoped = any(_scoped(stage) for stage in self.stages)
        self.readers = max(1, sum(_tokens(stage, "x") > 0 for stage in self.stages))

    def label(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text: the first sure stage's own, with the tokens of every stage that was asked."""
        found: dict[int, Answer] = {}
        left = list(range(len(texts)))
        spent: list[tuple[Spent, ...]] = [()] * len(texts)
        rungs = zip(self.stages, self.names, self.thresholds, strict=True)
        for place, (stage, name, threshold) in enumerate(rungs, 1):
            last = place == len(self.stages)
            said = stage.answers([texts[i] for i in left]) if left else []
            for i, answer in zip(left, said, strict=True):
                spent[i] = (*spent[i], *_spent(name, answer))
                if last or (not answer.abstain and _sure(answer) >= threshold):
                    found[i] = replace(
                        answer,
                        stage=name,
                        tokens_in=sum(part.tokens_in for part in spent[i]),
                        tokens_out=sum(part.tokens_out for part in spent[i]),
                        abstain=bool(answer.abstain) if self.scoped else None,
                        spent=spent[i],
                    )
            left = [i for i in left if i not in found]
        return [found[i] for i in range(len(texts))]

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        rows = [answer.probabilities or {} for answer in self.label([p.text for p in prompts])]
        known = [[max(LEAST, row.get(label, 0.0)) for label in choices.labels] for row in rows]
        logp: np.ndarray = np.log(np.reshape(known, (len(prompts), len(choices.labels))))
        return logp

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """The label as text."""
        (answer,) = self.label([prompt.text])
        return Completion(
            text=answer.text, finish="stop", tokens_in=answer.tokens_in, tokens_out=answer.tokens_out
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


def assemble(stages: Sequence[Predictor], names: Sequence[str], thresholds: Sequence[float]) -> Cascade:
    """The cascade of opened stages. Raises BundleError where they do not know the same labels."""
    labels = [set(stage.choices.labels) if stage.choices else set() for stage in stages]
    for name, known in zip(names, labels, strict=True):
        if not known or known != labels[0]:
            raise BundleError(
                f"The stage '{name}' knows {len(known)} labels and '{names[0]}' {len(labels[0])}, or others.",
                fix="Put bundles of one task and one label set into a cascade.",
            )
    kind = PaidCascade if any(isinstance(stage.model, Metered) for stage in stages) else Cascade
    return kind(stages, names, thresholds)


def _scoped(stage: Predictor) -> bool:
    """Whether it tells what seems out of scope."""
    inner = stage.model
    return inner.scoped if isinstance(inner, Cascade) else stage.manifest.scope is not None


def _spent(name: str, answer: Answer) -> tuple[Spent, ...]:
    """What a stage took; of one that is a cascade, what each of its own stages did."""
    parts = tuple(replace(part, stage=f"{name}/{part.stage}") for part in answer.spent)
    return parts or (Spent(name, answer.tokens_in, answer.tokens_out),)


def _sure(answer: Answer) -> float:
    """The probability of the label; 1 where there are none."""
    return answer.probabilities[answer.text] if answer.probabilities else 1.0


def _tokens(stage: Predictor, text: str) -> int:
    prompt = stage.render(text)
    return len(prompt.ids) or stage.model.count(prompt.text)
