"""The child that answers held-out rows with one bundle, for records alone: nothing is timed or replayed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallworks.bundle import open_bundle
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.engines.sureness import answers
from smallworks.evaluate import records
from smallworks.evaluate.run import run
from smallworks.evaluate.worker import read_examples
from smallworks.seams import Progress
from smallworks.types import REFUSAL


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`rows`: JSONL of examples; `labels`, `schema`, `refusal` the task's; `documents`: whether answers come
    from documents. Writes `records`, with what tells how sure each answer is."""
    bundle = open_bundle(request["bundle"])
    with open_predictor(bundle) as predictor:
        done = run(
            read_examples(Path(request["rows"])),
            lambda batch: answers(predictor, [e.inputs for e in batch]),
            kind=bundle.manifest.kind,
            labels=request["labels"],
            schema=request.get("schema"),
            refusal=request.get("refusal", REFUSAL),
            documents=request.get("documents", False),
            progress=progress,
        )
    records.write(Path(request["records"]), done)
    return {"rows": len(done)}
