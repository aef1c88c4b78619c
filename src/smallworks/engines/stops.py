"""Stop strings over streamed text: nothing that may still become one is let out. Knows no tokens."""

from __future__ import annotations

from collections.abc import Sequence


class StopScanner:
    """Text goes in as it is generated and comes out once no stop string can begin in it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The text that is safe to show. After a stop string was met, always empty."""
        if self.found:
            return ""
        self._held += text
        cut = min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self.found = True
            shown, self._held = self._held[:cut], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def flush(self) -> str:
        """What was held back, when the answer ended without the rest of a stop string."""
        shown, self._held = self._held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of `text` that are the beginning of `stop`, as many as possible."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
