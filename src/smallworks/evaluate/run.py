"""Put every example to something that answers, and keep what came of it as records and a scorecard.

Knows a function from examples to answers; knows nothing of bundles, prompts or engines behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from smallworks.engines.sureness import signals
from smallworks.evaluate.confusion import per_class
from smallworks.evaluate.latency import latency
from smallworks.evaluate.metrics import summarise
from smallworks.evaluate.parse import parse
from smallworks.evaluate.retrieval import found
from smallworks.evaluate.scores import score_row
from smallworks.seams import Progress, silent
from smallworks.text.support import context_of
from smallworks.types import LOSS, REFUSAL, Answer, Example, Kind, Record, Scorecard

WARM_UPS = 3


def run(
    examples: Sequence[Example],
    answer: Callable[[Sequence[Example]], Sequence[Answer]],
    *,
    kind: Kind,
    labels: Sequence[str] = (),
    schema: Mapping[str, Any] | None = None,
    refusal: str = REFUSAL,
    documents: bool = False,
    batch: int = 32,
    prompt_hash: Callable[[Example], str] | None = None,
    progress: Progress = silent,
) -> list[Record]:
    """One record an example, in their order. `answer` takes up to `batch` examples at a time.

    `documents`: what an answer may rest on are its sources, not the inputs.
    """
    records: list[Record] = []
    for start in range(0, len(examples), batch):
        some = examples[start : start + batch]
        for example, said in zip(some, answer(some), strict=True):
            one = record(
                example,
                said,
                kind=kind,
                labels=labels,
                schema=schema,
                refusal=refusal,
                documents=documents,
            )
            records.append(replace(one, prompt_hash=prompt_hash(example)) if prompt_hash else one)
        progress("evaluate", len(records), len(examples), "")
    return records


def record(
    example: Example,
    said: Answer,
    *,
    kind: Kind,
    labels: Sequence[str] = (),
    schema: Mapping[str, Any] | None = None,
    refusal: str = REFUSAL,
    documents: bool = False,
) -> Record:
    """One answer, parsed and scored; with what was found for it, where documents were searched.

    A label that was kept back is scored as if it had been said, and as lost.
    """
    parsed = parse(kind, said.text, labels=labels, schema=schema)
    context = None if documents else context_of(example.inputs)
    if said.sources is not None:
        context = "\n".join(source.text for source in said.sources)
    scores = score_row(kind, parsed, example.output, refusal=refusal, context=context)
    lost = {} if said.abstain is None else {LOSS: float(said.abstain)}
    return Record(
        example_id=example.id,
        prompt_hash="",
        expected=example.output,
        raw=said.text,
        parsed=parsed.strict,
        lenient=parsed.lenient,
        scores={**scores, **lost, **found(said.sources, example.documents)},
        tokens_in=said.tokens_in,
        tokens_out=said.tokens_out,
        ms=said.ms,
        probabilities=said.probabilities,
        shortened=said.shortened,
        group=example.group,
        stage=said.stage,
        signals=signals(said.tokens),
    )


def time_rows(
    examples: Sequence[Example],
    answer_one: Callable[[Example], object],
    *,
    limit: int = 200,
    progress: Progress = silent,
) -> list[float]:
    """Wall milliseconds of up to `limit` rows, spread over the set, one at a time, after WARM_UPS others.

    The warm-up rows are not timed where there are rows to spare: a prompt cache that has seen a row
    would flatter it.
    """
    timed = (
        [examples[i * len(examples) // limit] for i in range(limit)] if len(examples) > limit else examples
    )
    chosen = {example.id for example in timed}
    spare = [example for example in examples if example.id not in chosen]
    for example in (spare or examples)[-WARM_UPS:]:
        answer_one(example)
    ms = []
    for done, example in enumerate(timed, 1):
        start = time.perf_counter_ns()
        answer_one(example)
        ms.append((time.perf_counter_ns() - start) / 1e6)
        progress("time", done, len(timed), "")
    return ms


def scorecard(
    records: Sequence[Record],
    ms: Sequence[float],
    *,
    kind: Kind,
    seconds: float,
    peak_memory_bytes: int,
    metrics: Sequence[str] = (),
    seed: int = 0,
) -> Scorecard:
    """`ms` from `time_rows`; `seconds` is what `run` took for all records, for the rows per second."""
    return Scorecard(
        metrics=summarise(records, kind, metrics, seed=seed),
        latency=latency(ms, rows=len(records), seconds=seconds),
        peak_memory_bytes=peak_memory_bytes,
        tokens_in=sum(r.tokens_in for r in records) / len(records),
        tokens_out=sum(r.tokens_out for r in records) / len(records),
        per_class=per_class(records) if kind == "classify" else {},
    )
