"""Doubtful labels: planted wrong ones are found, right ones are left alone, and nothing is changed."""

from __future__ import annotations

import random

import pytest

from smallworks.tune.suspects import suspects

pytest.importorskip("sklearn")
WORDS = {
    "bug": ["crash", "broken", "error", "fails", "freezes"],
    "feature": ["please", "add", "support", "would", "wish"],
    "question": ["how", "where", "what", "can", "does"],
}
LABELS = list(WORDS)


def tickets(rows: int) -> tuple[list[str], list[str]]:
    draw = random.Random(0)
    right = [LABELS[i % 3] for i in range(rows)]
    return [" ".join(draw.choices(WORDS[label], k=5)) for label in right], right


def test_planted_wrong_labels_come_first_with_the_likelier_one() -> None:
    texts, right = tickets(240)
    planted = range(0, 240, 24)
    given = [LABELS[(i + 1) % 3] if i in planted else label for i, label in enumerate(right)]
    found = suspects(texts, given, labels=LABELS)
    assert {one["at"] for one in found} <= set(planted) and len(found) >= 9
    assert all(one["likely"] == right[one["at"]] and one["given"] == given[one["at"]] for one in found)
    assert all(one["p_given"] < 0.1 < one["p_likely"] for one in found)


def test_right_labels_are_left_alone() -> None:
    texts, right = tickets(240)
    assert suspects(texts, right, labels=LABELS) == []


def test_a_label_with_a_single_row_leaves_nothing_to_compare_with() -> None:
    assert suspects(["a b", "c d", "a c"], ["bug", "feature", "bug"], labels=LABELS) == []
