"""What the checks found, as values: notices with row numbers, and the report that holds them.

Knows neither files nor how a notice is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing about the data. `rows` are all the row numbers in `file`; `removed` says they were taken out.

    An error stops a build; `fix` then says what mends it.
    """

    severity: Severity
    code: str
    sentence: str
    file: str = ""
    rows: tuple[int, ...] = ()
    count: int = 0
    removed: bool = False
    fix: str = ""

    @classmethod
    def of(
        cls,
        rows: Sequence[int],
        severity: Severity,
        code: str,
        sentence: str,
        *,
        file: str,
        removed: bool = False,
        fix: str = "",
    ) -> Notice:
        """A notice about these rows of a file, counted."""
        return cls(
            severity=severity,
            code=code,
            sentence=sentence,
            file=file,
            rows=tuple(rows),
            count=len(rows),
            removed=removed,
            fix=fix,
        )


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """All notices, the worst first. `sizes` counts rows per split, `classes` training rows per label.

    `columns` says for each file what was read as what.
    """

    notices: tuple[Notice, ...]
    sizes: Mapping[str, int]
    classes: Mapping[str, int]
    columns: Mapping[str, str]

    @property
    def errors(self) -> tuple[Notice, ...]:
        return tuple(notice for notice in self.notices if notice.severity == "error")

    @property
    def removed(self) -> tuple[Notice, ...]:
        """The notices whose rows were taken out."""
        return tuple(notice for notice in self.notices if notice.removed)


def worst_first(notices: Sequence[Notice]) -> tuple[Notice, ...]:
    rank = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(notices, key=lambda notice: rank[notice.severity]))


def name_rows(rows: Sequence[int], shown: int = 5) -> str:
    """'row 3', 'rows 3 and 8', 'rows 3, 8, 9, 12, 40 and 7 more'."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    head, rest = list(map(str, rows[:shown])), len(rows) - shown
    last = f"{rest} more" if rest > 0 else head.pop()
    return f"rows {', '.join(head)} and {last}"


def count_rows(rows: Sequence[int]) -> str:
    """'1 row', '12 rows'."""
    return f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"


def shorten(text: str, most: int = 60) -> str:
    """The text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
