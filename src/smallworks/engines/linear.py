"""The linear engine: TF-IDF n-grams (and a sentence embedding, when fused) under one linear classifier.

Scores labels; has no tokens and writes only label names. Stored as safetensors and JSON, never pickle;
needs numpy alone to answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from smallworks import files
from smallworks.engines.ngrams import FAMILIES, Block
from smallworks.errors import DataError, ModelError, RequestError
from smallworks.types import Choices, Chunk, Completion, Prompt, Sampling

WEIGHTS = "linear.safetensors"
VOCABULARY = "linear.json"


@dataclass(frozen=True)
class LinearHead:
    """Margins = intercept + Σ tf-idf·coefficients (+ embedding @ embedded); label order is `labels`.

    Coefficients have shape [features, labels]: one row a feature, so that a request gathers few rows.
    """

    labels: tuple[str, ...]
    blocks: tuple[Block, ...]
    coefficients: tuple[np.ndarray, ...]
    intercept: np.ndarray
    embedded: np.ndarray | None = None

    def margins(self, text: str, embedding: np.ndarray | None = None) -> np.ndarray:
        """Decision margins, shape [labels], float64."""
        total = self.intercept.astype(np.float64)
        for block, coefficients in zip(self.blocks, self.coefficients, strict=True):
            columns, weights = block.row(text)
            if len(columns):
                total += weights @ coefficients[columns]
        if self.embedded is not None and embedding is not None:
            total += embedding @ self.embedded
        return total


def log_softmax(margins: np.ndarray) -> np.ndarray:
    """Row-wise natural log-softmax in float64."""
    shifted = margins - margins.max(axis=-1, keepdims=True)
    normalised: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def save(head: LinearHead, folder: Path) -> None:
    """Write the head; coefficients in float16, which halves the file and moves no margin that matters."""
    from safetensors.numpy import save as save_tensors

    tensors = {"intercept": head.intercept.astype(np.float32)}
    for i, (block, coefficients) in enumerate(zip(head.blocks, head.coefficients, strict=True)):
        tensors[f"idf.{i}"] = block.idf.astype(np.float64)
        tensors[f"coefficients.{i}"] = np.ascontiguousarray(coefficients.astype(np.float16))
    if head.embedded is not None:
        tensors["embedded"] = np.ascontiguousarray(head.embedded.astype(np.float32))
    folder.mkdir(parents=True, exist_ok=True)
    names = {id(function): name for name, function in FAMILIES.items()}
    vocabulary = {
        "labels": head.labels,
        "blocks": [{"family": names[id(b.ngrams)], "ngrams": list(b.columns)} for b in head.blocks],
    }
    with files.atomic(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save_tensors(tensors))
    files.write_text(folder / VOCABULARY, json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")))


def load(folder: Path) -> LinearHead:
    """Raises ModelError when a file is missing or the two do not fit together."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return _assemble(load_file(folder / WEIGHTS), files.read_json(folder / VOCABULARY))
    except (OSError, SafetensorError, DataError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"No readable linear model at '{folder}': {error}.", fix="Rebuild it with: smallworks build"
        ) from error


def _assemble(tensors: Mapping[str, np.ndarray], vocabulary: Mapping[str, Any]) -> LinearHead:
    """Raises KeyError, TypeError or ValueError when weights and vocabulary do not fit together."""
    labels = tuple(vocabulary["labels"])
    blocks = tuple(
        Block(FAMILIES[b["family"]], {n: j for j, n in enumerate(b["ngrams"])}, tensors[f"idf.{i}"])
        for i, b in enumerate(vocabulary["blocks"])
    )
    coefficients = tuple(tensors[f"coefficients.{i}"].astype(np.float32) for i in range(len(blocks)))
    for block, weights in zip(blocks, coefficients, strict=True):
        if not weights.shape == (len(block.columns), len(labels)) == (len(block.idf), len(labels)):
            raise ValueError(
                f"{weights.shape} weights for {len(block.columns)} n-grams, {len(labels)} labels"
            )
    if tensors["intercept"].shape != (len(labels),):
        raise ValueError(f"{len(tensors['intercept'])} intercepts for {len(labels)} labels")
    return LinearHead(labels, blocks, coefficients, tensors["intercept"], tensors.get("embedded"))


class Linear:
    """A linear head as a Model: immutable after loading, so any number of threads may call it."""

    engine = "linear"
    context = 0

    def __init__(self, head: LinearHead) -> None:
        self.head = head

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        return log_softmax(self.logits(prompts, choices))

    def logits(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        """The margins. With `score`, implements seams.Unscaled."""
        order = self._order(choices)
        return self._margins([p.text for p in prompts])[:, order]

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """The most probable label as text."""
        label = self.head.labels[int(self._margins([prompt.text])[0].argmax())]
        return Completion(text=label, finish="stop", tokens_in=0, tokens_out=0)

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        whole = self.generate(prompt, sampling, cancel=cancel)
        yield Chunk(text=whole.text, completion=whole)

    def count(self, text: str) -> int:
        return 0

    def close(self) -> None:
        return None

    def _margins(self, texts: Sequence[str]) -> np.ndarray:
        rows = [self.head.margins(text) for text in texts]
        return np.reshape(rows, (len(texts), len(self.head.labels)))

    def _order(self, choices: Choices) -> list[int]:
        known = {label: i for i, label in enumerate(self.head.labels)}
        unknown = [label for label in choices.labels if label not in known]
        if unknown:
            raise RequestError(
                f"This model was fitted without the label '{unknown[0]}'.",
                fix=f"It knows: {', '.join(self.head.labels[:20])}.",
            )
        return [known[label] for label in choices.labels]
