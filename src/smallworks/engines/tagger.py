"""A linear tagger: every word gets the tag that the words around it and the tag before speak for.

A conditional random field (Lafferty, McCallum and Pereira, 2001). The score of a path of tags is the sum of
the weights of each word's features for its tag and of each pair of tags that follow one another. Tags are
`O`, `B-name` where the value of a field begins, and `I-name` where it goes on. Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from smallworks.engines.words import Word, features, words

OUT = "O"
TINY = 1e-300
NEVER = -1e9
"""Score of a tag that may not stand where it would: `I-name` behind anything but its own field."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """`text[start:end]` is a value of `field`; `probability` is that of its least certain word."""

    field: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """Weights by feature: those of feature f are `weights[begins[f]:begins[f + 1]]`, for the tags that
    `columns` names there. `transitions` [tags, tags] is from the tag before (row) to the next."""

    tags: tuple[str, ...]
    features: Mapping[str, int]
    begins: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    transitions: np.ndarray

    def spans(self, text: str) -> tuple[list[Span], float]:
        """The values on the best path in reading order, and how probable the least certain other word is."""
        found = words(text)
        if not found:
            return [], 1.0
        scores = self.scores(found)
        path, sure = self.best(scores), self.marginals(scores)
        spans, rest = list[Span](), 1.0
        for i, tag in enumerate(path):
            name, probability = self.tags[tag], float(sure[i, tag])
            if name == OUT:
                rest = min(rest, probability)
            elif name.startswith("B-"):
                end = found[i].end
                spans.append(Span(field=name[2:], start=found[i].start, end=end, probability=probability))
            else:
                last = spans.pop()
                least = min(last.probability, probability)
                spans.append(Span(field=last.field, start=last.start, end=found[i].end, probability=least))
        return spans, rest

    def scores(self, found: Sequence[Word]) -> np.ndarray:
        """What the features of each word speak for, [words, tags], float64."""
        known = [
            (i, self.features[name])
            for i, names in enumerate(features(found))
            for name in names
            if name in self.features
        ]
        shape = (len(found), len(self.tags))
        if not known:
            return np.zeros(shape)
        rows, which = np.array(known).T
        sizes = self.begins[which + 1] - self.begins[which]
        ends = np.cumsum(sizes)
        at = np.arange(ends[-1]) + np.repeat(self.begins[which] - (ends - sizes), sizes)
        cells = np.repeat(rows, sizes) * shape[1] + self.columns[at]
        return np.bincount(cells, self.weights[at], minlength=shape[0] * shape[1]).reshape(shape)

    def best(self, scores: np.ndarray) -> list[int]:
        """The path of tags with the highest score (Viterbi)."""
        total, came = scores[0] + self._first, list[np.ndarray]()
        for row in scores[1:]:
            through = total[:, None] + self._moves
            came.append(through.argmax(0))
            total = through.max(0) + row
        path = [int(total.argmax())]
        for before in reversed(came):
            path.append(int(before[path[-1]]))
        return path[::-1]

    def marginals(self, scores: np.ndarray) -> np.ndarray:
        """The probability of each tag at each word over all paths, [words, tags]: forward and backward, each
        step scaled to sum to 1."""
        said = np.exp(scores - scores.max(1, keepdims=True))
        ahead, behind = np.empty_like(said), np.ones_like(said)
        ahead[0] = _scaled(said[0] * (self._first == 0))
        for i in range(1, len(said)):
            ahead[i] = _scaled((ahead[i - 1] @ self._odds) * said[i])
        for i in range(len(said) - 2, -1, -1):
            behind[i] = _scaled(self._odds @ (said[i + 1] * behind[i + 1]))
        joint = ahead * behind
        return np.asarray(joint / joint.sum(1, keepdims=True))

    @cached_property
    def _moves(self) -> np.ndarray:
        legal = [[_follows(before, tag) for tag in self.tags] for before in self.tags]
        return np.where(legal, self.transitions.astype(np.float64), NEVER)

    @cached_property
    def _odds(self) -> np.ndarray:
        return np.asarray(np.exp(self._moves))

    @cached_property
    def _first(self) -> np.ndarray:
        return np.array([NEVER if tag.startswith("I-") else 0.0 for tag in self.tags])


def tagged(found: Sequence[Word], spans: Mapping[tuple[int, int], str]) -> Iterator[str]:
    """The tag of each word where `spans` (start, end) hold values of fields; they do not overlap."""
    begins = {start: (end, field) for (start, end), field in spans.items()}
    until, inside = -1, ""
    for word in found:
        if word.start in begins:
            until, inside = begins[word.start]
            yield f"B-{inside}"
        else:
            yield f"I-{inside}" if word.end <= until else OUT


def _follows(before: str, tag: str) -> bool:
    return not tag.startswith("I-") or (before != OUT and before[2:] == tag[2:])


def _scaled(values: np.ndarray) -> np.ndarray:
    return values / max(float(values.sum()), TINY)
