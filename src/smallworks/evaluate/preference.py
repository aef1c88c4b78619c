"""What people prefer: their choices between two answers, or their scores of each, as one comparison.

A row is one draw, however many people judged it: their judgements are averaged first. Knows judgements whose
blinding has been lifted; knows no sheets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from smallworks.errors import DataError
from smallworks.evaluate.compare import mcnemar
from smallworks.evaluate.intervals import Floats, Tally, bootstrap
from smallworks.types import Comparison, Estimate

Judged = Mapping[str, Mapping[str, float]]
"""rater → row → judgement."""


def preferred(choices: Judged) -> Comparison:
    """`choices` are 1 for B, −1 for A, 0 for a tie. The difference is share(B) − share(A), −1 to 1."""
    rows = list(_by_row(choices).values())
    means = [fmean(values) for values in rows]
    shares = [_bounded([fmean(value == side for value in values) for values in rows]) for side in (-1, 1)]
    return _comparison("wins", shares[0], shares[1], means, span=1.0)


def scored(a: Judged, b: Judged, *, scale: int) -> Comparison:
    """Scores from 1 to `scale` of both answers. The difference is mean(B) − mean(A), in points."""
    of_a, of_b = _means(a), _means(b)
    both = [row for row in of_a if row in of_b]
    if not both:
        raise DataError(
            "No row has a score of both answers.",
            fix="Fill in the column score of more rows, then read again.",
        )
    span = float(scale - 1)
    sides = [_points(_bounded([(of[row] - 1) / span for row in both]), span) for of in (of_a, of_b)]
    return _comparison("score", sides[0], sides[1], [of_b[row] - of_a[row] for row in both], span=span)


def win_rate(found: Comparison) -> Estimate:
    """B's share of wins, a tie counted as half: what `preferred` says, on the usual scale."""
    d = found.difference
    return Estimate(value=(1 + d.value) / 2, low=(1 + d.low) / 2, high=(1 + d.high) / 2, n=d.n)


def _comparison(name: str, a: Estimate, b: Estimate, lead: Sequence[float], *, span: float) -> Comparison:
    """`lead` is how far B is ahead on each row, −span to span."""
    share = _bounded([(each / span + 1) / 2 for each in lead])
    ends = (span * (2 * end - 1) for end in (share.value, share.low, share.high))
    value, low, high = ends
    only_a, only_b = sum(each < 0 for each in lead), sum(each > 0 for each in lead)
    return Comparison(
        metric=name,
        a=a,
        b=b,
        difference=Estimate(value=value, low=low, high=high, n=len(lead)),
        p_value=mcnemar(only_a, only_b),
        test="exact sign test of rows",
        only_a=only_a,
        only_b=only_b,
    )


def _bounded(values: Sequence[float]) -> Estimate:
    """The mean of values of 0 to 1 with its bootstrap interval."""
    if not values:
        raise DataError("No row was judged.", fix="Fill in the column choice, then read again.")
    distinct, times = np.unique(np.round(values, 9), return_counts=True)
    parts = np.column_stack([distinct, np.ones(len(distinct))])
    return bootstrap(Tally(parts=parts, times=times.astype(np.int64)), _mean)


def _mean(sums: Floats) -> Floats:
    value: Floats = sums[:, 0] / sums[:, 1]
    return value


def _points(share: Estimate, span: float) -> Estimate:
    value, low, high = (1 + span * end for end in (share.value, share.low, share.high))
    return Estimate(value=value, low=low, high=high, n=share.n)


def _by_row(judged: Judged) -> dict[str, list[float]]:
    rows: dict[str, list[float]] = {}
    for given in judged.values():
        for row, value in given.items():
            rows.setdefault(row, []).append(value)
    return rows


def _means(judged: Judged) -> dict[str, float]:
    return {row: fmean(values) for row, values in _by_row(judged).items()}
