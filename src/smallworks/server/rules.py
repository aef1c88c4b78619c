"""What one request may claim of the server: how long a line, how many tokens, how much time. Values alone."""

from __future__ import annotations

from dataclasses import dataclass

from smallworks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Raises UserError for a limit that would let nothing through.

    `waiting` and `tokens` bound each bundle on its own; `deadline` bounds a request from its arrival to
    the end of its answer, in seconds.
    """

    waiting: int = 256
    """Requests that may wait while every thread of the bundle is taken; 0 or more."""
    tokens: int = 2**20
    """Tokens of all requests inside, waiting or answered: prompts at their largest plus what was asked."""
    deadline: float = 600.0
    """Seconds; OpenAI's clients give up after as many."""

    def __post_init__(self) -> None:
        if self.waiting < 0:
            raise UserError(f"A line of {self.waiting} requests cannot be.", fix="Try --queue 256.")
        if self.tokens < 1:
            raise UserError(
                f"A line of {self.tokens} tokens lets nothing in.", fix="Try --queue-tokens 1000000."
            )
        if not self.deadline > 0:
            raise UserError(f"A deadline of {self.deadline} s lets nothing end.", fix="Try --deadline 600.")
