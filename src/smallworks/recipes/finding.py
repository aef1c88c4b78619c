"""How passages are found for a task: their size, how many, by words or vectors; chosen on validation rows.

A setting is judged by how much of the expected answers stands in the passages that it finds; of those that
are as good, the one with the least to read. A reranker is tried on the best of them, and taken where its gain
is shown. Too few validation questions choose nothing: the defaults hold.
Then the curve that tells when to answer is fitted on train and validation. The test questions are never
looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from smallworks.recipes.documents import Question, converted_embedder, converted_reranker, measure
from smallworks.recipes.workshop import Workshop
from smallworks.seams import Embedder, Reranker
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
    reranked: bool = False
    held: float = 0.0
    recall: float | None = None
    mrr: float | None = None
    ndcg: float | None = None


Tried = dict[Setting, list[float]]
"""Settings with the share that each question's passages hold of its answer, in the order of the questions."""


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
    reranker: Path | None = None

    def __str__(self) -> str:
        one = self.chosen
        names = (("held", one.held), ("recall@k", one.recall), ("MRR", one.mrr), ("nDCG", one.ndcg))
        told = ", ".join(f"{name} {value:.3f}" for name, value in names if value is not None)
        found = f"{one.k} passages of up to {one.size} characters by {way(one)}"
        if not self.settings:
            few = f"{self.questions} validation questions have an answer to find"
            return f"{found}, the defaults: {few}, and it takes {LEAST} to choose"
        among = f"chosen among {len(self.settings)} settings on {self.questions} validation questions"
        return f"{found}, {among}; on these rows, by which it was chosen: {told}"


WAYS: Mapping[search.By, str] = {"words": "words", "vectors": "vectors", "both": "words and vectors"}


def way(setting: Setting) -> str:
    return WAYS[setting.by] + (", reranked" if setting.reranked else "")


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
    reranker = converted_reranker(shop.reranker, progress=shop.progress) if shop.reranker else None
    reads |= {"embedder": name, "refusal": shop.task.refusal, "least": LEAST}
    reads |= {"reranker": reranker.name if reranker else ""}
    models = encoder, reranker
    result = shop.steps.run("choose-passages", reads, lambda folder: _choose(shop, reads, models, folder))
    return Finding(
        chosen=Setting(**result["chosen"]),
        settings=tuple(Setting(**one) for one in result["settings"]),
        questions=result["questions"],
        shows=result["shows"],
        calibrated=result["calibrated"],
        index=shop.steps.folder_of("choose-passages", reads) / INDEX,
        encoder=encoder if result["chosen"]["by"] != "words" else None,
        reranker=reranker if result["chosen"]["reranked"] else None,
    )


def _choose(
    shop: Workshop, reads: Mapping[str, Any], models: tuple[Path | None, Path | None], folder: Path
) -> dict[str, Any]:
    embedder, reranker = encoder_of(models[0]), reranker_of(models[1])
    asked = [one for one in shop.splits.validation if not refuses(one.output, shop.task.refusal)]
    tried, better = Tried(), dict[tuple[int, search.By], Shows]()
    for size in SIZES if len(asked) >= LEAST else ():
        path = _indexed(shop, reads, size, embedder)
        with rag.Index(path, embedder) as index:
            for by in _ways(embedder):
                tried |= _tried(index, asked, size, by)
                better[size, by] = _better(index, asked, by)
    usual: search.By = "both" if embedder else "words"
    best = pick(list(tried)) if tried else Setting(size=DEFAULT_SIZE, by=usual, k=DEFAULT_K)
    if reranker is not None and tried:
        with rag.Index(_indexed(shop, reads, best.size, embedder), embedder, reranker) as index:
            second = _tried(index, asked, best.size, best.by)
            best = with_reranker(best, tried, second)
            tried |= second
            if best.reranked:
                better[best.size, best.by] = _better(index, asked, best.by)
    working = _indexed(shop, reads, best.size, embedder)
    calibrated = _freeze(shop, working, best, (embedder, reranker if best.reranked else None), folder)
    return {
        "chosen": asdict(best),
        "settings": [asdict(one) for one in tried],
        "questions": len(asked),
        "shows": better.get((best.size, best.by), DEFAULT_SHOWS),
        "calibrated": calibrated,
    }


def with_reranker(best: Setting, tried: Tried, reranked: Tried) -> Setting:
    """The best one, or a reranked one that is shown to hold more than the same without, by an interval.

    Both are of one size and one way to search. What is not shown is not worth what a reranker takes.
    """
    second = pick([*tried, *reranked])
    if not second.reranked:
        return best
    (same,) = [one for one in tried if (one.size, one.by, one.k) == (second.size, second.by, second.k)]
    return second if retrieval.gain(tried[same], reranked[second]).low > 0 else best


def pick(tried: Sequence[Setting]) -> Setting:
    """The least to read of those that hold the answers as well as the best; then the better order."""
    most = max(one.held for one in tried)
    good = [one for one in tried if one.held >= most - TIE]
    return min(
        good,
        key=lambda one: (one.k * one.size, -(one.ndcg or 0.0), one.by != "words", one.reranked, one.size),
    )


def encoder_of(folder: Path | None) -> Embedder | None:
    if folder is None:
        return None
    from smallworks.engines.onnx import Encoder

    return Encoder(folder, max_tokens=PASSAGE_TOKENS)


def reranker_of(folder: Path | None) -> Reranker | None:
    if folder is None:
        return None
    from smallworks.engines.reranker import CrossEncoder

    return CrossEncoder(folder)


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


def _tried(index: rag.Index, asked: Sequence[Example], size: int, by: search.By) -> Tried:
    """Every k that leaves enough room, with its figures over the questions."""
    found = [index.search(one.text, max(KS), by=by) for one in asked]
    settings = Tried()
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
        one = Setting(size=size, by=by, k=k, held=fmean(held), recall=recall, mrr=mrr, ndcg=ndcg)
        settings[replace(one, reranked=index.reranker is not None)] = held
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


def _freeze(
    shop: Workshop,
    working: Path,
    best: Setting,
    models: tuple[Embedder | None, Reranker | None],
    folder: Path,
) -> int:
    """The index with its curve as one file that is never written again; how many questions the curve saw."""
    refusal, scratch = shop.task.refusal, folder / "scratch.sqlite"
    questions = [
        Question(text=one.text, documents=() if refuses(one.output, refusal) else one.documents)
        for one in shop.fitting
        if one.documents or refuses(one.output, refusal)
    ]
    embedder = models[0] if best.by != "words" else None
    with Store(working) as store:
        store.freeze(scratch)
    with rag.Index(scratch, embedder, models[1]) as index:
        quality = measure(index, questions, k=best.k, by=best.by) if questions else None
        curve = quality.curve if quality else confidence.curve_of(index)
    with Store(scratch) as store:
        with store.writing():
            if embedder is None:
                store.drop_vectors()
            store.note("curve", {"curve": asdict(curve), "vectors": embedder is not None})
        store.freeze(folder / INDEX)
    for left in folder.glob("scratch.sqlite*"):
        left.unlink()
    return len(questions) if curve.questions else 0
