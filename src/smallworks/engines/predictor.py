"""A bundle that answers: inputs → the one renderer → an engine → calibrated label probabilities or text.

The same object serves evaluation, the golden rows, the command line and the server; so what was
measured is what is served. Knows nothing of metrics or HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from types import TracebackType

import numpy as np

from smallworks.bundle.golden import Golden
from smallworks.bundle.manifest import Manifest
from smallworks.engines import calibration, scope, verbatim
from smallworks.engines.linear import log_softmax
from smallworks.engines.shots import ShotFinder
from smallworks.engines.whole import whole
from smallworks.errors import RequestError
from smallworks.prompt.renderer import Renderer
from smallworks.seams import Labeller, Model, Unscaled, Writer
from smallworks.types import Answer, Choices, Chunk, Example, ExampleId, Message, Prompt, Sampling

Inputs = Mapping[str, str] | str
SHOTS = 4


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Made by `engines.open_bundle`; closes its model when left as a context."""

    manifest: Manifest
    model: Model
    renderer: Renderer
    shots: ShotFinder | None = None

    def __call__(self, inputs: Inputs) -> str:
        return self.answer(inputs).text

    def answer(
        self, inputs: Inputs, sampling: Sampling | None = None, *, cancel: Event | None = None
    ) -> Answer:
        """One answer. For `classify` the label with every label's probability; otherwise generated text.

        JSON that the token limit cuts off ends before its unfinished member; `finish` is still "length".
        """
        start = time.perf_counter()
        prompt = self.render(inputs)
        if self.choices is not None:
            return self._labelled([prompt], start)[0]
        if self.whole:
            assert isinstance(self.model, Writer)
            said = self.model.write(prompt.text, sampling, cancel=cancel)
            return replace(said, ms=1000 * (time.perf_counter() - start))
        wanted = self._wanted(inputs, sampling)
        done = self.model.generate(prompt, wanted, cancel=cancel)
        cut = done.finish == "length"
        return Answer(
            text=whole(done.text, wanted.schema) if cut and wanted.schema else done.text,
            tokens_in=done.tokens_in,
            tokens_out=done.tokens_out,
            ms=1000 * (time.perf_counter() - start),
            finish=done.finish,
            tokens=done.tokens,
            sources=done.sources,
        )

    def answers(self, batch: Sequence[Inputs]) -> list[Answer]:
        """Many at once: labels are scored as one batch; `ms` is then the batch's time shared equally."""
        if self.choices is None:
            return [self.answer(inputs) for inputs in batch]
        start = time.perf_counter()
        return self._labelled([self.render(inputs) for inputs in batch], start)

    def stream(
        self, inputs: Inputs, sampling: Sampling | None = None, *, cancel: Event | None = None
    ) -> Iterator[Chunk]:
        """The answer piece by piece; a label comes as one piece, and so does what a cascade writes."""
        if self.whole:
            yield from _whole(self.answer(inputs, sampling, cancel=cancel))
            return
        yield from self.model.stream(self.render(inputs), self._wanted(inputs, sampling), cancel=cancel)

    def _wanted(self, inputs: Inputs, asked: Sampling | None) -> Sampling:
        """As asked, else as frozen; fields that the schema marks are held to the text, but not remotely."""
        wanted = asked or self.manifest.sampling
        if wanted.schema is None or not verbatim.marked(wanted.schema):
            return wanted
        text = "" if self.manifest.engine == "http" else text_of(inputs)
        return replace(wanted, schema=verbatim.held(wanted.schema, text))

    def chat(
        self, messages: Sequence[Message], sampling: Sampling, *, cancel: Event | None = None
    ) -> Iterator[Chunk]:
        """Free conversation with the model behind the bundle, template and all."""
        if not self.generates:
            raise RequestError(
                f"The bundle '{self.manifest.candidate}' labels text and cannot hold a conversation.",
                fix="Send one user message, or chat with a language model bundle.",
            )
        yield from self.model.stream(self.renderer.chat(messages), sampling, cancel=cancel)

    def log_probabilities(self, batch: Sequence[Inputs]) -> np.ndarray:
        """Raw log-probabilities of the labels before calibration, shape [len(batch), labels]."""
        assert self.choices is not None, "only classify bundles have labels"
        return self.model.score([self.render(inputs) for inputs in batch], self.choices)

    def render(self, inputs: Inputs) -> Prompt:
        """The finished prompt of these inputs, with as many shots as fit.

        A text to label that is too long is cut at its end, and the prompt says so: its beginning nearly
        always tells the label. Raises RequestError when any other prompt does not fit the context.
        """
        text, limit = text_of(inputs), self._limit
        for renderer in self._renderers(text):
            prompt = renderer.prompt(text)
            if limit is None or len(prompt.ids) <= limit:
                return prompt
        if self.choices is None:
            return renderer.prompt(text, limit=limit)
        assert limit is not None
        return replace(renderer.prompt(renderer.fit(text, limit)), shortened=True)

    def _renderers(self, text: str) -> Iterator[Renderer]:
        """The bundle's own renderer; a few-shot one with four similar shots, then three, down to none."""
        if self.shots is None:
            yield self.renderer
            return
        for count in range(SHOTS, -1, -1):
            spec = replace(self.renderer.spec, shots=self.shots.nearest(text, count))
            yield self.renderer.with_spec(spec)

    def golden(self, inputs: Mapping[str, str]) -> Golden:
        return self.as_golden(inputs, self.answer(inputs))

    def as_golden(self, inputs: Mapping[str, str], answer: Answer) -> Golden:
        return Golden(
            inputs=inputs,
            ids=self.render(inputs).ids,
            text=answer.text,
            probabilities=answer.probabilities,
            abstain=answer.abstain,
        )

    @property
    def choices(self) -> Choices | None:
        return self.manifest.prompt.choices

    @property
    def whole(self) -> bool:
        """Whether its answers come in one piece: labels, and what a cascade is sure of once it is there."""
        return self.choices is not None or (isinstance(self.model, Writer) and self.model.writes)

    @property
    def generates(self) -> bool:
        """Whether there is a language model behind it."""
        return self.manifest.prompt.style == "chat"

    @property
    def _limit(self) -> int | None:
        """Most prompt tokens that leave room for the answer; None for engines without tokens."""
        if not self.model.context:
            return None
        room = 1 if self.choices is not None else self.manifest.sampling.max_tokens
        return max(1, self.model.context - room)

    def _labelled(self, prompts: Sequence[Prompt], start: float) -> list[Answer]:
        assert self.choices is not None
        if isinstance(self.model, Labeller):
            said = self.model.label([prompt.text for prompt in prompts])
            ms = 1000 * (time.perf_counter() - start) / len(prompts)
            return [replace(answer, ms=ms) for answer in said]
        least = self.manifest.scope
        logp, logits = self._calibrated(prompts, sized=least is not None)
        probabilities = np.exp(logp)
        outside: list[bool | None] = [None] * len(prompts)
        if least is not None:
            outside = (self._scope_scores(logp, logits)[least.score] < least.at).tolist()
        ms = 1000 * (time.perf_counter() - start) / len(prompts)
        labels = self.choices.labels
        generated = 1 if self.choices.ids else 0
        return [
            Answer(
                text=labels[int(row.argmax())],
                tokens_in=len(prompt.ids) or self.model.count(prompt.text),
                tokens_out=generated,
                ms=ms,
                probabilities=dict(zip(labels, map(float, row), strict=True)),
                shortened=prompt.shortened,
                abstain=abstain,
            )
            for prompt, row, abstain in zip(prompts, probabilities, outside, strict=True)
        ]

    def scope_scores(self, batch: Sequence[Inputs]) -> dict[str, np.ndarray]:
        """How much each input seems to be in scope, [n], by every score that this engine can give."""
        return self._scope_scores(*self._calibrated([self.render(inputs) for inputs in batch], sized=True))

    def _scope_scores(self, logp: np.ndarray, logits: np.ndarray | None) -> dict[str, np.ndarray]:
        return scope.scores(logp, logits=logits, temperature=self.manifest.calibration.temperature)

    def _calibrated(self, prompts: Sequence[Prompt], *, sized: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Calibrated log-probabilities [n, labels]; with `sized` the logits too, where the engine has any."""
        assert self.choices is not None
        logits = None
        if sized and isinstance(self.model, Unscaled):
            logits = self.model.logits(prompts, self.choices)
        raw = self.model.score(prompts, self.choices) if logits is None else log_softmax(logits)
        fitted = self.manifest.calibration
        logp = calibration.apply(
            raw, temperature=fitted.temperature, bias=fitted.bias, isotonic=fitted.isotonic
        )
        return logp, logits

    def close(self) -> None:
        self.model.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def text_of(inputs: Inputs) -> str:
    """The inputs as one text, as `Example.text` joins them."""
    if isinstance(inputs, str):
        return inputs
    return Example(id=ExampleId(""), inputs=inputs, output="").text


def _whole(answer: Answer) -> Iterator[Chunk]:
    from smallworks.types import Completion

    done = Completion(
        text=answer.text,
        finish=answer.finish,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        sources=answer.sources,
    )
    yield Chunk(text=answer.text, completion=done)
