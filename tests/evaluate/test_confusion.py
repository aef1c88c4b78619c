"""The per-class report against scikit-learn, and the confusions."""

from collections.abc import Callable

import pytest

from smallworks.evaluate.confusion import UNPARSED, confusion_counts, confusions, per_class
from smallworks.types import Record

PAIRS = (
    [("bug", "bug")] * 5 + [("bug", "feature")] * 2 + [("feature", "feature")] * 3 + [("question", "bug")] * 2
)

Make = Callable[..., list[Record]]


def test_the_report_agrees_with_scikit_learn(make: Make) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    due, said = zip(*PAIRS, strict=True)
    oracle = sklearn.classification_report(due, said, output_dict=True, zero_division=0)
    for label, line in per_class(make("classify", PAIRS)).items():
        assert line["f1"] == pytest.approx(oracle[label]["f1-score"])
        assert [line[k] for k in ("precision", "recall", "support")] == pytest.approx(
            [oracle[label][k] for k in ("precision", "recall", "support")]
        )


def test_confusions_are_the_commonest_mistakes_first(make: Make) -> None:
    records = make("classify", [*PAIRS, ("bug", "what?"), ("bug", "feature")])
    assert confusions(records) == [("bug", "feature", 3), ("question", "bug", 2), ("bug", UNPARSED, 1)]
    assert confusion_counts(records)["bug", "bug"] == 5
    assert UNPARSED not in per_class(records)
    assert per_class(records)["bug"]["recall"] == pytest.approx(5 / 9)
