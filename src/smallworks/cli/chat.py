"""`smallworks chat`: a conversation in the terminal, streaming, with its whole history."""

from __future__ import annotations

import sys
from threading import Event

from smallworks.cli import talk
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError
from smallworks.recipes.converse import open_model
from smallworks.types import Message, Sampling


def chat(
    model: str | None = None,
    /,
    *,
    system: str | None = None,
    max_tokens: int = 256,
    temperature: float = 0.7,
    top_p: float = 0.95,
    seed: int | None = None,
) -> None:
    """Talk with a language model: /reset begins anew, /quit or Ctrl-D leaves, Ctrl-C stops an answer.

    Parameters
    ----------
    model
        A bundle, a model folder, a GGUF file or a hub id (default: the embedded starter).
    system
        A system message.
    max_tokens
        Most tokens of an answer.
    temperature
        0 always takes the most probable token.
    top_p
        Draw from the most probable tokens that make up this share.
    seed
        Makes the draw repeatable.
    """
    with talk.progress() as progress:
        predictor = open_model(model, progress=progress)
    with predictor:
        if not predictor.generates:
            raise RequestError(
                f"'{model}' labels text and cannot hold a conversation.",
                fix="Ask it once with: smallworks generate TEXT --model BUNDLE",
            )
        sampling = Sampling(
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop_ids=predictor.manifest.sampling.stop_ids,
        )
        start = [Message(role="system", content=system)] if system else []
        _converse(predictor, start, sampling)


def _converse(predictor: Predictor, start: list[Message], sampling: Sampling) -> None:
    history = list(start)
    talk.remark("[dim]/reset begins anew, /quit or Ctrl-D leaves, Ctrl-C stops an answer[/dim]")
    while (line := _ask()) is not None:
        if line == "/quit":
            return
        if line == "/reset":
            history = list(start)
            continue
        if not line:
            continue
        history.append(Message(role="user", content=line))
        try:
            answer = _say(predictor, history, sampling)
        except RequestError as error:
            talk.remark(f"[yellow]{error} Type /reset to begin anew.[/yellow]")
            history.pop()
            continue
        history.append(Message(role="assistant", content=answer))


def _ask() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None


def _say(predictor: Predictor, history: list[Message], sampling: Sampling) -> str:
    """Stream one answer; Ctrl-C ends it early and keeps what was said."""
    cancel, said = Event(), ""
    try:
        for chunk in predictor.chat(history, sampling, cancel=cancel):
            said += chunk.text
            sys.stdout.write(chunk.text)
            sys.stdout.flush()
    except KeyboardInterrupt:
        cancel.set()
    sys.stdout.write("\n")
    return said
