"""A cascade's manifest names its stages and thresholds; what does not fit together is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smallworks.bundle.manifest import Gate, Manifest, Stage, from_json, to_json
from smallworks.errors import BundleError
from smallworks.types import Choices, PromptSpec

GOOD: dict[str, Any] = {
    "task": "t",
    "kind": "classify",
    "candidate": "cascade",
    "engine": "cascade",
    "prompt": PromptSpec(style="raw", kind="classify", choices=Choices(labels=("a", "b"))),
    "stages": (Stage(name="x", path="stages/1", id="1" * 64), Stage(name="y", path="stages/2", id="2" * 64)),
    "thresholds": {"stages/1": 0.8},
    "files": {"stages/1/bundle.json": "0", "stages/2/bundle.json": "0"},
}


def read(**changes: Any) -> Manifest:
    return from_json(json.loads(json.dumps(to_json(Manifest(**{**GOOD, **changes})))), where="here")


def test_stages_come_back_as_they_were_written() -> None:
    assert read() == Manifest(**GOOD)


def test_a_bundle_without_stages_says_nothing_of_them() -> None:
    assert "stages" not in to_json(Manifest(**{**GOOD, "engine": "linear", "stages": (), "thresholds": {}}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": ()}, "0 stages"),
        ({"engine": "linear"}, "'linear' does not go with 2 stages"),
        ({"files": {"stages/1/bundle.json": "0"}}, "'y' is covered by no checksum"),
        ({"thresholds": {}}, "one for each stage but the last"),
        ({"thresholds": {"stages/2": 0.8}}, "one for each stage but the last"),
        ({"thresholds": {"stages/1": 1.8}}, "between 0 and 1"),
        ({"thresholds": {"stages/1": "0.8"}}, "between 0 and 1"),
        (
            {"gate": Gate(path="gate", at=0.5), "files": {**GOOD["files"], "gate/difficulty.json": "0"}},
            "its gate is covered by no checksum",
        ),
        ({"stages": (GOOD["stages"][0], Stage(name="x", path="stages/2", id="2" * 64))}, "one name"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        read(**changes)
