"""Golden rows: what the reference engine said when the bundle was frozen, and whether another agrees.

Pure values and comparisons; knows no engine. A golden row holds the rendered token ids, the answer
and the calibrated label probabilities of one input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.bundle.manifest import BESIDE, GGUFS, K_QUANTS
from smallworks.types import Parity

GOLDEN = "golden.jsonl"


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change: one label probability by `probability`, and a share of written answers.

    `texts` is the least share (0–1) of answers that must be equal where text is written, and of labels that
    must be kept back or not; labels are judged by their probabilities. A greedy answer that differs in one
    token differs in all after it, so quantised writing is judged on the test rows, not here.
    """

    probability: float
    texts: float


TOLERANCES: dict[str, Tolerance] = {
    "same": Tolerance(1e-3, 1.0),
    "f32": Tolerance(1e-3, 1.0),
    "f16": Tolerance(0.02, 0.9),
    "bf16": Tolerance(0.05, 0.9),
    "q8_0": Tolerance(0.10, 0.0),
    "q4_0": Tolerance(0.50, 0.0),
    "openvino-int8": Tolerance(0.10, 0.0),
    "openvino-int4": Tolerance(0.50, 0.0),
    "onnx-int4": Tolerance(0.50, 0.0),
    "bnb-8bit": Tolerance(0.15, 0.0),
    "bnb-4bit": Tolerance(0.50, 0.0),
    "gptq": Tolerance(0.50, 0.0),
    "awq": Tolerance(0.50, 0.0),
    "w8a8": Tolerance(0.15, 0.0),
    **{kind: Tolerance({"6": 0.15, "5": 0.30, "4": 0.50}.get(kind[1], 0.75), 0.0) for kind in K_QUANTS},
}
TOLERANCES |= {f"{BESIDE}{kind}": TOLERANCES[kind] for kind in GGUFS}


@dataclass(frozen=True, kw_only=True)
class Golden:
    inputs: Mapping[str, str]
    ids: tuple[int, ...]
    text: str
    probabilities: Mapping[str, float] | None = None
    abstain: bool | None = None


def write(folder: Path, rows: Sequence[Golden]) -> None:
    """`abstain` stands only where there is a threshold for it."""
    files.write_jsonl(
        folder / GOLDEN,
        [
            {
                "inputs": r.inputs,
                "ids": r.ids,
                "text": r.text,
                "probabilities": r.probabilities,
                **({} if r.abstain is None else {"abstain": r.abstain}),
            }
            for r in rows
        ],
    )


def read(folder: Path) -> tuple[Golden, ...]:
    if not (folder / GOLDEN).exists():
        return ()
    return tuple(_golden(raw) for raw in files.read_jsonl(folder / GOLDEN))


def agree(golden: Sequence[Golden], replay: Sequence[Golden], *, tolerance: Tolerance) -> Parity:
    """Compare row by row, in one order: token ids must be equal, answers within the tolerance."""
    pairs = list(zip(golden, replay, strict=True))
    ids_equal = sum(g.ids == r.ids for g, r in pairs)
    texts_equal = sum(g.text == r.text for g, r in pairs)
    written = [g for g in golden if g.probabilities is None]
    enough = not written or texts_equal >= tolerance.texts * len(pairs)
    kept_back = sum(g.abstain == r.abstain for g, r in pairs) >= tolerance.texts * len(pairs)
    worst = max((_distance(g, r) for g, r in pairs), default=0.0)
    return Parity(
        rows=len(pairs),
        ids_equal=ids_equal,
        texts_equal=texts_equal,
        worst=worst,
        tolerance=tolerance.probability,
        holds=ids_equal == len(pairs) and worst <= tolerance.probability and enough and kept_back,
    )


def _distance(golden: Golden, replay: Golden) -> float:
    if golden.probabilities is None:
        return 0.0
    if replay.probabilities is None:
        return 1.0
    return max(abs(p - replay.probabilities.get(label, 0.0)) for label, p in golden.probabilities.items())


def _golden(raw: Mapping[str, Any]) -> Golden:
    return Golden(
        inputs=raw["inputs"],
        ids=tuple(raw["ids"]),
        text=raw["text"],
        probabilities=raw["probabilities"],
        abstain=raw.get("abstain"),
    )
