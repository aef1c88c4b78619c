"""Is a small model right at all, and of which kind? Rules with their reasons; knows no single model.

The thresholds are rules of thumb, stated in the documentation; what they advise is then measured by a build.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from smallworks.select.needs import Needs
from smallworks.types import Estimate, Kind

Route = Literal["flagship", "linear", "encoder", "language model"]
LEAST_VOLUME = 100
"""Requests a day below which no price is asked: a small model is not worth its upkeep."""
LEAST_BILL = 5.0
"""Dollars a month of the flagship below which the same holds."""
LEAST_ROWS: dict[Kind, int] = {"classify": 20, "extract": 50, "answer": 50, "summarize": 100, "generate": 200}
"""Labelled rows without which a small model can be neither tuned nor judged."""
OPEN_TOKENS = 300
"""Mean length of an answer from which `generate` is called open-ended."""
LINEAR_ROWS = 30
"""Rows a label from which words alone often tell the labels apart."""
ENCODER_ROWS = 5
"""Rows a label from which a sentence encoder with a linear head is the next thing to try."""
MANY_LABELS = 200


@dataclass(frozen=True, kw_only=True)
class Advice:
    """`route` is what to start with; `reasons` say why; `warnings` what speaks against a small model here."""

    route: Route
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def advise(needs: Needs, *, fitting: int) -> Advice:
    """`fitting` is how many language models the constraints leave."""
    against = tuple(_against(needs, fitting=fitting))
    if against and not needs.private:
        return Advice(route="flagship", reasons=against)
    warnings = tuple(f"were the data not private: the flagship, because {reason}" for reason in against)
    route, reason = _small(needs)
    return Advice(route=route, reasons=(reason,), warnings=warnings)


def _against(needs: Needs, *, fitting: int) -> Iterator[str]:
    """Why the flagship is the better choice."""
    bill = needs.flagship_month
    if bill is not None and bill < LEAST_BILL:
        yield (
            f"{needs.volume:,.0f} requests a day cost ${bill:.2f} a month with it, "
            f"less than the ${LEAST_BILL:.0f} from which an own model pays"
        )
    elif bill is None and needs.volume is not None and needs.volume < LEAST_VOLUME:
        yield f"{needs.volume:,.0f} requests a day are fewer than the {LEAST_VOLUME} from which it pays"
    least = LEAST_ROWS[needs.kind]
    if needs.rows < least:
        yield f"{needs.rows:,} labelled rows are fewer than the {least} that '{needs.kind}' needs"
    if needs.kind == "generate" and needs.tokens_out > OPEN_TOKENS:
        yield f"answers of about {needs.tokens_out:,.0f} tokens are open-ended, which small models do badly"
    if needs.kind != "classify" and not fitting:
        yield "no language model of the catalogue meets the constraints"


def _small(needs: Needs) -> tuple[Route, str]:
    """Which small model to start with, and why."""
    if needs.kind != "classify":
        return "language model", f"'{needs.kind}' writes text: neither a linear model nor an encoder can"
    rows = f"{needs.rows:,} rows for {needs.labels} labels ({needs.per_label:,.0f} each)"
    score, target = needs.linear, needs.target
    if score and target is not None and score.low >= target:
        return "linear", f"a linear model scores {_said(score)} on held-out rows; the target is {target:g}"
    if score and target is not None and score.high < target:
        missed = f"a linear model scores {_said(score)} on held-out rows, short of the target {target:g}"
        return ("encoder" if needs.per_label >= ENCODER_ROWS else "language model"), missed
    if needs.per_label >= LINEAR_ROWS and needs.labels <= MANY_LABELS:
        known = f"; a linear model scores {_said(score)} on held-out rows" if score else ""
        return "linear", f"{rows} are enough for one{known}"
    if needs.per_label >= ENCODER_ROWS:
        return "encoder", f"{rows} are few for words alone, enough for an encoder with a linear head"
    return "language model", f"{rows} are too few for a linear model or an encoder"


def _said(score: Estimate) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
