"""The openvino engine: a stateful OpenVINO graph of a Llama-shaped model, for quick prompts on a CPU.

Reads prompts faster than llama.cpp and writes slower, which is what sorting and extracting want. Every
answer has a request, and so keys and values, of its own. Knows how to answer, not how weights became a graph
(compress/openvino.py): inputs `ids` [rows, tokens], `last` [rows] (the position whose logits are wanted) and
`rows` [rows] (which row's keys and values each goes on from), output `logits` [rows, vocabulary].
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from smallworks import settings
from smallworks.engines.logits import LogitsModel
from smallworks.engines.scoring import Ids, Scorer
from smallworks.engines.steps import Read
from smallworks.errors import MissingExtra, ModelError
from smallworks.prompt.tokenizer import TextTokenizer

GRAPH, WEIGHTS = "model.xml", "model.bin"
ABOUT = "smallworks"
"""Where the graph's own notes say what it was made for: `context`, the longest text in tokens."""
EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}
"""Float32 wherever the weights leave the choice: OpenVINO's own would depend on the processor it runs on."""


def library() -> ModuleType:
    """The openvino package, kept from telling its maker that it was imported, as it does by default."""
    # Importing it sends an event through openvino_telemetry where that can be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("openvino", extra="openvino", wanted_for="The openvino engine") from error
    module: ModuleType = openvino
    return module


class OpenVino(LogitsModel):
    """Implements seams.Model over the graph in `folder`, with the tokenizer files in `tokenizer`."""

    engine = "openvino"

    def __init__(self, folder: Path, tokenizer: Path, *, threads: int | None = None) -> None:
        # The core is kept: a graph that outlives it breaks.
        self._core = library().Core()
        graph = _read(self._core, folder)
        settled = {**EXACT, "NUM_STREAMS": "1", "ENABLE_CPU_PINNING": "NO"}
        count = str(threads or settings.load().threads)
        compiled = self._core.compile_model(graph, "CPU", {**settled, "INFERENCE_NUM_THREADS": count})
        context = int(graph.get_rt_info([ABOUT, "context"]).value)
        super().__init__(folder, compiled, _Scorer(compiled), TextTokenizer.load(tokenizer), context)

    def _begin(self) -> Read:
        """Keys and values stay in a request of its own."""
        with self._lock:
            request = self._alive().create_infer_request()

        def read(ids: Sequence[int]) -> np.ndarray:
            with self._lock:
                self._alive()
                logits: np.ndarray = _infer(request, np.array([ids]), last=[len(ids) - 1], rows=[0])[0]
            return logits

        return read


class _Scorer(Scorer):
    """A kept prefix is the state of a request after it, which one state of many rows can go on from."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self._request: Any = compiled.create_infer_request()

    def prefill(self, ids: Ids) -> list[np.ndarray]:
        self._begin([])
        _infer(self._request, np.array([ids]), last=[len(ids) - 1], rows=[0])
        return [np.array(state.state.data) for state in self._request.query_state()]

    def logits(self, rows: Sequence[Ids], tokens: Ids) -> np.ndarray:
        rests = [row[len(self._prefix) :] for row in rows]
        # Padding on the right: under causal attention no real token sees it, so no mask is needed.
        padded = np.zeros((len(rests), max(map(len, rests))), np.int64)
        for padding, rest in zip(padded, rests, strict=True):
            padding[: len(rest)] = rest
        self._begin(self._cache or [])
        origin = [0] * len(rests) if self._cache else range(len(rests))
        logits = _infer(self._request, padded, last=[len(rest) - 1 for rest in rests], rows=origin)
        return logits[:, list(tokens)].astype(np.float64)

    def _begin(self, kept: Sequence[np.ndarray]) -> None:
        """The request as if it had read nothing, or what is kept."""
        self._request.reset_state()
        for state, values in zip(self._request.query_state(), kept, strict=False):
            state.state = library().Tensor(values)


def _infer(request: Any, ids: np.ndarray, *, last: Sequence[int], rows: Sequence[int]) -> np.ndarray:
    """Logits [rows, vocabulary], float32."""
    feeds = {"ids": ids.astype(np.int64), "last": np.array(last, np.int64), "rows": np.array(rows, np.int32)}
    logits: np.ndarray = np.array(request.infer(feeds)["logits"])
    return logits


def _read(core: Any, folder: Path) -> Any:
    try:
        graph = core.read_model(folder / GRAPH, folder / WEIGHTS)
        if graph.has_rt_info([ABOUT, "context"]):
            return graph
        reason = "it was not made by Smallworks"
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:200]
    raise ModelError(
        f"OpenVINO cannot take '{folder / GRAPH}': {reason}.",
        fix="Make it anew with: smallworks quantize BUNDLE --to openvino-int8",
    )
