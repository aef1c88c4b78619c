"""TF-IDF beside a 22 M sentence encoder under one linear classifier reaches 94 % on Banking77.

Measured: `smallworks build --only fused --embedder …` on the full train and test files, wall time of the
whole process, conversion of the encoder included; the accuracy with its interval; the p50 of single rows that
the build reports. Against: the same encoder's forward pass in torch (float32, tokenizing included, no
classifier), one thread, in turns with our whole answer. Not covered: other encoders, batches.
Needs all-MiniLM-L6-v2: SMALLWORKS_MINILM or --encoder PATH.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.command import smallworks
from benchmarks.shared import banking77_task, read_csv
from benchmarks.timing import in_turns, medians

UNIT = "accuracy"
GOAL = "accuracy ≥ 0.938, whole build ≤ 300 s, ≤ 5 ms p50 a row at batch 1"
LEAST_ACCURACY, MOST_SECONDS, MOST_MS = 0.938, 300.0, 5.0
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the published model.safetensors."""
TIMED = 300


def measure(say: Say) -> Finding:
    encoder = _encoder()
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        task = banking77_task(Path(scratch) / "banking77")
        ran = smallworks(
            "build", task, "--only", "fused", "--embedder", encoder, "--json", folder=Path(scratch)
        )
        document = ran.json()
        fused = document["candidates"][0]
        if fused["skipped"]:
            raise Skipped(fused["skipped"])
        metric = fused["metric"]
        interval = [metric["low"], metric["high"]]
        p50 = round(fused["latency"]["p50"], 3)
        say(f"build {ran.seconds:.1f} s, accuracy {metric['value']:.4f} {interval}, p50 {p50} ms a row")
        texts = [text for (text,) in read_csv(task / "test.csv", "text")]
        ms = _time(fused["bundle"], encoder, texts)
    say(f"one row in turns: {ms} ms")
    return Finding(
        value=metric["value"],
        holds=metric["value"] >= LEAST_ACCURACY and ran.seconds <= MOST_SECONDS and p50 <= MOST_MS,
        against={
            "name": "torch forward of the encoder alone",
            "ms": ms["torch"],
            "ours_ms": ms["ours"],
            "ratio_ms": round(ms["torch"] / ms["ours"], 2),
        },
        details={
            "seconds": round(ran.seconds, 1),
            "steps": document["seconds"],
            "interval": interval,
            "rows": metric["n"],
            "p50_ms": p50,
            "disk_bytes": fused["disk_bytes"],
        },
    )


def _encoder() -> Path:
    named = os.environ.get("SMALLWORKS_MINILM")
    if not named:
        raise Skipped("no encoder: unpack all-MiniLM-L6-v2 and set SMALLWORKS_MINILM, or give --encoder PATH")
    weights = Path(named) / "model.safetensors"
    if not weights.is_file():
        raise Skipped(f"no encoder: '{weights}' is not there")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != WEIGHTS:
        raise Skipped(f"'{weights}' is not the published all-MiniLM-L6-v2")
    return weights.parent.resolve()


def _time(bundle: str, encoder: Path, texts: list[str]) -> dict[str, float]:
    import smallworks as sw

    with sw.load(bundle, threads=1) as model:
        return medians(in_turns({"ours": model, "torch": _torch(encoder)}, texts[:TIMED]))


def _torch(encoder: Path) -> Callable[[str], Any]:
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    torch.set_num_threads(1)  # its waiting threads would slow down whoever comes next
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_padding()
    model = AutoModel.from_pretrained(encoder, local_files_only=True).eval()

    def embed(text: str) -> Any:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            return model(input_ids=ids).last_hidden_state.mean(1)

    return embed
