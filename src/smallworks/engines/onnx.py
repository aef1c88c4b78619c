"""The onnx engine: a sentence encoder on onnxruntime, alone or fused with a linear head.

Int8 per channel is eight times the common torch path at no measurable loss. Knows how to answer, not
how an encoder became ONNX (compress/encoder.py). An encoder folder holds `encoder.onnx`,
`tokenizer.json` and `encoder.json` (pooling, longest input in tokens, dimension).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from smallworks import files, settings
from smallworks.bundle.store import hash_weights
from smallworks.engines.linear import Linear, LinearHead
from smallworks.errors import MissingExtra, ModelError
from smallworks.types import Chunk, Completion, Prompt, Sampling

GRAPH = "encoder.onnx"
FACTS = "encoder.json"
TOKENIZER = "tokenizer.json"
BATCH = 32


def session(folder: Path, *, wanted_for: str) -> Any:
    """An onnxruntime session on one thread over the graph of a folder. MissingExtra, ModelError.

    One row is too little work to share: a second thread costs more than it brings. Batches run beside each
    other instead.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtra("onnxruntime", extra="eval", wanted_for=wanted_for) from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception types are not exported
        raise ModelError(
            f"onnxruntime cannot load '{folder / GRAPH}': {str(error)[:200]}.",
            fix="Delete that folder and run the same command again: it is converted anew.",
        ) from error


class Encoder:
    """Texts to unit vectors. Implements seams.Embedder; safe to call from several threads."""

    def __init__(self, folder: Path, *, threads: int | None = None, max_tokens: int | None = None) -> None:
        """`max_tokens` is where texts are cut, in place of what the folder says."""
        from tokenizers import Tokenizer

        self._folder = folder
        facts = files.read_json(folder / FACTS)
        self.dimension: int = facts["dimension"]
        self._pooling: str = facts["pooling"]
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self.max_tokens: int = max_tokens or facts["max_tokens"]
        self._tokenizer.enable_truncation(self.max_tokens)
        self._tokenizer.no_padding()
        self._threads = threads or settings.load().threads
        self._session = session(folder, wanted_for="A sentence encoder")
        self._names = [node.name for node in self._session.get_inputs()]

    @cached_property
    def identity(self) -> str:
        """A hash over the files that its vectors rest on."""
        return hash_weights(self._folder, only=(".onnx", ".json"))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [len(texts), dimension], float32; batches are sorted by length."""
        encodings = self._tokenizer.encode_batch(list(texts))
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]

        def fill(rows: list[int]) -> None:
            vectors[rows] = self._forward([encodings[i].ids for i in rows])

        if len(batches) < 2:
            for rows in batches:
                fill(rows)
            return vectors
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(fill, batches))
        return vectors

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, those past `max_tokens`, which are not read, included."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ends = self._tokenizer.num_special_tokens_to_add(False)
        cut = [sum(len(more.ids) - ends for more in one.overflowing) for one in encodings]
        return [len(one.ids) + more for one, more in zip(encodings, cut, strict=True)]

    def _forward(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        width = max(len(row) for row in ids)
        tokens = np.zeros((len(ids), width), np.int64)
        mask = np.zeros((len(ids), width), np.int64)
        for i, row in enumerate(ids):
            tokens[i, : len(row)], mask[i, : len(row)] = row, 1
        feeds = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        (hidden,) = self._session.run(None, {name: feeds[name] for name in self._names})
        pooled = hidden[:, 0] if self._pooling == "cls" else _mean(hidden, mask)
        unit: np.ndarray = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return unit


def _mean(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = mask[:, :, None].astype(np.float32)
    mean: np.ndarray = (hidden * weights).sum(1) / weights.sum(1)
    return mean


class Onnx(Linear):
    """An encoder beside the n-grams under one linear head: the `fused` candidate."""

    engine = "onnx"

    def __init__(self, head: LinearHead, encoder: Encoder) -> None:
        super().__init__(head)
        self.encoder = encoder

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """The most probable label as text; tokens are those that the encoder reads."""
        whole = super().generate(prompt, sampling, cancel=cancel)
        return Completion(text=whole.text, finish="stop", tokens_in=self.count(prompt.text), tokens_out=0)

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        whole = self.generate(prompt, sampling, cancel=cancel)
        yield Chunk(text=whole.text, completion=whole)

    def count(self, text: str) -> int:
        return len(self.encoder._tokenizer.encode(text).ids)

    def _margins(self, texts: Sequence[str]) -> np.ndarray:
        embeddings = self.encoder.embed(texts)
        rows = [self.head.margins(t, e) for t, e in zip(texts, embeddings, strict=True)]
        return np.reshape(rows, (len(texts), len(self.head.labels)))
