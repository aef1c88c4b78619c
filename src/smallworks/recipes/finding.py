"""How passages are found for a task: their size, how many, by words or vectors; chosen on validation rows.

A setting is judged by how much of the expected answers stands in the passages that it finds; of those that
are as good, the one with the least to read. Too few validation questions choose nothing: the defaults hold.
Then the curve that tells when to answer is fitted on train and validation. The test questions are never
looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from smallworks import rag
from smallworks.bundle.manifest import Shows
from smallworks.data import Splits
from smallworks.engines.opening import PASSAGE_TOKENS
from smallworks.errors import DataError, nearest
from smallworks.evaluate import retrieval
from smallworks.evaluate.scores import refuses, token_f1
from smallworks.rag import confidence, search
from smallworks.rag.store import Store
from smallworks.recipes.documents import Question, converted_embedder, measure
from smallworks.recipes.workshop import Workshop
from smallworks.seams import Embedder
from smallworks.text.support import supported
from smallworks.types import Example, Task

SIZES = (400, 800, 1600)
KS = (1, 3, 5, 8)
MOST = 4000
"""Characters that an answer may rest on at most: some 900 tokens, which leaves small contexts room."""
TIE = 0.01
LEAST = 20
"""Validation questions with an answer to find that choose a setting; fewer would choose by chance."""
DEFAULT_K, DEFAULT_SIZE = 5, 800
DEFAULT_SHOWS: Shows = "sentence"
"""Taken where there are fewer."""
INDEX = "index.sqlite"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to find passages, and what it came to on the validation questions that have an answer.

    `held` is the mean share of the expected answer that stands in the `k` passages of up to `size`
    characters; `recall`, `mrr` and `ndcg` are of documents among them, None where the questions name none.
    """

    size: int
    by: search.By
    k: int
    held: float = 0.0
    recall: float | None = None
    mrr: float | None = None
    ndcg: float | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was chosen, among what, and the frozen index. `shows` is which answers better without a reader.

    `questions` counts the validation questions with an answer to find; there are no `settings` where they are
    fewer than LEAST. `calibrated` is on how many questions the curve was fitted, 0: it is a default.
    """

    chosen: Setting
    settings: tuple[Setting, ...]
    questions: int
    shows: Shows
    calibrated: int
    index: Path
    encoder: Path | None

    def __str__(self) -> str:
        one = self.chosen
        names = (("held", one.held), ("recall@k", one.recall), ("MRR", one.mrr), ("nDCG", one.ndcg))
        told = ", ".join(f"{name} {value:.3f}" for name, value in names if value is not None)
        found = f"{one.k} passages of up to {one.size} characters by {WAYS[one.by]}"
        if not self.settings:
            few = f"{self.questions} validation questions have an answer to find"
            return f"{found}, the defaults: {few}, and it takes {LEAST} to choose"
        among = f"chosen among {len(self.settings)} settings on {self.questions} validation questions"
        return f"{found}, {among}; on these rows, by which it was chosen: {told}"


WAYS: Mapping[search.By, str] = {"words": "words", "vectors": "vectors", "both": "words and vectors"}


def check_paths(task: Task, splits: Splits) -> None:
    """Raises DataError for the first row of any part that names a document which is not there.

    What a row names that expects the refusal counts for nothing.
    """
    if task.data.documents is None:
        return
    known = rag.paths(task.data.documents)
    parts = (("training", splits.train), ("validation", splits.validation), ("test", splits.test))
    for part, rows in parts:
        for row in rows:
            lost = [path for path in row.documents if path not in known]
            if lost and not refuses(row.output, task.refusal):
                near = nearest(lost[0], known)
                raise DataError(
                    f"The {part} row {row.row} ('{row.text[:60]}') names the document '{lost[0]}', "
                    f"which '{task.data.documents}' does not have.",
                    fix=near if near.startswith("Did you") else "Write paths as they stand below the folder.",
                )


def find(shop: Workshop) -> Finding:
    """Everything of it is a step: done once for the same documents and rows."""
    assert shop.task.data.documents is not None, "the plan skips retrieval without documents"
    reads: dict[str, Any] = {"documents": rag.fingerprint(shop.task.data.documents), "data": shop.data_key}
    name, encoder = ("", None)
    if shop.embedder is not None:
        name, encoder = converted_embedder(shop.embedder, progress=shop.progress)
    reads |= {"embedder": name, "refusal": shop.task.refusal, "least": LEAST}
    result = shop.steps.run("choose-passages", reads, lambda folder: _choose(shop, reads, encoder, folder))
    return Finding(
        chosen=Setting(**result["chosen"]),
        settings=tuple(Setting(**one) for one in result["settings"]),
        questions=result["questions"],
        shows=result["shows"],
        calibrated=result["calibrated"],
        index=shop.steps.folder_of("choose-passages", reads) / INDEX,
        encoder=encoder if result["chosen"]["by"] != "words" else None,
    )


def _choose(shop: Workshop, reads: Mapping[str, Any], encoder: Path | None, folder: Path) -> dict[str, Any]:
    embedder = encoder_of(encoder)
    asked = [one for one in shop.splits.validation if not refuses(one.output, shop.task.refusal)]
    tried, better = list[Setting](), dict[tuple[int, search.By], Shows]()
    for size in SIZES if len(asked) >= LEAST else ():
        path = _indexed(shop, reads, size, embedder)
        with rag.Index(path, embedder) as index:
            for by in _ways(embedder):
                tried += _tried(index, asked, size, by)
                better[size, by] = _better(index, asked, by)
    usual: search.By = "both" if embedder else "words"
    best = pick(tried) if tried else Setting(size=DEFAULT_SIZE, by=usual, k=DEFAULT_K)
    calibrated = _freeze(shop, _indexed(shop, reads, best.size, embedder), best, embedder, folder)
    return {
        "chosen": asdict(best),
        "settings": [asdict(one) for one in tried],
        "questions": len(asked),
        "shows": better.get((best.size, best.by), DEFAULT_SHOWS),
        "calibrated": calibrated,
    }


def pick(tried: Sequence[Setting]) -> Setting:
    """The least to read of those that hold the answers as well as the best; then the better order."""
    most = max(one.held for one in tried)
    good = [one for one in tried if one.held >= most - TIE]
    return min(good, key=lambda one: (one.k * one.size, -(one.ndcg or 0.0), one.by != "words", one.size))


def encoder_of(folder: Path | None) -> Embedder | None:
    if folder is None:
        return None
    from smallworks.engines.onnx import Encoder

    return Encoder(folder, max_tokens=PASSAGE_TOKENS)


def _ways(embedder: Embedder | None) -> tuple[search.By, ...]:
    return ("words", "vectors", "both") if embedder else ("words",)


def _indexed(shop: Workshop, reads: Mapping[str, Any], size: int, embedder: Embedder | None) -> Path:
    """The documents in passages of that size; a step of its own, which a killed build goes on with."""
    documents = shop.task.data.documents
    assert documents is not None
    step, keys = f"index-{size}", {name: reads[name] for name in ("documents", "embedder")}

    def work(folder: Path) -> dict[str, Any]:
        name = reads["embedder"]
        done = rag.index(
            documents,
            folder / INDEX,
            embedder=embedder,
            embedder_name=name,
            size=size,
            progress=shop.progress,
        )
        return {"documents": done.documents, "passages": done.passages, "skipped": done.skipped}

    shop.steps.run(step, keys, work)
    return shop.steps.folder_of(step, keys) / INDEX


def _tried(index: rag.Index, asked: Sequence[Example], size: int, by: search.By) -> list[Setting]:
    """Every k that leaves enough room, with its figures over the questions."""
    found = [index.search(one.text, max(KS), by=by) for one in asked]
    settings = []
    for k in KS:
        if k * size > MOST:
            continue
        texts = ["\n".join(hit.passage.text for hit in hits[:k]) for hits in found]
        held = [supported(one.output, text) or 0.0 for one, text in zip(asked, texts, strict=True)]
        scores = [
            retrieval.found_in([hit.passage.document for hit in hits[:k]], one.documents)
            for one, hits in zip(asked, found, strict=True)
            if one.documents
        ]
        means = [fmean(row[name] for row in scores) if scores else None for name in retrieval.ROWS]
        recall, mrr, ndcg = means
        settings.append(Setting(size=size, by=by, k=k, held=fmean(held), recall=recall, mrr=mrr, ndcg=ndcg))
    return settings


def _better(index: rag.Index, asked: Sequence[Example], by: search.By) -> Shows:
    """What has the higher mean F1: all of the best passage, or the one sentence of it that tells most."""
    whole, one_sentence = [], []
    for one in asked:
        for hit in index.search(one.text, 1, by=by):
            text = hit.passage.text
            whole.append(token_f1(text, one.output))
            one_sentence.append(token_f1(confidence.telling(index, one.text, text), one.output))
    return "sentence" if sum(one_sentence) >= sum(whole) else "passage"


def _freeze(shop: Workshop, working: Path, best: Setting, embedder: Embedder | None, folder: Path) -> int:
    """The index with its curve as one file that is never written again; how many questions the curve saw."""
    refusal, scratch = shop.task.refusal, folder / "scratch.sqlite"
    questions = [
        Question(text=one.text, documents=() if refuses(one.output, refusal) else one.documents)
        for one in shop.fitting
        if one.documents or refuses(one.output, refusal)
    ]
    embedder = embedder if best.by != "words" else None
    with Store(working) as store:
        store.freeze(scratch)
    with rag.Index(scratch, embedder) as index:
        quality = measure(index, questions, k=best.k, by=best.by) if questions else None
        curve = quality.curve if quality else confidence.curve_of(index)
        with index.store.writing():
            if embedder is None:
                index.store.drop_vectors()
            index.store.note("curve", {"curve": asdict(curve), "vectors": embedder is not None})
        index.store.freeze(folder / INDEX)
    for left in folder.glob("scratch.sqlite*"):
        left.unlink()
    return len(questions) if curve.questions else 0
