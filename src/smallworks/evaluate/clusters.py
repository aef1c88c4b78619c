"""Rows that come in groups: several of one customer, one document, one conversation.

Rows of a group tend to be right or wrong together, so they tell less than as many rows of different groups.
Groups are taken as drawn at random, rows within them as they are. Sources: clustered standard errors of a
mean as in Miller 2024 ("Adding Error Bars to Evals", arXiv 2411.00640) with the correction for few groups of
Cameron and Miller 2015; the design effect, Kish 1965; its use in binomial intervals, Korn and Graubard 1998.
Knows values and groups; knows nothing of records.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smallworks.evaluate.intervals import LEVEL, Floats, Tally, quantile, student, wilson
from smallworks.types import Estimate


@dataclass(frozen=True, kw_only=True)
class Groups:
    """`of` [rows] numbers the group of each row from 0; `count` is how many there are."""

    of: NDArray[np.int64]
    count: int

    def sums(self, values: Floats) -> Floats:
        """Values [rows] added up within each group, [count]."""
        return np.bincount(self.of, weights=values, minlength=self.count).astype(np.float64)


def groups_of(names: Sequence[str]) -> Groups | None:
    """The groups of rows named so; a row without a name stands alone. None where every row does."""
    numbers: dict[Hashable, int] = {}
    of = [numbers.setdefault(name or at, len(numbers)) for at, name in enumerate(names)]
    if len(numbers) == len(names):
        return None
    return Groups(of=np.array(of), count=len(numbers))


def standard_error(values: Floats, groups: Groups) -> float:
    """Of the mean of values [rows], with G / (G − 1) for few groups; infinite for a single one."""
    if groups.count < 2:
        return math.inf
    spread = groups.sums(values - values.mean())
    return math.sqrt(groups.count / (groups.count - 1) * float((spread**2).sum())) / len(values)


def design_effect(values: Floats, groups: Groups) -> float:
    """How many rows of these tell as much as one independent row would, for their mean: 1 or more.

    Student's quantile over the normal one is in it, squared: the groups alone tell how wide they scatter.
    Where all values are alike nothing does: then every group is taken for a single row.
    """
    rows = len(values)
    variance = float(values.var()) / rows
    if groups.count < 2:
        return float(rows)
    if variance < 1e-15:
        return float((np.bincount(groups.of) ** 2).sum()) / rows
    z = quantile(LEVEL)
    wider = student(z, groups.count - 1) / student(z, rows - 1)
    return min(float(rows), max(1.0, standard_error(values, groups) ** 2 / variance * wider**2))


def share(values: Floats, groups: Groups) -> Estimate:
    """The share of ones among values [rows] of 0 and 1: Wilson's interval on so many fewer rows."""
    design = design_effect(values, groups)
    rows, value = len(values) / design, float(values.mean())
    found = wilson(value * rows, rows)
    return replace(found, value=value, n=len(values), groups=groups.count, design=design)


def tally_of(keys: Iterable[Hashable], parts: Floats, order: Sequence[Hashable], groups: Groups) -> Tally:
    """A group as one row of a bootstrap: `keys` [rows] name rows of `parts`, whose order is `order`."""
    place = {key: at for at, key in enumerate(order)}
    at = np.array([place[key] for key in keys])
    summed = [groups.sums(column[at]) for column in parts.T]
    return Tally(parts=np.column_stack(summed), times=np.ones(groups.count, dtype=np.int64))
