"""What is loaded for each method, and what is saved: PEFT itself is the judge of what was merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallworks import files
from smallworks.engines import shape
from smallworks.tune import Method, TuneRequest
from smallworks.tune.options import Precision

from .conftest import OPTIONS, Ask

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = pytest.mark.slow
Train = Callable[[TuneRequest], dict[str, Any]]


def test_dora_is_saved_merged_as_peft_merges_it(base: Path, ask: Ask, train: Train) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from smallworks.tune import weights

    request = ask(method="dora", train=12, epochs=1)
    train(request)
    model = request.out / "model"
    assert {file.name for file in shape.companions(base)} < {file.name for file in model.iterdir()}
    assert files.read_json(model / "config.json")["dtype"] == "float32"
    (last,) = (request.out / "checkpoints").glob("checkpoint-3")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), last).eval()
    ids = torch.tensor([request.validation[0].ids])
    weights.save_merged(last, model, base)
    ours = AutoModelForCausalLM.from_pretrained(model).eval()
    assert torch.allclose(ours(ids).logits, theirs(ids).logits, atol=1e-5)
    assert not torch.allclose(ours(ids).logits, AutoModelForCausalLM.from_pretrained(base)(ids).logits)


@pytest.mark.parametrize(("method", "bits"), [("qlora", "Linear4bit"), ("qlora-int8", "Linear8bitLt")])
def test_an_adapter_tuned_over_few_bits_belongs_to_the_whole_base(
    wide_base: Path, ask: Ask, train: Train, method: Method, bits: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    pytest.importorskip("bitsandbytes")
    from smallworks.tune import weights

    loaded = weights.load(wide_base, replace(OPTIONS, method=method))
    assert bits in {type(module).__name__ for module in loaded.modules()}
    request = replace(ask(method=method, train=20, epochs=2), base=wide_base)
    losses = [point["val_loss"] for point in train(request)["curve"]]
    assert losses[-1] < losses[0]
    whole = AutoModelForCausalLM.from_pretrained(wide_base)
    assert {p.dtype for p in PeftModel.from_pretrained(whole, request.out / "adapter").parameters()} == {
        torch.float32
    }


def test_a_validation_leaves_a_quantised_base_as_it_was(wide_base: Path, ask: Ask) -> None:
    pytest.importorskip("bitsandbytes")
    from smallworks.tune import weights

    model, ids = weights.load(wide_base, replace(OPTIONS, method="qlora")), torch.tensor([[5, 6, 7]])
    before = model.train()(ids).logits.detach()
    with torch.no_grad():
        model.eval()(ids)
    assert torch.equal(before, model.train()(ids).logits)


def test_gradient_checkpointing_changes_no_byte(ask: Ask, train: Train) -> None:
    kept, again = (
        ask(out=name, train=12, epochs=1, gradient_checkpointing=name == "again")
        for name in ("kept", "again")
    )
    assert kept.key() == again.key()
    for request in (kept, again):
        train(request)
    first, second = (r.out / "adapter" / "adapter_model.safetensors" for r in (kept, again))
    assert files.hash_file(first) == files.hash_file(second)


@pytest.mark.parametrize(("method", "saved"), [("lora", "adapter"), ("full", "model")])
def test_what_is_tuned_in_bfloat16_is_kept_in_float32(
    ask: Ask, train: Train, method: Method, saved: str
) -> None:
    exact, mixed = (
        ask(out=kind, train=12, method=method, epochs=1, precision=kind) for kind in ("float32", "bfloat16")
    )
    told = [train(request) for request in (exact, mixed)]
    assert [each["precision"] for each in told] == ["float32", "bfloat16"]
    last = [each["curve"][-1]["val_loss"] for each in told]
    assert last[0] == pytest.approx(last[1], rel=0.02) and last[0] != last[1]
    (file,) = (mixed.out / saved).glob("*.safetensors")
    assert {entry["dtype"] for _, entry in shape.tensors(file)} == {"F32"}


@pytest.mark.parametrize(
    ("hidden", "asked", "able", "taken"),
    [
        (576, None, {"avx512_bf16": True}, "bfloat16"),
        (576, None, {"amx_bf16": True}, "bfloat16"),
        (576, None, {"avx512_f": True}, "float32"),
        (256, None, {"avx512_bf16": True}, "float32"),
        (256, "bfloat16", {}, "bfloat16"),
        (576, "float32", {"avx512_bf16": True}, "float32"),
    ],
)
def test_bfloat16_is_taken_where_the_processor_multiplies_it_and_the_base_is_wide(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    hidden: int,
    asked: Precision | None,
    able: dict[str, bool],
    taken: Precision,
) -> None:
    from smallworks.tune import weights

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(weights, "device", lambda: "cpu")
    facts = replace(shape.read(base), hidden=hidden)
    monkeypatch.setattr(weights.shape, "read", lambda _: facts)
    assert weights.precision_for(base, replace(OPTIONS, precision=asked)) == taken
