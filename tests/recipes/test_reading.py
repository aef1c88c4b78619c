"""A task with documents: found, measured, frozen with its index; a reader travels inside."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks import files, rag, taskfile
from smallworks.bundle import Bundle, Manifest, freeze, open_bundle
from smallworks.cli import run
from smallworks.compress.encoder import FILES
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.engines.retriever import Retriever
from smallworks.errors import DataError, TaskError, UserError
from smallworks.evaluate import worker
from smallworks.recipes import examine, finding, reading
from smallworks.recipes.build import Options, build, finished, prepare, survey
from smallworks.recipes.documents import retriever_of
from smallworks.recipes.steps import Steps
from smallworks.seams import silent
from smallworks.types import REFUSAL, PromptSpec, Table, Task

TOML = """
[task]
name = "help"
kind = "answer"
instruction = "Answer the question from the context."
[data]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
documents = "docs"
document = "document"
"""
THINGS = ("anchor", "buoy", "crane", "dinghy", "engine", "ferry", "gangway", "hawser", "island", "jetty")
COLOURS = ("amber", "blue", "crimson", "dun", "ecru", "fawn", "green", "hazel", "ivory", "jade")

PHRASES = (
    "Which colour is the {}?",
    "The {} is painted in what colour?",
    "Of what colour is the {}?",
    "What is the colour of the {}?",
    "Say how the {} is painted.",
    "The {}: painted how?",
)


def write(folder: Path) -> Task:
    (folder / "docs").mkdir(parents=True)
    for thing, colour in zip(THINGS, COLOURS, strict=True):
        text = (
            f"# The {thing}\n\nThe {thing} is painted {colour}. It is looked after by the harbour office.\n"
        )
        (folder / "docs" / f"{thing}.md").write_text(text, encoding="utf-8")
    rows = [
        {"question": f"How is the {t} painted?", "answer": c, "document": f"{t}.md"}
        for t, c in zip(THINGS, COLOURS, strict=True)
    ]
    none = [{"question": f"Who bought {x}?", "answer": REFUSAL} for x in ("the moon", "a zebra", "Mars")]
    told = dict(zip(THINGS, COLOURS, strict=True))
    more = [
        {"question": ask.format(t), "answer": told[t], "document": f"{t}.md"}
        for ask in PHRASES
        for t in THINGS[4:7]
    ]
    for part, some in (("train", rows[:4]), ("validation", [*rows[4:7], *more]), ("test", rows[7:])):
        kept = [*some, {**none.pop(), "document": ""}]
        (folder / f"{part}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8"
        )
    (folder / "task.toml").write_text(TOML, encoding="utf-8")
    return taskfile.load_task(folder)


ONLY = Options(only=("retrieval",))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return write(tmp_path_factory.mktemp("help"))


@pytest.fixture(scope="module")
def table(task: Task) -> Table:
    return build(task, ONLY)


def test_the_row_has_the_metrics_of_finding_of_answering_and_of_refusing(table: Table) -> None:
    (row,) = table.rows
    assert (row.name, row.engine, row.failed) == ("retrieval", "retrieval", False)
    values = {name: estimate.value for name, estimate in row.metrics.items()}
    assert values["recall@k"] == values["mrr@k"] == values["ndcg@k"] == 1.0
    assert (values["abstained"], values["abstained_wrongly"], values["supported"]) == (1.0, 0.0, 1.0)
    assert 0 < values["answered_f1"] < 1 and row.metrics["recall@k"].n == 3
    assert row.parity and row.parity.holds
    assert any("8 settings on 21 validation questions; on these rows" in note for note in row.notes)


def test_the_report_shows_answers_and_every_setting_of_the_search(table: Table) -> None:
    assert table.report is not None
    page = table.report.read_text(encoding="utf-8")
    assert "<h2>Answers</h2>" in page and "3 / 0" in page and "0 / 1" in page
    assert "How passages are found" in page and page.count(" characters, by words</th>") == 8


def test_the_bundle_answers_from_its_own_index(table: Table, task: Task) -> None:
    assert table.chosen is not None
    bundle, parity = examine.verify(table.chosen)
    assert parity and parity.holds and bundle.manifest.retrieval is not None
    assert (bundle.manifest.retrieval.by, bundle.manifest.retrieval.refusal) == ("words", REFUSAL)
    with open_predictor(bundle) as predictor:
        said = predictor.answer("How is the crane painted?")
        assert said.text == "The crane is painted crimson."
        assert said.sources and [s.document for s in said.sources if s.cited] == ["crane.md"]
    assert bundle.manifest.lineage["answers_from"] == "probability 0.5 on, fitted on 27 questions"
    assert open_bundle(table.chosen).id == bundle.id  # answering left nothing behind


def test_asking_the_bundle_shows_what_it_answers(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(table.chosen), "How is the crane painted?"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The crane is painted crimson.") and "harbour office" not in out


def test_rows_that_say_nothing_of_documents_are_read(tmp_path: Path) -> None:
    """As an older build wrote them."""
    files.write_jsonl(tmp_path / "rows.jsonl", [{"id": "1", "inputs": {"input": "a"}, "output": "b"}])
    assert worker.read_examples(tmp_path / "rows.jsonl")[0].documents == ()


def test_few_validation_questions_choose_nothing(tmp_path: Path) -> None:
    task = write(tmp_path)
    rows = (tmp_path / "validation.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "validation.jsonl").write_text("".join(rows[:19]), encoding="utf-8")
    shop, _ = prepare(task, ONLY, survey(task, ONLY), silent)
    found = finding.find(shop)
    assert (found.chosen.k, found.chosen.size, found.shows, found.settings) == (5, 800, "sentence", ())
    assert "19 validation questions have an answer to find, and it takes 20" in str(found)
    assert len(list(shop.steps.folder.glob("index-*"))) == 1


def test_a_document_that_no_folder_has_stops_the_build_before_it_begins(tmp_path: Path) -> None:
    task = write(tmp_path)
    with (tmp_path / "test.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"question": "How is it?", "answer": "red", "document": "ferri.md"}) + "\n")
    with pytest.raises(DataError, match=r"test row 5 .*'ferri\.md'") as error:
        build(task, ONLY)
    assert error.value.fix == "Did you mean 'ferry.md'?" and not (tmp_path / ".smallworks/steps").exists()


def test_the_output_is_never_among_the_documents(task: Task) -> None:
    with pytest.raises(TaskError, match="lies below") as error:
        build(task, replace(ONLY, out=task.folder / "docs" / "out"))
    assert "--out" in (error.value.fix or "")


def test_rows_among_the_documents_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "docs" / "test.jsonl").write_bytes((tmp_path / "test.jsonl").read_bytes())
    (tmp_path / "task.toml").write_text(TOML.replace('"test.jsonl"', '"docs/test.jsonl"'), encoding="utf-8")
    with pytest.raises(TaskError, match=r"test\.jsonl' lies below") as error:
        taskfile.load_task(tmp_path)
    assert "folder of their own" in (error.value.fix or "")


def test_a_document_that_changes_is_another_build(table: Table, task: Task, tmp_path: Path) -> None:
    assert finished(task, ONLY) is not None
    other = write(tmp_path / "other")
    before = survey(other, ONLY).key
    (other.folder / "docs" / "anchor.md").write_text("# The anchor\n\nIt is gone.\n", encoding="utf-8")
    assert survey(other, ONLY).key != before


def _fake_reader(shop: Any, name: str) -> Bundle:
    """A bundle that echoes its prompt, in place of a language model."""
    draft = shop.steps.folder / "fake"
    files.write_text(draft / "note.txt", shop.splits.train[0].text)
    spec = PromptSpec(style="chat", kind="answer", instruction=shop.task.instruction)
    manifest = Manifest(task="help", kind="answer", candidate=name, engine="fake", prompt=spec)
    return freeze(draft, manifest, into=shop.bundles)


def test_a_reader_learns_from_passages_and_travels_in_the_bundle(task: Task, tmp_path: Path) -> None:
    options = Options(only=("retrieval",), out=tmp_path)
    shop, _ = prepare(task, options, survey(task, options), silent)
    seen: list[Any] = []

    def make(readers: Any, name: str) -> Bundle:
        seen.append(readers)
        return _fake_reader(readers, name)

    bundle = reading.make_reading(shop, "lm-zero", make)
    (readers,) = seen
    row = readers.splits.train[0]
    assert row.text.startswith("Context: [1] The ") and "\n\nQuestion: " in row.text and row.output in COLOURS
    assert readers.splits.fingerprint != shop.splits.fingerprint and readers.bundles != shop.bundles
    assert bundle.manifest.candidate == "lm-zero+retrieval"
    assert [(stage.name, stage.path) for stage in bundle.manifest.stages] == [("lm-zero", "reader")]
    with retriever_of(bundle.path) as model:
        assert isinstance(model, Retriever) and model.reader is not None
        assert "painted crimson" in model.ask("How is the crane painted?").shown[0].text


class Hashed:
    """Words as places of a vector: near is what shares words. Stands in for an embedding model."""

    dimension = 64

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[sum(word.encode()) % self.dimension] += 1
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


def test_with_an_embedder_words_vectors_and_both_are_tried(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(only=("retrieval",), out=tmp_path)
    shop, _ = prepare(task, options, survey(task, options), silent)
    monkeypatch.setattr(finding, "converted_embedder", lambda folder, progress: ("hashed", tmp_path / "enc"))
    monkeypatch.setattr(finding, "encoder_of", lambda folder: Hashed() if folder else None)
    monkeypatch.setattr(finding, "pick", lambda tried: next(one for one in tried if one.by == "vectors"))
    found = finding.find(replace(shop, embedder=tmp_path))
    assert {one.by for one in found.settings} == {"words", "vectors", "both"} and len(found.settings) == 24
    assert (found.chosen.by, found.encoder) == ("vectors", tmp_path / "enc")
    with rag.Index(found.index, Hashed(), frozen=True) as index:
        hits = index.search("How is the crane painted?", 1, by="vectors")
        assert hits[0].cosine is not None and index.store.fact("curve")["vectors"] is True


class Liking:
    """A reranker that likes the island; stands in for a cross-encoder, wherever one would be opened."""

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        assert (folder / FILES[0]).is_file()

    def scores(self, question: str, passages: Sequence[str]) -> np.ndarray:
        return np.array([float("island" in text) for text in passages], np.float32)


def test_a_reranker_that_is_taken_travels_in_the_bundle(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(only=("retrieval",), out=tmp_path)
    shop, _ = prepare(task, options, survey(task, options), silent)
    for name in FILES:
        files.write_text(tmp_path / "cross" / name, name)
    monkeypatch.setattr(finding, "converted_reranker", lambda folder, progress: folder)
    monkeypatch.setattr("smallworks.engines.reranker.CrossEncoder", Liking)
    shop = replace(shop, reranker=tmp_path / "cross")
    kept = finding.find(shop)
    assert not kept.chosen.reranked and kept.reranker is None  # it was tried, and no gain was shown
    assert sum(one.reranked for one in kept.settings) > 0
    monkeypatch.setattr(finding, "with_reranker", lambda best, tried, again: next(iter(again)))
    bundle = reading.make_retrieval(replace(shop, steps=Steps(tmp_path / "anew", silent)))
    assert bundle.manifest.reranker == "reranker" and ", reranked, " in bundle.manifest.lineage["passages"]
    assert (bundle.path / "reranker" / FILES[0]).is_file()
    with retriever_of(bundle.path) as model:
        assert model.ask("How is the crane or the island painted?").hits[0].passage.document == "island.md"


def test_a_reranker_without_documents_is_refused(task: Task, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no passages to put in order"):
        survey(replace(task, data=replace(task.data, documents=None)), Options(reranker="owner/name"))


def test_a_bundle_without_documents_is_refused_with_what_to_do(small_table: Table) -> None:
    row = next(row for row in small_table.rows if row.bundle)
    assert row.bundle is not None
    with pytest.raises(UserError, match="no documents") as error, retriever_of(row.bundle):
        pass
    assert "--model" in (error.value.fix or "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('documents = "docs"', 'documents = "nowhere"', "no folder"),
        ('documents = "docs"\n', "", "no documents"),
        ('kind = "answer"', 'kind = "generate"', "no meaning"),
    ],
)
def test_a_task_file_that_cannot_be_meant(task: Task, tmp_path: Path, old: str, new: str, said: str) -> None:
    for file in task.folder.glob("*.jsonl"):
        files.link_or_copy(file, tmp_path / file.name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "task.toml").write_text(TOML.replace(old, new), encoding="utf-8")
    with pytest.raises(TaskError, match=said):
        taskfile.load_task(tmp_path)
