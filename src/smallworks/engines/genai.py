"""The ortgenai engine: a language model in ONNX with int4 weights, on onnxruntime-genai.

The library reads tokens and gives logits; drawing, stopping and scoring are ours, as in every engine over
logits. Rewinding a text and reading on is exact there, so a shared prefix is read once. Knows how to answer,
not how weights became ONNX (compress/genai.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files, settings
from smallworks.engines.logits import LogitsModel
from smallworks.engines.scoring import Ids, Scorer
from smallworks.engines.steps import Read
from smallworks.errors import MissingExtra, ModelError
from smallworks.prompt.tokenizer import TextTokenizer

GRAPH, ABOUT = "model.onnx", "genai_config.json"
LONGEST = 4096
"""Most tokens of prompt and answer: memory for all of them is taken when an answer begins."""


class Genai(LogitsModel):
    """Implements seams.Model over the graph in `folder`, with the tokenizer files in `tokenizer`."""

    engine = "ortgenai"

    def __init__(self, folder: Path, tokenizer: Path, *, threads: int | None = None) -> None:
        model = _load(folder, threads or settings.load().threads)
        about = files.read_json(folder / ABOUT)
        context = min(LONGEST, int(about["model"]["context_length"]))
        super().__init__(
            folder, model, _Scorer(_text(model, context)), TextTokenizer.load(tokenizer), context
        )

    def _begin(self) -> Read:
        with self._lock:
            text = _text(self._alive(), self.context)

        def read(ids: Sequence[int]) -> np.ndarray:
            with self._lock:
                self._alive()
                return _read(text, ids)

        return read


class _Scorer(Scorer):
    """One text that is rewound to the kept prefix for every row."""

    def __init__(self, text: Any) -> None:
        super().__init__()
        self._text = text

    def prefill(self, ids: Ids) -> bool:
        self._text.rewind_to(0)
        _read(self._text, ids)
        return True

    def logits(self, rows: Sequence[Ids], tokens: Ids) -> np.ndarray:
        kept = len(self._prefix)
        out = []
        for row in rows:
            self._text.rewind_to(kept)
            out.append(_read(self._text, row[kept:])[list(tokens)])
        return np.stack(out).astype(np.float64)


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
