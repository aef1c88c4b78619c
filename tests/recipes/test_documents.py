"""Questions measure an index and fit when it answers; rows that cannot be used are named."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks import rag
from smallworks.engines.base import EMBEDDER_PATTERNS, fetch
from smallworks.errors import DataError, UserError
from smallworks.rag import confidence
from smallworks.rag.store import Store
from smallworks.recipes import documents
from smallworks.recipes.documents import Question, index_folder, opened, read_questions
from smallworks.types import REFUSAL

PLACES = ["harbour", "quay", "mill", "bakery", "museum", "library", "station", "theatre", "garden", "castle"]
THINGS = ["opens", "closes", "costs"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    for number, place in enumerate(PLACES):
        lines = [f"The {place} {thing} at number {number}{at}." for at, thing in enumerate(THINGS)]
        (tmp_path / "d" / f"{place}.txt").write_text(" ".join(lines))
    return tmp_path / "d"


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_questions_measure_the_search_and_fit_the_threshold(folder: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": f"When is it that the {place} {thing}?", "document": f"{place}.txt"}
        for place in PLACES
        for thing in THINGS
    ]
    done = index_folder(folder, tmp_path / "i.sqlite", questions=written(tmp_path / "q.jsonl", rows))
    assert done.quality and done.quality.questions == 30
    assert done.quality.metrics["recall@1"].value == 1.0
    assert done.quality.answered and done.quality.answered.value >= 0.9
    assert done.quality.abstained and done.quality.abstained.value >= 0.9
    with opened(tmp_path / "i.sqlite") as index:
        assert confidence.curve_of(index) == done.quality.curve
        assert done.quality.curve.questions == 60


def test_the_twins_of_a_question_share_its_fold_and_each_fold_has_its_share() -> None:
    many = [("a", "b")] * 9 + [("a",)] * 14 + [()] * 7
    questions = [Question(text=str(at), documents=many[at * 7 % 30]) for at in range(30)]
    dealt = documents.folds(questions)
    for sort in (lambda q: bool(q.documents), lambda q: len(q.documents) < 2):
        counts = Counter(fold for q, fold in zip(questions, dealt, strict=True) if sort(q))
        assert len(counts) == documents.FOLDS and max(counts.values()) - min(counts.values()) <= 1


def test_no_curve_judges_a_question_whose_twin_it_saw(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Question] = []
    for number, place in enumerate(PLACES):
        asked += [
            Question(text=f"When is it that the {place} {thing}?", documents=(f"{place}.txt",))
            for thing in THINGS
        ]
        asked += [Question(text=f"Who owns the {place} {number}?")] if number % 3 == 0 else []
    texts: dict[int, str] = {}
    fitted: list[set[str]] = []
    signals, fit, probability = confidence.signals, confidence.fit, confidence.Curve.probability

    def named(index: rag.Index, question: str, *rest: Any) -> confidence.Signals:
        found = replace(signals(index, question, *rest))
        kept.append(found)
        texts[id(found)] = question
        return found

    def told(*both: Any, **least: int) -> confidence.Curve | None:
        fitted.append({texts[id(one)] for part in both for one in part})
        return fit(*both, **least)

    def judged(curve: confidence.Curve, one: confidence.Signals) -> float:
        assert texts[id(one)] not in fitted[-1]
        return probability(curve, one)

    kept: list[confidence.Signals] = []  # held, so that an id stays that of one
    monkeypatch.setattr(confidence, "signals", named)
    monkeypatch.setattr(confidence, "fit", told)
    monkeypatch.setattr(confidence.Curve, "probability", judged)
    rag.index(folder, tmp_path / "i.sqlite")
    with rag.Index(tmp_path / "i.sqlite") as index:
        quality = documents.measure(index, asked)
    assert quality.answered and quality.abstained and len(fitted) == 1 + 2 * documents.FOLDS


def test_an_index_from_elsewhere_fetches_nothing(folder: Path, tmp_path: Path, hub: Any) -> None:
    path = tmp_path / "stranger.sqlite"
    rag.index(folder, path)
    with Store(path) as store, store.writing():
        store.note(documents.WHERE, "owner/name")
    with pytest.raises(UserError, match="'owner/name', which is not on this machine") as caught, opened(path):
        pass
    assert "--embedder owner/name" in caught.value.fix
    with pytest.raises(UserError, match="which is not on this machine"):
        index_folder(folder, path)
    assert hub.asked == []


def test_an_embedder_that_was_fetched_once_serves_its_index(
    folder: Path, tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, found = tmp_path / "i.sqlite", []
    rag.index(folder, path)
    with Store(path) as store, store.writing():
        store.note(documents.WHERE, "owner/name")
    hub.files["model.safetensors"] = hub.files["model-1.safetensors"]
    fetched = fetch("owner/name", EMBEDDER_PATTERNS)
    hub.asked.clear()
    monkeypatch.setattr(documents, "open_embedder", lambda ref, progress: found.append(ref) or ("", None))
    with opened(path):
        assert found == [str(fetched)] and hub.asked == []


def test_few_questions_leave_the_default(folder: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"question": "When does the mill open?", "document": "mill.txt"}]
    done = index_folder(folder, tmp_path / "i.sqlite", questions=written(tmp_path / "q.jsonl", rows))
    assert done.quality and done.quality.curve == confidence.WORDS and done.quality.answered is None


def test_rows_name_documents_or_refuse(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": "a", "documents": ["x.md", "y.md"]},
        {"Query": "b", "path": "x.md; z.md", "answer": "yes"},
        {"text": "c", "output": REFUSAL},
    ]
    assert read_questions(written(tmp_path / "q.jsonl", rows)) == [
        Question(text="a", documents=("x.md", "y.md")),
        Question(text="b", documents=("x.md", "z.md")),
        Question(text="c"),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"document": "x"}], "row 1 asks nothing"),
        ([{"question": "a", "answer": "yes"}], "row 1 names no document"),
        ([], "holds no question"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_questions(written(tmp_path / "q.jsonl", rows))


def test_a_document_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"question": "a", "document": "nowhere.txt"}]
    with pytest.raises(UserError, match=r"'nowhere\.txt', which is not in the index"):
        index_folder(folder, tmp_path / "i.sqlite", questions=written(tmp_path / "q.jsonl", rows))


class Knows:
    """A reranker that knows the place which is asked for, or, turned, likes every other one better."""

    def __init__(self, *, turned: bool = False) -> None:
        self.sign = -1 if turned else 1

    def scores(self, question: str, passages: Sequence[str]) -> np.ndarray:
        place = question.split()[-1].removesuffix("q")
        return np.array([self.sign * (f"The {place}" in text) for text in passages], np.float32)


@pytest.mark.parametrize(("turned", "kept"), [(False, True), (True, False)])
def test_a_reranker_is_kept_where_the_questions_show_its_gain(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turned: bool, kept: bool
) -> None:
    """All passages have the words of the questions but the last, by which the reranker knows the place."""
    for number, place in enumerate(PLACES):
        (folder / f"{place}.txt").write_text(f"The {place}x{number} opens at {number}.")
    rows: list[dict[str, object]] = [
        {"question": f"{asks} opens? {place}x{number}q", "document": f"{place}.txt"}
        for number, place in enumerate(PLACES)
        for asks in ("What", "Who")
    ]
    asked = written(tmp_path / "q.jsonl", rows)
    (tmp_path / "model").mkdir()

    monkeypatch.setattr(documents, "open_reranker", lambda ref, progress: Knows(turned=turned))
    path = tmp_path / "i.sqlite"
    done = index_folder(folder, path, reranker=str(tmp_path / "model"), questions=asked)
    assert done.gain and done.quality and (done.gain.low > 0) == kept == bool(done.reranker)
    assert (done.quality.metrics["recall@1"].value == 1.0) == kept
    with opened(path) as index:
        assert (index.reranker is not None) == kept
    again = index_folder(folder, path)
    assert bool(again.reranker) == kept and again.gain is None


def test_questions_that_can_show_no_gain_keep_no_reranker(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = written(tmp_path / "q.jsonl", [{"question": "Who won the cup?", "answer": REFUSAL}])
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(documents, "open_reranker", lambda ref, progress: Knows(turned=False))
    done = index_folder(folder, tmp_path / "i.sqlite", reranker=str(tmp_path / "model"), questions=asked)
    assert done.gain is None and not done.reranker
    with opened(tmp_path / "i.sqlite") as index:
        assert index.reranker is None


def test_a_reranker_from_elsewhere_is_not_fetched(folder: Path, tmp_path: Path, hub: Any) -> None:
    path = tmp_path / "stranger.sqlite"
    rag.index(folder, path)
    with Store(path) as store, store.writing():
        store.note(documents.RERANKER, "owner/name")
    with pytest.raises(UserError, match="the reranker 'owner/name', which is not on this machine"):
        opened(path).__enter__()
    assert hub.asked == []


def test_a_real_embedder_finds_by_meaning(folder: Path, tmp_path: Path) -> None:
    encoder = os.environ.get("SMALLWORKS_MINILM")
    if not encoder:
        pytest.skip("no encoder: set SMALLWORKS_MINILM")
    done = index_folder(folder, tmp_path / "i.sqlite", embedder=encoder)
    assert done.ingested.embedded == len(PLACES)
    assert index_folder(folder, tmp_path / "i.sqlite").ingested.embedded == 0
    moved = tmp_path / "moved"
    shutil.copytree(encoder, moved)
    assert index_folder(folder, tmp_path / "i.sqlite", embedder=str(moved)).ingested.embedded == 0
    rag.index(folder, tmp_path / "words.sqlite")
    with (
        pytest.raises(UserError, match="has no vectors of"),
        opened(tmp_path / "words.sqlite", embedder=encoder),
    ):
        pass
    with opened(tmp_path / "i.sqlite") as index:
        best = index.search("Where can I buy bread?", 1, by="vectors")
        assert isinstance(best[0], rag.Hit) and best[0].passage.document == "bakery.txt"
