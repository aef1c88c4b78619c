"""The script that exports carry computes what the engines compute: n-grams, calibrated probabilities."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.engines import calibration, ngrams
from smallworks.recipes import ask

LABELS = ["a", "b", "c"]
CURVE = ((0.05, 0.1), (0.4, 0.3), (0.9, 0.95))


@given(st.text())
def test_its_ngrams_are_those_of_the_engine(text: str) -> None:
    assert list(ask.words(text)) == list(ngrams.word_ngrams(text))
    assert list(ask.characters(text)) == list(ngrams.char_ngrams(text))


@pytest.mark.parametrize("isotonic", [(), CURVE])
@pytest.mark.parametrize("bias", [(), (0.3, -1.0, 0.0)])
@given(scores=st.lists(st.floats(-20, 5), min_size=3, max_size=3))
def test_its_probabilities_are_those_of_the_engine(
    isotonic: calibration.Curve, bias: tuple[float, ...], scores: list[float]
) -> None:
    facts = {"labels": LABELS, "calibration": {"temperature": 1.7, "bias": bias, "isotonic": isotonic}}
    ours = calibration.apply(np.array(scores), temperature=1.7, bias=bias, isotonic=isotonic)
    said = ask.labelled(scores, facts)
    assert list(said["probabilities"].values()) == pytest.approx(np.exp(ours).tolist(), abs=1e-12)
    assert said["probabilities"][said["label"]] == max(said["probabilities"].values())


def test_it_needs_nothing_of_ours() -> None:
    tree = ast.parse(Path(ask.__file__).read_text(encoding="utf-8"))
    plain = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name if isinstance(n, ast.Import) else n.module for n in plain for a in n.names}
    assert {str(name).partition(".")[0] for name in names} - sys.stdlib_module_names == set()
