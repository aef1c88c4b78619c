"""Languages: told when sure, left open when a text is too short to tell."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from smallworks.data.language import UNKNOWN, detector, known
from smallworks.errors import UserError

pytest.importorskip("py3langid")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Where is my new card? I ordered it two weeks ago.", "en"),
        ("Wo bleibt meine neue Karte? Ich habe sie vor zwei Wochen bestellt.", "de"),
        ("Où est ma nouvelle carte ? Je l'ai commandée il y a deux semaines.", "fr"),
        ("¿Dónde está mi nueva tarjeta? La pedí hace dos semanas.", "es"),
        ("我的新卡在哪里？我两个星期前就订购了，到现在还没有收到。", "zh"),
        ("ok", UNKNOWN),
        ("4711", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_texts_in_several_languages(text: str, code: str) -> None:
    assert detector()(text) == code


def test_english_is_not_taken_for_anything_else(shared: Path) -> None:
    with (shared / "data" / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    detect = detector()
    found = [detect(text) for text in texts]
    assert sum(code not in ("en", UNKNOWN) for code in found) <= 1
    assert found.count("en") > 0.9 * len(found)


def test_a_code_that_is_none_is_told() -> None:
    known("en")
    with pytest.raises(UserError, match=r"'english' is no language.*such as en"):
        known("english")
