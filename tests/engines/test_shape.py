"""Facts of a model folder, read from headers alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks import starter
from smallworks.engines import shape
from smallworks.errors import ModelError


def test_the_starter_s_shape_is_read() -> None:
    facts = shape.read(starter.MODEL)
    config = json.loads((starter.MODEL / "config.json").read_text())
    assert (facts.layers, facts.hidden) == (config["num_hidden_layers"], config["hidden_size"])
    assert facts.architecture == "LlamaForCausalLM"
    assert 2 * facts.parameters <= facts.bytes < 2.1 * facts.parameters
    attention = 4 * facts.hidden + 2 * (facts.heads + facts.kv_heads) * facts.head_dim
    assert facts.widths == facts.layers * (attention + 3 * (facts.hidden + facts.intermediate))


def test_a_folder_without_a_config_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    with pytest.raises(ModelError, match=r"no config\.json \(found: model\.gguf\)"):
        shape.read(tmp_path)


def test_code_of_the_model_s_own_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')
    with pytest.raises(ModelError, match="code of its own"):
        shape.read(tmp_path)
