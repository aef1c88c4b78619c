"""What a tuning cost elsewhere: nothing when nothing was tuned, much when much was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from smallworks.prompt import TextTokenizer
from smallworks.tune.options import Forgetting

from .conftest import OPTIONS, Ask

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = pytest.mark.slow


def test_a_model_that_moved_reads_its_own_answers_worse(tiny_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from smallworks.tune import forgetting

    options = replace(OPTIONS, method="full")
    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    shutil.copytree(tiny_folder, tmp_path / "moved")
    with torch.no_grad():
        model.lm_head.weight.mul_(0.5)
    model.save_pretrained(tmp_path / "moved")
    still = forgetting.measure(tiny_folder, tiny_folder, options)
    moved = forgetting.measure(tiny_folder, tmp_path / "moved", options)
    assert still["general_after"] == still["general_before"] == moved["general_before"]
    assert still["own_after"] == still["own_before"] < moved["own_after"] - 0.05


def test_the_loss_is_that_of_every_token_of_the_sample(tiny_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    from smallworks.tune import forgetting

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_folder), TextTokenizer.load(tiny_folder)
    rows = [tokenizer.encode(text)[:64] for text in ("Rain fell on the roof.", "Nobody paid for the café.")]
    losses = [float(model(torch.tensor([r]), labels=torch.tensor([r])).loss) * (len(r) - 1) for r in rows]
    expected = sum(losses) / sum(len(row) - 1 for row in rows)
    assert forgetting._loss(model, rows, 1) == pytest.approx(expected, rel=1e-5)


def test_the_sample_is_short_enough_to_be_read_in_passing(ask: Ask) -> None:
    from smallworks.tune import forgetting

    texts = forgetting.SAMPLE.read_text(encoding="utf-8").strip().split("\n\n")
    lengths = [len(TextTokenizer.load(ask().base).encode(text)) for text in texts]
    assert min(lengths) > forgetting.ASKED and max(lengths) < forgetting.LONGEST and sum(lengths) < 2000


def test_it_is_told_in_words() -> None:
    said = Forgetting(general_before=3.4, general_after=3.525, own_before=0.6, own_after=1.9)
    assert str(said) == "general text 3.40 → 3.52 nats a token, the base's own answers 0.60 → 1.90"
