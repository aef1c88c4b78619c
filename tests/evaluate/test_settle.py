"""Settling a bundle: temperature and curve come from validation rows, and only where there are enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smallworks.bundle import Manifest
from smallworks.engines.calibration import LEAST_ROWS
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.evaluate.settle import fit, fit_scope
from smallworks.prompt.renderer import Renderer
from smallworks.types import Choices, PromptSpec

ROWS = 600


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Texts with the confidence of a model that is right 8 times in 10 however sure it is."""
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.5, 1, ROWS).round(4)
    right = draw.random(ROWS) < 0.8
    return [
        {"inputs": f"{p} of row {i}", "output": "bug" if ok else "idea", "sure": p}
        for i, (p, ok) in enumerate(zip(sure.tolist(), right.tolist(), strict=True))
    ]


@pytest.fixture
def predictor(rows: list[dict[str, Any]]) -> Predictor:
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=("bug", "idea")))
    manifest = Manifest(task="t", kind="classify", candidate="fake", engine="fake", prompt=spec)
    scores = {row["inputs"]: {"bug": row["sure"], "idea": 1 - row["sure"]} for row in rows}
    return Predictor(manifest=manifest, model=Fake(scores=scores), renderer=Renderer(spec))


def test_a_curve_is_kept_where_it_helps_and_is_served(
    predictor: Predictor, rows: list[dict[str, Any]]
) -> None:
    pytest.importorskip("sklearn")
    fitted = fit(predictor, [], rows)
    assert fitted.isotonic and fitted.temperature > 0
    served = replace(predictor, manifest=replace(predictor.manifest, calibration=fitted))
    said = [served.answer(row["inputs"]).probabilities or {} for row in rows]
    sure = [p["bug"] for p, row in zip(said, rows, strict=True) if row["sure"] > 0.85]
    assert np.mean(sure) == pytest.approx(0.8, abs=0.06)
    assert all(p["bug"] > 0.5 for p in said)


def test_few_validation_rows_give_a_temperature_alone(
    predictor: Predictor, rows: list[dict[str, Any]]
) -> None:
    assert fit(predictor, [], rows[: LEAST_ROWS - 1]).isotonic == ()
    assert fit(predictor, [], []).temperature == 1.0


def test_the_threshold_of_scope_comes_from_validation_rows(
    predictor: Predictor, rows: list[dict[str, Any]]
) -> None:
    found = fit_scope(predictor, rows, loss=0.1, label=None, outside=[])
    assert found.scope and found.scope.score == "probability"
    scoped = replace(predictor, manifest=replace(predictor.manifest, scope=found.scope))
    lost = [scoped.answer(row["inputs"]).abstain for row in rows]
    assert np.mean(lost) == pytest.approx(0.1, abs=0.005)
    assert predictor.answer(rows[0]["inputs"]).abstain is None
