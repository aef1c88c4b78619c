"""Fit the linear and fused candidates: LinearSVC over TF-IDF n-grams, margins turned into probabilities.

Temperature and curve come from rows that the fit did not see (a held-out tenth, or five folds when rows are
few); the head that is kept is fitted on every row. A row with a teacher's probabilities counts for each label
by its share. Knows no files and no encoder: embeddings come in as an array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smallworks.bundle.manifest import Scope
from smallworks.engines import calibration, scope
from smallworks.engines.calibration import Curve
from smallworks.engines.linear import LinearHead, log_softmax
from smallworks.engines.ngrams import FAMILIES, Block, learn
from smallworks.engines.scope import ScopeFit
from smallworks.errors import DataError, MissingExtra
from smallworks.seams import Progress, silent

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEW_ROWS = 2_000
LEAST_HELD = 100
"""Validation rows that are enough to calibrate on."""
EMBEDDING_WEIGHT = 2.0
C_LINEAR = 1.0
C_FUSED = 0.3
LEAST_SHARE = 0.01
"""A label that a teacher gave less than this does not count: each one is another row to fit."""
Shares = Sequence[Mapping[str, float] | None]


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """The fitted head and the calibration of its margins, set on the rows `held` [n] that a fit did not see.

    `said` [n, labels] are the calibrated log-probabilities that such fits gave to those rows, `margins`
    [n, labels] what they came from; `outside` [m, labels] are margins that they gave to rows out of scope.
    """

    head: LinearHead
    temperature: float = 1.0
    isotonic: Curve = ()
    held: tuple[int, ...] = ()
    said: np.ndarray | None = None
    margins: np.ndarray | None = None
    outside: np.ndarray | None = None

    @property
    def held_out(self) -> int:
        return len(self.held)

    def scope(self, loss: float, label: str | None) -> ScopeFit:
        """From when on to abstain, so that about `loss` of the rows in scope are lost."""
        return scope.fit(*map(self._scores, (self.margins, self.outside)), loss=loss, label=label)

    def abstains(self, least: Scope) -> np.ndarray:
        """Which of the held-out rows fall below a threshold, [n]."""
        below: np.ndarray = self._scores(self.margins)[least.score] < least.at
        return below

    def _scores(self, margins: np.ndarray | None) -> dict[str, np.ndarray]:
        if margins is None:
            return {}
        logp = calibration.apply(log_softmax(margins), temperature=self.temperature, isotonic=self.isotonic)
        return scope.scores(logp, logits=margins, temperature=self.temperature)


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
    shares: Shares = (),
    taught: int = 0,
    validation: int = 0,
    seed: int = 0,
    outside: Sequence[str] = (),
    outside_embeddings: np.ndarray | None = None,
    progress: Progress = silent,
) -> LinearFit:
    """Fit on rows of text (and unit embeddings [n, d] when fused). Raises DataError for one label.

    `shares[i]` is what a teacher gave the labels of row i, None where nothing. The last `taught` rows come
    from a teacher: probabilities are never calibrated on them. The last `validation` rows before those are
    the ones held out where rows are many. `outside` are texts that belong to no label: nothing is fitted on
    them, each is answered by one of the fits that answer held-out rows.
    """
    if len(set(targets)) < 2:
        raise DataError(
            f"All {len(targets)} training rows have the label '{targets[0]}'.",
            fix="A classifier needs rows of at least two labels.",
        )
    index = {label: i for i, label in enumerate(labels)}
    y = np.array([index[t] for t in targets])
    c = C_LINEAR if embeddings is None else C_FUSED
    margins, seen = np.zeros((len(y), len(labels))), np.zeros(len(y), bool)
    soft = [_soft(given, index) for given in shares] or [None] * len(y)
    own = len(y) - taught
    parts = [(np.r_[fitted, own : len(y)], held) for fitted, held in _parts(y[:own], seed, validation)]
    beyond = np.zeros((len(outside), len(labels)))
    for done, (fit_rows, held_rows) in enumerate(parts):
        progress("fit", done, len(parts) + 1, "calibration")
        some = [soft[i] for i in fit_rows]
        head = fit_head(
            _pick(texts, fit_rows), y[fit_rows], some, labels, _rows(embeddings, fit_rows), c, seed
        )
        for i in held_rows:
            margins[i] = head.margins(texts[i], None if embeddings is None else embeddings[i])
        for i in range(done, len(outside), len(parts)):
            own_vector = None if outside_embeddings is None else outside_embeddings[i]
            beyond[i] = head.margins(outside[i], own_vector)
        seen[held_rows] = True
    progress("fit", len(parts), len(parts) + 1, "all rows")
    head = fit_head(texts, y, soft, labels, embeddings, c, seed)
    if not seen.any():
        return LinearFit(head=head)
    return replace(_calibrated(head, margins, y, seen), outside=beyond)


def _calibrated(head: LinearHead, margins: np.ndarray, targets: np.ndarray, seen: np.ndarray) -> LinearFit:
    """`margins` [n, labels] and `targets` [n]; `seen` [n] tells the rows that their fit did not see."""
    logp = log_softmax(margins[seen])
    temperature, curve = calibration.fit(logp, targets[seen])
    said = calibration.apply(logp, temperature=temperature, isotonic=curve)
    held = tuple(np.flatnonzero(seen).tolist())
    return LinearFit(
        head=head, temperature=temperature, isotonic=curve, held=held, said=said, margins=margins[seen]
    )


def fit_head(
    texts: Sequence[str],
    y: np.ndarray,
    soft: Sequence[np.ndarray | None],
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
    rows, targets, weights = _weighted(y, soft)
    model = LinearSVC(C=c, random_state=seed).fit(features[rows], targets, sample_weight=weights)
    weights, intercept = _spread(model.coef_, model.intercept_, model.classes_, len(labels))
    edges = np.cumsum([m.shape[1] for m in matrices])[:-1]
    split = np.split(weights.T.astype(np.float32), edges)
    embedded = None if embeddings is None else EMBEDDING_WEIGHT * split[-1]
    return LinearHead(tuple(labels), blocks, tuple(split[: len(blocks)]), intercept, embedded)


def _soft(given: Mapping[str, float] | None, index: Mapping[str, int]) -> np.ndarray | None:
    """A teacher's probabilities as shares [labels] that sum to 1; those below LEAST_SHARE are left out."""
    if not given:
        return None
    shares = np.zeros(len(index))
    for label, share in given.items():
        if label in index and share >= LEAST_SHARE:
            shares[index[label]] = share
    total = shares.sum()
    return shares / total if total > 0 else None


def _weighted(
    y: np.ndarray, soft: Sequence[np.ndarray | None]
) -> tuple[slice | np.ndarray, np.ndarray, np.ndarray | None]:
    """Which row stands for which label with what weight: once for each label that a teacher thought of.

    The squared hinge, weighted so, is least at the margin 2p − 1: it learns probabilities, not only labels.
    """
    if all(shares is None for shares in soft):
        return slice(None), y, None
    rows, targets, weights = [], [], []
    for row, shares in enumerate(soft):
        for label in [y[row]] if shares is None else np.flatnonzero(shares):
            rows.append(row)
            targets.append(label)
            weights.append(1.0 if shares is None else shares[label])
    return np.array(rows), np.array(targets), np.array(weights)


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


def _parts(y: np.ndarray, seed: int, validation: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(fit rows, held-out rows): five stratified folds of few rows; of many the validation rows, or a tenth.

    The only row of a label is always fitted: held out, it could not be answered at all.
    """
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

    counts = np.bincount(y)
    alone, rows = np.flatnonzero(counts[y] == 1), np.flatnonzero(counts[y] > 1)
    common = counts[counts > 1]
    if len(common) < 2:
        return []
    splitter: Any
    if len(rows) > FEW_ROWS and LEAST_HELD <= validation < len(y) / 2:
        at = np.arange(len(y))
        held_out = (at >= len(y) - validation) & (counts[y] > 1)
        return [(at[~held_out], at[held_out])]
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
