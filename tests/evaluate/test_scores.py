"""What one row scores, in tables of cases."""

import pytest

from smallworks.errors import DataError
from smallworks.evaluate.parse import parse
from smallworks.evaluate.scores import field_counts, score_row, token_f1


def test_a_label_scores_strictly_and_leniently() -> None:
    parsed = parse("classify", "It is a bug.", labels=("bug", "feature"))
    assert score_row("classify", parsed, "bug") == {"accuracy": 0.0, "accuracy_lenient": 1.0}


@pytest.mark.parametrize(
    ("said", "expected", "f1"),
    [
        ("The Eiffel Tower", "eiffel tower.", 1.0),
        ("in Paris, France", "Paris", 0.5),
        ("London", "Paris", 0.0),
        ("the", "a", 1.0),
        ("", "Paris", 0.0),
        ("paris paris", "paris", 2 / 3),
    ],
)
def test_token_f1_is_squads(said: str, expected: str, f1: float) -> None:
    assert token_f1(said, expected) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("said", "expected", "counts"),
    [
        ('{"a":1,"b":"x"}', '{"b":"x","a":1}', (2, 2, 2)),
        ('{"a":1.0}', '{"a":1}', (1, 1, 1)),
        ('{"a":"1"}', '{"a":1}', (0, 1, 1)),
        ('{"a":1,"b":null}', '{"a":1}', (1, 1, 1)),
        ('{"tags":["y","x"]}', '{"tags":["x","y","y"]}', (2, 2, 3)),
        ('{"a":{"b":1}}', '{"a":{"c":1}}', (0, 1, 1)),
        (None, '{"a":1}', (0, 0, 1)),
        ("{}", "{}", (0, 0, 0)),
    ],
)
def test_fields_are_counted_by_path_and_value(
    said: str | None, expected: str, counts: tuple[int, int, int]
) -> None:
    assert field_counts(said, expected) == counts


def test_an_extraction_in_a_code_fence_counts_only_leniently() -> None:
    scores = score_row("extract", parse("extract", '```\n{"a": 1, "b": 2}\n```'), '{"a": 1, "b": 3}')
    assert (scores["json_valid"], scores["json_valid_lenient"]) == (0.0, 1.0)
    assert (scores["field_f1"], scores["field_f1_lenient"]) == (0.0, 0.5)
    assert scores["exact_match_lenient"] == 0.0


def test_an_expected_output_that_is_not_json_is_named() -> None:
    with pytest.raises(DataError, match="'name: x' is not JSON"):
        score_row("extract", parse("extract", "{}"), "name: x")


def test_generated_text_matches_exactly_or_leniently() -> None:
    scores = score_row("generate", parse("generate", " Hello,  world"), "hello world")
    assert (scores["exact_match"], scores["exact_match_lenient"]) == (0.0, 1.0)
    assert scores["token_f1"] == scores["rouge_l"] == 1.0
