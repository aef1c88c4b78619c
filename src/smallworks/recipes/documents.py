"""From a folder of documents to an index, measured and calibrated on questions where there are some."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smallworks import rag, settings
from smallworks.bundle.store import hash_weights
from smallworks.compress.encoder import encode_to_onnx
from smallworks.data.read import read_rows
from smallworks.engines import hub
from smallworks.engines.base import EMBEDDER_PATTERNS, local, resolve_embedder
from smallworks.engines.opening import PASSAGE_TOKENS, open_bundle
from smallworks.engines.retriever import Retriever
from smallworks.errors import DataError, UserError
from smallworks.evaluate import retrieval
from smallworks.evaluate.intervals import wilson
from smallworks.rag import confidence, search
from smallworks.rag.confidence import Curve, Signals
from smallworks.rag.passages import SIZE
from smallworks.rag.store import Store
from smallworks.seams import Progress, silent
from smallworks.types import REFUSAL, Estimate

if TYPE_CHECKING:
    from smallworks.engines.onnx import Encoder

WHERE = "embedder_path"
"""The fact of an index that says where its embedder was."""
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

    None where there are too few questions of that sort; `curve` is then the default.
    """

    questions: int
    metrics: Mapping[str, Estimate]
    curve: Curve
    answered: Estimate | None = None
    abstained: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Indexed:
    ingested: rag.Ingested
    quality: Quality | None = None
    embedder: str = ""


def index_folder(
    folder: Path,
    out: Path,
    *,
    embedder: str | None = None,
    size: int = SIZE,
    questions: Path | None = None,
    progress: Progress = silent,
) -> Indexed:
    """Index what changed. The embedder is the named one, else the index's own, else that of the settings."""
    asked = read_questions(questions) if questions else []
    named = embedder or _kept(out) or settings.load().embedder or ""
    where = named if embedder or not named else _at_hand(named, out)
    name, model = open_embedder(where, progress=progress) if where else ("", None)
    ingested = rag.index(folder, out, embedder=model, embedder_name=name, size=size, progress=progress)
    with rag.Index(out, model) as index:
        if named:
            with index.store.writing():
                index.store.note(WHERE, _lasting(named))
        quality = measure(index, asked, progress=progress) if asked else None
        if quality:
            kept = {"curve": asdict(quality.curve), "vectors": model is not None}
            with index.store.writing():
                index.store.note("curve", kept if quality.curve.questions else None)
    return Indexed(ingested=ingested, quality=quality, embedder=named)


def _kept(path: Path) -> str | None:
    """Where the embedder of an index was."""
    if not path.is_file():
        return None
    with Store(path) as store:
        where = store.fact(WHERE)
    return str(where) if where else None


def _at_hand(ref: str, index: Path) -> str:
    """Where the embedder that an index names is on this machine.

    An index may come from a stranger: what it names is never fetched. Raises UserError where it is not here.
    """
    if local(ref).is_dir() or ref == settings.load().embedder:
        return ref
    named = hub.parse(ref)
    folder = hub.cached(named, EMBEDDER_PATTERNS) if named else None
    if folder is None:
        raise UserError(
            f"'{index}' was made with the embedder '{ref}', which is not on this machine.",
            fix=f"If you trust it, name it yourself: --embedder {shlex.quote(ref)}",
        )
    return str(folder)


def _lasting(ref: str) -> str:
    """A folder's whole path, so that it is found from elsewhere too; a hub id as it is."""
    folder = Path(ref).expanduser()
    return str(folder.resolve()) if folder.is_dir() else ref


@contextmanager
def opened(path: Path, *, embedder: str | None = None, progress: Progress = silent) -> Iterator[rag.Index]:
    """An index with the embedder that it was made with, from where that was or is now.

    Raises UserError for another embedder: its vectors mean nothing beside those of the index.
    """
    kept = None if embedder else _kept(path)
    named = embedder or (_at_hand(kept, path) if kept else None)
    name, model = open_embedder(named, progress=progress) if named else ("", None)
    with rag.Index(path, model) as index:
        if model is not None and index.store.fact("embedder") != name:
            raise UserError(
                f"'{path}' has no vectors of '{named}'.",
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
    return _quality(index, len(questions), metrics, answerable, unanswerable)


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
