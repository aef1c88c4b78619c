"""Weights in 8 and 4 bits are saved so that they load to the very same numbers, or refused at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from smallworks import compress, starter
from smallworks.compress import bitsandbytes
from smallworks.engines import shape
from smallworks.engines.transformers import Transformers
from smallworks.errors import ModelError
from smallworks.seams import silent
from smallworks.types import Choices, Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

LABELS = Choices(labels=("x", "y", "z"), codes=("A", "B", "C"), ids=(36, 37, 38))
PROMPTS = [Prompt(text="", ids=tuple(range(40, 40 + n))) for n in (3, 20)]


def test_what_is_saved_answers_as_what_was_quantised(tmp_path: Path) -> None:
    out = tmp_path / "int8"
    bitsandbytes.main({"folder": starter.MODEL, "out": out, "kind": "int8"}, silent)  # here, not in a child
    for path in shape.companions(starter.MODEL):
        shutil.copy(path, out)
    saved = Transformers(out, threads=1).score(PROMPTS, LABELS)
    loaded = Transformers(starter.MODEL, quantization="int8", threads=1).score(PROMPTS, LABELS)
    whole = Transformers(starter.MODEL, threads=1).score(PROMPTS, LABELS)
    assert (saved == loaded).all() and 0 < abs(saved - whole).max() < 0.1


def test_widths_that_do_not_fill_a_block_are_refused_for_four_bits(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(tmp_path)
    compress.check_bitsandbytes(tmp_path, "int8")
    with pytest.raises(ModelError, match=r"has 32 columns.*Take bnb-8bit"):
        compress.check_bitsandbytes(tmp_path, "nf4")
