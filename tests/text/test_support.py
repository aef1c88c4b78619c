"""What an answer takes from its context: its words, and all of its numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.evaluate.metrics import summarise
from smallworks.evaluate.run import run
from smallworks.text.support import FUNCTION_WORDS, context_of, supported
from smallworks.types import REFUSAL, Answer, Example, ExampleId

CONTEXT = "The Pro plan costs $1,200 a year, or 2.50 per user. It opened on 3 May 2019."


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("The pro plan costs 1200 dollars.", 4 / 5),
        ("$1,200.00", 1.0),
        ("2.5 per user", 1.0),
        ("It costs $1,300 a year.", 0.0),
        ("The plan is purple. It costs 1,200 a year.", (1 / 2 + 1) / 2),
        ("Lyon", 0.0),
        ("A yes.", None),
        ("", None),
    ],
)
def test_a_sentence_is_supported_by_words_and_by_all_its_numbers(answer: str, share: float | None) -> None:
    assert supported(answer, CONTEXT) == (None if share is None else pytest.approx(share))


def test_what_it_cannot_see_is_known() -> None:
    assert supported("The plan does not cost 1,200 a year.", CONTEXT) == pytest.approx(3 / 4)  # "cost"
    assert supported("The Pro plan opened 1,200 a year.", CONTEXT) == 1.0  # its words put together wrongly


@given(st.text(max_size=60))
def test_a_text_is_wholly_supported_by_itself(text: str) -> None:
    assert supported(text, text) in (None, 1.0)


@given(st.lists(st.sampled_from(["plan", "user", "zebra", "7", "the", "."]), max_size=12).map(" ".join))
def test_more_context_never_takes_support_away(answer: str) -> None:
    less, more = supported(answer, CONTEXT), supported(answer, CONTEXT + " zebra 7")
    assert (less is None) == (more is None)
    assert less is None or more is None or 0 <= less <= more <= 1


def test_a_question_supports_nothing_where_there_is_more() -> None:
    assert context_of({"context": "We open at nine.", "Question": "When?"}) == "We open at nine."
    assert context_of({"title": "a", "body": "b"}) == "a\nb"
    assert context_of({"question": "When?"}) == "When?"
    assert {"the", "not", "yes"} <= FUNCTION_WORDS


def test_the_mean_is_over_the_answers_that_say_something() -> None:
    said = ["nine", "ten", REFUSAL, "Yes."]
    examples = [
        Example(
            id=ExampleId(f"r{i}"), inputs={"context": "We open at nine.", "question": "Ten?"}, output="nine"
        )
        for i in range(len(said))
    ]
    records = run(
        examples, lambda rows: [Answer(text=s, tokens_in=1, tokens_out=1, ms=1) for s in said], kind="answer"
    )
    assert [r.scores.get("supported") for r in records] == [1.0, 0.0, None, None]
    found = summarise(records, "answer")["supported"]
    assert (found.value, found.n) == (0.5, 2)
