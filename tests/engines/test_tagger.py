"""The best path and its probabilities against every path there is."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from smallworks.engines.tagger import Tagger, tagged
from smallworks.engines.words import features, words

TAGS = ("O", "B-city", "B-day", "I-city", "I-day")
TEXT = "to New York on"


@pytest.fixture()
def tagger() -> Tagger:
    """Random weights for some features of the text."""
    random = np.random.default_rng(3)
    names = sorted({name for seen in features(words(TEXT)) for name in seen})[::3]
    sizes = random.integers(0, len(TAGS) + 1, len(names))
    columns = [tag for size in sizes for tag in random.permutation(len(TAGS))[:size]]
    return Tagger(
        tags=TAGS,
        features={name: i for i, name in enumerate(names)},
        begins=np.r_[0, np.cumsum(sizes)],
        columns=np.array(columns, np.int16),
        weights=random.normal(size=len(columns)).astype(np.float32),
        transitions=random.normal(size=(5, 5)).astype(np.float32),
    )


def legal(path: tuple[int, ...]) -> bool:
    before = "O"
    for tag in (TAGS[i] for i in path):
        if tag.startswith("I-") and before[2:] != tag[2:]:
            return False
        before = tag
    return True


def test_scores_are_sums_over_the_features_of_each_word(tagger: Tagger) -> None:
    found = words(TEXT)
    expected = np.zeros((len(found), len(TAGS)))
    for i, seen in enumerate(features(found)):
        for name in seen:
            if name in tagger.features:
                at = tagger.features[name]
                for place in range(tagger.begins[at], tagger.begins[at + 1]):
                    expected[i, tagger.columns[place]] += tagger.weights[place]
    np.testing.assert_allclose(tagger.scores(found), expected, atol=1e-6)


def test_path_and_probabilities_are_those_of_all_legal_paths(tagger: Tagger) -> None:
    scores = 3 * tagger.scores(words(TEXT))
    paths = [path for path in product(range(5), repeat=4) if legal(path)]
    totals = np.array(
        [
            sum(scores[i, tag] for i, tag in enumerate(path))
            + sum(tagger.transitions[a, b] for a, b in pairwise(path))
            for path in paths
        ]
    )
    assert tuple(tagger.best(scores)) == paths[int(totals.argmax())]
    odds = np.exp(totals - totals.max())
    marginals = np.zeros((4, 5))
    for path, share in zip(paths, odds / odds.sum(), strict=True):
        marginals[range(4), path] += share
    np.testing.assert_allclose(tagger.marginals(scores), marginals, atol=1e-6)


def test_spans_are_the_runs_of_the_best_path(tagger: Tagger) -> None:
    fixed = {"0:new": "B-city", "0:york": "I-city", "0:on": "B-day"}
    sure = Tagger(
        tags=TAGS,
        features={name: i for i, name in enumerate(fixed)},
        begins=np.arange(4),
        columns=np.array([TAGS.index(tag) for tag in fixed.values()], np.int16),
        weights=np.array([9, 9, 9], np.float32),
        transitions=np.zeros((5, 5), np.float32),
    )
    spans, rest = sure.spans(TEXT)
    assert [(span.field, TEXT[span.start : span.end]) for span in spans] == [
        ("city", "New York"),
        ("day", "on"),
    ]
    assert all(0.99 < span.probability <= 1 for span in spans) and 0.1 < rest < 0.5
    assert sure.spans(" ") == ([], 1.0)


def test_values_become_tags() -> None:
    found = words("from New York to Rome")
    assert list(tagged(found, {(5, 13): "start", (17, 21): "end"})) == [
        "O", "B-start", "I-start", "O", "B-end",
    ]  # fmt: skip
