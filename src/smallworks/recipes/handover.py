"""The cascades of a build: made of candidates that are on the table, where held-out rows say that it pays.

Thresholds come from rows that no stage's weights were fitted on, never from test rows. The same rows chose
a tuned model's checkpoint and calibrated every stage: docs/verdicts.md tells what a promise loses. Knows
rows of the table and their bundles; knows nothing of how those were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.bundle import Bundle, open_bundle
from smallworks.evaluate import records
from smallworks.evaluate.metrics import row_score, summarise
from smallworks.evaluate.run import record
from smallworks.recipes.baselines import held_out
from smallworks.recipes.cascade import freeze_cascade, plan_of, promise_of
from smallworks.recipes.choose import able
from smallworks.recipes.flagship import read_answers
from smallworks.recipes.measure import measure, wording
from smallworks.recipes.ways import Way, best_way, score_of, steps_of, ways
from smallworks.recipes.workshop import Workshop
from smallworks.route import Promise, Routing
from smallworks.route.calibrate import describe, figure, good
from smallworks.route.mixes import Mix
from smallworks.route.stages import confidence_of
from smallworks.route.sure import confidences, fitting
from smallworks.types import LOSS, Answer, Example, ExampleId, Record, Row

PROMISE = Promise(against="last", value=0.01)
"""What the cascades of a build are held to, where the held-out rows are enough to show it."""
CHEAP = ("linear", "fused")
TUNED = ("lm-full-q8_0", "lm-lora-q8_0", "lm-full-q4_0", "lm-lora-q4_0", "lm-full", "lm-lora")
"""The tuned language models that a cascade may end at: the first that is on the table."""
WRITERS = (*TUNED, "lm-few-q8_0", "lm-few", "lm-zero-q8_0", "lm-zero")
"""Language models that may write before a flagship: the first that is on the table."""
LEAST_ROWS = 30
"""Fewer held-out rows than this say nothing."""
MIXES = "mixes.json"
RECORDED = "not to be served: the flagship's answers were recorded"


def cascade_row(shop: Workshop, name: str, table: Sequence[Row]) -> Row:
    """The row of a cascade, or the reason why it is not worth making."""
    there = {row.name: row for row in table if able(row) or (row.name == "flagship" and row.metric)}
    last = next((there[n] for n in _last_of(name) if n in there), None)
    labels, score = shop.task.kind == "classify", score_of(shop.task.kind, shop.task.targets)
    firsts = [there[n] for n in (_before(name, there) if labels else _writers(there))]
    if last is None or not firsts:
        wanted = " or ".join(_last_of(name)[:2]) if last is None else CHEAP[0] if labels else WRITERS[-1]
        return _skipped(name, f"needs {wanted} on the table")
    held = {last.name: _held(shop, last)}
    if len(held[last.name]) >= LEAST_ROWS:
        held.update({row.name: _held(shop, row) for row in firsts})
    first, rows, compared = _best(firsts, last, held, score)
    if len(rows) < LEAST_ROWS:
        return _skipped(
            name,
            f"{first.name} and {last.name} were both asked on {len(rows)} held-out rows; thresholds take "
            f"{LEAST_ROWS} or more" + _recorded(last),
        )
    done = [[held[row.name][i] for i in rows] for row in (first, last)]
    found, way = best_way(
        ways(
            done,
            (first.name, last.name),
            [(row.cost_per_1000 or 0.0) / 1000 for row in (first, last)],
            [row.latency.p50 if row.latency else 0.0 for row in (first, last)],
            score=score,
            fitted=fitting(done[0]),
        ),
        PROMISE,
        choices=compared,
    )
    mix = found.chosen or found.wanted
    pays = _pays(found, mix)
    if mix is None or pays:
        return _skipped(name, pays or found.why)
    drawn = _write_mixes(shop, name, found, mix)
    if last.bundle is None:
        return replace(_mixed_row(shop, name, first, last, mix, found, way), mixes=drawn)
    return replace(_served_row(shop, name, (first, last), mix, found, way), mixes=drawn)


def _last_of(name: str) -> tuple[str, ...]:
    return {"cascade-fused": ("fused",), "cascade-lm": TUNED, "cascade-flagship": ("flagship",)}[name]


def _before(name: str, there: Mapping[str, Row]) -> list[str]:
    """What may stand before the last stage; one tuned model, and that only before a flagship."""
    cheap = [n for n in CHEAP if n in there and f"cascade-{n}" != name]
    tuned = [n for n in TUNED if n in there][:1]
    return [*cheap, *tuned] if name == "cascade-flagship" else cheap


def _writers(there: Mapping[str, Row]) -> list[str]:
    """What may write before a flagship: linear extraction, and one language model."""
    return [*(n for n in CHEAP if n in there), *[n for n in WRITERS if n in there][:1]]


def _best(
    firsts: Sequence[Row],
    last: Row,
    held: Mapping[str, Mapping[ExampleId, Record]],
    score: str = "accuracy",
) -> tuple[Row, list[ExampleId], int]:
    """The early stage that scores most on the rows that all were asked, the rows that it and the last one
    were asked, and among how many it was chosen by what it said.

    Where too few rows are common to all, the one with most rows stands alone: that takes no look at answers.
    """
    asked = {row.name: [i for i in held[last.name] if i in held.get(row.name, {})] for row in firsts}
    enough = [row for row in firsts if len(asked[row.name]) >= LEAST_ROWS]
    shared = set(held[last.name]).intersection(*(asked[row.name] for row in enough))
    if not enough or len(shared) < LEAST_ROWS:
        most = max(firsts, key=lambda row: len(asked[row.name]))
        return most, asked[most.name], 1
    best = max(enough, key=lambda row: sum(row_score(held[row.name][i], score) for i in shared))
    return best, asked[best.name], len(enough)


def _pays(found: Routing, mix: Mix | None) -> str | None:
    """Why the cascade would not pay, told by the held-out rows; None where it would."""
    first, last = found.stages
    alone = next(one for one in reversed(found.mixes) if one.thresholds == (0.0,))
    by = "on " if alone.spread is None else ""
    said = f"on {found.rows:,} held-out rows {first} {good(alone)}, {last} {by}{figure(found.last)}"
    if mix is None:
        return f"{said}: {found.why.partition(': ')[2]}"
    if mix.escalated == 0 or mix.quality <= alone.quality:
        return f"{said}, and handing over gains nothing"
    return None


def _recorded(last: Row) -> str:
    return " (record its answers to training rows too)" if last.bundle is None else ""


def _skipped(name: str, reason: str) -> Row:
    return Row(name=name, kind="cascade", engine="cascade", skipped=reason)


# --- held-out records ----------------------------------------------------------------------------


def _held(shop: Workshop, row: Row) -> dict[ExampleId, Record]:
    """What a candidate says on rows that its weights were not fitted on."""
    if row.name in CHEAP and shop.task.kind == "classify":
        return _of_baseline(shop, row.name)
    if row.bundle is None:
        return _of_recorded(shop)
    bundle = open_bundle(row.bundle)
    step = f"held-{row.name}"
    reads = {"bundle": bundle.id, "data": shop.data_key, **wording(shop.task)}
    shop.steps.run(step, reads, lambda folder: _ask(shop, bundle, step, folder))
    done = records.read(shop.steps.folder_of(step, reads) / "records.jsonl")
    return {one.example_id: one for one in done}


def _on_test(shop: Workshop, row: Row) -> list[Record]:
    """What a candidate says on the test rows, with what tells how sure it is: its records, for labels."""
    assert row.records and row.bundle
    if shop.task.kind == "classify":
        return records.read(row.records)
    bundle, step = open_bundle(row.bundle), f"told-{row.name}"
    reads = {"bundle": bundle.id, "data": shop.data_key, **wording(shop.task)}
    shop.steps.run(step, reads, lambda folder: _ask(shop, bundle, step, folder, test=True))
    return records.read(shop.steps.folder_of(step, reads) / "records.jsonl")


def _ask(shop: Workshop, bundle: Bundle, step: str, folder: Path, *, test: bool = False) -> Any:
    rows = ("test", shop.splits.test) if test else ("held", shop.splits.validation)
    request = {
        "bundle": bundle.path,
        "rows": shop.write_rows(*rows),
        "labels": shop.splits.labels,
        "schema": shop.task.schema,
        "refusal": shop.task.refusal,
        "documents": shop.task.data.documents is not None,
        "records": folder / "records.jsonl",
    }
    return shop.run_child(step, "smallworks.evaluate.held", request, folder)


def _of_baseline(shop: Workshop, name: str) -> dict[ExampleId, Record]:
    """From the fits that calibrated it: each row answered by one that did not see it."""
    labels, found = shop.splits.labels, dict[ExampleId, Record]()
    for example, said, abstain in held_out(shop, name):  # type: ignore[arg-type]
        probabilities = dict(zip(labels, said, strict=True))
        text = max(labels, key=probabilities.__getitem__)
        found[example.id] = _record(shop, example, text, probabilities, abstain=abstain or None)
    return found


def _of_recorded(shop: Workshop) -> dict[ExampleId, Record]:
    """The recorded answers to rows outside of the test set."""
    flagship = shop.task.flagship
    if flagship is None or flagship.answers is None:
        return {}
    answers = read_answers(flagship.answers)
    rows = ((e, answers.get(e.id) or answers.get(e.text)) for e in shop.fitting)
    return {e.id: _record(shop, e, str(said["output"]), None) for e, said in rows if said}


def _record(
    shop: Workshop,
    example: Example,
    text: str,
    probabilities: Mapping[str, float] | None,
    *,
    abstain: bool | None = None,
) -> Record:
    said = Answer(text=text, tokens_in=0, tokens_out=0, ms=0.0, probabilities=probabilities, abstain=abstain)
    return record(
        example,
        said,
        kind=shop.task.kind,
        labels=shop.splits.labels,
        schema=shop.task.schema,
        refusal=shop.task.refusal,
        documents=shop.task.data.documents is not None,
    )


# --- rows -----------------------------------------------------------------------------------------


def _served_row(shop: Workshop, name: str, stages: Sequence[Row], mix: Mix, found: Routing, way: Way) -> Row:
    """Frozen, and measured on the test rows like any other candidate."""
    bundles = [open_bundle(row.bundle) for row in stages if row.bundle]
    plan = plan_of(steps_of(way, bundles), mix, way.sureness)
    assert plan is not None, "a mix that hands over has two stages"
    step = f"freeze-{name}"
    promise = promise_of(found, mix)
    reads = {
        "stages": [bundle.id for bundle in bundles],
        "thresholds": mix.thresholds,
        "data": shop.data_key,
        "promise": promise,
        **({"sureness": [asdict(how) for how in plan.sureness if how]} if plan.sureness else {}),
    }

    def make(folder: Path) -> dict[str, Any]:
        frozen = freeze_cascade(
            plan,
            candidate=name,
            into=shop.bundles,
            scratch=folder / "scratch",
            golden=[dict(example.inputs) for example in shop.golden_examples()],
            lineage={"data": shop.data_key, **shop.replaces, **promise},
        )
        return {"bundle": frozen.name}

    row = measure(shop, shop.frozen(step, reads, make), "cascade")
    assert row.records is not None
    done = records.read(row.records)
    share = sum(one.stage == stages[-1].name for one in done) / len(done)
    return replace(row, notes=(*_notes(found, mix, share), *way.notes, *row.notes))


def _mixed_row(shop: Workshop, name: str, first: Row, last: Row, mix: Mix, found: Routing, way: Way) -> Row:
    """Recorded answers in the place of a server: what the cascade would come to, and nothing to serve."""
    assert last.records and mix.thresholds[0] is not None
    early, late = _on_test(shop, first), {r.example_id: r for r in records.read(last.records)}
    how = way.sureness[0] if way.sureness else None
    sure = confidences(how, early) if how else confidence_of(early)
    done = [
        replace(one, stage=first.name) if answers else replace(late[one.example_id], stage=last.name)
        for one, answers in zip(early, sure >= mix.thresholds[0], strict=True)
    ]
    share = sum(one.stage == last.name for one in done) / len(done)
    path = shop.steps.folder / f"{name}-{files.hash_value([mix.thresholds, shop.data_key])[:12]}.jsonl"
    records.write(path, done)
    metrics = summarise(done, shop.task.kind)
    metrics.pop(LOSS, None)  # what the first stage kept back the last one answers
    return Row(
        name=name,
        kind="cascade",
        engine=f"cascade: {first.name}, then recorded answers",
        metric=metrics[shop.task.targets.metric],
        metrics=metrics,
        cost_per_1000=(first.cost_per_1000 or 0.0) + share * (last.cost_per_1000 or 0.0),
        records=path,
        notes=(
            *_notes(found, mix, share),
            *way.notes,
            RECORDED,
        ),
    )


def _notes(found: Routing, mix: Mix, share: float) -> tuple[str, ...]:
    asked = (
        describe(found) if mix == found.chosen else f"{found.stages[0]} answers from {mix.thresholds[0]:g}"
    )
    return (
        f"{asked}; {100 * share:.1f} % of the test rows went to {found.stages[-1]}",
        f"promise: {promise_of(found, mix)['promise']}, by {found.rows:,} held-out rows",
    )


def _write_mixes(shop: Workshop, name: str, found: Routing, mix: Mix) -> Path:
    """What the picture draws, in the folder of the steps."""
    key = files.hash_value([found.stages, asdict(mix), shop.data_key])[:12]
    path = shop.steps.folder / f"{name}-{key}-{MIXES}"
    kept = [one for i, one in enumerate(found.mixes) if i == 0 or one.shares != found.mixes[i - 1].shares]
    files.write_json(
        path,
        {
            "stages": found.stages,
            "rows": found.rows,
            "chosen": asdict(mix),
            "last": asdict(found.last),
            "oracle": asdict(found.oracle),
            "mixes": [asdict(one) for one in kept],
        },
    )
    return path
