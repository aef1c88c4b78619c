"""What tokens cost, in exact whole micro-dollars: dollars per million tokens are micro-dollars per token.

Prices keep six decimals, and an answer's cost is rounded up: nothing is free by rounding. Values alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from smallworks.errors import UserError, nearest
from smallworks.types import Answer

MILLION = 1_000_000
MOST = MILLION
"""Dollars per million tokens: a dollar a token is a slip of the pen."""
BUDGET = 10**15
"""Micro-dollars: a thousand million dollars."""


@dataclass(frozen=True)
class Price:
    """Micro-dollars per million tokens of prompts and of answers."""

    input: int = 0
    output: int = 0

    @classmethod
    def of(cls, input: float, output: float) -> Price:
        """From dollars per million tokens, as people write them. Raises UserError for what is no price."""
        return cls(_whole("input", input), _whole("output", output))

    def cost(self, tokens_in: int, tokens_out: int) -> int:
        """Micro-dollars, rounded up."""
        return -(-self.millionths(tokens_in, tokens_out) // MILLION)

    def millionths(self, tokens_in: int, tokens_out: int) -> int:
        """Millionths of a micro-dollar, exact."""
        return tokens_in * self.input + tokens_out * self.output

    def most(self, tokens: int) -> int:
        """Micro-dollars that `tokens` cost at most, however they divide into prompt and answer."""
        return -(-tokens * max(self.input, self.output) // MILLION)


@dataclass(frozen=True)
class Flagship:
    """What a bundle replaces; `answer` is micro-dollars for one by a bundle that counts no tokens."""

    price: Price
    answer: int = 0

    def cost(self, tokens_in: int, tokens_out: int) -> int:
        """Micro-dollars, rounded up."""
        return self.price.cost(tokens_in, tokens_out) if tokens_in or tokens_out else self.answer


FREE = Price()


@dataclass(frozen=True)
class Tariff:
    """What answers cost: all their tokens by `price`, or, where that is FREE, each stage's by its own price.

    `stages` has the prices of a cascade's, by the names in `Answer.spent`; those left out cost nothing.
    """

    price: Price = FREE
    stages: Mapping[str, Price] = field(default_factory=dict)

    @property
    def dearest(self) -> Price:
        """By which no answer costs less than it does."""
        if self.price is not FREE or not self.stages:
            return self.price
        prices = self.stages.values()
        return Price(max(p.input for p in prices), max(p.output for p in prices))

    def cost(self, answers: Iterable[Answer]) -> int:
        """Micro-dollars of all together, rounded up."""
        if self.price is FREE and not self.stages:
            return 0
        return -(-sum(map(self._millionths, answers)) // MILLION)

    def _millionths(self, answer: Answer) -> int:
        if self.price is not FREE:
            return self.price.millionths(answer.tokens_in, answer.tokens_out)
        return sum(
            self.stages[part.stage].millionths(part.tokens_in, part.tokens_out)
            for part in answer.spent
            if part.stage in self.stages
        )


EVERY_BUNDLE = "default"
"""The name of the flagship of all bundles that have none of their own."""


def listed(lineage: Mapping[str, Any]) -> Price:
    """What a flagship's bundle says of the price of its server."""
    return _read(lineage, "input_price", "output_price") or FREE


def replaced(lineage: Mapping[str, Any]) -> Flagship | None:
    """What a bundle says of the flagship that its task graduates from; None where it tells no price."""
    price = _read(lineage, "flagship_input_price", "flagship_output_price")
    each = lineage.get("flagship_per_1000", 0)
    found = Flagship(price or FREE, round(1000 * each) if isinstance(each, int | float) else 0)
    return None if price is None or found == Flagship(FREE) else found


def check_priced(priced: Iterable[str], known: Iterable[str]) -> None:
    """Raises UserError for a price of nothing that is served: a budget of money would never be spent."""
    known = set(known)
    for name in priced:
        if name not in known:
            raise UserError(f"[prices.{name}] names no model that is served.", fix=nearest(name, known))


def check_flagships(named: Iterable[str], known: Iterable[str]) -> None:
    """Raises UserError for a flagship of nothing that is served."""
    known = {*known, EVERY_BUNDLE}
    for name in named:
        if name not in known:
            raise UserError(f"[flagships.{name}] names no bundle that is served.", fix=nearest(name, known))


def micros(dollars: str) -> int:
    """Whole micro-dollars of an amount such as '12.50'. Raises UserError for one that is none."""
    try:
        amount = Decimal(dollars) * MILLION
        exact = amount == int(amount)
    except (ArithmeticError, ValueError):
        exact = False
    if not exact or not 1 <= amount <= BUDGET:
        raise UserError(f"'{dollars}' is no amount of dollars.", fix="Write it as 25 or 0.50.")
    return int(amount)


def dollars(micros: int) -> str:
    """As people write it, to the last digit that counts, at least two: '12.50', '0.000375'."""
    whole, part = divmod(abs(micros), MILLION)
    digits = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole:,}.{digits}"


def _read(lineage: Mapping[str, Any], *names: str) -> Price | None:
    found = [lineage.get(name) for name in names]
    if not all(isinstance(price, int | float) for price in found):
        return None
    return Price.of(*(float(price or 0) for price in found))


def _whole(name: str, dollars: float) -> int:
    if not 0 <= dollars <= MOST:
        raise UserError(
            f"The {name} price {dollars} is no price.", fix="Give dollars per million tokens: 0.15, say."
        )
    return round(Decimal(str(dollars)) * MILLION)
