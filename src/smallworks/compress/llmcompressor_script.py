"""GPTQ, AWQ and W8A8 by llmcompressor: a script for a Python of its own, which has nothing of ours.

Request and answers are those of `smallworks.child`: one JSON object on stdin, one a line on stdout. Rows come
as token ids, so that no template and no tokenizer of another release is asked.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

IGNORED = ("lm_head",)
"""Kept in the model's own type, as the embedding is: they err most, and in small models weigh most."""


def main(request: dict[str, Any], progress: Callable[[float, float, str], None]) -> dict[str, Any]:
    """The model in `folder` by `kind`, calibrated on `rows` of token ids, saved in the folder `out`."""
    progress(0, 2, f"{request['kind']}: calibrating on {len(request['rows'])} rows may take minutes")
    import torch
    import transformers
    from llmcompressor import oneshot
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.accelerator.is_available():
        # AWQ of llmcompressor 0.14 pins memory, which torch refuses where there is no device to copy to.
        IntermediatesCache.pin_memory = lambda *_, **__: None
    torch.manual_seed(0)
    torch.set_num_threads(request["threads"])
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        request["folder"], dtype="auto", local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    if model.dtype == torch.float32:
        # What is not quantised is kept in 16 bits, as servers run it.
        model = model.to(torch.bfloat16)
    oneshot(
        model=model,
        recipe=recipe(request["kind"]),
        dataset=torch.utils.data.DataLoader(batches(request["rows"]), batch_size=None),
        num_calibration_samples=len(request["rows"]),
        shuffle_calibration_samples=False,
        pipeline="sequential",
    )
    progress(1, 2, "save")
    model.save_pretrained(request["out"], save_compressed=True)
    progress(2, 2, "done")
    return {}


def recipe(kind: str) -> list[Any]:
    """The modifiers of llmcompressor that make this form."""
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform import AWQModifier, SmoothQuantModifier

    what: dict[str, Any] = {"targets": ["Linear"], "ignore": list(IGNORED)}
    if kind == "gptq":
        return [GPTQModifier(scheme="W4A16", **what)]
    if kind == "awq":
        return [AWQModifier(), QuantizationModifier(scheme="W4A16_ASYM", **what)]
    return [SmoothQuantModifier(smoothing_strength=0.8), GPTQModifier(scheme="W8A8", **what)]


def batches(rows: Iterable[list[int]]) -> list[dict[str, Any]]:
    """One row a batch: no padding, which would count as if it were text."""
    import torch

    return [{"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))} for ids in rows]


def serve() -> None:
    """Speak the protocol: what libraries print goes to stderr, and the real stdout is for answers alone."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    request = json.loads(sys.stdin.read())
    say(
        {
            "result": main(
                request, lambda done, total, note: say({"progress": ["llmcompressor", done, total, note]})
            )
        }
    )


if __name__ == "__main__":
    serve()
