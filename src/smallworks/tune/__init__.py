"""Make a candidate from rows: a LoRA adapter, a linear head, a fused one. Knows no files of a user's task."""

from smallworks.tune.lora import fit
from smallworks.tune.options import LoraOptions, TuneRequest, TuneResult

__all__ = ["LoraOptions", "TuneRequest", "TuneResult", "fit"]
