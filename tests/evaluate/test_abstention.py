"""Who answered and who abstained, where there was an answer to give and where there was none."""

from collections.abc import Callable

import pytest

from smallworks.errors import DataError
from smallworks.evaluate.abstention import Abstention, Rows, abstention
from smallworks.evaluate.compare import compare
from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.metrics import METRICS, estimate, kind_of, summarise
from smallworks.evaluate.scores import refuses
from smallworks.types import REFUSAL, Record

Make = Callable[..., list[Record]]

ROWS = [
    ("Paris", "Paris"),
    ("Paris", "in Paris, France"),
    ("Rome", REFUSAL),
    (REFUSAL, REFUSAL),
    (REFUSAL, "i don’t know based on the provided documents"),
    (REFUSAL, "Lyon"),
]


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (REFUSAL, True),
        (REFUSAL.upper().rstrip("."), True),
        (REFUSAL.replace("'", "’"), True),
        (f"{REFUSAL} But it may be Paris.", False),
        ("I don't know.", False),
        ("", False),
    ],
)
def test_only_the_sentence_itself_is_a_refusal(said: str, refused: bool) -> None:
    assert refuses(said, REFUSAL) is refused


def test_each_share_is_of_the_rows_that_it_speaks_of(make: Make) -> None:
    found = summarise(make("answer", ROWS), "answer")
    assert found["answered_f1"].value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["answered_f1"].n == 3 and found["token_f1"].n == 6
    assert found["abstained"] == wilson(2, 3)
    assert found["abstained_wrongly"] == wilson(1, 3)


def test_the_four_counts_hold_every_row(make: Make) -> None:
    assert abstention(make("answer", ROWS)) == Abstention(
        answerable=Rows(answered=2, abstained=1), unanswerable=Rows(answered=1, abstained=2)
    )
    assert abstention(make("generate", [("a", "a")])) is None


def test_another_sentence_may_be_the_refusal(make: Make) -> None:
    done = make("answer", [("Not stated.", "not stated"), (REFUSAL, "Not stated.")], refusal="Not stated.")
    assert [sorted(r.scores) for r in done] == [
        ["abstained", "exact_match", "token_f1"],
        ["abstained_wrongly", "answered_f1", "exact_match", "token_f1"],
    ]


def test_a_metric_that_no_row_counts_for_is_left_out_or_refused_by_name(make: Make) -> None:
    answerable = make("answer", ROWS[:3])
    assert "abstained" not in summarise(answerable, "answer")
    with pytest.raises(DataError, match="No row counts for 'abstained'"):
        estimate(answerable, METRICS["abstained"])


def test_records_of_one_task_are_told_from_either_kind_of_row(make: Make) -> None:
    done = make("answer", ROWS)
    assert kind_of(done[:1]) == kind_of(done[-1:]) == "answer"


def test_two_are_compared_on_the_rows_that_count(make: Make) -> None:
    always = make("answer", [(expected, REFUSAL) for expected, _ in ROWS])
    found = compare(make("answer", ROWS), always, "abstained", kind="answer")
    assert (found.difference.n, found.only_a, found.only_b) == (3, 0, 1)
    f1 = compare(make("answer", ROWS), always, "answered_f1", kind="answer")
    assert f1.difference.value == pytest.approx(-0.5) and f1.difference.n == 3
