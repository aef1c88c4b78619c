"""The child that settles a provisional bundle: fits its calibration and says its golden rows.

The prior comes from unlabelled training texts, temperature and curve from validation rows; test rows
are never seen here. So does the threshold of scope, where one is asked for. What a `paid` stage of a cascade
answered is no golden row: replaying it would cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.bundle import Calibration
from smallworks.engines import calibration, scope
from smallworks.engines.opening import open_bundle
from smallworks.engines.predictor import Predictor
from smallworks.engines.scope import ScopeFit
from smallworks.seams import Progress

BATCH = 32


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    with open_bundle(request["bundle"]) as predictor:
        fitted = found = None
        if request["calibrate"] and predictor.choices is not None:
            progress("settle", 0, 2, "calibration")
            validation = list(files.read_jsonl(Path(request["validation"])))
            fitted = fit(predictor, request["unlabelled"], validation)
            predictor = replace(predictor, manifest=replace(predictor.manifest, calibration=fitted))
            if request["scope"]:
                found = fit_scope(predictor, validation, **request["scope"])
                predictor = replace(predictor, manifest=replace(predictor.manifest, scope=found.scope))
        progress("settle", 1, 2, "golden rows")
        said = [(inputs, predictor.answer(inputs)) for inputs in request["golden"]]
        paid = request.get("paid", ())
        golden = [asdict(predictor.as_golden(i, answer)) for i, answer in said if answer.stage not in paid]
    return {
        "calibration": asdict(fitted) if fitted else None,
        "scope": asdict(found) if found else None,
        "golden": golden,
    }


def fit(
    predictor: Predictor, unlabelled: Sequence[str], validation: Sequence[Mapping[str, Any]]
) -> Calibration:
    """Prior bias from unlabelled texts (none: no bias), temperature and curve from the validation rows."""
    assert predictor.choices is not None
    bias: tuple[float, ...] = ()
    if unlabelled:
        bias = calibration.prior_bias(_score(predictor, unlabelled))
    known = {label: i for i, label in enumerate(predictor.choices.labels)}
    rows = [row for row in validation if row["output"] in known]
    if not rows:
        return Calibration(bias=bias)
    logp = calibration.apply(_score(predictor, [row["inputs"] for row in rows]), bias=bias)
    targets = np.array([known[row["output"]] for row in rows])
    temperature, isotonic = calibration.fit(logp, targets)
    return Calibration(temperature=temperature, bias=bias, isotonic=isotonic)


def fit_scope(
    predictor: Predictor,
    validation: Sequence[Mapping[str, Any]],
    *,
    loss: float,
    label: str | None,
    outside: Sequence[Mapping[str, str]],
) -> ScopeFit:
    """The threshold below which an input seems out of scope, from rows in it and rows `outside` of it."""
    inside = [row["inputs"] for row in validation]
    return scope.fit(*(_scope_scores(predictor, rows) for rows in (inside, outside)), loss=loss, label=label)


def _scope_scores(predictor: Predictor, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    parts = [predictor.scope_scores(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def _score(predictor: Predictor, inputs: Sequence[Any]) -> np.ndarray:
    parts = [predictor.log_probabilities(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
    return np.concatenate(parts)
