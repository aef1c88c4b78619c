"""Fit the linear and fused candidates: LinearSVC over TF-IDF n-grams, margins turned into probabilities.

Temperature and curve come from rows that the fit did not see (a held-out tenth, or five folds when rows are
few); the head that is kept is fitted on every row. Knows no files and no encoder: embeddings come in as
an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smallworks.engines import calibration
from smallworks.engines.calibration import Curve
from smallworks.engines.linear import LinearHead, log_softmax
from smallworks.engines.ngrams import FAMILIES, Block, learn
from smallworks.errors import DataError, MissingExtra
from smallworks.seams import Progress, silent

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEW_ROWS = 2_000
EMBEDDING_WEIGHT = 2.0
C_LINEAR = 1.0
C_FUSED = 0.3


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """The fitted head and the calibration of its margins; `held_out` says on how many rows that was set."""

    head: LinearHead
    temperature: float = 1.0
    isotonic: Curve = ()
    held_out: int = 0


def majority(labels: Sequence[str], targets: Sequence[str]) -> LinearFit:
    """The head that knows only how often each label occurs (one row each is added, so none is impossible)."""
    counts = np.array([1 + sum(t == label for t in targets) for label in labels], np.float64)
    head = LinearHead(tuple(labels), (), (), np.log(counts / counts.sum()))
    return LinearFit(head=head)


def fit_linear(
    texts: Sequence[str],
    targets: Sequence[str],
    *,
    labels: Sequence[str],
    embeddings: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> LinearFit:
    """Fit on rows of text (and unit embeddings [n, d] when fused). Raises DataError for one label."""
    if len(set(targets)) < 2:
        raise DataError(
            f"All {len(targets)} training rows have the label '{targets[0]}'.",
            fix="A classifier needs rows of at least two labels.",
        )
    index = {label: i for i, label in enumerate(labels)}
    y = np.array([index[t] for t in targets])
    c = C_LINEAR if embeddings is None else C_FUSED
    margins, seen = np.zeros((len(y), len(labels))), np.zeros(len(y), bool)
    parts = _parts(y, seed)
    for done, (fit_rows, held_rows) in enumerate(parts):
        progress("fit", done, len(parts) + 1, "calibration")
        head = _fit(_pick(texts, fit_rows), y[fit_rows], labels, _rows(embeddings, fit_rows), c, seed)
        for i in held_rows:
            margins[i] = head.margins(texts[i], None if embeddings is None else embeddings[i])
        seen[held_rows] = True
    progress("fit", len(parts), len(parts) + 1, "all rows")
    head = _fit(texts, y, labels, embeddings, c, seed)
    return _calibrated(head, log_softmax(margins[seen]), y[seen]) if seen.any() else LinearFit(head=head)


def _calibrated(head: LinearHead, logp: np.ndarray, targets: np.ndarray) -> LinearFit:
    """`logp` [n, labels] and `targets` [n] of rows that their fit did not see."""
    temperature, curve = calibration.fit(logp, targets)
    return LinearFit(head=head, temperature=temperature, isotonic=curve, held_out=len(targets))


def _fit(
    texts: Sequence[str],
    y: np.ndarray,
    labels: Sequence[str],
    embeddings: np.ndarray | None,
    c: float,
    seed: int,
) -> LinearHead:
    try:
        from scipy.sparse import csr_matrix, hstack
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingExtra("scikit-learn", extra="eval", wanted_for="Fitting a linear model") from error
    blocks = tuple(learn(texts, family) for family in FAMILIES)
    matrices: list[Any] = [_matrix(texts, block) for block in blocks]
    if embeddings is not None:
        matrices.append(csr_matrix(EMBEDDING_WEIGHT * embeddings))
    features = hstack(matrices).tocsr()
    if features.shape[1] == 0:
        raise DataError(
            f"The {len(texts)} training texts hold no word of two or more letters to learn from.",
            fix="Check that [data] input names the column of the text.",
        )
    model = LinearSVC(C=c, random_state=seed).fit(features, y)
    weights, intercept = _spread(model.coef_, model.intercept_, model.classes_, len(labels))
    edges = np.cumsum([m.shape[1] for m in matrices])[:-1]
    split = np.split(weights.T.astype(np.float32), edges)
    embedded = None if embeddings is None else EMBEDDING_WEIGHT * split[-1]
    return LinearHead(tuple(labels), blocks, tuple(split[: len(blocks)]), intercept, embedded)


def _spread(coefficients: np.ndarray, intercept: np.ndarray, classes: np.ndarray, labels: int) -> Any:
    """One row of weights a label: two-label fits give one row, and unseen labels get margins far below."""
    if len(classes) == 2 and len(coefficients) == 1:
        coefficients, intercept = np.vstack([-coefficients, coefficients]), np.r_[-intercept, intercept]
    weights, bias = np.zeros((labels, coefficients.shape[1])), np.full(labels, -10.0)
    weights[classes], bias[classes] = coefficients, intercept
    return weights, bias


def _matrix(texts: Sequence[str], block: Block) -> csr_matrix:
    from scipy.sparse import csr_matrix

    rows = [block.row(text) for text in texts]
    pointers = np.cumsum([0] + [len(columns) for columns, _ in rows])
    columns = np.concatenate([c for c, _ in rows])
    return csr_matrix((np.concatenate([w for _, w in rows]), columns, pointers), (len(texts), len(block.idf)))


def _parts(y: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(fit rows, held-out rows): five stratified folds when rows are few, else one held-out tenth.

    The only row of a label is always fitted: held out, it could not be answered at all.
    """
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

    counts = np.bincount(y)
    alone, rows = np.flatnonzero(counts[y] == 1), np.flatnonzero(counts[y] > 1)
    common = counts[counts > 1]
    if len(common) < 2:
        return []
    splitter: Any
    if len(rows) > FEW_ROWS:
        held = max(len(rows) // 10, len(common))
        splitter = StratifiedShuffleSplit(1, test_size=held, random_state=seed)
    else:
        splitter = StratifiedKFold(min(5, int(common.min())), shuffle=True, random_state=seed)
    return [(np.r_[rows[fit], alone], rows[held]) for fit, held in splitter.split(rows, y[rows])]


def _pick(texts: Sequence[str], rows: np.ndarray) -> list[str]:
    return [texts[i] for i in rows]


def _rows(embeddings: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if embeddings is None else embeddings[rows]
