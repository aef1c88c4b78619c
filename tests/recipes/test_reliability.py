"""The reliability picture: dots where they belong, and a sentence that does not read more than is there."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from smallworks.evaluate.calibration import Reliability, reliability_of
from smallworks.recipes.reliability import BOTTOM, LEFT, RIGHT, SIDE, TOP, draw, said


def answers(rows: int, off: float) -> Reliability:
    """Confidences from 0.4 up whose answers are right less often by `off`."""
    random = np.random.default_rng(0)
    confidence = random.uniform(0.45, 0.95, rows)
    return reliability_of(confidence, (random.random(rows) < confidence - off).astype(float))


@pytest.fixture(scope="module")
def boasting() -> Reliability:
    return answers(1000, 0.2)


def test_it_is_one_element_without_outside_references(boasting: Reliability) -> None:
    drawn = draw(boasting)
    assert ElementTree.fromstring(drawn).tag == "svg"
    assert not re.search(r"href|url\(|style=|id=", drawn)


def test_each_bin_has_a_dot_at_its_place_with_its_interval(boasting: Reliability) -> None:
    root = ElementTree.fromstring(draw(boasting))
    dots = root.findall(".//circle")
    assert len(dots) == len(boasting.bins)
    for dot, one in zip(dots, boasting.bins, strict=True):
        across = (float(dot.attrib["cx"]) - LEFT) / (SIDE - LEFT - RIGHT)
        up = (SIDE - BOTTOM - float(dot.attrib["cy"])) / (SIDE - TOP - BOTTOM)
        assert (across, up) == (
            pytest.approx(one.confidence, abs=1e-3),
            pytest.approx(one.right.value, abs=1e-3),
        )
    assert len(root.findall(".//line[@class='whisker f1']")) == 3 * len(boasting.bins)
    titles = [title.text or "" for title in root.iter("title")]
    assert sum(int(re.findall(r"([\d,]+) rows", title)[0]) for title in titles) == 1000


def test_area_goes_with_the_rows(boasting: Reliability) -> None:
    radii = [float(dot.attrib["r"]) for dot in ElementTree.fromstring(draw(boasting)).findall(".//circle")]
    counts = [one.right.n for one in boasting.bins]
    most = max(counts)
    assert max(radii) == pytest.approx(11)
    large = [i for i, count in enumerate(counts) if count > most / 4]
    assert [radii[i] ** 2 / 121 for i in large] == pytest.approx([counts[i] / most for i in large], rel=0.05)


def test_the_sentence_names_the_direction_only_where_the_rows_show_it(boasting: Reliability) -> None:
    assert "too sure of itself, by 18.0 points" in said(boasting)
    assert "too modest" in said(answers(2000, -0.1))
    assert "these rows do not tell its probabilities from perfect ones" in said(answers(150, 0.0))
