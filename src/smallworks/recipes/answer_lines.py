"""What the report says of answers: how good, how well supported, given and refused where, and what was found.

Knows rows of the table and the settings that were tried; knows no page.
"""

from __future__ import annotations

from collections.abc import Sequence

from smallworks.recipes import figures
from smallworks.recipes.finding import Finding, Setting, way
from smallworks.types import Row, Table

SHARES = ("answered_f1", "supported", "recall@k", "mrr@k", "ndcg@k")
HEADS = ("F1 where answerable", "support", "recall@k", "MRR@k", "nDCG@k")
COUNTS = (("abstained_wrongly", "answerable"), ("abstained", "unanswerable"))
Line = tuple[str, tuple[str, ...], bool]
"""A name, its cells, and whether it was chosen."""


def heads(table: Table) -> tuple[tuple[str, str], ...]:
    """Heads of the columns with what stands below them, for those that some row has."""
    shares = tuple((head, "") for name, head in zip(SHARES, HEADS, strict=True) if name in _known(table))
    return (*shares, *((whose, "answered / refused") for name, whose in COUNTS if name in _known(table)))


def lines(table: Table) -> list[Line]:
    """Every measured row; none for a task whose answers are not of that kind."""
    known = _known(table)
    return [
        (row.name, (*_shares(row, known), *_counts(row, known)), row.name == table.chosen_name)
        for row in table.rows
        if row.metric and "answered_f1" in known
    ]


def tried(found: Finding) -> list[Line]:
    """Every setting of the search, the chosen one marked."""
    return [(_name(one), _cells(one), one == found.chosen) for one in found.settings]


def _known(table: Table) -> set[str]:
    return {name for row in table.rows for name in row.metrics}


def _shares(row: Row, known: set[str]) -> Sequence[str]:
    found = [row.metrics.get(name) for name in SHARES if name in known]
    return [f"{figures.share(one.value)} {figures.interval(one)}" if one else figures.NONE for one in found]


def _counts(row: Row, known: set[str]) -> Sequence[str]:
    found = [row.metrics.get(name) for name, _ in COUNTS if name in known]
    refused = [(one.n, round(one.value * one.n)) if one else None for one in found]
    return [f"{some[0] - some[1]} / {some[1]}" if some else figures.NONE for some in refused]


def _name(one: Setting) -> str:
    return f"{one.k} of up to {one.size} characters, by {way(one)}"


def _cells(one: Setting) -> tuple[str, ...]:
    return tuple(figures.share(value) for value in (one.held, one.recall, one.mrr, one.ndcg))
