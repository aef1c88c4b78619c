"""The words of a text as the index knows them: SQLite's own tokenizer, asked and not imitated.

`porter unicode61 remove_diacritics 2` splits at everything that is no letter or digit, folds case and
accents, and cuts English endings; words of other languages are found as they are written. It knows no
border between words that are written together, so Chinese, Japanese and Thai signs are set apart first,
each one a word.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

TOKENIZER = "porter unicode61 remove_diacritics 2"
_TOGETHER = re.compile(
    r"([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_ENGLISH = """
a about after all also am an and any are as at be because been before being between both but by can could
did do does during each for from had has have he her here him his how i if in into is it its just many
may me might more most much must my no not of on only or other our out over shall she should so some such
than that the their them then there these they this those through to under until up upon us very was we
were what when where which while who whom whose why will with would yes you your s t
"""
EMPTY = frozenset(_ENGLISH.split())
"""English words that say nothing of what is asked. They are not looked up while a question has others."""


def spaced(text: str) -> str:
    """The text as it is put into the index."""
    return text if text.isascii() else _TOGETHER.sub(r" \1 ", text)


class Words:
    """Texts to stems. Holds a small database in memory; for one thread at a time."""

    def __init__(self) -> None:
        self._base = sqlite3.connect(":memory:", check_same_thread=False)
        self._base.execute(f"CREATE VIRTUAL TABLE one USING fts5(text, content='', tokenize='{TOKENIZER}')")
        self._base.execute("CREATE VIRTUAL TABLE seen USING fts5vocab(one, 'instance')")

    def stems(self, text: str) -> list[str]:
        """In their order, repeats included."""
        return self.each([text])[0]

    def each(self, texts: Sequence[str]) -> list[list[str]]:
        """The stems of each text."""
        base = self._base
        base.execute("INSERT INTO one(one) VALUES ('delete-all')")
        rows = [(at, spaced(text)) for at, text in enumerate(texts)]
        base.executemany("INSERT INTO one(rowid, text) VALUES (?, ?)", rows)
        found: list[list[tuple[int, str]]] = [[] for _ in texts]
        for stem, at, place in base.execute('SELECT term, doc, "offset" FROM seen'):
            found[at].append((place, stem))
        return [[stem for _, stem in sorted(one)] for one in found]

    def asked(self, question: str) -> dict[str, str]:
        """What to look up: a stem and the word that has it, empty words left out while there are others."""
        words = list(dict.fromkeys(re.findall(r"[^\W_]+", spaced(question).lower())))
        found = [(word, stems) for word, stems in zip(words, self.each(words), strict=True) if stems]
        telling = [(word, stems) for word, stems in found if word not in EMPTY] or found
        return {stem: word if len(stems) == 1 else stem for word, stems in telling for stem in stems}

    def close(self) -> None:
        self._base.close()
