"""An answer from an index: find passages, let a model answer from them alone, check what it said, or decline.

It declines twice over: before the model is asked, when the passages hardly hold what was asked for; and
after, when what the model said does not stand in them. Without a model the answer is the best passage
itself, and `sentences` has the one in it that tells most. What was said must stand in a sentence that has a
word of the question: an order that slipped into a passage seldom does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from threading import Event

from smallworks import rag
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError, UserError
from smallworks.rag import confidence
from smallworks.rag.context import Shown, context, shown
from smallworks.rag.search import By, Hit, K
from smallworks.text.folding import fold
from smallworks.text.sentences import sentences as passage_sentences
from smallworks.text.support import QUESTIONS, by_sentence, supported
from smallworks.types import REFUSAL, Finish, PromptSpec, Sampling

INSTRUCTION = "Answer the question from the context."
"""What the starter was taught; a bundle brings its own."""
ANSWER_TOKENS = 128
SUPPORTED = 0.5
"""The mean support below which an answer is withheld: half of what it says stands nowhere in the passages."""
CITED = 0.5
"""The support that a passage must give a sentence to be cited for it."""
Alone = Callable[[], AbstractContextManager[None]]
_MARK = re.compile(r"\s*\[\d+\]")


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of an answer. `support` is 0–1, None where nothing can be looked up; `cites` are numbers."""

    text: str
    support: float | None
    cites: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """`confidence` is the probability that the passages hold the answer; `declined` says why there is none.

    `finish` is how the model's answer ended. `hits` are the passages that were found, `shown` those of them
    that were read, the best first.
    """

    question: str
    answer: str
    confidence: float
    threshold: float
    sentences: tuple[Sentence, ...]
    shown: tuple[Shown, ...]
    hits: tuple[Hit, ...]
    declined: str = ""
    finish: Finish = "stop"
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    ms: float = 0.0


def ground(
    index: rag.Index,
    question: str,
    model: Predictor | None = None,
    *,
    k: int = K,
    where: Mapping[str, str] | None = None,
    threshold: float | None = None,
    by: By = "both",
    refusal: str = REFUSAL,
    sampling: Sampling | None = None,
    cancel: Event | None = None,
    alone: Alone = nullcontext,
) -> Grounded:
    """One question. `threshold` stands in for the index's own; 0 lets everything pass that has support.

    `sampling` stands in for the model's own. Whatever asks the index does so inside `alone()`: the model,
    which may take long, is asked outside of it.
    """
    start = time.perf_counter()
    if not question.strip():
        raise UserError("The question '' is empty.", fix="Ask something.")
    with alone():
        hits = index.search(question, k, where=where, by=by)
        curve = confidence.curve_of(index)
        sure = curve.probability(confidence.signals(index, question, hits)) if hits else 0.0
    least = curve.threshold if threshold is None else threshold
    parts = shown([hit.passage for hit in hits])
    found = Grounded(
        question=question,
        answer=refusal,
        confidence=sure,
        threshold=least,
        sentences=(),
        shown=tuple(parts),
        hits=tuple(hits),
        model=model.manifest.task if model else "",
    )
    if not hits or sure < least:
        said = replace(found, declined="the passages hardly hold what was asked for")
    elif model is None:
        with alone():
            said = _best_passage(index, found)
    else:
        said = _answered(index, found, model, sampling, cancel, alone)
    return replace(said, ms=1000 * (time.perf_counter() - start))


def _best_passage(index: rag.Index, found: Grounded) -> Grounded:
    """The first passage as it stands, and the sentence of it that tells most; orders in it bind nobody."""
    text = found.shown[0].passage.text
    best = Sentence(text=confidence.telling(index, found.question, text), support=1.0, cites=(1,))
    return replace(found, answer=text, sentences=(best,), shown=found.shown[:1])


def _answered(
    index: rag.Index,
    found: Grounded,
    model: Predictor,
    sampling: Sampling | None,
    cancel: Event | None,
    alone: Alone,
) -> Grounded:
    """What the model says; `found` carries the refusal as its answer."""
    asked = as_answering(model)
    parts, inputs = fitting(asked, found.question, found.shown)
    said = asked.answer(inputs, sampling, cancel=cancel)
    text = _MARK.sub("", said.text).strip()
    sentences = tuple(_sentence(one, share, parts) for one, share in by_sentence(text, _texts(parts)))
    whole = supported(text, _texts(parts))
    declined = ""
    if not text or fold(text) in (fold(REFUSAL), fold(found.answer)):
        declined = "the model says that the passages do not tell"
    elif whole is None or whole < SUPPORTED:
        declined = f"what the model said does not stand in the passages: {text[:200]!r}"
    elif not _borne(index, found.question, sentences, parts, alone):
        declined = f"what the model said stands in no sentence on the question: {text[:200]!r}"
    return replace(
        found,
        answer=found.answer if declined else text,
        sentences=() if declined else sentences,
        shown=tuple(parts),
        declined=declined,
        finish=said.finish,
        tokens_in=said.tokens_in,
        tokens_out=said.tokens_out,
    )


def as_answering(model: Predictor) -> Predictor:
    """A bundle as it is; a base model with an instruction to answer. UserError: a labelling bundle."""
    manifest = model.manifest
    if not model.generates or model.choices is not None:
        raise UserError(
            f"The bundle '{manifest.task}' gives labels and cannot answer from documents.",
            fix="Name a bundle of kind answer or generate, or a base model.",
        )
    if manifest.candidate != "base":
        return model
    spec = PromptSpec(style="chat", kind="answer", instruction=INSTRUCTION)
    sampling = Sampling(max_tokens=ANSWER_TOKENS, stop_ids=manifest.sampling.stop_ids)
    answering = replace(manifest, prompt=spec, sampling=sampling)
    return replace(model, manifest=answering, renderer=model.renderer.with_spec(spec))


def fitting(
    model: Predictor, question: str, parts: Sequence[Shown]
) -> tuple[list[Shown], Mapping[str, str] | str]:
    """As many of the first passages as fit the model's context, and its inputs. RequestError: none fits."""
    for count in range(len(parts), 0, -1):
        inputs = _inputs(model, question, context(parts[:count]))
        try:
            model.render(inputs)
        except RequestError:
            if count == 1:
                raise
            continue
        return list(parts[:count]), inputs
    raise UserError("There is no passage to answer from.", fix="Index more documents.")


def _inputs(model: Predictor, question: str, text: str) -> Mapping[str, str] | str:
    """By the names of a bundle's inputs: one asks, the other is read. One input takes both, as taught."""
    names = model.manifest.inputs
    asking = [name for name in names if name.casefold() in QUESTIONS]
    reading = [name for name in names if name not in asking]
    if len(asking) == 1 and len(reading) == 1:
        return {name: question if name in asking else text for name in names}
    if len(names) > 1:
        raise UserError(
            f"The bundle '{model.manifest.task}' takes {', '.join(names)}: none is told to be the question.",
            fix="Name its inputs 'context' and 'question'.",
        )
    return posed(question, text)


def posed(question: str, context: str) -> str:
    """A question with what it is to be answered from, as the starter was taught to read it."""
    return f"Context: {context}\n\nQuestion: {question}"


def _borne(
    index: rag.Index, question: str, said: Sequence[Sentence], parts: Sequence[Shown], alone: Alone
) -> bool:
    with alone():
        return any(_bears(index, question, one.text, parts) for one in said)


def _bears(index: rag.Index, question: str, said: str, parts: Sequence[Shown]) -> bool:
    """Whether a single sentence of the passages supports what was said and has a word of the question."""
    asked = set(index.words.asked(question))
    lines = [line for part in parts for line in passage_sentences(part.text)]
    holding = [line for line in lines if (supported(said, line) or 0.0) >= CITED]
    return any(asked & set(stems) for stems in index.words.each(holding))


def _texts(parts: Sequence[Shown]) -> str:
    return "\n".join(part.text for part in parts)


def _sentence(text: str, share: float | None, parts: Sequence[Shown]) -> Sentence:
    """Cited is what gives the sentence the most support, if that is enough."""
    given = [(supported(text, part.text) or 0.0, -part.number) for part in parts]
    best, number = max(given)
    return Sentence(text=text, support=share, cites=(-number,) if share is not None and best >= CITED else ())
