"""`smallworks generate`: one answer from a bundle or a base model."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from smallworks.cli import talk
from smallworks.engines.predictor import Predictor
from smallworks.recipes.converse import open_model
from smallworks.types import Sampling


def generate(
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    model: str | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    stop: list[str] | None = None,
    json: bool = False,
) -> None:
    """One answer: a label with its probability from a classify bundle, text from everything else.

    Parameters
    ----------
    text
        The input; '-' reads it from standard input.
    model
        A bundle, a model folder, a GGUF file or a hub id (default: the embedded starter).
    max_tokens
        Most tokens of the answer.
    temperature
        0 always takes the most probable token.
    top_p
        Draw from the most probable tokens that make up this share.
    seed
        Makes a draw repeatable.
    stop
        Strings that end the answer.
    json
        One JSON document on stdout.
    """
    if text == "-":
        text = sys.stdin.read()
    with talk.progress() as progress:
        predictor = open_model(model, progress=progress)
    with predictor:
        answer = predictor.answer(text, _sampling(predictor, max_tokens, temperature, top_p, seed, stop))
    if json:
        talk.print_json(asdict(answer))
        return
    talk.out.print(answer.text, markup=False, highlight=False, soft_wrap=True)
    if answer.probabilities:
        ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:5]
        stage = f"  (from {answer.stage})" if answer.stage else ""
        scope = "  seems out of scope: hand it over" if answer.abstain else ""
        talk.remark(escape("  ".join(f"{label} {p:.3f}" for label, p in ranked) + stage + scope))


def _sampling(
    predictor: Predictor,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int | None,
    stop: list[str] | None,
) -> Sampling:
    defaults = predictor.manifest.sampling
    return Sampling(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=tuple(stop or ()),
        stop_ids=defaults.stop_ids,
        schema=defaults.schema,
    )
