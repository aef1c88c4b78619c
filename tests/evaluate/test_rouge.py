"""ROUGE against the published figures of ROUGE-1.5.5 and against the package `rouge-score`."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from smallworks.evaluate.rouge import longest_common, rouge

ROOT = Path(__file__).parents[2]
OURS = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


@pytest.fixture(scope="module")
def published() -> Path:
    folder = Path(os.environ.get("SMALLWORKS_SHARED", ROOT.parent / "shared")) / "data" / "rouge"
    if not folder.exists():
        pytest.skip(f"../shared is absent: no {folder}")
    return folder


@pytest.mark.parametrize("line", [0, 1])
def test_the_published_figures_are_met(published: Path, line: int) -> None:
    expected = json.loads((published / "expected.json").read_text())[f"line{line}"]
    prediction, target = (
        (published / name).read_text().splitlines()[line] for name in ("prediction.txt", "target.txt")
    )
    scores = rouge(prediction, target)
    for theirs, name in OURS.items():
        assert scores[name] == pytest.approx(expected[theirs], abs=1e-5)


def test_the_simple_cases_are_met(published: Path) -> None:
    cases: list[dict[str, Any]] = json.loads((published / "expected.json").read_text())["simple"]
    checked = 0
    for case in cases:
        for theirs in OURS.keys() & case.keys():
            scores = rouge(case["prediction"], case["target"])
            assert scores[OURS[theirs]] == pytest.approx(case[theirs], abs=1e-6)
            checked += 1
    assert checked == 4


def test_it_agrees_with_rouge_score_on_random_texts() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(list(OURS))
    draw = random.Random(0)
    words = ["The", "cat,", "the", "dog-house;", "a", "b2", "c's", "12.5", "END", "end", "...", "--", "x"]
    for _ in range(300):
        target, said = (" ".join(draw.choices(words, k=draw.randint(0, 14))) for _ in range(2))
        for theirs, score in scorer.score(target, said).items():
            assert rouge(said, target)[OURS[theirs]] == pytest.approx(tuple(score))


def test_letters_of_any_script_make_words() -> None:
    assert rouge("Größe ändern", "größe ändern")["rouge_1"] == (1.0, 1.0, 1.0)
    assert rouge("изменить размер", "размер")["rouge_1"][1] == 1.0


def test_nothing_said_scores_nothing() -> None:
    assert rouge("", "a word")["rouge_l"] == (0.0, 0.0, 0.0)
    assert rouge("...", "")["rouge_2"] == (0.0, 0.0, 0.0)


def test_the_longest_common_sequence_agrees_with_the_table() -> None:
    draw = random.Random(1)
    for _ in range(200):
        a, b = (draw.choices("abcd", k=draw.randint(0, 90)) for _ in range(2))
        table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
        assert longest_common(a, b) == table[-1][-1]
