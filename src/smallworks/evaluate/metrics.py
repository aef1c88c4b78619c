"""The metrics of every kind of task, and their estimates over records.

A metric is a key for each row, the parts that a key adds, and a value of the summed parts: so the same
line serves the value, its bootstrap and the paired comparison. All are 0–1, and higher is better except
where a metric says otherwise. Knows records; knows nothing of engines, files or targets.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smallworks.errors import DataError, TaskError, nearest
from smallworks.evaluate.clusters import groups_of, share, tally_of
from smallworks.evaluate.intervals import RESAMPLES, Floats, Statistic, Tally, bootstrap, wilson
from smallworks.evaluate.scores import bleu_counts, field_counts
from smallworks.types import KINDS, LOSS, RECALL, Estimate, Kind, Record


@dataclass(frozen=True, kw_only=True)
class Metric:
    """`proportion`: rows score 0 or 1 and the value is their share, so Wilson and McNemar apply.

    `row` is the per-row score that tells which of two answers to a row is better. `some` says that only
    some rows have that score, and that the others do not count.
    """

    name: str
    kinds: tuple[Kind, ...]
    meaning: str
    row: str
    key: Callable[[Record], Hashable]
    parts: Callable[[Sequence[Any]], Floats]
    statistic: Statistic
    proportion: bool = False
    some: bool = False
    lower_is_better: bool = False

    def rows(self, records: Sequence[Record]) -> list[Record]:
        """The records that count. Raises DataError where none does."""
        counted = [r for r in records if self.row in r.scores] if self.some else list(records)
        if not counted:
            raise DataError(
                f"No row counts for '{self.name}': {self.meaning}.",
                fix="Add such rows to the test set, or ask for another metric.",
            )
        return counted


def summarise(
    records: Sequence[Record],
    kind: Kind,
    names: Sequence[str] = (),
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Estimates of the named metrics, by default all of the kind (BLEU where sacrebleu is installed).

    Left out by default: those that no row counts for.
    """
    if not records:
        raise DataError("There are no rows to measure.", fix="Give a test set with at least one row.")
    scored = {score for record in records for score in record.scores}
    chosen = [metric_of(name, kind) for name in names] or [
        metric for metric in metrics_of(kind) if metric.row in scored or not metric.some
    ]
    return {metric.name: estimate(records, metric, seed=seed, resamples=resamples) for metric in chosen}


def estimate(
    records: Sequence[Record], metric: Metric, *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Wilson for a proportion, the bootstrap for all else; by whole groups where rows come in groups.

    Raises DataError where no row counts.
    """
    rows = metric.rows(records)
    groups = groups_of([record.group for record in rows])
    if metric.proportion:
        scores = [row_score(record, metric.row) for record in rows]
        return share(np.array(scores), groups) if groups else wilson(sum(scores), len(rows))
    keys = list(map(metric.key, rows))
    counted = Counter(keys)
    parts = metric.parts(list(counted))
    if groups is None:
        tally = Tally(parts=parts, times=np.array(list(counted.values())))
        return bootstrap(tally, metric.statistic, seed=seed, resamples=resamples)
    tally = tally_of(keys, parts, list(counted), groups)
    found = bootstrap(tally, metric.statistic, seed=seed, resamples=resamples)
    return replace(found, n=len(rows), groups=groups.count)


def metrics_of(kind: Kind) -> list[Metric]:
    """The metrics that apply to a kind; BLEU only where sacrebleu is installed."""
    bleu = importlib.util.find_spec("sacrebleu") is not None
    return [m for m in METRICS.values() if kind in m.kinds and (bleu or m.name != "bleu")]


def metric_of(name: str, kind: Kind) -> Metric:
    """The metric of that name. Raises TaskError where it does not exist or not for this kind."""
    valid = [m.name for m in METRICS.values() if kind in m.kinds]
    if name not in valid:
        raise TaskError(f"'{name}' is no metric of a task of kind '{kind}'.", fix=nearest(name, valid))
    return METRICS[name]


def kind_of(records: Sequence[Record]) -> Kind:
    """The kind that records were scored for: no two kinds have the same scores. Raises DataError."""
    if not records:
        raise DataError("There are no records to judge.", fix="Evaluate again on at least one row.")
    found = set(records[0].scores)
    for kind in KINDS:
        metrics = [metric for metric in METRICS.values() if kind in metric.kinds]
        if {m.row for m in metrics if not m.some} <= found <= {m.row for m in metrics}:
            return kind
    raise DataError(
        f"The records have the scores {sorted(found)}, which are those of no kind of task.",
        fix="Evaluate again: `smallworks evaluate BUNDLE --out FILE`.",
    )


def row_score(record: Record, name: str) -> float:
    """One score of a record. Raises DataError where the record has none of that name."""
    if name not in record.scores:
        raise DataError(
            f"The record of row '{record.example_id}' has no score '{name}'.",
            fix="Evaluate again: it was made for another kind of task.",
        )
    return record.scores[name]


# --- statistics: summed parts [resamples, parts] → values [resamples] -----------------------------


def _mean(sums: Floats) -> Floats:
    value: Floats = sums[:, 0] / sums[:, 1]
    return value


def _micro_f1(sums: Floats) -> Floats:
    """2·right / (said + due); 1 where nothing was due and nothing said."""
    right, said_and_due = 2 * sums[:, 0], sums[:, 1] + sums[:, 2]
    return np.divide(right, said_and_due, out=np.ones_like(right), where=said_and_due > 0)


def _macro_f1(sums: Floats) -> Floats:
    """Mean F1 over the classes that occur, expected or predicted, as scikit-learn has it."""
    right, said_and_due = np.split(sums, 2, axis=1)
    f1 = np.divide(2 * right, said_and_due, out=np.zeros_like(right), where=said_and_due > 0)
    value: Floats = f1.sum(axis=1) / (said_and_due > 0).sum(axis=1)
    return value


def _bleu(sums: Floats) -> Floats:
    """Corpus BLEU from the counts of `bleu_counts`, with sacrebleu's default smoothing."""
    from sacrebleu.metrics.bleu import BLEU

    rows = np.rint(sums).astype(int).tolist()
    scores = [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp").score for row in rows]
    return np.array(scores) / 100


# --- parts: keys of rows → what each adds [rows, parts] -------------------------------------------


def _with_one(keys: Sequence[float]) -> Floats:
    return np.column_stack([np.array(keys, dtype=np.float64), np.ones(len(keys))])


def _as_is(keys: Sequence[tuple[int, ...]]) -> Floats:
    return np.array(keys, dtype=np.float64)


def _micro_parts(keys: Sequence[tuple[str, str | None]]) -> Floats:
    return np.array([(due == said, said is not None, 1) for due, said in keys], dtype=np.float64)


def _macro_parts(keys: Sequence[tuple[str, str | None]]) -> Floats:
    """[rows, 2 × classes]: right per class, then said + due per class."""
    classes = sorted({label for key in keys for label in key if label is not None})
    place = {label: i for i, label in enumerate(classes)}
    parts = np.zeros((len(keys), 2 * len(classes)))
    for row, (due, said) in enumerate(keys):
        parts[row, place[due]] = due == said
        for label in (due, said):
            if label is not None:
                parts[row, len(classes) + place[label]] += 1
    return parts


# --- the registry -------------------------------------------------------------------------------


def _row_mean(name: str, kinds: tuple[Kind, ...], meaning: str, *, proportion: bool = False) -> Metric:
    return Metric(
        name=name,
        kinds=kinds,
        meaning=meaning,
        row=name,
        proportion=proportion,
        key=lambda record: row_score(record, name),
        parts=_with_one,
        statistic=_mean,
    )


def _some_rows(
    name: str, meaning: str, *, proportion: bool, lower_is_better: bool = False, kind: Kind = "answer"
) -> Metric:
    """A metric over the rows that have its score."""
    metric = _row_mean(name, (kind,), meaning, proportion=proportion)
    return replace(metric, some=True, lower_is_better=lower_is_better)


def _f1(
    name: str, meaning: str, parts: Callable[[Sequence[Any]], Floats], statistic: Statistic
) -> list[Metric]:
    def strict(record: Record) -> Hashable:
        return record.expected, record.parsed

    def lenient(record: Record) -> Hashable:
        return record.expected, record.lenient

    return [
        Metric(
            name=name + suffix,
            kinds=("classify",),
            meaning=meaning,
            row=f"accuracy{suffix}",
            key=key,
            parts=parts,
            statistic=statistic,
        )
        for suffix, key in (("", strict), ("_lenient", lenient))
    ]


def _field_f1() -> list[Metric]:
    return [
        Metric(
            name=f"field_f1{suffix}",
            kinds=("extract",),
            meaning="F1 of the fields (path and value) of all rows together",
            row=f"field_f1{suffix}",
            key=key,
            parts=_as_is,
            statistic=_micro_f1,
        )
        for suffix, key in (
            ("", lambda record: field_counts(record.parsed, record.expected)),
            ("_lenient", lambda record: field_counts(record.lenient, record.expected)),
        )
    ]


_RETRIEVAL = {
    "recall@k": "mean share of the documents that hold the answer among the k passages found",
    "mrr@k": "mean of one over the place of the first of them, 0 where there is none",
    "ndcg@k": "discounted gain of their places over that of the best order",
}


def _scope() -> list[Metric]:
    lost = "share of the rows in scope that were handed over as out of it; lower is better"
    caught = "share of the rows out of scope that were handed over"
    return [
        _some_rows(LOSS, lost, proportion=True, lower_is_better=True, kind="classify"),
        _some_rows(RECALL, caught, proportion=True, kind="classify"),
    ]


def _registry() -> dict[str, Metric]:
    classify: tuple[Kind, ...] = ("classify",)
    extract: tuple[Kind, ...] = ("extract",)
    generate: tuple[Kind, ...] = ("generate",)
    rows: list[tuple[str, tuple[Kind, ...], str, bool]] = [
        ("accuracy", classify, "share of rows with the right label", True),
        ("accuracy_lenient", classify, "the same, with the label read leniently", True),
        ("json_valid", extract, "share of answers that are one document valid by the schema", True),
        ("json_valid_lenient", extract, "share of answers with a JSON object anywhere in them", True),
        (
            "exact_match",
            ("extract", "answer", "generate"),
            "share of answers that equal the expected one",
            True,
        ),
        ("exact_match_lenient", ("extract", "generate"), "the same, with the answer read leniently", True),
        ("token_f1", ("answer", "generate"), "mean F1 of the shared words, SQuAD's normal form", False),
        ("rouge_1", ("summarize",), "mean F of the shared words", False),
        ("rouge_2", ("summarize",), "mean F of the shared word pairs", False),
        ("rouge_l", ("summarize", "generate"), "mean F of the longest common word sequence", False),
    ]
    bleu = Metric(
        name="bleu",
        kinds=generate,
        meaning="corpus BLEU of sacrebleu, tokenizer 13a, as 0–1",
        row="rouge_l",
        key=lambda record: bleu_counts(record.parsed or "", record.expected),
        parts=_as_is,
        statistic=_bleu,
    )
    return {
        metric.name: metric
        for metric in (
            *(_row_mean(name, kinds, meaning, proportion=share) for name, kinds, meaning, share in rows),
            *_f1("macro_f1", "mean F1 over the classes", _macro_parts, _macro_f1),
            *_f1("micro_f1", "F1 of all rows together", _micro_parts, _micro_f1),
            *_field_f1(),
            _some_rows("answered_f1", "mean F1 of the shared words on answerable rows", proportion=False),
            _some_rows("abstained", "share of the unanswerable rows that were refused", proportion=True),
            _some_rows(
                "abstained_wrongly",
                "share of the answerable rows that were refused; lower is better",
                proportion=True,
                lower_is_better=True,
            ),
            *_scope(),
            _some_rows(
                "supported",
                "mean support of the given answers by words and numbers of their context",
                proportion=False,
            ),
            *(_some_rows(name, meaning, proportion=False) for name, meaning in _RETRIEVAL.items()),
            bleu,
        )
    }


METRICS: dict[str, Metric] = _registry()
