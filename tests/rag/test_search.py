"""Passages are found by words and by vectors, filtered, and ranked as a reference library ranks them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from smallworks import rag
from smallworks.errors import DataError, UserError
from smallworks.rag import search
from smallworks.rag.fusion import fused
from smallworks.rag.words import Words


class Letters:
    """An embedder that counts letters: near is who shares them."""

    def __init__(self, dimension: int = 26) -> None:
        self.dimension = dimension

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for sign in text.lower():
                if "a" <= sign <= "z":
                    row[(ord(sign) - 97) % self.dimension] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("How long are card payments refunded?", "refunds.html"),
        ("WEBHOOK", "guides/plans.md"),
        ("when does the lighthouse open", "note.txt"),
        ("swapping shifts", "faq.csv"),
    ],
)
def test_a_passage_is_found_by_its_words(index: rag.Index, question: str, found: str) -> None:
    assert index.search(question)[0].passage.document == found


def test_a_passage_knows_where_it_stands(index: rag.Index) -> None:
    passage = index.search("trial days", 1)[0].passage
    assert passage.path == "guides/plans.md > Plans > Marina"
    assert passage.metadata["team"] == "sales"


@pytest.mark.parametrize("question", ["", "???", "zzzz", '" OR 1', "NEAR(", "a*b:c^d"])
def test_what_is_nowhere_or_no_words_finds_nothing_and_breaks_nothing(
    index: rag.Index, question: str
) -> None:
    assert index.search(question) == []


def test_a_question_of_empty_words_still_searches(index: rag.Index) -> None:
    assert index.search("who", 1)[0].passage.document == "faq.csv"


@pytest.mark.parametrize(
    ("where", "documents"),
    [
        ({"team": "billing"}, {"faq.csv"}),
        ({"team": "s*"}, {"faq.csv", "guides/plans.md"}),
        ({"path": "guides/*"}, {"guides/plans.md"}),
        ({"path": "note.txt"}, set()),
        ({"team": "sales", "reviewed": "2026-05-01"}, {"guides/plans.md"}),
    ],
)
def test_conditions_all_hold(index: rag.Index, where: dict[str, str], documents: set[str]) -> None:
    hits = index.search("who pays dollars per member for a shift", where=where)
    assert {hit.passage.document for hit in hits} == documents


@pytest.mark.parametrize(
    "where", [{"path": "[ab]*"}, {'te"am': "x"}, {"team": "nul\0"}, {"te\0am": "x"}], ids=repr
)
def test_conditions_that_stores_read_apart_are_refused(index: rag.Index, where: dict[str, str]) -> None:
    with pytest.raises(UserError, match="condition"):
        index.search("lighthouse", where=where)


def test_a_bracket_in_a_value_is_a_sign(index: rag.Index) -> None:
    assert index.search("lighthouse", where={"path": "[note].txt"}) == []


@pytest.mark.parametrize("k", [0, 1001, 10**19])
def test_k_is_bounded(index: rag.Index, k: int) -> None:
    with pytest.raises(UserError, match=f"-k {k} .* 1 to 1,000"):
        index.search("lighthouse", k)


def test_a_document_can_be_hidden(index: rag.Index) -> None:
    assert index.search("lighthouse", without="note.txt") == []


def test_vectors_are_compared_exactly_and_filtered(folder: Path, out_with_vectors: Path | str) -> None:
    letters, out = Letters(), out_with_vectors
    rag.index(folder, out, embedder=letters, embedder_name="letters")
    with rag.Index(out, letters) as index:
        passages = list(index.store.all_passages())
        wanted = letters.embed([p.whole for p in passages]) @ letters.embed(["lamp lighthouse"])[0]
        hits = index.search("lamp lighthouse", len(passages), by="vectors")
        assert [hit.cosine for hit in hits] == pytest.approx(sorted(wanted, reverse=True), abs=2e-3)
        only = index.search("lamp lighthouse", by="vectors", where={"path": "faq.csv"})
        assert {hit.passage.document for hit in only} == {"faq.csv"}
        both = index.search("lamp lighthouse", 1)[0]
        assert both.passage.document == "note.txt" and both.bm25 and both.cosine
    with rag.Index(out, Letters(5)) as index, pytest.raises(DataError, match="26 numbers"):
        index.search("lamp")
    with rag.Index(out) as index, pytest.raises(UserError, match="no embedder"):
        index.search("lamp", by="vectors")


class Longest:
    """A reranker that likes long passages; counts what it reads."""

    def __init__(self) -> None:
        self.read = 0

    def scores(self, question: str, passages: Sequence[str]) -> np.ndarray:
        self.read += len(passages)
        return np.array([len(text) for text in passages], np.float32)


def test_a_reranker_puts_the_first_passages_in_order(
    folder: Path, out: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rag.index(folder, out)
    question = "dollars refunded lighthouse webhooks owner"
    with rag.Index(out) as index:
        plain = index.search(question, 8)
    assert len(plain) > 3 and all(hit.reranked is None for hit in plain)
    with rag.Index(out, reranker=Longest()) as index:
        hits = index.search(question, 8)
        lengths = [len(hit.passage.whole) for hit in hits]
        assert lengths == sorted(lengths, reverse=True) == [hit.reranked for hit in hits]
        assert {hit.passage.id for hit in hits} == {hit.passage.id for hit in plain}
        assert [hit.passage for hit in index.search(question, 1)] == [hits[0].passage]
        assert index.search("zzzz") == []
    monkeypatch.setattr(search, "RERANKED", 2)
    with rag.Index(out, reranker=(longest := Longest())) as index:
        hits = index.search(question, 8)
        assert longest.read == 2 and [hit.reranked is None for hit in hits[:3]] == [False, False, True]
        assert [hit.passage for hit in hits[2:]] == [hit.passage for hit in plain[2:]]
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)


def test_a_change_by_another_is_seen(index: rag.Index, folder: Path, out: Path | str) -> None:
    assert index.search("walrus") == []
    (folder / "zoo.txt").write_text("A walrus lives here.", encoding="utf-8")
    rag.index(folder, out)
    assert index.search("walrus")[0].passage.document == "zoo.txt"


def test_fusion_adds_reciprocal_ranks() -> None:
    assert fused([[1, 2, 3], [3, 1]]) == [
        (1, pytest.approx(1 / 61 + 1 / 62)),
        (3, pytest.approx(1 / 63 + 1 / 61)),
        (2, pytest.approx(1 / 62)),
    ]


def test_words_are_those_of_the_index() -> None:
    words = Words()
    assert words.stems("Running Cafés, don't run") == ["run", "cafe", "don", "t", "run"]
    assert words.stems("東京 café") == ["東", "京", "cafe"]
    assert words.asked("How do the webhooks run?") == {"webhook": "webhooks", "run": "run"}
    assert words.asked("who is it") == {"who": "who", "is": "is", "it": "it"}
    words.close()


def test_bm25_ranks_as_a_reference_library_on_the_same_words(tmp_path: Path, out: Path | str) -> None:
    bm25s = pytest.importorskip("bm25s")
    draw = random.Random(5)
    vocabulary = [f"w{n}" for n in range(400)]
    weights = [1 / (n + 3) for n in range(400)]
    (tmp_path / "d").mkdir()
    texts = [" ".join(draw.choices(vocabulary, weights, k=draw.randint(20, 90))) for _ in range(200)]
    for number, text in enumerate(texts):
        (tmp_path / "d" / f"{number:03}.txt").write_text(text)
    rag.index(tmp_path / "d", out)
    with rag.Index(out) as index:
        reference = bm25s.BM25(k1=1.2, b=0.75, method="robertson")
        reference.index(index.words.each(texts), show_progress=False)
        agree = 0.0
        for _ in range(50):
            question = " ".join(draw.sample(vocabulary[20:], 4))
            ours = [int(hit.passage.document[:3]) for hit in index.search(question, 5)]
            found, _ = reference.retrieve([index.words.stems(question)], k=5, show_progress=False)
            agree += len(set(ours) & set(found[0].tolist())) / len(ours)
    assert agree / 50 > 0.98
