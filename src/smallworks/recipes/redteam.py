"""Prompts that should be refused and ones that should not: our own small set, and files of the usual formats.

| file | columns | what is harmful |
|---|---|---|
| XSTest | `prompt` with `label` (safe, unsafe) or `type` (contrast_… is unsafe) | as it says, row by row |
| AdvBench | `goal`, `target` | all |
| HarmBench | `Behavior`, `ContextString`, `SemanticCategory` | all; the context goes below the behaviour |
| JailbreakBench | `Goal`, `Behavior`, `Category` | as the caller says |
| StrongREJECT | `forbidden_prompt`, `category` | all |
| Do-Not-Answer | `question`, `risk_area` | all |
| any other | `prompt`, `text`, `input`, `question`, `instruction`; `harmful` | as it or the caller says |

Knows files; knows nothing of answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.data.read import read_rows
from smallworks.errors import DataError
from smallworks.evaluate.injection import Lure
from smallworks.starter import HELPDESK, SAFETY

TEXTS = ("forbidden_prompt", "goal", "behavior", "prompt", "text", "input", "question", "instruction")
CATEGORIES = ("semanticcategory", "category", "risk_area", "type")
IDS = ("id", "behaviorid", "index")
SECTION = re.compile(r"^## ", re.MULTILINE)
SHORTEST, LONGEST = 200, 1500
"""Characters of a section that is taken for a document."""
ABOUT = "What is this text about? Answer in one sentence."
YES, NO = ("true", "1", "yes", "unsafe", "harmful"), ("false", "0", "no", "safe", "benign")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt of a red-team set."""

    id: str
    text: str
    harmful: bool
    category: str = ""


def own() -> tuple[Request, ...]:
    """Our own set: harmful requests without operational detail, each with a harmless look-alike."""
    return tuple(
        Request(id=row["id"], text=row["prompt"], harmful=row["harmful"], category=row["category"])
        for row in files.read_jsonl(SAFETY / "prompts.jsonl")
    )


def load(paths: Sequence[Path], *, harmful: bool) -> tuple[Request, ...]:
    """The requests of that sort in files; of a file that tells both sorts apart, just those.

    Raises DataError for a file without a column of prompts, or without a row of that sort.
    """
    found: list[Request] = []
    for path in paths:
        rows = [_request(row, number, path, harmful) for number, row in read_rows(path)]
        chosen = [request for request in rows if request and request.harmful is harmful]
        if not chosen:
            sort = "harmful" if harmful else "benign"
            raise DataError(
                f"'{path}' holds no {sort} request among {len(rows)} rows.",
                fix="Check its columns: prompt and label (safe, unsafe), or name it with the other option.",
            )
        found += chosen
    return tuple(found)


def labelled(path: Path) -> list[tuple[str, bool]]:
    """Answers that people have labelled: `answer` and `refused` (true, false). Raises DataError."""
    found = []
    for number, row in read_rows(path):
        cells = {name.casefold(): value for name, value in row.items()}
        refused = _flag(cells.get("refused"))
        if "answer" not in cells or refused is None:
            raise DataError(
                f"'{path}' row {number} has no 'answer' with 'refused' true or false.",
                fix='Each row is {"answer": "…", "refused": true}.',
            )
        found.append((str(cells["answer"] or ""), refused))
    return found


def own_labelled() -> list[tuple[str, bool]]:
    """The half of our labelled answers that the detector's rules were not written on."""
    rows = files.read_jsonl(SAFETY / "answers.jsonl")
    return [(row["answer"], row["refused"]) for row in rows if row["part"] == "measure"]


def lures() -> tuple[Lure, ...]:
    rows = files.read_jsonl(SAFETY / "injections.jsonl")
    return tuple(Lure(instruction=row["instruction"], twin=row["twin"]) for row in rows)


def documents() -> tuple[Mapping[str, str], ...]:
    """Short documents, each with a question: our own, and every section of the help-desk articles."""
    rows = files.read_jsonl(SAFETY / "documents.jsonl")
    own_ones = [{"document": row["document"], "question": row["question"]} for row in rows]
    articles = [path.read_text(encoding="utf-8") for path in sorted(HELPDESK.glob("*.md"))]
    sections = [part.strip() for text in articles for part in SECTION.split(text)]
    fit = [part for part in sections if SHORTEST <= len(part) <= LONGEST]
    return (*own_ones, *({"document": part, "question": ABOUT} for part in fit))


def _request(row: Mapping[str, Any], number: int, path: Path, harmful: bool) -> Request | None:
    cells = {name.casefold(): value for name, value in row.items()}
    text = _first(cells, TEXTS)
    if not text:
        raise DataError(
            f"'{path}' row {number} has none of the columns {', '.join(TEXTS)}.",
            fix="Name the column of the prompts 'prompt'.",
        )
    if context := str(cells.get("contextstring") or "").strip():
        text = f"{text}\n\n{context}"
    told = _told(cells)
    name = _first(cells, IDS) or str(number)
    return Request(
        id=f"{path.stem}-{name}",
        text=text,
        harmful=harmful if told is None else told,
        category=_first(cells, CATEGORIES),
    )


def _told(cells: Mapping[str, Any]) -> bool | None:
    """Whether the row itself says that it is harmful; None where it says nothing."""
    for name in ("harmful", "label"):
        if (flag := _flag(cells.get(name))) is not None:
            return flag
    kind = str(cells.get("type") or "")
    if "note" in cells or "focus" in cells:  # XSTest before it had labels
        return kind.startswith("contrast_")
    return None


def _flag(value: object) -> bool | None:
    word = str(value).strip().casefold()
    return True if word in YES else False if word in NO else None


def _first(cells: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(cells[name]).strip() for name in names if cells.get(name)), "")
