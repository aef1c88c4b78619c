"""What is sent on, and what came back: requests, answers, usage as JSON objects. Pure; knows no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from smallworks.server import json_bytes
from smallworks.server.hosts import Said
from smallworks.server.reply import Encoded
from smallworks.server.upstream.failed import Failed
from smallworks.types import Answer

COUNTING = frozenset({"/chat/completions", "/completions"})
"""Paths whose streams tell their usage only when asked."""
LIMITS = ("max_completion_tokens", "max_tokens")
ANSWERS = ("n", "best_of")
"""Fields that say how many there are to be."""
OWN_LIMITS = {"/responses": ("max_output_tokens",)}
"""Fields that bound an answer, where they are others; a server passes over those that it does not know."""
SILENT = "/embeddings"
"""The path whose answers have no tokens."""
PART = 4096
"""Tokens that a part of MEDIA is taken for, whatever its bytes; its answer is charged what was counted."""
MEDIA = ("image", "audio", "video", "file")
"""What the types of such parts say of them: image_url, input_audio and the like."""
MOST = 2**38
"""Tokens that any request is taken for: what a store of limits can add up."""
WRITTEN = frozenset({"content", "text", "reasoning_content", "reasoning", "refusal"})
"""Fields of a choice that hold what was written."""
MODEL, ESCAPED = b'"model"', b"\\u006"
"""The name's key, and how a letter of it begins where it is written as an escape."""
CHARACTERS_PER_TOKEN = 4
MOST_WORDS = 500
LONGEST_PAUSE = 60.0
"""Seconds: a server that asks for more is looked at again after as many."""


def most_tokens(path: str, said: Said, size: int, usual: int) -> int:
    """Tokens that a request of `size` bytes may take at most; `usual` for an answer without a limit."""
    if path == SILENT:
        return size
    answer = _largest(said, OWN_LIMITS.get(path, LIMITS), usual)
    return min(MOST, size - _no_texts(said) + answer * _largest(said, ANSWERS, 1))


def _largest(said: Said, names: tuple[str, ...], usual: int) -> int:
    """Of the fields that are whole numbers, at least 1; `usual` where none is."""
    largest = None
    for name in names:
        if type(value := said.get(name)) is int:
            largest = max(value, largest or 1, 1)
    return usual if largest is None else largest


def usage(said: Said) -> tuple[int, int] | None:
    """Tokens in and out as an answer or an event tells them; None where it does not."""
    told = said.get("usage")
    if told is None and isinstance(said.get("response"), dict):
        told = said["response"].get("usage")
    if not isinstance(told, dict):
        return None
    counts = [told.get(a, told.get(b)) for a, b in USAGE]
    tokens_in, tokens_out = (c if isinstance(c, int) and c >= 0 else 0 for c in counts)
    return (tokens_in, tokens_out) if tokens_in or tokens_out else None


USAGE = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))


def written(said: Said) -> int:
    """Characters of all text of an answer or an event: said, thought, or given to a tool."""
    choices = said.get("choices")
    if isinstance(choices, list):
        length = 0
        for choice in choices:
            length += _length(choice) if isinstance(choice, dict) else 0
        return length
    delta = said.get("delta")  # of an event of /responses
    return len(delta) if isinstance(delta, str) else 0


def _length(choice: Said) -> int:
    said = choice.get("delta") or choice.get("message") or choice
    if not isinstance(said, dict):
        return 0
    length = 0
    for name, value in said.items():
        if isinstance(value, str):
            length += len(value) if name in WRITTEN else 0
        elif name == "tool_calls" and isinstance(value, list):
            for call in value:
                length += _arguments(call.get("function")) if isinstance(call, dict) else 0
        elif name == "function_call":
            length += _arguments(value)
    return length


def _arguments(function: Any) -> int:
    arguments = function.get("arguments") if isinstance(function, dict) else None
    return len(arguments) if isinstance(arguments, str) else 0


def named(said: Said, name: str) -> Said:
    """An answer or an event under the name that was asked for; as it came where that is its own.

    Not as its bytes where those say another name besides, by a key that stands there twice.
    """
    within = said.get("response")  # of an event of /responses
    if isinstance(said, Encoded):
        names = ("model" in said) + (isinstance(within, dict) and "model" in within)
        if said.body.count(MODEL) != names or ESCAPED in said.body:
            said = dict(said)
    if isinstance(within, dict) and within.get("model", name) != name:
        said = {**said, "response": {**within, "model": name}}
    return said if said.get("model", name) == name else {**said, "model": name}


def used(counts: tuple[int, int] | None, *, sent: int, came: int, ms: float) -> Answer:
    """What is charged: as the server counted, else from what was `sent` and what `came`, in characters."""
    tokens_in, tokens_out = counts or (sent // CHARACTERS_PER_TOKEN, came // CHARACTERS_PER_TOKEN)
    return Answer(text="", tokens_in=tokens_in, tokens_out=tokens_out, ms=ms)


def parsed(body: bytes) -> Encoded:
    """A JSON object, with its bytes. Raises Failed for all else, and for an error with a good status."""
    try:
        said = json_bytes.read(body)
    except (ValueError, RecursionError):
        raise Failed("garbage") from None
    if not isinstance(said, dict):
        raise Failed("garbage")
    if said.get("error"):
        raise Failed("status")
    return Encoded(said, body)


def event(block: bytes) -> Said:
    """As `parsed`; what is no single line of ASCII, as streams are written here, without its bytes."""
    said = parsed(block)
    return said if block.isascii() and b"\n" not in block else dict(said)


def check_status(status: int, headers: Mapping[bytes, bytes], body: bytes = b"") -> None:
    """Raises Failed for all but success."""
    if 200 <= status < 300:
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Failed("garbage")
        return
    if 300 <= status < 400:
        raise Failed("redirected", status=status)
    if status in (401, 403):
        raise Failed("denied", status=status)
    seconds = _seconds(headers.get(b"retry-after", b""))
    if status == 429:
        raise Failed("busy", status=status, seconds=min(seconds or 1.0, LONGEST_PAUSE))
    if status >= 500 or status in (408, 425):
        raise Failed("status", status=status, seconds=min(seconds, LONGEST_PAUSE))
    words, code, param = _words(body)
    raise Failed("refused", status=status, words=words, code=code, param=param)


def _no_texts(said: Said) -> int:
    """Bytes of parts that are media, less what they are taken for: an image is not a token a byte."""
    messages = said.get("messages", said.get("input"))
    found = 0
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("content") if isinstance(message, dict) else None
        if not isinstance(parts, list):
            continue
        for part in parts:
            if isinstance(part, dict) and any(kind in str(part.get("type")) for kind in MEDIA):
                found += max(0, len(json.dumps(part)) - PART)
    return found


def _seconds(sent: bytes) -> float:
    """Of Retry-After; a date is as good as none."""
    try:
        seconds = float(sent)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < 86400 else 0.0


def _words(body: bytes) -> tuple[str, str, str | None]:
    """Message, code and field of a refusal in OpenAI's shape or the like."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", None
    error = said.get("error", said) if isinstance(said, dict) else {}
    if not isinstance(error, dict):
        error = {"message": error}
    message, code, param = (error.get(name) for name in ("message", "code", "param"))
    if message is None and "detail" in error:
        message = json.dumps(error["detail"])
    return (
        message[:MOST_WORDS] if isinstance(message, str) else "",
        code[:64] if isinstance(code, str) and code.isidentifier() else "",
        param[:64] if isinstance(param, str) else None,
    )
