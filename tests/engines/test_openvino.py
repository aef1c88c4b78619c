"""The openvino engine beyond the contract: what it keeps to itself, what it holds to, what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import jsonschema_rs
import numpy as np
import pytest

from smallworks.engines.openvino import OpenVino
from smallworks.engines.transformers import Transformers
from smallworks.errors import MissingExtra, ModelError, RequestError
from smallworks.types import Choices, Prompt, Sampling

# Looked for, not imported: an import of its own would tell its maker.
pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")

LABELS = Choices(labels=("x", "y", "z"), codes=("A", "B", "C"), ids=(36, 37, 38))
PREFIX = tuple(range(40, 90))


@pytest.fixture(scope="module")
def engine(tiny_openvino: Path, tiny_folder: Path) -> Iterator[OpenVino]:
    made = OpenVino(tiny_openvino, tiny_folder, threads=1)
    yield made
    made.close()


def test_it_tells_nobody_and_needs_no_torch() -> None:
    """The library sends an event when it is imported, unless its telemetry cannot be."""
    code = (
        "from smallworks.engines.openvino import library; library().Core(); import sys;"
        "assert 'torch' not in sys.modules and sys.modules['openvino_telemetry'] is None;"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_scores_of_eight_bits_are_close_to_those_of_whole_weights(
    engine: OpenVino, tiny_folder: Path
) -> None:
    prompts = [Prompt(text="", ids=(*PREFIX, *range(100, 100 + n))) for n in (1, 5, 40)]
    whole = Transformers(tiny_folder, threads=1).score(prompts, LABELS)
    off = np.abs(np.exp(engine.score(prompts, LABELS)) - np.exp(whole)).max()
    assert 0 < off < 0.05


def test_a_prefix_is_read_once_for_many_rows(engine: OpenVino) -> None:
    """The rows go on from the kept prefix, and score as each does alone in a fresh engine's first call."""
    prompts = [Prompt(text="", ids=(*PREFIX, 100 + n)) for n in range(5)]
    engine.score(prompts, LABELS)
    assert len(engine._scorer._prefix) == len(PREFIX)
    together = engine.score(prompts, LABELS)
    engine.score([Prompt(text="", ids=(7, 8, 9))], LABELS)
    assert engine.score(prompts[2:3], LABELS)[0] == pytest.approx(together[2], abs=1e-5)


def test_a_schema_holds_the_answer(engine: OpenVino) -> None:
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["age"],
        "additionalProperties": False,
    }
    said = engine.generate(Prompt(text="Anything"), Sampling(max_tokens=40, schema=schema))
    assert said.finish == "stop" and jsonschema_rs.is_valid(schema, json.loads(said.text))


def test_labels_without_ids_are_refused(engine: OpenVino) -> None:
    with pytest.raises(RequestError, match="3 labels have 0 token ids"):
        engine.score([Prompt(text="a")], Choices(labels=("x", "y", "z")))


def test_a_graph_that_is_damaged_or_somebody_elses_is_refused(
    tiny_openvino: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_openvino, tmp_path / "copy"))
    graph = (folder / "model.xml").read_text(encoding="utf-8")
    (folder / "model.xml").write_text(graph[: len(graph) // 2], encoding="utf-8")
    with pytest.raises(ModelError, match="OpenVINO cannot take"):
        OpenVino(folder, tiny_folder)
    (folder / "model.xml").write_text(graph.replace("<smallworks>", "<x>").replace("</smallworks>", "</x>"))
    with pytest.raises(ModelError, match="not made by Smallworks"):
        OpenVino(folder, tiny_folder)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"\[openvino\]"):
        OpenVino(tmp_path, tmp_path)
