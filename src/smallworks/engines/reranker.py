"""A cross-encoder on onnxruntime: how well each passage answers a question, both read together.

Each pair is read alone, so that a score never depends on its company. Knows how to score, not how the model
became ONNX (compress/reranker.py). The folder is laid out as an encoder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from smallworks import files, settings
from smallworks.engines.onnx import FACTS, TOKENIZER, session


class CrossEncoder:
    """Implements seams.Reranker; safe to call from several threads."""

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        from tokenizers import Tokenizer

        self._session = session(folder, wanted_for="A reranker")
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.enable_truncation(files.read_json(folder / FACTS)["max_tokens"])
        self._tokenizer.no_padding()
        self._threads = threads or settings.load().threads
        self._names = [node.name for node in self._session.get_inputs()]

    def scores(self, question: str, passages: Sequence[str]) -> np.ndarray:
        """Logits [len(passages)], float32."""
        with ThreadPoolExecutor(self._threads) as pool:
            found = list(pool.map(lambda passage: self._score(question, passage), passages))
        return np.array(found, np.float32)

    def _score(self, question: str, passage: str) -> float:
        pair = self._tokenizer.encode(question, passage)
        feeds = {
            "input_ids": np.array([pair.ids], np.int64),
            "attention_mask": np.ones((1, len(pair.ids)), np.int64),
            "token_type_ids": np.array([pair.type_ids], np.int64),
        }
        (score,) = self._session.run(None, {name: feeds[name] for name in self._names})
        return float(score[0])
