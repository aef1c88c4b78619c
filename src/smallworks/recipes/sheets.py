"""Rating sheets as CSV: written blind, read back with every row checked. Knows no statistics.

A sheet shows an input and its answers and nothing of where they come from; the key that tells is a file of
its own. Rows come in an order drawn for each rater, and so do the sides.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from smallworks import files
from smallworks.errors import DataError

Form = Literal["choices", "scores"]
FIRST, SECOND, TIE = ("1", "first"), ("2", "second"), ("0", "=", "tie", "equal")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula: an answer that begins so gets an apostrophe."""
CODE = 8


@dataclass(frozen=True, kw_only=True)
class Item:
    """One row to judge: its id, what was asked, both answers, and perhaps what was expected."""

    id: str
    input: str
    a: str
    b: str
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a line hides. Choices: `flipped` puts B first. Scores: `flipped` says that the answer is B's."""

    code: str
    id: str
    flipped: bool


@dataclass(frozen=True, kw_only=True)
class Key:
    """What lifts the blinding. `sheets` are rater → number of the line → what it hides."""

    form: Form
    a: str
    b: str
    scale: int
    seed: int
    rows: int
    equal: int
    sheets: Mapping[str, Mapping[str, Line]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line that was filled in: the rater, what the line hides, and the word or number given."""

    rater: str
    line: Line
    value: float


def write(folder: Path, items: Sequence[Item], key: Key, raters: Sequence[str], *, reference: bool) -> Key:
    """One sheet a rater, `sheet-NAME.csv`. Returns the key with what their lines hide."""
    sheets = {}
    for at, rater in enumerate(raters):
        draw = random.Random(f"{key.seed} {at}")
        lines = _drawn(items, key.form, draw)
        numbered = {
            str(number): Line(code=_code(key.seed, rater, number, item.id), id=item.id, flipped=flipped)
            for number, (item, flipped) in enumerate(lines, 1)
        }
        rows = [
            _row(number, numbered[str(number)], item, key, reference)
            for number, (item, _) in enumerate(lines, 1)
        ]
        files.write_text(folder / f"sheet-{rater}.csv", _csv(rows))
        sheets[rater] = numbered
    return Key(**{**vars(key), "sheets": sheets})


def write_key(path: Path, key: Key) -> None:
    files.write_json(path, asdict(key))


def read_key(path: Path) -> Key:
    """Raises DataError for a file that is no key."""
    raw = files.read_json(path)
    try:
        sheets = {
            rater: {number: Line(**line) for number, line in lines.items()}
            for rater, lines in raw.pop("sheets").items()
        }
        return Key(**raw, sheets=sheets)
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"'{path}' is not the key of rating sheets: {error}.",
            fix="Give the .key.json that `smallworks rate export` wrote.",
        ) from error


def read(path: Path, key: Key) -> list[Entry]:
    """The lines of a sheet that were filled in. Raises DataError that names the one which is not in order."""
    entries, seen = [], set[str]()
    for at, row in enumerate(_rows(path), 1):
        number, code = (str(row.get(name) or "").strip() for name in ("number", "code"))
        rater = next(
            (r for r, lines in key.sheets.items() if number in lines and lines[number].code == code), None
        )
        if rater is None:
            raise DataError(
                f"'{path}' row {at}: number '{number}' and code '{code}' belong to no sheet of this key.",
                fix="Leave these two columns as they were written, or give the key of this sheet.",
            )
        if number in seen:
            raise DataError(f"'{path}' row {at}: number {number} comes twice.", fix="Delete one of them.")
        seen.add(number)
        given = str(row.get("choice" if key.form == "choices" else "score") or "").strip().casefold()
        if given:
            value = _choice(given) if key.form == "choices" else _score(given, key.scale)
            if value is None:
                raise DataError(f"'{path}' row {at}: '{given}' is no {key.form[:-1]}.", fix=_valid(key))
            entries.append(Entry(rater=rater, line=key.sheets[rater][number], value=value))
    return entries


def _drawn(items: Sequence[Item], form: Form, draw: random.Random) -> list[tuple[Item, bool]]:
    """The lines in this rater's order: a pair on each, its sides drawn; or each answer on one of its own."""
    if form == "choices":
        lines = [(item, draw.random() < 0.5) for item in items]
    else:
        lines = [(item, flipped) for item in items for flipped in (False, True)]
    draw.shuffle(lines)
    return lines


def _row(number: int, line: Line, item: Item, key: Key, reference: bool) -> dict[str, str]:
    head = {"number": str(number), "code": line.code, "input": _cell(item.input)}
    if reference:
        head["expected"] = _cell(item.reference)
    first, second = (item.b, item.a) if line.flipped else (item.a, item.b)
    if key.form == "choices":
        return {**head, "first": _cell(first), "second": _cell(second), "choice": "", "remark": ""}
    return {**head, "answer": _cell(first), "score": "", "remark": ""}


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a sheet as spreadsheets save it: with a byte order mark, or with semicolons."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"No sheet at '{path}'.", fix="Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text.", fix="Save it as CSV UTF-8.") from error
    head = text.partition("\n")[0]
    comma = max(",;\t", key=head.count)
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=comma))


def _choice(given: str) -> float | None:
    """−1 for the first, 1 for the second, 0 for neither."""
    return -1.0 if given in FIRST else 1.0 if given in SECOND else 0.0 if given in TIE else None


def _score(given: str, scale: int) -> float | None:
    try:
        value = float(given.replace(",", "."))
    except ValueError:
        return None
    return value if 1 <= value <= scale else None


def _valid(key: Key) -> str:
    return "Write 1, 2 or =." if key.form == "choices" else f"Write a number from 1 to {key.scale}."


def _code(seed: int, rater: str, number: int, row: str) -> str:
    """Tells a line moved to another sheet or number; tells nothing of the sides."""
    return files.hash_value([seed, rater, number, row])[:CODE]
