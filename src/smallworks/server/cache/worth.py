"""Which requests and answers are worth keeping: those that would come out the same, and ended well."""

from __future__ import annotations

from typing import Any

from smallworks.server.hosts import Said

ENDED = frozenset({"stop", "length", "tool_calls", "function_call"})
"""Ends of an answer that is whole as far as it was asked for."""
STATEFUL = ("previous_response_id", "conversation", "background", "store")
"""Fields that ask for more than an answer: something is remembered or done elsewhere."""
ALWAYS = frozenset({"/embeddings", "/classify"})
"""Forms whose answers are computed, not drawn."""


def repeats(form: str, said: Said, temperature: float | None) -> bool:
    """Whether the same request gets the same answer."""
    return form in ALWAYS or temperature in (0, 0.0) or _whole(said.get("seed"))


def stateful(said: Said) -> bool:
    return any(bool(said.get(field)) for field in STATEFUL)


def ended_well(answer: Said) -> bool:
    """Whether a whole answer may be given to others: no error, and no choice that was broken off."""
    if answer.get("error"):
        return False
    choices = answer.get("choices")
    if choices is None:
        return bool(answer.get("status", "completed") == "completed")
    ends = {choice.get("finish_reason") for choice in choices}
    return bool(ends) and ends <= ENDED


def tokens(answer: Said) -> tuple[int, int]:
    """Those of prompt and answer as the answer tells them; 0 where it does not."""
    usage = answer.get("usage") or {}
    return _count(usage, "prompt_tokens", "input_tokens"), _count(usage, "completion_tokens", "output_tokens")


def _count(usage: dict[str, Any], *names: str) -> int:
    """Within what an entry can hold."""
    value = next((usage[name] for name in names if _whole(usage.get(name))), 0)
    return min(max(0, int(value)), 2**32 - 1)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
