"""How figures are written in the report: short, in fixed units, an en dash where nothing was measured.

Knows no rows and no page.
"""

from __future__ import annotations

from smallworks.types import Estimate

NONE = "–"
LEAST_MONEY = 1e-4
"""Dollars below this are shown as less than it: nobody decides by them."""


def share(value: float | None) -> str:
    """A metric on its own scale: 0.912."""
    return NONE if value is None else f"{value:.3f}"


def interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"


def grouped(estimate: Estimate) -> str:
    """What it means that rows come in groups."""
    return (
        f"The {estimate.n:,} test rows are in {estimate.groups:,} groups: intervals and verdicts take each "
        "group, not each row, for one draw."
    )


def handed_over(share: Estimate, whose: str) -> str:
    """A share of the rows `whose`, 'in scope' or 'out of scope', that a person or a dearer model gets."""
    low, high = 100 * share.low, 100 * share.high
    return f"hands over {100 * share.value:.1f} % ({low:.1f}–{high:.1f}) of the {share.n:,} rows {whose}"


def percent(value: float) -> str:
    """A probability; certainty is never claimed by rounding."""
    return ">99 %" if 0.995 <= value < 1 else "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def number(value: float | None) -> str:
    """Three figures or so: 0.17, 1.4, 23.0, 4,210."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def megabytes(value: int | None) -> str:
    """Bytes in MB of 10⁶."""
    return NONE if value is None else number(value / 1e6)


def money(dollars: float | None) -> str:
    """Dollars without the sign: 1.20, 0.0043, <0.0001."""
    if dollars is None:
        return NONE
    if 0 < dollars < LEAST_MONEY:
        return f"<{LEAST_MONEY:.4f}"
    return f"{dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"{dollars:.2g}"


def dollars(value: float | None) -> str:
    """Dollars with the sign: $1.20, <$0.0001."""
    figure = money(value)
    return figure if value is None else f"<${figure[1:]}" if figure.startswith("<") else f"${figure}"


def points(difference: float) -> str:
    """A difference on a 0–1 scale in points of a hundred, without its sign: 2.9."""
    return f"{100 * abs(difference):.1f}"


def between(low: float, high: float) -> str:
    """Two ends of a difference on a 0–1 scale in points: '−7.1 to +2.0'."""
    return f"{100 * low:+.1f} to {100 * high:+.1f}".replace("-", "−")


def about(n: int) -> str:
    """A count rounded up to two figures, as verdicts have it: 2,611 → 2,700."""
    unit = 10 ** max(0, len(str(n)) - 2)
    return f"{-(-n // unit) * unit:,}"


def times(a: float | None, b: float | None) -> str | None:
    """How many times `b` goes into `a`, in words of two figures; None where that says nothing."""
    if not a or not b or a < b:
        return None
    ratio = a / b
    if ratio < 9.95:
        return f"{ratio:.1f}×"
    unit = 10 ** (len(str(round(ratio))) - 2)
    return f"{round(ratio / unit) * unit:,}×"


def span(seconds: float) -> str:
    """12.3 s, 4 min 05 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
