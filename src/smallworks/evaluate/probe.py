"""The child that probes a language model bundle for what its answers do not show.

Tokens a second while it reads a prompt (prefill) and while it writes (decode), and the distribution of the
first token of its answers. A process of its own, on a machine that should be doing nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from smallworks import files
from smallworks.engines.opening import open_bundle
from smallworks.engines.predictor import Predictor
from smallworks.evaluate.worker import read_examples
from smallworks.seams import Progress
from smallworks.types import Choices, Example, Prompt, Sampling

PREFILL, DECODE = 256, 48
"""Tokens that are read and written for one timing, as far as the context has room."""
REPEATS = 3
LEAST_DECODED = 8
"""Fewer tokens written in all repeats say nothing of speed."""
FIRST = 64
"""The reference's most likely first tokens, over which distributions are compared."""
CUT = "\ufffd"
"""Stands in a token's text for bytes that are no whole character."""


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`rows`: JSONL of examples. `first`: where first-token distributions go, None for none; `of`: those of
    the reference, whose tokens are then scored, None to choose them. Returns the speeds."""
    examples = read_examples(Path(request["rows"]))
    with open_bundle(request["bundle"]) as predictor:
        speeds = {"prefill": prefill(predictor, examples), "decode": decode(predictor, examples)}
        if request["first"]:
            chosen = [row["ids"] for row in files.read_jsonl(Path(request["of"]))] if request["of"] else None
            rows = first_tokens(predictor, examples, chosen, progress)
            files.write_jsonl(Path(request["first"]), rows)
    return speeds


def prefill(predictor: Predictor, examples: Sequence[Example]) -> float:
    """Prompt tokens a second, the median of REPEATS prompts that begin differently: no cache helps."""
    rates = []
    for ids in _prompts(predictor, examples, PREFILL):
        start = time.perf_counter()
        predictor.model.generate(Prompt(text="", ids=ids), Sampling(max_tokens=1))
        rates.append(len(ids) / (time.perf_counter() - start))
    return median(rates)


def decode(predictor: Predictor, examples: Sequence[Example]) -> float | None:
    """Tokens a second from the first piece of an answer to its last; None where the model hardly writes."""
    tokens, seconds = 0, 0.0
    for seed, ids in enumerate(_prompts(predictor, examples, DECODE)):
        first = 0.0
        for chunk in predictor.model.stream(
            Prompt(text="", ids=ids), Sampling(max_tokens=DECODE, temperature=1.0, seed=seed)
        ):
            first = first or time.perf_counter()
            if chunk.completion:
                tokens += max(0, chunk.completion.tokens_out - 1)
                seconds += time.perf_counter() - first
    return tokens / seconds if tokens >= LEAST_DECODED and seconds > 0 else None


def first_tokens(
    predictor: Predictor,
    examples: Sequence[Example],
    chosen: Sequence[Sequence[int]] | None,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Per row the token ids and their probabilities as the first of the answer, renormalised over them."""
    rows = []
    for at, example in enumerate(examples):
        prompt = predictor.render(example.inputs)
        ids = chosen[at] if chosen else _likeliest(predictor, prompt)
        choices = Choices(labels=tuple(map(str, ids)), ids=tuple(ids))
        logp = predictor.model.score([prompt], choices)[0]
        rows.append({"ids": list(ids), "probabilities": [float(p) for p in np.exp(logp)]})
        progress("first tokens", at + 1, len(examples), "")
    return rows


def _likeliest(predictor: Predictor, prompt: Prompt) -> list[int]:
    """The most likely tokens after a prompt, at most FIRST, by the reference engine."""
    from smallworks.engines.transformers import Transformers

    model = predictor.model
    assert isinstance(model, Transformers), "the reference of a quantised form has whole weights"
    tokenizer = predictor.renderer.tokenizer
    assert tokenizer is not None, "a language model bundle has a tokenizer"
    logits = model.forward(prompt.ids, model.cache())
    likeliest = [int(id) for id in logits.topk(min(FIRST, len(logits))).indices]
    # llama.cpp says nothing of a drawn token that is a part of a character only.
    return [id for id in likeliest if CUT not in tokenizer.decode([id])]


def _prompts(predictor: Predictor, examples: Sequence[Example], size: int) -> list[tuple[int, ...]]:
    """REPEATS runs of `size` tokens of the rows' own texts, each from another row on."""
    tokenizer = predictor.renderer.tokenizer
    assert tokenizer is not None, "a language model bundle has a tokenizer"
    size = min(size, predictor.model.context // 2)
    prompts = []
    for repeat in range(REPEATS):
        ids: list[int] = []
        at = repeat * len(examples) // REPEATS
        while len(ids) < size:
            ids += tokenizer.encode(examples[at % len(examples)].text) or [0]
            at += 1
        prompts.append(tuple(ids[:size]))
    return prompts
