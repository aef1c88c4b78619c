"""Names of people, places and organisations in a text, by a token-classification model on onnxruntime.

Knows how to tell names, not how a model became ONNX (compress/names.py). The folder is laid out as
an encoder's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from smallworks import files
from smallworks.engines.onnx import FACTS, TOKENIZER, session
from smallworks.errors import ModelError
from smallworks.text.personal import Name, NameKind

OVERLAP = 32
"""Tokens that a long text's windows share: a word is judged where it stands furthest from an edge."""
LABEL = re.compile(r"(?:(?P<place>[BIESLU])[-_])?(?P<what>.+)")
KINDS: Mapping[str, NameKind] = {
    **dict.fromkeys(("PER", "PERSON", "NAME", "GIVENNAME", "FIRSTNAME", "MIDDLENAME"), "PERSON"),
    **dict.fromkeys(("SURNAME", "LASTNAME"), "PERSON"),
    **dict.fromkeys(("LOC", "LOCATION", "GPE", "CITY", "COUNTRY"), "LOC"),
    **dict.fromkeys(("ORG", "ORGANIZATION", "ORGANISATION", "COMPANY"), "ORG"),
}
"""What usual models call the kinds; labels of other things (dates, products) are left alone."""

Word = tuple[int, int, str]
"""Start and end in the text, and the label of its first token."""


class Names:
    """Called with a text: its names, in order. Implements text.personal.Namer."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._session = session(folder, wanted_for="Finding names")
        facts = files.read_json(folder / FACTS)
        self._labels: list[str] = facts["labels"]
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.enable_truncation(facts["max_tokens"], stride=OVERLAP)
        self._tokenizer.no_padding()
        self._names = [node.name for node in self._session.get_inputs()]

    def __call__(self, text: str) -> Iterator[Name]:
        return grouped(self._words(text))

    def _words(self, text: str) -> list[Word]:
        """The words of the text, each with the label of its first token."""
        first = self._tokenizer.encode(text)
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        said: dict[int, tuple[int, str]] = {}
        for window in (first, *first.overflowing):
            labels = self._label(window.ids)
            for at, (word, (start, end)) in enumerate(zip(window.word_ids, window.offsets, strict=True)):
                if word is None or start == end:
                    continue
                ends[word] = max(end, ends.get(word, 0))
                room = min(at, len(window.ids) - at)
                if start < starts.get(word, len(text)) or (start == starts[word] and room > said[word][0]):
                    starts[word], said[word] = start, (room, labels[at])
        return [(starts[word], ends[word], said[word][1]) for word in sorted(starts)]

    def _label(self, ids: Sequence[int]) -> list[str]:
        tokens = np.array([ids], np.int64)
        feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        feeds["token_type_ids"] = np.zeros_like(tokens)
        (logits,) = self._session.run(None, {name: feeds[name] for name in self._names})
        return [self._labels[at] for at in logits[0].argmax(-1)]


def grouped(words: Iterable[Word]) -> Iterator[Name]:
    """Words of one kind beside each other as one name; a B (or S, U) begins another."""
    kind: NameKind | None = None
    start = end = 0
    for first, last, label in words:
        place, now = parsed(label)
        if now and now == kind and place not in ("B", "S", "U"):
            end = last
            continue
        if kind:
            yield Name(kind, start, end)
        kind, start, end = now, first, last
    if kind:
        yield Name(kind, start, end)


def parsed(label: str) -> tuple[str, NameKind | None]:
    """B-PER → B and PERSON; the kind is None for what is no name."""
    match = LABEL.fullmatch(label.upper())
    if match is None:
        return "", None
    return match["place"] or "", KINDS.get(re.sub(r"[^A-Z]", "", match["what"]))


def refuse_nameless(labels: Sequence[str], folder: Path) -> None:
    """Raise ModelError where no label is a name's."""
    if not any(parsed(label)[1] for label in labels):
        raise ModelError(
            f"The model at '{folder}' tells no names; its labels are: {', '.join(labels[:9])}.",
            fix="Name a token-classification model with labels such as B-PER, I-PER, B-LOC, B-ORG.",
        )
