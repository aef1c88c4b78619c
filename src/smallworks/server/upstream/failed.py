"""How one attempt at one server failed, and whether another may help. Knows no HTTP answer of ours."""

from __future__ import annotations

from typing import Literal

Cause = Literal[
    "connect",
    "broken",
    "timeout",
    "garbage",
    "too_large",
    "redirected",
    "status",
    "denied",
    "busy",
    "refused",
]


class Failed(Exception):
    """`blames` the server, so that its breaker counts it; `elsewhere` another server may do better.

    `words` are what the server said of itself, for refusals alone; nothing else of it is told to a client.
    """

    def __init__(
        self,
        cause: Cause,
        *,
        status: int = 0,
        seconds: float = 0.0,
        words: str = "",
        code: str = "",
        param: str | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause, self.status, self.seconds = cause, status, seconds
        self.words, self.code, self.param = words, code, param

    @property
    def blames(self) -> bool:
        return self.cause not in ("busy", "refused")

    @property
    def elsewhere(self) -> bool:
        """Not after a silence: that server is still at work, and another one would do it all again."""
        return self.cause not in ("refused", "too_large", "timeout")
