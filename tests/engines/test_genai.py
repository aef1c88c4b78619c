"""The ortgenai engine beyond the contract: exact whatever was read before, near whole weights, or refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from smallworks.engines.genai import Genai
from smallworks.engines.transformers import Transformers
from smallworks.errors import MissingExtra, ModelError, RequestError
from smallworks.types import Choices, Prompt, Sampling

pytest.importorskip("onnxruntime_genai")

LABELS = Choices(labels=("x", "y", "z"), codes=("A", "B", "C"), ids=(36, 37, 38))
PREFIX = tuple(range(40, 90))


@pytest.fixture(scope="module")
def engine(tiny_genai: Path, tiny_folder: Path) -> Iterator[Genai]:
    made = Genai(tiny_genai, tiny_folder, threads=1)
    yield made
    made.close()


def test_only_what_answers_is_kept_of_what_the_builder_writes(tiny_genai: Path) -> None:
    names = sorted(path.name for path in tiny_genai.iterdir())
    assert names == ["genai_config.json", "model.onnx", "model.onnx.data"]


def test_scores_of_four_bits_are_close_to_those_of_whole_weights(engine: Genai, tiny_folder: Path) -> None:
    prompts = [Prompt(text="", ids=(*PREFIX, *range(100, 100 + n))) for n in (1, 5, 40)]
    whole = Transformers(tiny_folder, threads=1).score(prompts, LABELS)
    off = np.abs(np.exp(engine.score(prompts, LABELS)) - np.exp(whole)).max()
    assert 0 < off < 0.3


def test_a_row_scores_the_same_after_any_other(engine: Genai) -> None:
    prompts = [Prompt(text="", ids=(*PREFIX, 100 + n)) for n in range(5)]
    together = engine.score(prompts, LABELS)
    assert len(engine._scorer._prefix) == len(PREFIX)
    engine.score([Prompt(text="", ids=(7, 8, 9))], LABELS)
    # Alone the row is read in one piece, for which some processors have another kernel: not the last bit.
    assert np.abs(engine.score(prompts[2:3], LABELS)[0] - together[2]).max() < 1e-5


def test_an_answer_in_the_making_is_not_disturbed_by_scores(engine: Genai) -> None:
    prompt = Prompt(text="", ids=PREFIX)
    alone = engine.generate(prompt, Sampling(max_tokens=8))
    chunks = engine.stream(prompt, Sampling(max_tokens=8))
    texts = [next(chunks).text]
    engine.score([Prompt(text="", ids=(7, 8, 9))], LABELS)
    assert "".join([*texts, *(chunk.text for chunk in chunks)]) == alone.text


def test_labels_without_ids_are_refused(engine: Genai) -> None:
    with pytest.raises(RequestError, match="3 labels have 0 token ids"):
        engine.score([Prompt(text="a")], Choices(labels=("x", "y", "z")))


def test_a_graph_that_is_damaged_is_refused(tiny_genai: Path, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_genai, tmp_path / "copy"))
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-100])
    with pytest.raises(ModelError, match="onnxruntime-genai cannot load"):
        Genai(folder, tiny_folder)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    with pytest.raises(MissingExtra, match=r"\[genai\]"):
        Genai(tmp_path, tmp_path)
