"""B against A on the same rows: exact McNemar where rows are right or wrong, paired bootstrap elsewhere.

Source: McNemar 1947, exact two-sided binomial form. Knows records and metrics; knows nothing of margins
or targets, which are `verdict`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from smallworks.errors import DataError
from smallworks.evaluate.intervals import (
    RESAMPLES,
    Floats,
    Statistic,
    Tally,
    accelerated,
    at_most,
    from_drawn,
    paired_difference,
    resample,
    total,
    wilson,
)
from smallworks.evaluate.metrics import Metric, metric_of, row_score
from smallworks.evaluate.records import by_id
from smallworks.types import Comparison, Estimate, Kind, Record


def compare(
    records_a: Sequence[Record],
    records_b: Sequence[Record],
    metric: str,
    *,
    kind: Kind,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """B against A. Raises DataError unless both hold the same examples with the same expected outputs.

    `only_a` and `only_b` count the rows where just that one is right; where rows are not right or wrong,
    those where its answer scored higher.
    """
    chosen = metric_of(metric, kind)
    b_by_id = by_id(records_b, "B")
    _same_rows(by_id(records_a, "A"), b_by_id)
    pairs = [(a, b_by_id[a.example_id]) for a in records_a]
    lead = Counter(_sign(row_score(b, chosen.row) - row_score(a, chosen.row)) for a, b in pairs)
    if chosen.proportion:
        sides = [wilson(sum(row_score(pair[i], chosen.row) for pair in pairs), len(pairs)) for i in (0, 1)]
        difference, p_value = paired_difference(lead[-1], lead[1], len(pairs)), mcnemar(lead[-1], lead[1])
    else:
        sides, difference, p_value = _paired_bootstrap(pairs, chosen, seed=seed, resamples=resamples)
    return Comparison(
        metric=metric,
        a=sides[0],
        b=sides[1],
        difference=difference,
        p_value=p_value,
        test="exact McNemar" if chosen.proportion else "paired bootstrap",
        only_a=lead[-1],
        only_b=lead[1],
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value: how likely so uneven a split of the disagreements is, were both as good."""
    return min(1.0, 2 * at_most(min(only_a, only_b), only_a + only_b, 0.5))


def _paired_bootstrap(
    pairs: Sequence[tuple[Record, Record]], metric: Metric, *, seed: int, resamples: int
) -> tuple[list[Estimate], Estimate, float]:
    """Both sides, their difference and its p-value from one set of resamples, the rows drawn in pairs.

    The p-value is twice the smaller share of resampled differences on one side of 0.
    """
    counted = Counter((metric.key(a), metric.key(b)) for a, b in pairs)
    parts_a = metric.parts([a for a, _ in counted])
    parts_b = metric.parts([b for _, b in counted])
    tally = Tally(parts=np.hstack([parts_a, parts_b]), times=np.array(list(counted.values())))
    split = parts_a.shape[1]

    def of_a(sums: Floats) -> Floats:
        return metric.statistic(sums[:, :split])

    def of_b(sums: Floats) -> Floats:
        return metric.statistic(sums[:, split:])

    def difference(sums: Floats) -> Floats:
        value: Floats = of_b(sums) - of_a(sums)
        return value

    def both(sums: Floats) -> Floats:
        return np.column_stack([of_a(sums), of_b(sums)])

    drawn = resample(tally, both, seed=seed, resamples=resamples)
    gaps = drawn[:, 1] - drawn[:, 0]
    side = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
    p_value = min(1.0, 2 * (side + 1) / (resamples + 1))
    sides = [from_drawn(tally, of_a, drawn[:, 0]), from_drawn(tally, of_b, drawn[:, 1])]
    return sides, _gap(tally, difference, gaps), p_value


def _gap(tally: Tally, difference: Statistic, gaps: Floats) -> Estimate:
    value = float(difference(total(tally))[0])
    if np.ptp(gaps) < 1e-12:  # rows that all differ alike do not show how others would
        bound = paired_difference(0, 0, tally.rows)
        low, high = max(-1.0, value + bound.low), min(1.0, value + bound.high)
    else:
        low, high = accelerated(tally, difference, gaps)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=tally.rows)


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def _same_rows(a: Mapping[str, Record], b: Mapping[str, Record]) -> None:
    """Raises DataError that names the rows missing on either side, or expected otherwise."""
    for side, missing in (("B", a.keys() - b.keys()), ("A", b.keys() - a.keys())):
        if missing:
            named = ", ".join(f"'{i}'" for i in sorted(missing)[:3]) + (", …" if len(missing) > 3 else "")
            raise DataError(
                f"{side} has no record of {len(missing)} of the rows that the other has: {named}.",
                fix="Evaluate both on the same test set.",
            )
    changed = [i for i in a if a[i].expected != b[i].expected]
    if changed:
        raise DataError(
            f"Row '{changed[0]}' expects {a[changed[0]].expected[:40]!r} in A and "
            f"{b[changed[0]].expected[:40]!r} in B ({len(changed)} such rows).",
            fix="The test set changed in between: evaluate both again.",
        )
