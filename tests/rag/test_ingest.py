"""Indexing brings in what changed, forgets what is gone, and survives being killed at any moment."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from smallworks import rag
from smallworks.errors import DataError, DiskError, UserError
from smallworks.rag.opening import open_store
from smallworks.rag.store import Store

Held = list[tuple[str, int, str]]


class Lengths:
    """An embedder whose vectors tell the lengths of texts; counts what it is asked."""

    dimension = 4

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += len(texts)
        angles = np.array([len(text) / 100 for text in texts], np.float32)
        zeros = np.zeros_like(angles)
        return np.stack([np.cos(angles), np.sin(angles), zeros, zeros], axis=1)


def held(path: Path | str) -> Held:
    with open_store(path) as store:
        return [(p.document, p.place, p.text) for p in store.all_passages()]


def whole(path: Path | str) -> None:
    """The words belong to the passages and to nothing else."""
    with open_store(path) as store:
        if isinstance(store, Store):
            store.file.execute("INSERT INTO words (words) VALUES ('integrity-check')")
            documents = store.file.execute("SELECT count(*) FROM words_docsize").fetchone()[0]
            assert documents == store.counts()[1]
        else:
            held = "SELECT count(*), sum(length) FROM passages"
            assert store.base.execute("SELECT passages, words FROM totals").fetchone() == (
                store.base.execute(held).fetchone()
            )
            told = "SELECT passage AS id, sum(times) AS length FROM words GROUP BY passage"
            apart = "p.length IS DISTINCT FROM w.length"
            torn = f"SELECT * FROM ({told}) w FULL JOIN passages p USING (id) WHERE {apart}"
            assert store.base.execute(torn.encode()).fetchall() == []


def test_every_format_is_brought_in(folder: Path, out: Path | str) -> None:
    done = rag.index(folder, out)
    assert (done.documents, done.added, done.passages) == (4, 4, 8)
    assert {path for path, _, _ in held(out)} == {
        "guides/plans.md",
        "refunds.html",
        "faq.csv",
        "note.txt",
    }


def test_only_what_changed_is_read_again(folder: Path, tmp_path: Path, out: Path | str) -> None:
    rag.index(folder, out)
    (folder / "note.txt").write_text("The lighthouse is closed.", encoding="utf-8")
    (folder / "faq.csv").unlink()
    (folder / "new.txt").write_text("Fresh fish on Fridays.", encoding="utf-8")
    done = rag.index(folder, out)
    assert (done.added, done.changed, done.removed, done.unchanged) == (1, 1, 1, 2)
    fresh = tmp_path / "fresh.sqlite"
    rag.index(folder, fresh)
    assert held(out) == held(fresh)
    whole(out)
    with rag.Index(out) as index:
        assert index.search("lamp swap") == []
        assert index.search("fish")[0].passage.document == "new.txt"


def test_another_size_cuts_everything_anew(folder: Path, out: Path | str) -> None:
    rag.index(folder, out)
    assert rag.index(folder, out, size=100).changed == 4


def test_what_cannot_be_read_is_left_out_with_its_reason(folder: Path, out: Path | str) -> None:
    rag.index(folder, out)
    (folder / "note.txt").write_bytes(b"\0\1\2\0")
    done = rag.index(folder, out)
    assert "is not text" in done.skipped["note.txt"] and done.documents == 3


def test_what_cannot_be_read_this_time_is_kept_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docx, out = pytest.importorskip("docx"), tmp_path / "i.sqlite"
    letter = docx.Document()
    letter.add_paragraph("The ferry leaves at ten.")
    letter.save(str(folder / "letter.docx"))
    rag.index(folder, out)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "docx", None)
        done = rag.index(folder, out, size=100)
    assert (done.changed, done.documents, done.skipped) == (4, 5, {})
    assert "python-docx" in done.kept["letter.docx"]
    assert rag.index(folder, out, size=100).changed == 1  # asked for again as soon as it can be read

    def closed(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as without:
        without.setattr("smallworks.files.hash_file", closed)
        done = rag.index(folder, out)
    assert done.documents == len(done.kept) == 5 and "Permission denied" in done.kept["note.txt"]


def test_hidden_files_and_links_out_of_the_folder_are_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("a password")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / ".hidden.txt").write_text("hidden")
    assert rag.index(folder, tmp_path / "i.sqlite").documents == 4


def test_hidden_characters_are_reported(folder: Path, out: Path | str) -> None:
    (folder / "note.txt").write_text("pay\u200bment\U000e0041", encoding="utf-8")
    assert rag.index(folder, out).unseen == {"note.txt": 2}
    assert ("note.txt", 1, "payment") in held(out)


def test_passages_get_a_vector_once(folder: Path, out_with_vectors: Path | str) -> None:
    embedder, out = Lengths(), out_with_vectors
    first = rag.index(folder, out, embedder=embedder, embedder_name="lengths")
    assert first.embedded == first.passages == embedder.asked
    (folder / "note.txt").write_text("Longer than before, and different.", encoding="utf-8")
    assert rag.index(folder, out, embedder=embedder, embedder_name="lengths").embedded == 1
    other = rag.index(folder, out, embedder=Lengths(), embedder_name="others")
    assert other.embedded == other.passages


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_a_killed_run_loses_and_doubles_nothing(delay: float, tmp_path: Path, out: Path | str) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(30):
        rows = "\n".join(f"{number}-{row},value {row} of {number}" for row in range(100))
        (folder / f"{number}.csv").write_text(f"key,words\n{rows}\n")
    begin = "from pathlib import Path; from smallworks import rag"
    code = f"{begin}; rag.index(Path({str(folder)!r}), {str(out)!r})"
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not _began(out) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(delay)
    child.kill()
    child.wait()
    before = held(out)
    assert len(before) % 100 == 0 and len(before) == len(set(before))
    done = rag.index(folder, out)
    assert done.unchanged == len(before) // 100 and done.passages == 3000
    after = held(out)
    assert len(after) == len(set(after)) == 3000
    whole(out)
    with rag.Index(out) as index:
        assert [hit.passage.document for hit in index.search("value of 29", 3, where={"key": "29-7"})] == [
            "29.csv"
        ]


def _began(path: Path | str) -> bool:
    """Whether the first batch is in, told from beside the process that writes."""
    try:
        if isinstance(path, str):
            with open_store(path) as store:
                return store.counts()[1] > 0
        if not path.is_file():
            return False
        file = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        return bool(file.execute("SELECT count(*) FROM passages").fetchone()[0])
    except (DataError, sqlite3.OperationalError):
        return False


def test_an_index_is_one_file_when_nobody_has_it_open(folder: Path, tmp_path: Path) -> None:
    rag.index(folder, tmp_path / "to" / "i.sqlite")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["i.sqlite"]
    shutil.copyfile(tmp_path / "to" / "i.sqlite", tmp_path / "copy.sqlite")
    assert held(tmp_path / "copy.sqlite") == held(tmp_path / "to" / "i.sqlite")


@pytest.mark.parametrize("names", [[], ["other.txt"]])
def test_a_wrong_folder_does_not_empty_an_index(
    folder: Path, tmp_path: Path, out: Path | str, names: list[str]
) -> None:
    rag.index(folder, out)
    (tmp_path / "other").mkdir()
    for name in names:
        (tmp_path / "other" / name).write_text("else")
    with pytest.raises(UserError, match="holds none of the 4 documents"):
        rag.index(tmp_path / "other", out)
    assert len(held(out)) == 8


def test_mistakes_are_told_with_what_mends_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No folder at"):
        rag.index(tmp_path / "none", tmp_path / "i.sqlite")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no document"):
        rag.index(tmp_path / "empty", tmp_path / "i.sqlite")
    with pytest.raises(UserError, match="--size 5"):
        rag.index(folder, tmp_path / "i.sqlite", size=5)
    with pytest.raises(DataError, match="No index at"):
        rag.Index(tmp_path / "nowhere.sqlite")
    (tmp_path / "text.sqlite").write_text("no database at all " * 100)
    with pytest.raises(DataError, match="is no index"):
        rag.Index(tmp_path / "text.sqlite")
    sqlite3.connect(tmp_path / "other.sqlite").executescript("CREATE TABLE keys (id TEXT);")
    with pytest.raises(DataError, match="is no index of this version"):
        rag.Index(tmp_path / "other.sqlite")
    with pytest.raises((DiskError, DataError)):
        rag.index(folder, folder / "note.txt" / "i.sqlite")
