"""The child that has a bundle answer inputs which nobody expects anything of: no scores, no timing rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.bundle import open_bundle
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.seams import Progress

BATCH = 32


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`inputs`: JSONL of named texts. Writes an answer a line to `answers`, in their order."""
    rows = list(files.read_jsonl(Path(request["inputs"])))
    said = []
    with open_predictor(open_bundle(request["bundle"]), threads=request.get("threads")) as predictor:
        for start in range(0, len(rows), BATCH):
            for answer in predictor.answers(rows[start : start + BATCH]):
                counts = {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "ms": answer.ms}
                said.append({"text": answer.text, **counts})
            progress("ask", len(said), len(rows), "")
    files.write_jsonl(Path(request["answers"]), said)
    return {"answers": len(said)}
