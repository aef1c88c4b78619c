"""B against A on the same rows: exact McNemar where rows are right or wrong, paired bootstrap elsewhere.

Source: McNemar 1947, exact two-sided binomial form. Knows records and metrics; knows nothing of margins
or targets, which are `verdict`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from smallworks.errors import DataError
from smallworks.evaluate.clusters import Groups, design_effect, groups_of, tally_of
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
    tango,
    total,
)
from smallworks.evaluate.metrics import Metric, estimate, metric_of, row_score
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
    those where its answer scored higher. A row counts where it counts for both.
    """
    chosen = metric_of(metric, kind)
    b_by_id = by_id(records_b, "B")
    _same_rows(by_id(records_a, "A"), b_by_id)
    pairs = _pairs(records_a, b_by_id, chosen)
    groups = groups_of([a.group or b.group for a, b in pairs])
    lead = [_sign(row_score(b, chosen.row) - row_score(a, chosen.row)) for a, b in pairs]
    only_a, only_b = lead.count(-1), lead.count(1)
    if chosen.proportion:
        sides = [estimate([pair[i] for pair in pairs], chosen) for i in (0, 1)]
        difference, p_value = _paired_shares(only_a, only_b, np.array(lead, dtype=np.float64), groups)
    else:
        sides, difference, p_value = _paired_bootstrap(pairs, chosen, groups, seed=seed, resamples=resamples)
    test = "exact McNemar" if chosen.proportion else "paired bootstrap"
    return Comparison(
        metric=metric,
        a=sides[0],
        b=sides[1],
        difference=difference,
        p_value=p_value,
        test=f"{test.removeprefix('exact ')} by groups" if groups else test,
        only_a=only_a,
        only_b=only_b,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value: how likely so uneven a split of the disagreements is, were both as good."""
    return min(1.0, 2 * at_most(min(only_a, only_b), only_a + only_b, 0.5))


def _paired_shares(only_a: int, only_b: int, lead: Floats, groups: Groups | None) -> tuple[Estimate, float]:
    """The difference and its p-value; `lead` [rows] is 1 where only B is right, −1 where only A is.

    With groups both are those of fewer rows, by the design effect of the lead; the p-value is then that of
    McNemar's statistic on the normal curve.
    """
    if groups is None:
        return paired_difference(only_a, only_b, len(lead)), mcnemar(only_a, only_b)
    design = design_effect(lead, groups)
    fewer = only_a / design, only_b / design, len(lead) / design
    value = (only_b - only_a) / len(lead)
    wide = paired_difference(*fewer)
    difference = replace(wide, value=value, n=len(lead), groups=groups.count, design=design)
    p_value = 2 * NormalDist().cdf(-abs(tango(*fewer, 0.0))) if only_a + only_b else 1.0
    return difference, p_value


def _paired_bootstrap(
    pairs: Sequence[tuple[Record, Record]],
    metric: Metric,
    groups: Groups | None,
    *,
    seed: int,
    resamples: int,
) -> tuple[list[Estimate], Estimate, float]:
    """Both sides, their difference and its p-value from one set of resamples, the rows drawn in pairs.

    With groups whole groups are drawn. The p-value is twice the smaller share of resampled differences on
    one side of 0.
    """
    keys = [(metric.key(a), metric.key(b)) for a, b in pairs]
    counted = Counter(keys)
    parts_a = metric.parts([a for a, _ in counted])
    parts_b = metric.parts([b for _, b in counted])
    parts = np.hstack([parts_a, parts_b])
    tally = Tally(parts=parts, times=np.array(list(counted.values())))
    if groups:
        tally = tally_of(keys, parts, list(counted), groups)
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
    found = [
        from_drawn(tally, of_a, drawn[:, 0]),
        from_drawn(tally, of_b, drawn[:, 1]),
        _gap(tally, difference, gaps),
    ]
    a, b, gap = (replace(e, n=len(pairs), groups=groups.count if groups else None) for e in found)
    return [a, b], gap, p_value


def _gap(tally: Tally, difference: Statistic, gaps: Floats) -> Estimate:
    value = float(difference(total(tally))[0])
    if np.ptp(gaps) < 1e-12:  # rows that all differ alike do not show how others would
        bound = paired_difference(0, 0, tally.rows)
        low, high = max(-1.0, value + bound.low), min(1.0, value + bound.high)
    else:
        low, high = accelerated(tally, difference, gaps)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=tally.rows)


def _pairs(
    records_a: Sequence[Record], b_by_id: Mapping[str, Record], metric: Metric
) -> list[tuple[Record, Record]]:
    """The rows that count for both. Raises DataError where there are none."""
    in_b = {record.example_id for record in metric.rows(list(b_by_id.values()))}
    in_both = [record for record in records_a if record.example_id in in_b]
    return [(a, b_by_id[a.example_id]) for a in metric.rows(in_both)]


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
