"""A glance at the rows: an even sample of any number of them, languages, passages."""

from __future__ import annotations

import sys

import pytest

from smallworks import data
from smallworks.data import glance
from smallworks.data.glance import Sample

from .conftest import MakeTask, row

pytest.importorskip("py3langid")
ENGLISH = [f"Where is the invoice that I sent on day {i} of the month to your office" for i in range(60)]
GERMAN = [f"Wo ist die Rechnung, die ich Ihnen am Tag {i} des Monats geschickt habe" for i in range(5)]


def test_a_sample_is_even_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "LOOKED", 10)
    sample = Sample()
    for number in range(1_000):
        sample.take(number, "")
    rows = [number for number, _ in sample.rows]
    assert 10 <= len(rows) < 20 and rows == list(range(0, 1_000, rows[1]))


def test_rows_in_another_language_are_shown_and_taken_out_only_when_asked(make_task: MakeTask) -> None:
    task = make_task([row(text, "ab"[i % 2]) for i, text in enumerate(ENGLISH + GERMAN)])
    seen = data.inspect(task)
    assert seen.survey.languages == {"en": 60, "de": 5}
    (notice,) = (n for n in seen.report.notices if n.code == "language")
    assert "commonest language, en: 5 de" in notice.sentence and notice.rows == (61, 62, 63, 64, 65)
    assert data.clean(task, task.folder / "all.jsonl").kept == 65
    done = data.clean(task, task.folder / "english.jsonl", language="en")
    assert done.kept == 60
    assert {(r.reason, r.what) for r in done.survey.removals.values()} == {("language", "de")}


def test_a_signature_is_shown(make_task: MakeTask) -> None:
    signed = [f"{text}\nSent from my harbour" for text in ENGLISH[:20]]
    report = data.inspect(
        make_task([row(t, "ab"[i % 2]) for i, t in enumerate(signed + ENGLISH[20:])])
    ).report
    (notice,) = (n for n in report.notices if n.code == "boilerplate")
    assert "20 of 60 rows" in notice.sentence and "end with 'Sent from my harbour'" in notice.sentence


def test_without_the_library_languages_are_not_told(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    monkeypatch.setattr(glance.importlib.util, "find_spec", lambda name: None)
    seen = data.inspect(make_task([row(text, "ab"[i % 2]) for i, text in enumerate(ENGLISH)]))
    assert seen.survey.languages is None
