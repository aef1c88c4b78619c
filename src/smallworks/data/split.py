"""Split rows into train, validation and test: stratified, by whole groups or by time; seeded, stable.

Knows no files and removes nothing: every row it is given lands in exactly one part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from smallworks.data.marks import drawn
from smallworks.files import hash_value
from smallworks.types import Example

Part = Literal["train", "validation", "test"]

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
LEFT_IN_TRAIN = 2  # rows of each class that no split may take


def split(
    examples: Sequence[Example], *, seed: int, stratify: bool, test: bool, validation: bool
) -> Mapping[Part, tuple[Example, ...]]:
    """Carve a test part (20 %) and a validation part (10 % of the rest) out of the rows, as asked.

    Rows with the same normalised text stay together, so no part leaks into another. Each class (each
    output, with `stratify`) gives at least one row to each part where it has four or more, and keeps at
    least two for training. Rows are drawn by the hash of seed and text: their order does not matter, and
    an appended row moves at most the rows at the border of its own class.
    """
    parts: dict[str, Part] = {}
    places = [drawn(example, seed) for example in examples]
    for groups in _strata(examples, places, stratify).values():
        parts.update(_assign(groups, test=test, validation=validation))
    return _landed(examples, [parts[place] for place in places])


def split_groups(
    examples: Sequence[Example],
    groups: Sequence[str],
    *,
    seed: int,
    test: bool = True,
    validation: bool = True,
) -> Mapping[Part, tuple[Example, ...]]:
    """The same shares with whole groups: `groups[i]` is the group of `examples[i]`, drawn by seed and name.

    A group larger than what a part still lacks goes on to the next part, and to train in the end. The same
    text may stand in two groups, and so in two parts.
    """
    counts: dict[str, int] = defaultdict(int)
    place = {group: hash_value([seed, group]) for group in set(groups)}
    for group in groups:
        counts[place[group]] += 1
    parts = _assign(counts, test=test, validation=validation)
    return _landed(examples, [parts[place[group]] for group in groups])


def split_by_time(examples: Sequence[Example], times: Sequence[float]) -> Mapping[Part, tuple[Example, ...]]:
    """The latest 20 % are test, the latest 10 % of the rest validation; one moment is never in two parts.

    The same text may stand in two parts.
    """
    to_test = _latest(times, TEST_SHARE)
    to_validation = _latest([time for time in times if time < to_test], VALIDATION_SHARE)
    parts: list[Part] = [
        "test" if time >= to_test else "validation" if time >= to_validation else "train" for time in times
    ]
    return _landed(examples, parts)


def _latest(times: Sequence[float], share: float) -> float:
    """The moment from which on nearest to this share of the times lie; infinite where all are one moment."""
    ordered = sorted(times)
    moments = {time: len(ordered) - at for at, time in reversed(list(enumerate(ordered)))}
    later = [moment for moment in moments if moment > ordered[0]] if ordered else []
    return min(later, key=lambda moment: abs(moments[moment] - share * len(ordered)), default=float("inf"))


def _landed(examples: Sequence[Example], parts: Sequence[Part]) -> Mapping[Part, tuple[Example, ...]]:
    landed: dict[Part, list[Example]] = {"train": [], "validation": [], "test": []}
    for example, part in zip(examples, parts, strict=True):
        landed[part].append(example)
    return {part: tuple(rows) for part, rows in landed.items()}


def sizes(rows: int, *, test: bool, validation: bool) -> tuple[int, int]:
    """How many of a class's rows go to test and to validation."""
    free = max(0, rows - LEFT_IN_TRAIN)
    to_test = min(free, max(1, round(rows * TEST_SHARE))) if test else 0
    left = rows - to_test
    to_validation = min(free - to_test, max(1, round(left * VALIDATION_SHARE))) if validation else 0
    return to_test, to_validation


def _strata(
    examples: Sequence[Example], places: Sequence[str], stratify: bool
) -> Mapping[str, Mapping[str, int]]:
    """For each class, how many rows each normalised text has. A text in conflict counts for one class."""
    counts: dict[str, int] = defaultdict(int)
    classes: dict[str, str] = {}
    for example, key in zip(examples, places, strict=True):
        label = example.output if stratify else ""
        counts[key] += 1
        classes[key] = min(label, classes.get(key, label))
    strata: dict[str, dict[str, int]] = defaultdict(dict)
    for key, label in classes.items():
        strata[label][key] = counts[key]
    return strata


def _assign(groups: Mapping[str, int], *, test: bool, validation: bool) -> dict[str, Part]:
    """The part of each group, in the order of their names, which are hashes."""
    test_left, validation_left = sizes(sum(groups.values()), test=test, validation=validation)
    parts: dict[str, Part] = {}
    for key in sorted(groups):
        if groups[key] <= test_left:
            parts[key] = "test"
            test_left -= groups[key]
        elif groups[key] <= validation_left:
            parts[key] = "validation"
            validation_left -= groups[key]
        else:
            parts[key] = "train"
    return parts
