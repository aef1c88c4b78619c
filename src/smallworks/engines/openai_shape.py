"""The OpenAI-shaped wire as pure translations: a prompt to a request body, a reply to our values.

Knows no network. Where a server leaves the token counts out, they are estimated from characters.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from smallworks.errors import UpstreamError
from smallworks.types import Choices, Finish, Prompt, Sampling

CHARACTERS_PER_TOKEN = 4
MOST_STOPS = 4
"""As many stop strings as the API takes; the engine watches for all of them itself too."""
MOST_LOGPROBS = 20
SURE = 1 - 1e-6
"""Probability of a label that was only said, without log-probabilities."""
BELOW_LOWEST = 1.0
"""Nats below the least of the reported log-probabilities, given to a choice that was not reported."""
ADJUSTABLE = (
    "max_tokens",
    "logprobs",
    "top_logprobs",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "stream_options",
)


def body(model: str, prompt: Prompt, sampling: Sampling, *, stream: bool = False) -> dict[str, Any]:
    """The request. Token ids mean nothing to a server with its own tokenizer, so `stop_ids` stay here."""
    messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
    sent: dict[str, Any] = {
        "model": model,
        "messages": messages or [{"role": "user", "content": prompt.text}],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
    }
    if sampling.top_p != 1.0:
        sent["top_p"] = sampling.top_p
    if sampling.seed is not None:
        sent["seed"] = sampling.seed
    if sampling.stop:
        sent["stop"] = list(sampling.stop[:MOST_STOPS])
    if sampling.schema is not None:
        schema = {"name": "answer", "schema": dict(sampling.schema)}
        sent["response_format"] = {"type": "json_schema", "json_schema": schema}
    if stream:
        sent |= {"stream": True, "stream_options": {"include_usage": True}}
    return sent


def scoring_body(model: str, prompt: Prompt) -> dict[str, Any]:
    """One greedy token with the alternatives to it."""
    greedy = body(model, prompt, Sampling(max_tokens=1))
    return {**greedy, "logprobs": True, "top_logprobs": MOST_LOGPROBS}


def saying_body(model: str, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    """A whole answer with the alternatives to each of its tokens."""
    return {**body(model, prompt, sampling), "logprobs": True, "top_logprobs": MOST_LOGPROBS}


def refused_field(reply: Mapping[str, Any], sent: Mapping[str, Any]) -> str | None:
    """The optional field of `sent` that the server says it does not know, None when it says something else.

    Reasoning models refuse `max_tokens` and any temperature, others log-probabilities.
    """
    error = reply.get("error")
    error = error if isinstance(error, Mapping) else reply
    message = f"{error.get('code')} {error.get('message')} {error.get('detail')}".lower()
    named = error.get("param")
    if "unsupported" not in message and "not support" not in message and "logprobs" not in message:
        return None
    if named in ADJUSTABLE and named in sent:
        return str(named)
    return next((name for name in ADJUSTABLE if name in sent and name in message), None)


def without(sent: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """`sent` without the refused fields; a limit on tokens stays, under its newer name."""
    kept = {name: value for name, value in sent.items() if name not in refused}
    if "max_tokens" in refused and "max_tokens" in sent:
        kept["max_completion_tokens"] = sent["max_tokens"]
    if "logprobs" in refused or "top_logprobs" in refused:
        kept.pop("logprobs", None)
        kept.pop("top_logprobs", None)
    return kept


def parse(text: str | bytes) -> dict[str, Any]:
    """A JSON object. Raises UpstreamError for anything else, and for an error that it reports."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise garbage(text) from error
    if not isinstance(value, dict):
        raise garbage(text)
    if value.get("error"):
        raise UpstreamError(f"The server failed: {message_of(value)}.", fix="Look into that server's log.")
    return value


def message_of(reply: Mapping[str, Any]) -> str:
    error = reply.get("error", reply)
    message = error.get("message") or error.get("detail") if isinstance(error, Mapping) else error
    return str(message or "")[:300].rstrip(".")


def garbage(text: str | bytes) -> UpstreamError:
    return UpstreamError(
        f"The server's answer is not an OpenAI-shaped one: {text[:60]!r}.",
        fix="Check the URL: it usually ends in /v1.",
    )


def first_choice(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice; an empty one for events that carry none. Raises UpstreamError for another shape."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise garbage(json.dumps(reply))
    return choices[0] if choices else {}


def text_of(choice: Mapping[str, Any], part: str) -> str:
    """The text of a choice's `part`: 'message' of a whole reply, 'delta' of an event."""
    said = choice.get(part)
    content = said.get("content") if isinstance(said, Mapping) else None
    return content if isinstance(content, str) else ""


def finish_of(choice: Mapping[str, Any]) -> Finish:
    return "length" if choice.get("finish_reason") == "length" else "stop"


def usage_of(reply: Mapping[str, Any]) -> tuple[int, int] | None:
    """Tokens in and out, None where the server does not count."""
    counted = reply.get("usage")
    if not isinstance(counted, Mapping):
        return None
    tokens = counted.get("prompt_tokens"), counted.get("completion_tokens")
    return (tokens[0], tokens[1]) if isinstance(tokens[0], int) and isinstance(tokens[1], int) else None


def estimate(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def asked_text(prompt: Prompt) -> str:
    return "".join(m.content for m in prompt.messages) or prompt.text


def score_row(choice: Mapping[str, Any], choices: Choices) -> list[float] | None:
    """Log-probabilities of the choices from the reported alternatives to one token, or None.

    A token counts for the choice whose code, or label, it is, spaces aside. Without codes a token that
    begins exactly one label counts for it; one that begins several tells nothing, and None is returned.
    A choice that was not reported gets the least reported log-probability less BELOW_LOWEST.
    """
    reported = _alternatives(choice)
    found: dict[int, float] = {}
    for token, logprob in reported:
        at = _choice_of(token, choices)
        if at == AMBIGUOUS:
            return None
        if at is not None:
            found[at] = float(np.logaddexp(found[at], logprob)) if at in found else logprob
    if not found:
        return None
    floor = min(logprob for _, logprob in reported) - BELOW_LOWEST
    return normalise([found.get(i, floor) for i in range(len(choices.labels))])


def said_row(text: str, choices: Choices) -> list[float]:
    """Log-probabilities when all that is known is the answer's text: nearly all on what it says.

    A text that names no choice, or several, tells nothing: all choices are then alike.
    """
    count, at = len(choices.labels), said_choice(text, choices)
    if at is None or count == 1:
        return normalise([0.0] * count)
    rest = math.log((1 - SURE) / (count - 1))
    return [math.log(SURE) if i == at else rest for i in range(count)]


def named_choice(text: str, choices: Choices) -> int | None:
    """The choice that an answer is and nothing else: its code, its label in any case, or 'code: label'.

    Stricter than `said_choice`: what is to be learned from must not be read into an answer.
    """
    said = text.strip().strip("\"'`*.").strip()
    labels = [label.casefold() for label in choices.labels]
    if said in choices.codes:
        return choices.codes.index(said)
    if labels.count(said.casefold()) == 1:
        return labels.index(said.casefold())
    both = re.match(r"(\w+)\s*[:.)-]\s*(.+)", said, re.DOTALL)
    if not both or both[1] not in choices.codes:
        return None
    at = choices.codes.index(both[1])
    return at if both[2].strip().casefold() == labels[at] else None


def said_choice(text: str, choices: Choices) -> int | None:
    """The choice that an answer names: by code or label alone, by a leading code, or by one label inside."""
    said = text.strip().strip("\"'`*.").strip()
    for names in (choices.codes, choices.labels):
        if said in names:
            return names.index(said)
    leading = re.match(r"\W*(\w+)\W*(?:$|[:.)\s-])", text)
    if leading and leading[1] in choices.codes and leading[1].isupper():
        return choices.codes.index(leading[1])
    low = text.lower()
    named = [i for i, label in enumerate(choices.labels) if label.lower() in low]
    longest = [i for i in named if not any(_inside(choices, i, j) for j in named)]
    return longest[0] if len(longest) == 1 else None


def normalise(logprobs: Sequence[float]) -> list[float]:
    total = float(np.logaddexp.reduce(np.array(logprobs, np.float64)))
    return [value - total for value in logprobs]


AMBIGUOUS = -1


def _choice_of(token: str, choices: Choices) -> int | None:
    word = token.strip()
    for names in (choices.codes, choices.labels):
        if word in names:
            return names.index(word)
    if choices.codes or not word:
        return None
    begun = [i for i, label in enumerate(choices.labels) if label.startswith(word)]
    if not begun:
        return None
    return begun[0] if len(begun) == 1 else AMBIGUOUS


def _alternatives(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(token, log-probability) of the first token's alternatives; empty where the server gives none."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, list) or not content or not isinstance(content[0], Mapping):
        return []
    top = content[0].get("top_logprobs") or []
    pairs = [(entry.get("token"), entry.get("logprob")) for entry in top if isinstance(entry, Mapping)]
    return [(t, float(p)) for t, p in pairs if isinstance(t, str) and isinstance(p, int | float)]


def _inside(choices: Choices, i: int, j: int) -> bool:
    return i != j and choices.labels[i].lower() in choices.labels[j].lower()
