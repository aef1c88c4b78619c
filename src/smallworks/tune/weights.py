"""The base as a tuning loads it, and the folder that its best checkpoint becomes. Only ever run in a child.

Whatever the base was loaded in, what is saved rests on its whole weights: an adapter tuned over four bits is
merged into sixteen first, and quantised last. Knows nothing of rows and of training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from smallworks import files
from smallworks.engines import shape
from smallworks.engines.transformers import resolve
from smallworks.tune.options import NARROW, QUANTIZED, WEIGHTS, Precision, TuneOptions


def save(checkpoint: Path, out: Path, base: Path, options: TuneOptions) -> None:
    """The checkpoint as an adapter, a merged model or a whole one, in the folder `out`."""
    kinds = {"full": save_model, "dora": save_merged}
    kinds.get(options.method, save_adapter)(checkpoint, out, base)


def precision_for(base: Path, options: TuneOptions) -> Precision:
    """What matrix products are computed in: as asked, else bfloat16 where that is faster.

    That is on a GPU, and on a CPU that multiplies it itself for a base of at least NARROW: a step of the
    135M shape took 1.5 s instead of 2.4, one of a base of 256 wide 0.19 instead of 0.20 (LOG.md).
    """
    if options.precision is not None:
        return options.precision
    if device() == "cuda":
        return "bfloat16"
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16") or able.get("amx_bf16")
    return "bfloat16" if native and shape.read(base).hidden >= NARROW else "float32"


def load(base: Path, options: TuneOptions) -> Any:
    """The base; in float32 where the whole of it is tuned, since small steps are lost in 16 bits."""
    bits = QUANTIZED.get(options.method)
    kind = resolve("auto", parameters=shape.read(base).parameters, device=device())
    kind = "float32" if options.method == "full" else kind
    if bits is None:
        return _load(base, kind)
    return _ready(_load(base, kind, _bits(bits, precision_for(base, options))))


def whole(folder: Path) -> Any:
    """A model as the reference engine loads it, ready to answer."""
    kind = resolve("auto", parameters=shape.read(folder).parameters, device=device())
    return _load(folder, kind).to(device()).eval()


def _load(base: Path, kind: str, bits: BitsAndBytesConfig | None = None) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        base,
        dtype=getattr(torch, kind),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        quantization_config=bits,
        device_map=device() if bits else None,
    )


def _bits(kind: str, compute: Precision) -> BitsAndBytesConfig:
    """As QLoRA has it (Dettmers et al. 2023, arXiv 2305.14314): nf4, its scales quantised as well."""
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, compute),
    )


def _ready(model: Any) -> Any:
    """A quantised base made ready for an adapter, its weights the same before and after a validation.

    bitsandbytes packs nf4 for a faster CPU kernel as soon as it evaluates, and rounds the scales in doing so.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def save_adapter(checkpoint: Path, adapter: Path, base: Path) -> None:
    """The checkpoint's adapter alone, its config free of this machine's paths and of set order."""
    config = files.read_json(checkpoint / "adapter_config.json")
    config["base_model_name_or_path"] = base.name
    config["target_modules"] = sorted(config["target_modules"])
    with files.atomic_folder(adapter) as folder:
        files.link_or_copy(checkpoint / WEIGHTS["adapter"], folder / WEIGHTS["adapter"])
        files.write_json(folder / "adapter_config.json", dict(sorted(config.items())))


def save_merged(checkpoint: Path, model: Path, base: Path) -> None:
    """The checkpoint's adapter merged into its base by PEFT in float32, saved as other merges are.

    For DoRA, which llama.cpp and our own merge cannot express.
    """
    tuned = PeftModel.from_pretrained(_load(base, "float32"), str(checkpoint))
    merged = tuned.merge_and_unload()
    kind = shape.merged_type(base)
    with files.atomic_folder(model) as folder:
        merged.to(getattr(torch, kind)).save_pretrained(folder, max_shard_size="1TB")
        _accompany(folder, base, kind)


def save_model(checkpoint: Path, model: Path, base: Path) -> None:
    """The checkpoint's weights in float32, with the base's own configuration, tokenizer and template."""
    with files.atomic_folder(model) as folder:
        files.link_or_copy(checkpoint / WEIGHTS["model"], folder / WEIGHTS["model"])
        _accompany(folder, base, "float32")


def _accompany(folder: Path, base: Path, kind: str) -> None:
    """The base's own configuration, tokenizer and template beside weights of this type."""
    config = {**shape.configuration(base), "dtype": kind}
    config.pop("torch_dtype", None)
    for companion in shape.companions(base):
        (folder / companion.name).unlink(missing_ok=True)
        files.link_or_copy(companion, folder / companion.name)
    files.write_json(folder / shape.CONFIG, config)
