"""The child that measures one bundle: golden rows replayed, every row answered, rows timed one by one.

A process of its own, so that its peak memory is the candidate's and nobody else's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.bundle import open_bundle
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.engines.sureness import answers
from smallworks.evaluate import records
from smallworks.evaluate.calibration import calibration_error
from smallworks.evaluate.replay import replay
from smallworks.evaluate.run import run, scorecard, time_rows
from smallworks.evaluate.scope import out_of_scope_recall
from smallworks.prompt import prompt_hash
from smallworks.seams import Metered, Progress
from smallworks.types import Example

TIMED_ROWS = 100
"""Rows timed one by one."""
PAID_TIMED_ROWS = 20
"""The same on a server that is paid by the token."""


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`rows`: JSONL of examples; `labels`, `schema`, `refusal`: the task's; `documents`: whether answers come
    from documents; `outside`: JSONL of rows out of scope, if any; `signals`: whether records are to tell
    how sure what was written is, as the stage of a cascade does. Writes `records`, returns the scorecard."""
    bundle = open_bundle(request["bundle"])
    examples = read_examples(Path(request["rows"]))
    outside = read_examples(Path(request["outside"])) if request.get("outside") else []
    kind = bundle.manifest.kind
    with open_predictor(bundle, threads=request.get("threads")) as predictor:
        parity = replay(bundle, predictor)
        said = partial(answers, predictor) if request.get("signals") else predictor.answers
        start = time.perf_counter()
        done = run(
            examples,
            lambda batch: said([e.inputs for e in batch]),
            kind=kind,
            labels=request["labels"],
            schema=request["schema"],
            refusal=request["refusal"],
            documents=request["documents"],
            prompt_hash=lambda e: prompt_hash(predictor.render(e.inputs)),
            progress=progress,
        )
        seconds = time.perf_counter() - start
        paid = predictor.model.spent() if isinstance(predictor.model, Metered) else None
        timed = PAID_TIMED_ROWS if paid else TIMED_ROWS
        recall = out_of_scope_recall(outside, lambda some: predictor.answers([e.inputs for e in some]))
        ms = time_rows(examples, lambda e: said([e.inputs]), limit=timed, progress=progress)
    records.write(Path(request["records"]), done)
    card = scorecard(done, ms, kind=kind, seconds=seconds, peak_memory_bytes=child.peak_memory(), seed=0)
    card = replace(card, metrics={**card.metrics, **recall})
    if paid:
        card = replace(card, tokens_in=paid[1] / len(done), tokens_out=paid[2] / len(done))
    return {
        "scorecard": asdict(card),
        "parity": asdict(parity) if parity else None,
        "ece": calibration_error(done),
        "mean_ms": sum(ms) / len(ms),
        "shortened": sum(r.shortened for r in done),
    }


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Rows for a child, as `read_examples` reads them."""
    kept = ("id", "inputs", "output", "row", "group", "documents")
    files.write_jsonl(path, ({name: getattr(e, name) for name in kept} for e in examples))


def read_examples(path: Path) -> list[Example]:
    """The rows that a parent wrote for its child; those of older builds say nothing of documents."""
    raws = files.read_jsonl(path)
    return [Example(**{**raw, "documents": tuple(raw.get("documents", ()))}) for raw in raws]
