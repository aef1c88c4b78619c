"""The ortgenai engine: a language model in ONNX with int4 weights, on onnxruntime-genai.

The library reads tokens and gives logits; drawing, stopping and scoring are ours, as in every engine over
logits. Rewinding a text and reading on is exact there, so a shared prefix is read once. Knows how to answer,
not how weights became ONNX (compress/genai.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np

from smallworks import files, settings
from smallworks.engines.linear import log_softmax
from smallworks.engines.scoring import Ids, Scorer
from smallworks.engines.steps import Read, Words
from smallworks.errors import MissingExtra, ModelError, RequestError
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.types import Choices, Chunk, Completion, Prompt, Sampling

GRAPH, ABOUT = "model.onnx", "genai_config.json"
LONGEST = 4096
"""Most tokens of prompt and answer: memory for all of them is taken when an answer begins."""


class Genai:
    """Implements seams.Model over the graph in `folder`, with the tokenizer files in `tokenizer`."""

    engine = "ortgenai"

    def __init__(self, folder: Path, tokenizer: Path, *, threads: int | None = None) -> None:
        self._folder = folder
        self._model: Any = _load(folder, threads or settings.load().threads)
        about = files.read_json(folder / ABOUT)
        self.context: int = min(LONGEST, int(about["model"]["context_length"]))
        self._words = Words(TextTokenizer.load(tokenizer), self.context)
        self._scorer = _Scorer(_text(self._model, self.context))
        self._lock = Lock()

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        *_, last = self.stream(prompt, sampling, cancel=cancel)
        assert last.completion is not None
        return last.completion

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        return self._words.answer(prompt, sampling, self._reader, cancel or Event())

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        if len(choices.ids) != len(choices.labels):
            raise RequestError(
                f"{len(choices.labels)} labels have {len(choices.ids)} token ids; this engine scores tokens.",
                fix="Give the label codes with the ids of this model's tokenizer.",
            )
        rows = [self._words.ids(prompt) for prompt in prompts]
        if not rows:
            return np.zeros((0, len(choices.labels)))
        with self._lock:
            self._alive()
            self._scorer.prepare(rows)
            logits = self._scorer.logits(rows)[:, list(choices.ids)]
        return log_softmax(logits.astype(np.float64))

    def count(self, text: str) -> int:
        return len(self._words.tokenizer.encode(text))

    def close(self) -> None:
        with self._lock:
            self._model = None
            self._scorer = _Scorer(None)

    def _reader(self) -> Read:
        """The beginning of one answer: a text of its own."""
        with self._lock:
            text = _text(self._alive(), self.context)

        def read(ids: Sequence[int]) -> np.ndarray:
            with self._lock:
                self._alive()
                return _read(text, ids)

        return read

    def _alive(self) -> Any:
        if self._model is None:
            raise ModelError(f"The engine over '{self._folder}' is closed.", fix="Load the model again.")
        return self._model


class _Scorer(Scorer):
    """One text that is rewound to the kept prefix for every row."""

    def __init__(self, text: Any) -> None:
        super().__init__()
        self._text = text

    def prefill(self, ids: Ids) -> bool:
        self._text.rewind_to(0)
        _read(self._text, ids)
        return True

    def logits(self, rows: Sequence[Ids]) -> np.ndarray:
        kept = len(self._prefix)
        out = []
        for row in rows:
            self._text.rewind_to(kept)
            out.append(_read(self._text, row[kept:]))
        return np.stack(out)


def _load(folder: Path, threads: int) -> Any:
    try:
        import onnxruntime_genai as library
    except ImportError as error:
        raise MissingExtra("onnxruntime-genai", extra="genai", wanted_for="The ortgenai engine") from error
    options = {"session_options": {"intra_op_num_threads": threads}}
    try:
        config = library.Config(str(folder))
        config.overlay(json.dumps({"model": {"decoder": options}}))
        return library.Model(config)
    except RuntimeError as error:
        raise ModelError(
            f"onnxruntime-genai cannot load '{folder}': {str(error).splitlines()[0][:200]}.",
            fix="Make it anew with: smallworks quantize BUNDLE --to onnx-int4",
        ) from error


def _text(model: Any, longest: int) -> Any:
    """A text to read into, empty yet, with room for `longest` tokens."""
    import onnxruntime_genai as library

    params = library.GeneratorParams(model)
    params.set_search_options(max_length=longest, batch_size=1, do_sample=False)
    return library.Generator(model, params)


def _read(text: Any, ids: Sequence[int]) -> np.ndarray:
    """Logits [vocabulary] after `ids`, float32."""
    text.append_tokens(np.array(ids, np.int32))
    return np.array(text.get_logits()[0, -1])
