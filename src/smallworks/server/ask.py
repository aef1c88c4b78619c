"""From a request to what is asked of a bundle: its own task on a text, or a free conversation.

A bundle is its task. One user message is an input, and the bundle's own prompt goes around it. A system
message that repeats the task's instruction changes nothing and is accepted; any other one, and earlier
turns, make a free conversation, which a language model bundle holds and a labelling one refuses:
nothing that a client says is dropped in silence. Knows no JSON and no threads.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Protocol

from smallworks.engines.predictor import Inputs, Predictor, text_of
from smallworks.engines.retriever import Retriever
from smallworks.engines.whole import whole
from smallworks.errors import RequestError, nearest
from smallworks.seams import Able
from smallworks.server import conversation
from smallworks.server.failures import BadField, Unavailable
from smallworks.server.measure import Measure
from smallworks.server.shapes import (
    MAX_PROMPTS,
    Asking,
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    GenerateRequest,
)
from smallworks.types import Answer, Message, Sampling, Token


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of the streamed answer number `index`; the last one brings the whole `answer`."""

    index: int
    text: str
    answer: Answer | None = None
    tokens: tuple[Token, ...] = ()


class Work(Protocol):
    """What one request asks of one bundle, all of it."""

    def most(self, measure: Measure) -> int:
        """Tokens that it may take at most, prompts and answers together."""
        ...

    def answers(self, cancel: Event) -> Iterable[Answer]:
        """One after another, so that those before a failure are known."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One thing asked of one bundle: the task on `inputs`, or, where there are `messages`, a conversation.

    `again` says that it is one more draw for a prompt whose tokens another one counts. `whole_within` is the
    most tokens that were asked for where an answer cannot be cut: it comes whole or not at all.
    """

    predictor: Predictor
    sampling: Sampling
    inputs: Inputs = ""
    messages: tuple[Message, ...] = ()
    again: bool = False
    whole_within: int | None = None

    def answer(self, cancel: Event) -> Answer:
        if not self.messages:
            answer = self.predictor.answer(self.inputs, self.sampling, cancel=cancel)
            return self._counted(_uncancelled(answer, cancel))
        *_, last = self.pieces(cancel)
        assert last.answer is not None
        schema = self.sampling.schema
        if schema is None or last.answer.finish != "length":
            return last.answer
        return replace(last.answer, text=whole(last.answer.text, schema))

    def pieces(self, cancel: Event, index: int = 0) -> Iterator[Piece]:
        """The answer as it is made; a label comes as one piece, and so does what a cascade writes."""
        if self.predictor.whole and not self.messages:
            label = self.answer(cancel)
            yield Piece(index=index, text=label.text, answer=label)
            return
        start = time.perf_counter()
        for chunk in self._chunks(cancel):
            if chunk.completion is None:
                if chunk.text:
                    yield Piece(index=index, text=chunk.text, tokens=chunk.tokens)
                continue
            done = chunk.completion
            answer = Answer(
                text=done.text,
                tokens_in=done.tokens_in,
                tokens_out=done.tokens_out,
                ms=1000 * (time.perf_counter() - start),
                finish=done.finish,
                tokens=done.tokens,
                sources=done.sources,
            )
            counted = self._counted(_uncancelled(answer, cancel))
            yield Piece(index=index, text=chunk.text, answer=counted, tokens=chunk.tokens)

    def most(self, measure: Measure) -> int:
        texts = [message.content for message in self.messages] or [text_of(self.inputs)]
        return measure.tokens(texts, 1 if self.predictor.choices else self.sampling.max_tokens)

    def broken_off(self, text: str) -> Answer:
        """The answer that ended at `text`: its tokens counted again, since the engine told none."""
        predictor = self.predictor
        chat = predictor.renderer.chat
        prompt = chat(self.messages) if self.messages else predictor.render(self.inputs)
        tokens_in = len(prompt.ids) or predictor.model.count(prompt.text)
        tokens_out = predictor.model.count(text)
        return Answer(text=text, tokens_in=tokens_in, tokens_out=tokens_out, ms=0.0, finish="cancelled")

    def _counted(self, answer: Answer) -> Answer:
        words = len(answer.text.split())
        if self.whole_within is not None and words > self.whole_within:
            raise BadField(
                f"The answer is quoted, and its {words} words do not go into {self.whole_within} tokens.",
                fix="Raise 'max_tokens', or leave it out: what is quoted is not cut.",
                param="max_tokens",
            )
        return replace(answer, tokens_in=0) if self.again else answer

    def _chunks(self, cancel: Event) -> Iterator[Any]:
        if self.messages:
            return self.predictor.chat(self.messages, self.sampling, cancel=cancel)
        return self.predictor.stream(self.inputs, self.sampling, cancel=cancel)


@dataclass(frozen=True)
class Asks:
    """Several answers in order, one after another; the pieces of a stream are numbered by them."""

    each: tuple[Ask, ...]

    def most(self, measure: Measure) -> int:
        return sum(one.most(measure) for one in self.each)

    def answers(self, cancel: Event) -> Iterator[Answer]:
        return (one.answer(cancel) for one in self.each if not cancel.is_set())

    def pieces(self, cancel: Event) -> Generator[Piece]:
        for index, one in enumerate(self.each):
            yield from one.pieces(cancel, index)

    def broken_off(self, said: Sequence[Piece]) -> Answer:
        """What the last answer of a stream had come to when nobody wanted the rest."""
        index = said[-1].index
        return self.each[index].broken_off("".join(piece.text for piece in said if piece.index == index))


@dataclass(frozen=True)
class Batch:
    """Many inputs to label, scored as one batch."""

    predictor: Predictor
    items: tuple[Inputs, ...]

    def most(self, measure: Measure) -> int:
        return sum(measure.tokens([text_of(item)], 1) for item in self.items)

    def answers(self, cancel: Event) -> list[Answer]:
        return self.predictor.answers(self.items)


def from_chat(body: ChatRequest, predictor: Predictor) -> Asks:
    """Raises BadField for what this bundle cannot honour."""
    _refuse(body)
    if body.functions or body.function_call:
        raise _unsupported("functions" if body.functions else "function_call", "Send 'tools' instead.")
    calling = _calling(body, predictor)
    schema = calling.schema if calling else _schema(body, predictor)
    limit = body.max_completion_tokens or body.max_tokens
    top = (body.top_logprobs or 0) if body.logprobs else None
    sampling = _drawing(predictor, body, limit, top)
    if schema is not None:
        sampling = replace(sampling, schema=schema)
    said = _after_instruction(body.messages, predictor.manifest.prompt.instruction)
    if len(said) == 1 and said[0].role == "user":
        (turn,) = conversation.turns(said)
        text = f"{calling.offer}\n\n{turn.content}" if calling else turn.content
        ask = Ask(predictor=predictor, sampling=sampling, inputs=text, whole_within=_within(predictor, limit))
        return _drawn(ask, body.n or 1)
    if predictor.choices is not None or not predictor.generates:
        raise BadField(
            f"The bundle '{predictor.manifest.task}' answers one text; {len(body.messages)} messages came.",
            fix="Send one user message alone: the bundle carries its own instruction.",
            param="messages",
        )
    turns = conversation.turns(body.messages)
    if turns[-1].role != "user":
        raise BadField(
            "The last message is not the user's.", fix="End with a user message.", param="messages"
        )
    messages = tuple(conversation.with_offer(turns, calling.offer) if calling else turns)
    free = Ask(predictor=predictor, sampling=replace(sampling, schema=schema), messages=messages)
    return _drawn(free, body.n or 1)


def from_completion(body: CompletionRequest, predictor: Predictor) -> Asks:
    """One thing asked for each prompt: a prompt is an input, and the bundle's own prompt goes around it."""
    _refuse(body)
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise _unsupported("best_of", "Send 'n' to get several answers, and choose among them.")
    if body.echo:
        raise _unsupported("echo", "Put the prompt before the answer yourself.")
    if body.suffix:
        raise _unsupported("suffix", "These models write onwards, not between.")
    draws = body.n or 1
    if draws * len(body.prompts) > MAX_PROMPTS:
        what = f"{len(body.prompts)} prompts with n {draws} make {draws * len(body.prompts)} answers."
        raise BadField(what, fix=f"At most {MAX_PROMPTS} come at once.", param="n")
    sampling = _drawing(predictor, body, body.max_tokens, body.logprobs)
    within = _within(predictor, body.max_tokens)
    each = (
        Ask(predictor=predictor, sampling=sampling, inputs=prompt, whole_within=within)
        for prompt in body.prompts
    )
    return Asks(tuple(one for ask in each for one in _drawn(ask, draws).each))


def from_generate(body: GenerateRequest, predictor: Predictor) -> Asks:
    """The bundle's task where the instruction is its own or empty; otherwise the instruction as it came."""
    sampling = _sampling(predictor, body, body.max_new_tokens)
    own = predictor.manifest.prompt.instruction
    if not body.instruction or _same(body.instruction, own):
        within = _within(predictor, body.max_new_tokens)
        ask = Ask(predictor=predictor, sampling=sampling, inputs=body.input_text, whole_within=within)
        return Asks((ask,))
    if predictor.choices is not None or not predictor.generates:
        raise BadField(
            f"The bundle '{predictor.manifest.task}' follows its own instruction alone.",
            fix=f"Leave 'instruction' out, or send {own!r}." if own else "Leave 'instruction' out.",
            param="instruction",
        )
    content = f"{body.instruction}\n\n{body.input_text}"
    free = replace(sampling, schema=None)
    message = Message(role="user", content=content)
    return Asks((Ask(predictor=predictor, sampling=free, messages=(message,)),))


def from_items(items: Sequence[str | Mapping[str, str]], predictor: Predictor) -> Batch:
    """The items with their fields checked, as one batch. Raises BadField when the bundle gives no labels."""
    manifest = predictor.manifest
    if predictor.choices is None:
        raise BadField(
            f"The bundle '{manifest.task}' writes text and gives no labels.",
            fix="Ask it at /v1/chat/completions.",
            param="model",
        )
    for number, item in enumerate(items):
        if not isinstance(item, str):
            _check_fields(item, manifest.inputs, f"input.{number}")
    return Batch(predictor, tuple(items))


def _check_fields(item: Mapping[str, str], wanted: Sequence[str], where: str) -> None:
    for name in item:
        if name not in wanted:
            raise BadField(f"'{name}' is not an input.", fix=nearest(name, wanted), param=where)
    missing = [name for name in wanted if name not in item]
    if missing:
        raise BadField(
            f"The input '{missing[0]}' is missing.", fix=f"Send all of: {', '.join(wanted)}.", param=where
        )


def _after_instruction(messages: Sequence[ChatMessage], instruction: str) -> Sequence[ChatMessage]:
    """The messages without a leading system message that only repeats the bundle's own instruction."""
    first = messages[0]
    repeats = first.role in ("system", "developer") and _same(first.text, instruction)
    return messages[1:] if repeats and len(messages) > 1 else messages


def _same(a: str, b: str) -> bool:
    return a.split() == b.split()


def _sampling(
    predictor: Predictor,
    body: Asking | GenerateRequest,
    max_tokens: int | None,
    *,
    stop: tuple[str, ...] = (),
    seed: int | None = None,
) -> Sampling:
    """The bundle's own sampling, with what the request says instead."""
    own = predictor.manifest.sampling
    return replace(
        own,
        max_tokens=own.max_tokens if max_tokens is None else max_tokens,
        temperature=own.temperature if body.temperature is None else body.temperature,
        top_p=own.top_p if body.top_p is None else body.top_p,
        seed=own.seed if seed is None else seed,
        stop=own.stop + stop,
    )


def _drawing(predictor: Predictor, body: Asking, max_tokens: int | None, top: int | None) -> Sampling:
    """As `_sampling`, with log-probabilities and biases for an engine that knows them.

    Raises BadField for several answers that would all be alike, and for what the engine cannot do.
    """
    sampling = _sampling(predictor, body, max_tokens, stop=body.stops, seed=body.seed)
    if predictor.choices is not None:
        _refuse_for_labels(body)
        return sampling
    if (body.n or 1) > 1 and sampling.temperature == 0:
        what = f"At temperature 0 all {body.n} answers would be alike."
        raise BadField(what, fix="Send a temperature above 0, or leave 'n' out.", param="n")
    if _quotes(predictor):
        _refuse_for_quotes(body)
    for name, wanted in (("logprobs", top is not None), ("logit_bias", bool(body.logit_bias))):
        if wanted and not (isinstance(predictor.model, Able) and name in predictor.model.abilities):
            raise BadField(
                f"'{name}' is not known to the engine '{predictor.manifest.engine}' of this bundle.",
                fix="Leave it out, or serve the bundle in another form.",
                param=name,
            )
    return replace(sampling, logprobs=top, logit_bias=_biases(body, predictor))


def _drawn(ask: Ask, draws: int) -> Asks:
    """So many draws; where a seed was given each has its own, so that they differ and can be repeated."""
    seed = ask.sampling.seed
    seeds = [None if seed is None else seed + at for at in range(draws)]
    each = (
        replace(ask, sampling=replace(ask.sampling, seed=one), again=at > 0) for at, one in enumerate(seeds)
    )
    return Asks(tuple(each) if draws > 1 else (ask,))


def _refuse_for_labels(body: Asking) -> None:
    """A label is the same however often it is asked, and no token is drawn for it."""
    if (body.n or 1) > 1:
        what = f"A label is no draw: all {body.n} answers would be alike."
        raise BadField(what, fix="Leave 'n' out; the probabilities come with the one answer.", param="n")
    if body.logit_bias:
        raise BadField("A label is no draw of tokens to bias.", fix="Leave it out.", param="logit_bias")


def _quotes(predictor: Predictor) -> bool:
    """Whether its answers are passages as they stand: no model writes them."""
    return isinstance(predictor.model, Retriever) and predictor.model.reader is None


def _within(predictor: Predictor, limit: int | None) -> int | None:
    """The most tokens of an answer that cannot be cut."""
    return limit if _quotes(predictor) else None


def _refuse_for_quotes(body: Asking) -> None:
    """What is quoted is the same however often it is asked, and ends where the passage does."""
    if (body.n or 1) > 1:
        what = f"A passage is no draw: all {body.n} answers would be alike."
        raise BadField(what, fix="Leave 'n' out.", param="n")
    if body.stops:
        what = "A passage is quoted as it stands: no stop ends it."
        raise BadField(what, fix="Leave 'stop' out, and cut the answer yourself.", param="stop")


def _biases(body: Asking, predictor: Predictor) -> tuple[tuple[int, float], ...]:
    tokenizer = predictor.renderer.tokenizer
    size = tokenizer.size if tokenizer else 0
    for name in body.logit_bias or ():
        if not (name.isdecimal() and name.isascii() and len(name) < 10 and int(name) < size):
            raise BadField(
                f"'{name[:20]}' is no token of this model.",
                fix=f"Send ids from 0 to {size - 1}.",
                param="logit_bias",
            )
    return tuple((int(name), bias) for name, bias in (body.logit_bias or {}).items())


def _calling(body: ChatRequest, predictor: Predictor) -> conversation.Calling | None:
    found = conversation.calling(body)
    if found is None:
        return None
    manifest = predictor.manifest
    if predictor.choices is None and predictor.whole:
        raise BadField(
            f"The bundle '{manifest.task}' is a cascade, calibrated on its own form, and calls no tools.",
            fix="Leave 'tools' out, or serve one of its stages.",
            param="tools",
        )
    if predictor.choices is not None or not predictor.generates or manifest.sampling.schema is not None:
        gives = "JSON of its own schema" if manifest.sampling.schema else "labels"
        if manifest.retrieval:
            gives = "plain answers from its documents"
        raise BadField(
            f"The bundle '{manifest.task}' gives {gives} and calls no tools.",
            fix="Leave 'tools' out, or ask a bundle that writes text.",
            param="tools",
        )
    for name, value in (("response_format", _schema(body, predictor)), ("logprobs", body.logprobs)):
        if value:
            what = f"'{name}' does not go with tools, whose calls are JSON themselves."
            raise BadField(what, fix="Leave one of the two out.", param=name)
    return found


def _schema(body: ChatRequest, predictor: Predictor) -> Mapping[str, Any] | None:
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if predictor.choices is not None:
        raise _unsupported("response_format", "A label is no JSON; leave it out.")
    if predictor.whole:
        raise BadField(
            f"The bundle '{predictor.manifest.task}' is a cascade, calibrated on answers of its own form.",
            fix="Leave 'response_format' out, or serve one of its stages.",
            param="response_format",
        )
    if predictor.manifest.retrieval:
        raise BadField(
            f"The bundle '{predictor.manifest.task}' answers from documents, and refuses, in plain text.",
            fix="Leave 'response_format' out, or ask a bundle of kind extract for JSON.",
            param="response_format",
        )
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise BadField(
            "There is no schema in 'response_format'.",
            fix="Put it at response_format.json_schema.schema.",
            param="response_format.json_schema",
        )
    return wanted.json_schema.schema_


def _refuse(body: Asking) -> None:
    """Fields that would change the answer and are not built: better no than silence."""
    for name in ("frequency_penalty", "presence_penalty"):
        if getattr(body, name):
            raise _unsupported(name, "Leave it out, or send 0.")


def _unsupported(name: str, fix: str) -> RequestError:
    return BadField(f"'{name}' is not supported by this server.", fix=fix, param=name)


def _uncancelled(answer: Answer, cancel: Event) -> Answer:
    """The answer, unless the engine cut it short by itself because it is closing."""
    if answer.finish == "cancelled" and not cancel.is_set():
        raise Unavailable("The engine is closing.", fix="Ask again when the server is back.")
    return answer
