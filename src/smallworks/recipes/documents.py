"""From a folder of documents to an index, measured and calibrated on questions where there are some."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smallworks import rag, settings
from smallworks.bundle.store import hash_weights
from smallworks.compress.encoder import encode_to_onnx
from smallworks.compress.reranker import reranker_to_onnx
from smallworks.data.read import read_rows
from smallworks.engines import hub
from smallworks.engines.base import EMBEDDER_PATTERNS, local, resolve_embedder, resolve_reranker
from smallworks.engines.opening import PASSAGE_TOKENS, open_bundle
from smallworks.engines.retriever import Retriever
from smallworks.errors import DataError, UserError
from smallworks.evaluate import retrieval
from smallworks.evaluate.intervals import wilson
from smallworks.rag import confidence, search
from smallworks.rag.confidence import Curve, Signals
from smallworks.rag.opening import open_store, told
from smallworks.rag.passages import SIZE
from smallworks.seams import Progress, Reranker, silent
from smallworks.types import REFUSAL, Estimate

if TYPE_CHECKING:
    from smallworks.engines.onnx import Encoder
    from smallworks.engines.reranker import CrossEncoder

WHERE = "embedder_path"
"""The fact of an index that says where its embedder was."""
RERANKER = "reranker_path"
"""And its reranker."""
FOLDS = 5
Folded = tuple[int, Signals]
"""What a search showed, and the fold of its question."""
ASKS = ("question", "query", "input", "text")
NAMES = ("documents", "document", "path", "source")
ANSWERS = ("answer", "output", "expected")


@dataclass(frozen=True, kw_only=True)
class Question:
    """`documents` are the paths that hold the answer; none: no document does."""

    text: str
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What the questions showed. `answered` and `abstained` are shares of right decisions, cross-fitted.

    None where there are too few questions of that sort; `curve` is then the default. `reciprocal` are the
    reciprocal ranks of the questions with a document.
    """

    questions: int
    metrics: Mapping[str, Estimate]
    curve: Curve
    answered: Estimate | None = None
    abstained: Estimate | None = None
    reciprocal: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """`reranker` is what `ask` uses; `gain` what it was measured to add to the mean reciprocal rank."""

    ingested: rag.Ingested
    quality: Quality | None = None
    embedder: str = ""
    reranker: str = ""
    gain: Estimate | None = None


def index_folder(
    folder: Path,
    out: Path | str,
    *,
    embedder: str | None = None,
    reranker: str | None = None,
    size: int = SIZE,
    questions: Path | None = None,
    progress: Progress = silent,
) -> Indexed:
    """Index what changed. The embedder is the named one, else the index's own, else that of the settings.

    So is the reranker, but for the settings. One whose gain on the questions is not shown is not kept.
    """
    asked = read_questions(questions) if questions else []
    named = embedder or _kept(out, WHERE) or settings.load().embedder or ""
    where = named if embedder or not named else _at_hand(named, out, "embedder")
    name, model = open_embedder(where, progress=progress) if where else ("", None)
    orders = reranker or _kept(out, RERANKER) or ""
    reorders = orders if reranker or not orders else _at_hand(orders, out, "reranker")
    second = open_reranker(reorders, progress=progress) if reorders else None
    ingested = rag.index(folder, out, embedder=model, embedder_name=name, size=size, progress=progress)
    with rag.Index(out, model) as index:
        quality, gain = _measured(index, asked, second, progress) if asked else (None, None)
        orders = orders if not asked or (gain and gain.low > 0) else ""
        with index.store.writing():
            index.store.note(WHERE, _lasting(named) if named else None)
            index.store.note(RERANKER, _lasting(orders) if orders else None)
            if quality:
                kept = {"curve": asdict(quality.curve), "vectors": model is not None}
                index.store.note("curve", kept if quality.curve.questions else None)
    return Indexed(ingested=ingested, quality=quality, embedder=named, reranker=orders, gain=gain)


def _measured(
    index: rag.Index, asked: Sequence[Question], reranker: Reranker | None, progress: Progress
) -> tuple[Quality, Estimate | None]:
    """The quality of what will be asked, and what a reranker adds; without it where that is not shown."""
    plain = measure(index, asked, progress=progress)
    if reranker is None or not plain.reciprocal:
        return plain, None
    index.reranker = reranker
    second = measure(index, asked, progress=progress)
    gain = retrieval.gain(plain.reciprocal, second.reciprocal)
    return (second if gain.low > 0 else plain), gain


def _kept(path: Path | str, fact: str) -> str | None:
    """Where the embedder or the reranker of an index was."""
    try:
        with open_store(path) as store:
            where = store.fact(fact)
    except DataError:  # none yet; whoever needs one says so
        return None
    return str(where) if where else None


def _at_hand(ref: str, index: Path | str, kind: str) -> str:
    """Where the embedder or the reranker that an index names is on this machine.

    An index may come from a stranger: what it names is never fetched. Raises UserError where it is not here.
    """
    if local(ref).is_dir() or ref == settings.load().embedder:
        return ref
    named = hub.parse(ref)
    folder = hub.cached(named, EMBEDDER_PATTERNS) if named else None
    if folder is None:
        raise UserError(
            f"'{told(index)}' was made with the {kind} '{ref}', which is not on this machine.",
            fix=f"If you trust it, name it yourself: --{kind} {shlex.quote(ref)}",
        )
    return str(folder)


def _lasting(ref: str) -> str:
    """A folder's whole path, so that it is found from elsewhere too; a hub id as it is."""
    folder = Path(ref).expanduser()
    return str(folder.resolve()) if folder.is_dir() else ref


@contextmanager
def opened(
    path: Path | str,
    *,
    embedder: str | None = None,
    reranker: str | None = None,
    progress: Progress = silent,
) -> Iterator[rag.Index]:
    """An index with the embedder and the reranker that it was made with, from where they were or are now.

    Raises UserError for another embedder: its vectors mean nothing beside those of the index.
    """
    kept = None if embedder else _kept(path, WHERE)
    named = embedder or (_at_hand(kept, path, "embedder") if kept else None)
    name, model = open_embedder(named, progress=progress) if named else ("", None)
    orders = None if reranker else _kept(path, RERANKER)
    second = reranker or (_at_hand(orders, path, "reranker") if orders else None)
    with rag.Index(path, model, open_reranker(second, progress=progress) if second else None) as index:
        if model is not None and index.store.fact("embedder") != name:
            raise UserError(
                f"'{index.store.path}' has no vectors of '{named}'.",
                fix="Name the embedder that it was made with, or index the folder again with this one.",
            )
        yield index


@contextmanager
def retriever_of(path: Path) -> Iterator[Retriever]:
    """What answers in a bundle that has an index of its own. Raises UserError for any other bundle."""
    with open_bundle(path) as predictor:
        if not isinstance(predictor.model, Retriever):
            raise UserError(
                f"The bundle '{path}' has no documents of its own.",
                fix=f"Name an index, and the bundle to read it: smallworks ask INDEX … --model {path}",
            )
        yield predictor.model


def open_embedder(ref: str, *, progress: Progress = silent) -> tuple[str, Encoder]:
    """A hash of its weights, and a sentence-embedding model as int8 ONNX, converted once and cached."""
    from smallworks.engines.onnx import Encoder

    name, converted = converted_embedder(resolve_embedder(ref), progress=progress)
    return name, Encoder(converted, max_tokens=PASSAGE_TOKENS)


def converted_embedder(folder: Path, *, progress: Progress = silent) -> tuple[str, Path]:
    """A hash of its weights, and the folder of it as int8 ONNX."""
    name = hash_weights(folder)[:16]
    return name, encode_to_onnx(folder, settings.load().home / "encoders" / name, progress=progress)


def open_reranker(ref: str, *, progress: Progress = silent) -> CrossEncoder:
    """A cross-encoder as int8 ONNX, converted once and cached."""
    from smallworks.engines.reranker import CrossEncoder

    return CrossEncoder(converted_reranker(resolve_reranker(ref), progress=progress))


def converted_reranker(folder: Path, *, progress: Progress = silent) -> Path:
    out = settings.load().home / "encoders" / f"reranker-{hash_weights(folder)[:16]}"
    return reranker_to_onnx(folder, out, progress=progress)


# --- questions ----------------------------------------------------------------------------------


def read_questions(path: Path) -> list[Question]:
    """Rows with a question and the documents that answer it, or the sentence of refusal as the answer."""
    found = []
    for number, row in read_rows(path):
        cells = {str(name).casefold(): value for name, value in row.items()}
        text = next((str(cells[name]) for name in ASKS if cells.get(name)), "")
        if not text.strip():
            raise DataError(
                f"'{path}' row {number} asks nothing.", fix=f"Name its column one of: {', '.join(ASKS)}."
            )
        documents = _documents(next((cells[name] for name in NAMES if cells.get(name)), ""))
        answer = next((str(cells[name]).strip() for name in ANSWERS if cells.get(name)), None)
        if not documents and answer != REFUSAL:
            raise DataError(
                f"'{path}' row {number} names no document.",
                fix=f'Add one as "document", or "{REFUSAL}" as "answer" where no document tells.',
            )
        found.append(Question(text=text, documents=() if answer == REFUSAL else documents))
    if not found:
        raise DataError(f"'{path}' holds no question.", fix="Give one row a question.")
    return found


def _documents(cell: object) -> tuple[str, ...]:
    parts = cell if isinstance(cell, list) else re.split(r"\s*;\s*", str(cell))
    return tuple(str(part).strip() for part in parts if str(part).strip())


def measure(
    index: rag.Index,
    questions: Sequence[Question],
    *,
    k: int = search.K,
    by: search.By = "both",
    progress: Progress = silent,
) -> Quality:
    """Every question searched; those with a document once more without it, which makes them unanswerable.

    `k` passages found `by` words, vectors or both are what an answer would rest on.
    """
    known = set(index.store.hashes())
    for question in questions:
        if lost := [path for path in question.documents if path not in known]:
            raise UserError(
                f"The question '{question.text[:60]}' names '{lost[0]}', which is not in the index.",
                fix="Write paths as they stand below the indexed folder.",
            )
    rankings, answerable, unanswerable = [], [], []
    for number, (question, fold) in enumerate(zip(questions, folds(questions), strict=True), 1):
        hits = index.search(question.text, search.DEEP, by=by)
        first = confidence.signals(index, question.text, hits[:k])
        if question.documents:
            rankings.append(list(dict.fromkeys(hit.passage.document for hit in hits)))
            answerable.append((fold, first))
        if len(question.documents) < 2:  # one document at a time can be hidden
            hidden = index.search(question.text, k, without="".join(question.documents), by=by)
            unanswerable.append((fold, confidence.signals(index, question.text, hidden)))
        progress("questions", number, len(questions), "")
    progress("questions", len(questions), len(questions), "done")
    told = [question for question in questions if question.documents]
    metrics = retrieval.measured(rankings, [q.documents for q in told]) if told else {}
    ranks = [
        retrieval.reciprocal_rank(search.DEEP, one, q.documents)
        for one, q in zip(rankings, told, strict=True)
    ]
    quality = _quality(index, len(questions), metrics, answerable, unanswerable)
    return replace(quality, reciprocal=tuple(ranks))


def _quality(
    index: rag.Index,
    questions: int,
    metrics: Mapping[str, Estimate],
    answerable: Sequence[Folded],
    unanswerable: Sequence[Folded],
) -> Quality:
    fitted = confidence.fit([one for _, one in answerable], [one for _, one in unanswerable])
    if fitted is None:
        default = confidence.BOTH if index.embedder else confidence.WORDS
        return Quality(questions=questions, metrics=metrics, curve=default)
    right = [_cross_fitted(answerable, unanswerable), _cross_fitted(unanswerable, answerable, turned=True)]
    answered, abstained = (wilson(sum(hits), len(hits)) for hits in right)
    return Quality(questions=questions, metrics=metrics, curve=fitted, answered=answered, abstained=abstained)


def folds(questions: Sequence[Question]) -> list[int]:
    """The fold of each question, with its document and without: no curve judges a question that it saw.

    Those with no document, one, and several are dealt out in turn, so that each fold has its share of each.
    """
    order = sorted(range(len(questions)), key=lambda at: min(2, len(questions[at].documents)))
    fold = {at: place % FOLDS for place, at in enumerate(order)}
    return [fold[at] for at in range(len(questions))]


def _cross_fitted(mine: Sequence[Folded], other: Sequence[Folded], *, turned: bool = False) -> list[bool]:
    """Whether each of mine is decided rightly by a curve that did not see its fold."""
    right = []
    for fold in range(FOLDS):
        held = [one for its, one in mine if its == fold]
        rest = [one for its, one in mine if its != fold]
        others = [one for its, one in other if its != fold]
        curve = confidence.fit(others, rest, least=1) if turned else confidence.fit(rest, others, least=1)
        assert curve is not None
        said = np.array([curve.probability(one) >= curve.threshold for one in held], dtype=bool)
        right += list(~said if turned else said)
    return right
