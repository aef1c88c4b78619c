"""Weights in compressed-tensors (GPTQ, AWQ, W8A8) as transformers loads them: made dense, and quietly.

Kernels for them are a GPU server's. Here weights alone become plain numbers once; where the activations are
quantised too, compressed-tensors rounds them before every layer, so that answers are those of the form.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

from smallworks.errors import MissingExtra

METHOD = "compressed-tensors"
"""The `quant_method` in a config.json."""
_lock, _switched = Lock(), ExitStack()
_loading: list[None] = []


def setting(stored: Mapping[str, Any]) -> Any:
    """What `from_pretrained` is told. Raises MissingExtra without the library."""
    if importlib.util.find_spec("compressed_tensors") is None:
        raise MissingExtra("compressed_tensors", extra="quant", wanted_for="A model in compressed-tensors")
    from loguru import logger
    from transformers import CompressedTensorsConfig

    logger.disable("compressed_tensors")
    return CompressedTensorsConfig(dequantize=not _rounds_activations(stored))


def settle(model: Any, stored: Mapping[str, Any]) -> None:
    """Make weights dense that are not yet: the first answer would, with both in memory."""
    if _rounds_activations(stored):
        with quiet():
            model.hf_quantizer.compressor.decompress_model(model)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of compressed-tensors on the user's terminal, which cannot be told to have none.

    Nor the warning of transformers that a setting stands beside those that are stored: that is meant. Both
    are switches of the whole process: of several loads at once the first sets them, and the last sets them
    back.
    """
    with _lock:
        if not _loading:
            _switched.enter_context(_silenced())
        _loading.append(None)
    try:
        yield
    finally:
        with _lock:
            _loading.pop()
            if not _loading:
                _switched.close()


@contextmanager
def _silenced() -> Iterator[None]:
    from tqdm import tqdm

    own, shown = vars(tqdm)["__init__"], tqdm.__init__
    tqdm.__init__ = lambda *given, **named: shown(*given, **{**named, "disable": True})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You passed `quantization_config`")
            yield
    finally:
        tqdm.__init__ = own


def _rounds_activations(stored: Mapping[str, Any]) -> bool:
    return any(group.get("input_activations") for group in stored["config_groups"].values())
