"""Answered or abstained, where there is an answer to give and where there is none. Pure; knows records.

An answerable row that is answered may still be answered wrongly: how well is `answered_f1`'s to say. An
unanswerable row that is answered is made up, whatever it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smallworks.types import Record


@dataclass(frozen=True, kw_only=True)
class Rows:
    answered: int
    abstained: int


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """Rows whose documents hold the answer, and rows that expect the sentence of refusal."""

    answerable: Rows
    unanswerable: Rows


def abstention(records: Sequence[Record]) -> Abstention | None:
    """The four counts; None for records of another kind than `answer`."""
    answerable, unanswerable = (_rows(records, name) for name in ("abstained_wrongly", "abstained"))
    if answerable.answered + answerable.abstained + unanswerable.answered + unanswerable.abstained == 0:
        return None
    return Abstention(answerable=answerable, unanswerable=unanswerable)


def _rows(records: Sequence[Record], score: str) -> Rows:
    refused = [record.scores[score] == 1.0 for record in records if score in record.scores]
    return Rows(answered=refused.count(False), abstained=refused.count(True))
