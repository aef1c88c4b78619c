"""What a cascade is held to: no more than so much below its last stage, or at least so much, how surely.

Pure values and their wording; knows no rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallworks.errors import UserError
from smallworks.route import bets, tails

Floats = NDArray[np.float64]

POINTS = re.compile(r"(\d+(?:\.\d+)?)\s*(?:points?|pp)(?:\s+below)?")
FLOOR = re.compile(r"at least\s+(\d+(?:\.\d+)?)\s*(%?)")
MOST_ROWS = 1_000_000
"""More rows than this are not worth naming."""
GROWTH = 1.02


@dataclass(frozen=True, kw_only=True)
class Promise:
    """`against` 'last': `value` is how far below the last stage (0–1); 'floor': the least share or score.

    `confidence` is how often, at least, such a choice keeps its word over fresh draws of the rows.
    """

    against: Literal["last", "floor"]
    value: float
    confidence: float = 0.95

    def __str__(self) -> str:
        surely = f"with {100 * self.confidence:g} % confidence"
        if self.against == "floor":
            return f"at least {self.value:g} {surely}"
        return f"at most {points(self.value)} below the last stage {surely}"

    def kept(self, losses: int, gains: int, hits: int, n: int, *, luck: float) -> bool:
        """Whether the counts of `n` rows show it; wrong at most as often as `luck`."""
        if self.against == "floor":
            return tails.more_than(hits, n, self.value, luck=luck)
        return tails.within(losses, gains, n, self.value, luck=luck)

    def shown(self, got: Floats, last: Floats, *, luck: float, design: float = 1.0) -> bool:
        """The same of scores 0–1, [n] each: the mix's and the last stage's. `design` rows tell as one."""
        excess, most_lost = self._excess(got, last)
        return bets.shows(excess, most_lost=most_lost, luck=luck, design=design)

    def rows_like(self, got: Floats, last: Floats, *, luck: float) -> int | None:
        """Rows with such scores that would show it, within 2 %; None past MOST_ROWS."""
        excess, most_lost = self._excess(got, last)
        return bets.rows_for(excess, most_lost=most_lost, luck=luck, most=MOST_ROWS, growth=GROWTH)

    def _excess(self, got: Floats, last: Floats) -> tuple[Floats, float]:
        """What each row has above what is promised, and the most that one can fall short."""
        if self.against == "floor":
            return got - self.value, self.value
        return got - last + self.value, 1.0 - self.value

    def rows_for(self, losses: float, gains: float, hits: float, *, luck: float) -> int | None:
        """Rows that would show it at these shares of rows, within 2 %; None past MOST_ROWS."""
        n = 20
        while n <= MOST_ROWS:
            if self.kept(round(losses * n), round(gains * n), round(hits * n), n, luck=luck):
                return n
            n = int(n * GROWTH) + 1
        return None


def parse(text: str, confidence: float = 0.95) -> Promise:
    """'1 point' (below the last stage) or 'at least 0.9'. Raises UserError for anything else."""
    if not 0.5 <= confidence < 1:
        raise UserError(f"--confidence {confidence:g} is not 0.5 to 1.", fix="Write 95 % as 0.95.")
    said = " ".join(text.lower().split())
    if match := POINTS.fullmatch(said):
        value = float(match[1]) / 100
        if 0 < value < 1:
            return Promise(against="last", value=value, confidence=confidence)
    if match := FLOOR.fullmatch(said):
        value = float(match[1]) / (100 if match[2] else 1)
        if 0 < value < 1:
            return Promise(against="floor", value=value, confidence=confidence)
    raise UserError(
        f"'{text}' is no promise.", fix="Write '1 point' (below the last stage) or 'at least 0.9'."
    )


def points(share: float) -> str:
    """0.01 → '1 point'."""
    return f"{100 * share:.3g} point{'' if abs(share - 0.01) < 1e-12 else 's'}"
