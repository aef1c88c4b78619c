"""The reference engine: a causal LM of transformers in this process. Every other engine is compared with it.

Local safetensors only: no network, no code of the model's own. Knows nothing of templates; prompts
arrive as token ids.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smallworks import settings
from smallworks.engines import adapter as adapters
from smallworks.engines import compressed, shape
from smallworks.engines.logits import LogitsModel
from smallworks.engines.scoring import TorchScorer
from smallworks.engines.steps import Read
from smallworks.errors import MissingExtra, ModelError
from smallworks.prompt.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from torch import Tensor

DType = Literal["auto", "float32", "bfloat16"]
Quantization = Literal["int8", "nf4"]

SMALL = 300_000_000
"""Parameters below which float32 is affordable on a CPU, and then the default."""


class Transformers(LogitsModel):
    """Implements seams.Model over the model in `folder`, with a LoRA adapter merged into it if given.

    `dtype` 'auto' is float32 for models under 300 M parameters on a CPU and bfloat16 otherwise;
    `quantization` needs bitsandbytes. `device` 'auto' takes a GPU where there is one.
    """

    engine = "transformers"

    def __init__(
        self,
        folder: Path,
        *,
        adapter: Path | None = None,
        dtype: DType = "auto",
        quantization: Quantization | None = None,
        threads: int | None = None,
        device: Literal["cpu", "auto"] = "cpu",
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtra("torch", extra="train", wanted_for="The transformers engine") from error
        torch.set_num_threads(threads or settings.load().threads)
        tokenizer = TextTokenizer.load(folder)
        model = load(folder, dtype=dtype, quantization=quantization, device=device)
        if adapter is not None:
            if quantization:
                raise ModelError(
                    f"An adapter cannot be merged into {quantization} weights.",
                    fix="Leave out the quantization, or merge the adapter into the base first.",
                )
            adapters.merge(model, adapter)
        super().__init__(folder, model, TorchScorer(model), tokenizer, shape.read(folder).context)

    def forward(self, ids: Sequence[int], cache: Any) -> Tensor:
        """Logits [vocabulary] after `ids`, which `cache` (a DynamicCache) then holds too."""
        import torch

        with self._lock, torch.inference_mode():
            self._alive()
            tensor = torch.tensor([list(ids)], device=self._model.device)
            out = self._model(input_ids=tensor, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits: Tensor = out.logits[0, -1]
        return logits

    def cache(self) -> Any:
        from transformers import DynamicCache

        with self._lock:
            return DynamicCache(config=self._alive().config)

    def _begin(self) -> Read:
        import torch

        cache = self.cache()
        return lambda ids: self.forward(ids, cache).to("cpu", torch.float64).numpy()


def load(
    folder: Path,
    *,
    dtype: DType = "auto",
    quantization: Quantization | None = None,
    device: Literal["cpu", "auto"] = "cpu",
) -> Any:
    """The model in `folder`, ready to answer. Weights that are saved in 8 or 4 bits are taken as they are."""
    import torch

    facts, stored = shape.read(folder), shape.configuration(folder).get("quantization_config") or {}
    method = stored.get("quant_method")
    if quantization or method == "bitsandbytes":
        _settle_bitsandbytes(f"A model in {quantization or 'bitsandbytes weights'}")
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise MissingExtra("transformers", extra="train", wanted_for="The transformers engine") from error
    disable_progress_bar()
    setting = _bits(quantization) if quantization else None
    if method == compressed.METHOD:
        setting = compressed.setting(stored)
    place = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
    chosen = resolve(dtype, parameters=facts.parameters, device=place)
    try:
        with compressed.quiet() if method == compressed.METHOD else nullcontext():
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype="auto" if stored and method != compressed.METHOD else getattr(torch, chosen),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                device_map=place if quantization or stored else None,
                **({"quantization_config": setting} if setting else {}),
            )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"transformers cannot load '{folder}': {str(error).splitlines()[0][:200]}.",
            fix="Check that the folder is a complete causal language model that this transformers knows.",
        ) from error
    if lost := info["missing_keys"] | {name for name, *_ in info["mismatched_keys"]}:
        raise ModelError(
            f"The weights at '{folder}' lack {len(lost)} of the model's tensors, or have them in another "
            f"shape, e.g. '{min(lost)}'.",
            fix="Download the model again.",
        )
    if method == compressed.METHOD:
        compressed.settle(model, stored)
    return (model if quantization or stored else model.to(place)).eval()


def resolve(dtype: DType, *, parameters: int, device: str = "cpu") -> Literal["float32", "bfloat16"]:
    """The number type that 'auto' means for a model of this size on this device."""
    if dtype != "auto":
        return dtype
    return "float32" if device == "cpu" and parameters < SMALL else "bfloat16"


def _settle_bitsandbytes(wanted: str) -> None:
    """Before its first import: no compiled code from the hub, and no log line for every layer."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("bitsandbytes", extra="quant", wanted_for=wanted)
    # On some processors it downloads a compiled kernel and runs it, where the package `kernels` is installed.
    sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]
    for name in ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _bits(quantization: Quantization) -> Any:
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
