"""The quick question to a linear model."""

from __future__ import annotations

import pytest

from smallworks.seams import silent
from smallworks.tune import quick

pytest.importorskip("sklearn")


def test_words_that_tell_the_labels_apart_are_found_and_noise_is_not() -> None:
    labels = ["up", "down"]
    targets = [labels[n % 2] for n in range(120)]
    texts = [f"it goes {label} at {n}" for n, label in enumerate(targets)]
    asked = {"texts": texts, "targets": targets, "labels": labels, "seed": 0}
    assert quick.main(asked, silent) == {"hits": 120, "rows": 120}
    mixed = [labels[(n // 2) % 2] for n in range(120)]
    said = quick.main({**asked, "targets": mixed}, silent)
    assert said["rows"] == 120 and said["hits"] < 90
