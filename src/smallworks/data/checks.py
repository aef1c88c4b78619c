"""Look through parsed rows for what harms a build: unusable rows, duplicates, leaks, conflicts, thin parts.

Pure functions from examples to notices; knows neither files nor labels (classes.py looks at those).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from smallworks.data.marks import exact, same
from smallworks.data.report import Notice, Severity, count_rows, name_rows, shorten
from smallworks.data.shapes import Problem
from smallworks.data.split import Part
from smallworks.types import Example

SHORT_TEST = 100


def unusable(problems: Sequence[Problem], file: str) -> list[Notice]:
    """Rows without input or output (dropped), and rows whose cells cannot be read (an error)."""
    notices = []
    empty = tuple(problem.row for problem in problems if not problem.what)
    broken = [problem for problem in problems if problem.what]
    if empty:
        sentence = f"Dropped {count_rows(empty)} of '{file}' without input or output ({name_rows(empty)})."
        notices.append(Notice.of(empty, "warning", "empty_row", sentence, file=file, removed=True))
    if broken:
        sentence = f"'{file}' row {broken[0].row}: {broken[0].what}{_also(broken)}."
        rows = [problem.row for problem in broken]
        notices.append(
            Notice.of(rows, "error", "unusable_row", sentence, file=file, fix="Mend or delete it.")
        )
    return notices


def schema_violations(examples: Sequence[Example], schema: Mapping[str, Any], file: str) -> list[Notice]:
    """Outputs that the task's JSON schema does not allow."""
    import jsonschema_rs

    validator = jsonschema_rs.validator_for(dict(schema), offline=True)
    bad = [example for example in examples if not validator.is_valid(json.loads(example.output))]
    if not bad:
        return []
    first = next(validator.iter_errors(json.loads(bad[0].output)))
    place = ".".join(map(str, first.instance_path)) or "the output"
    message = f"at {place}, {first.message.rstrip('.')}"
    sentence = f"'{file}' row {bad[0].row} does not fit the schema: {message}{_also(bad)}."
    fix = "Mend the row or the schema."
    return [Notice.of(numbers(bad), "error", "schema", sentence, file=file, fix=fix)]


def repeated_ids(examples: Sequence[Example], file: str) -> list[Notice]:
    again = numbers(repeated := _again(examples, lambda example: example.id))
    if not again:
        return []
    sentence = f"'{file}' uses the id '{repeated[0].id}' more than once ({name_rows(again)})."
    fix = "Give every row an id of its own, or name another column: [data] id."
    return [Notice.of(again, "error", "repeated_id", sentence, file=file, fix=fix)]


def duplicates(
    examples: Sequence[Example], file: str, *, remove: bool
) -> tuple[Sequence[Example], list[Notice]]:
    """Rows whose input and output stand earlier in the file; what is left without them when `remove`."""
    again = _again(examples, exact)
    if not again:
        return examples, []
    rows = numbers(again)
    done = "Dropped" if remove else "Kept"
    sentence = (
        f"{done} {count_rows(rows)} of '{file}' that repeat an earlier one exactly ({name_rows(rows)})."
    )
    severity: Severity = "warning" if remove else "info"
    notice = Notice.of(rows, severity, "duplicate", sentence, file=file, removed=remove)
    return _without(examples, again) if remove else examples, [notice]


def leaks(
    examples: Sequence[Example], held_out: Sequence[Example], *, file: str, other: str
) -> tuple[Sequence[Example], list[Notice]]:
    """Rows whose text stands in `held_out` too, case and spacing aside; what is left without them."""
    there = {same(example): example.row for example in reversed(held_out)}
    leaked = [example for example in examples if same(example) in there]
    if not leaked:
        return examples, []
    rows = numbers(leaked)
    twin = there[same(leaked[0])]
    sentence = (
        f"Dropped {count_rows(rows)} of '{file}' that are in '{other}' too, case and spacing aside"
        f" ({name_rows(rows)}; row {rows[0]} is row {twin} there); '{other}' keeps them."
    )
    notice = Notice.of(rows, "warning", "leak", sentence, file=file, removed=True)
    return _without(examples, leaked), [notice]


def shared_groups(parts: Mapping[Part, Sequence[Example]], column: str) -> list[Notice]:
    """Groups of the test part that were trained on too: what is measured is then not how new ones fare."""
    tested = {example.group for example in parts["test"]} - {""}
    both = [e for e in (*parts["train"], *parts["validation"]) if e.group in tested]
    if not both:
        return []
    groups = len({example.group for example in both})
    sentence = (
        f"{groups} of the {len(tested)} groups of '{column}' in the test part are trained on too, such as"
        f" '{shorten(both[0].group)}'; all were kept."
    )
    fix = "Split by whole groups: leave [data] test out, or use `smallworks data split --group`."
    return [Notice(severity="warning", code="shared_group", sentence=sentence, count=len(both), fix=fix)]


def conflicts(examples: Sequence[Example], file: str) -> list[Notice]:
    """The same text with different outputs. Nothing is removed: only the user knows which one is right."""
    outputs: dict[int, set[str]] = defaultdict(set)
    for example in examples:
        outputs[same(example)].add(example.output)
    bad = [example for example in examples if len(outputs[same(example)]) > 1]
    if not bad:
        return []
    said = " and ".join(f"'{shorten(output)}'" for output in sorted(outputs[same(bad[0])]))
    texts = len({same(example) for example in bad})
    sentence = (
        f"'{file}' gives {texts} {'text' if texts == 1 else 'texts'} different outputs,"
        f" such as {said} for '{shorten(bad[0].text)}' ({name_rows(numbers(bad))}); all were kept."
    )
    fix = "Decide on one output for each text."
    return [Notice.of(numbers(bad), "warning", "conflict", sentence, file=file, fix=fix)]


def part_sizes(sizes: Mapping[str, int], file: str) -> list[Notice]:
    """Parts that came out too small; `file` is the one that train comes from."""
    notices = []
    if sizes["train"] < 2:
        sentence = f"'{file}' has too few rows: {sizes['train']} left to train on."
        notices.append(Notice(severity="error", code="too_few_rows", sentence=sentence, fix="Add rows."))
    elif not sizes["test"]:
        sentence = f"'{file}' has too few rows to set a test part aside."
        fix = "Add rows (at least three for a class), or name a test file: [data] test."
        notices.append(Notice(severity="error", code="no_test", sentence=sentence, fix=fix))
    elif not sizes["validation"]:
        sentence = f"'{file}' has too few rows to set a validation part aside; tuning cannot stop early."
        notices.append(Notice(severity="warning", code="no_validation", sentence=sentence, fix="Add rows."))
    if 0 < sizes["test"] < SHORT_TEST:
        notices.append(_short_test(sizes["test"]))
    return notices


def _short_test(rows: int) -> Notice:
    """A test set whose interval decides little: half its width at 90 % is 1.96 √(0.9 · 0.1 / rows)."""
    points = 100 * 1.96 * math.sqrt(0.9 * 0.1 / rows)
    sentence = (
        f"The test part has only {rows} rows: a score near 90 % is known to about ± {points:.0f} points."
    )
    fix = f"Add test rows; {SHORT_TEST} give ± 6 points, 1,000 give ± 2."
    return Notice(severity="warning", code="short_test", sentence=sentence, count=rows, fix=fix)


def numbers(examples: Iterable[Example]) -> tuple[int, ...]:
    return tuple(example.row for example in examples)


def _again(examples: Sequence[Example], key: Callable[[Example], Hashable]) -> list[Example]:
    """The examples whose key an earlier one has."""
    seen: set[Hashable] = set()
    again = []
    for example in examples:
        mark = key(example)
        if mark in seen:
            again.append(example)
        seen.add(mark)
    return again


def _without(examples: Iterable[Example], gone: Iterable[Example]) -> tuple[Example, ...]:
    rows = {example.row for example in gone}
    return tuple(example for example in examples if example.row not in rows)


def _also(bad: Sequence[object]) -> str:
    rest = len(bad) - 1
    return f" (and {rest} more {'row' if rest == 1 else 'rows'})" if rest else ""
