"""A Llama-shaped model folder as an OpenVINO graph with int8 or int4 weights, written operation by operation.

Not traced: OpenVINO's own tracer and NNCF report their use to their maker, and a traced graph changes with
the release of transformers. The parts have the shapes that OpenVINO's CPU plugin fuses: attention over a
stateful cache, rope, RMS norm, compressed weights. The graph's inputs are told in engines/openvino.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.compress import Bits, packing, shape
from smallworks.compress.weights import Weights
from smallworks.engines.openvino import ABOUT, GRAPH, library
from smallworks.seams import Progress, silent

MASKED = -65504.0
"""Added to the logits of what may not be seen: float16's lowest, as transformers has it."""
WHOLE_END = 2**62


def convert(folder: Path, out: Path, bits: Bits, progress: Progress = silent) -> Path:
    """The folder `out` with graph and weights, whole or not at all. Raises ModelError like `check`."""
    check(folder, bits)
    ov = library()
    with files.atomic_folder(out) as draft:
        ov.save_model(_Graph(folder, bits, progress).model(), draft / GRAPH, compress_to_fp16=False)
    return out


def check(folder: Path, bits: Bits) -> None:
    """Raises ModelError for a model that is not Llama-shaped, or whose widths 4 bits do not fit."""
    facts = shape.read(folder)
    if bits == 4:
        for width in (facts.hidden, facts.feed_forward, facts.heads * facts.head_dim):
            packing.check_width(width)


class _Graph:
    """The model as it grows, layer by layer; every method takes and returns nodes of the graph."""

    def __init__(self, folder: Path, bits: Bits, progress: Progress) -> None:
        self._ov = library()
        from openvino import opset15

        self._op: Any = opset15
        self._facts = shape.read(folder)
        self._weights = Weights(folder)
        self._bits: Bits = bits
        self._progress = progress
        self._sinks: list[Any] = []

    def model(self) -> Any:
        op, facts = self._op, self._facts
        self._ids = self._input("ids", [-1, -1], np.int64)
        self._rows = self._input("rows", [-1], np.int32)
        last = self._input("last", [-1], np.int64)
        # Embedding and output keep 8 bits in both forms: they err most, and in small models weigh most.
        table = self._matrix("model.embed_tokens.weight", 8)
        x = op.gather(table, self._ids, _whole(op, 0))
        for layer in range(facts.layers):
            self._progress("openvino", layer, facts.layers, f"layer {layer + 1}")
            x = self._layer(x, layer)
        self._progress("openvino", facts.layers, facts.layers, "done")
        x = op.gather(x, op.unsqueeze(last, _whole(op, 1)), _whole(op, 1), 1)
        head = table if facts.tied else self._matrix("lm_head.weight", 8)
        logits = op.matmul(self._norm(x, "model.norm"), head, False, True)
        result = op.result(op.squeeze(logits, _whole(op, [1])))
        result.output(0).set_names({"logits"})
        model = self._ov.Model([result], self._sinks, [self._ids, self._rows, last], "llama")
        model.set_rt_info(str(facts.context), [ABOUT, "context"])
        return model

    def _input(self, name: str, sizes: list[int], kind: Any) -> Any:
        node = self._op.parameter(sizes, kind, name=name)
        node.output(0).set_names({name})
        return node

    def _layer(self, x: Any, layer: int) -> Any:
        op, name = self._op, f"model.layers.{layer}."
        x = op.add(x, self._attention(self._norm(x, f"{name}input_layernorm"), layer))
        h = self._norm(x, f"{name}post_attention_layernorm")
        gate = op.swish(self._linear(h, f"{name}mlp.gate_proj"))
        wide = op.multiply(gate, self._linear(h, f"{name}mlp.up_proj"))
        return op.add(x, self._linear(wide, f"{name}mlp.down_proj"))

    def _attention(self, x: Any, layer: int) -> Any:
        op, facts, name = self._op, self._facts, f"model.layers.{layer}.self_attn."
        q = self._heads(x, name, "q", facts.heads)
        k = self._heads(x, name, "k", facts.kv_heads)
        past, values = self._cached(f"{layer}.value", self._heads(x, name, "v", facts.kv_heads))
        if layer == 0:
            self._places(past)
        _, keys = self._cached(f"{layer}.key", self._turned(k))
        shared = [self._repeated(node) for node in (keys, values)]
        seen = op.scaled_dot_product_attention(self._turned(q), *shared, self._mask, causal=False)
        flat = op.reshape(_swapped(op, seen), _whole(op, [0, 0, facts.heads * facts.head_dim]), True)
        return self._linear(flat, f"{name}o_proj")

    def _heads(self, x: Any, name: str, part: str, count: int) -> Any:
        """[rows, heads, tokens, head_dim], normed where the model does that (Qwen3)."""
        op = self._op
        split = op.reshape(
            self._linear(x, f"{name}{part}_proj"), _whole(op, [0, 0, count, self._facts.head_dim]), True
        )
        if f"{name}{part}_norm.weight" in self._weights:
            split = self._norm(split, f"{name}{part}_norm")
        return _swapped(op, split)

    def _cached(self, name: str, new: Any) -> tuple[Any, Any]:
        """What was kept under `name`, and that with `new` after it, which is kept from then on."""
        from openvino.op.util import Variable, VariableInfo

        op, facts = self._op, self._facts
        info = VariableInfo()
        info.data_shape = self._ov.PartialShape([-1, facts.kv_heads, -1, facts.head_dim])
        info.data_type, info.variable_id = self._ov.Type.f32, name
        variable = Variable(info)
        sizes = op.concat([self._batch(), _whole(op, [facts.kv_heads]), _whole(op, [0, facts.head_dim])], 0)
        empty = op.broadcast(_real(op, 0.0), sizes)
        past = op.gather(op.read_value(empty, variable), self._rows, _whole(op, 0))
        both = op.concat([past, new], 2)
        self._sinks.append(op.assign(both, variable))
        return past, both

    def _places(self, past: Any) -> None:
        """Rope and mask, once for all layers: where the new tokens stand, after `past` of them."""
        op, facts = self._op, self._facts
        before = op.gather(op.shape_of(past, "i64"), _whole(op, 2), _whole(op, 0))
        length = op.gather(op.shape_of(self._ids, "i64"), _whole(op, 1), _whole(op, 0))
        after = op.add(before, length)
        places = op.unsqueeze(op.range(before, after, _whole(op, 1), "f32"), _whole(op, 1))
        angles = op.multiply(places, op.constant(_frequencies(facts)))
        angles = op.unsqueeze(op.concat([angles, angles], -1), _whole(op, [0, 1]))
        self._cos, self._sin = op.cos(angles), op.sin(angles)
        seen = op.unsqueeze(op.range(_whole(op, 0), after, _whole(op, 1), "f32"), _whole(op, 0))
        mask = op.select(op.greater(seen, places), _real(op, MASKED), _real(op, 0.0))
        self._mask = op.unsqueeze(mask, _whole(op, [0, 1]))

    def _turned(self, x: Any) -> Any:
        """Rope: each half of a head turned against the other by its place."""
        op, half = self._op, self._facts.head_dim // 2
        ends = ((half, WHOLE_END), (0, half))
        upper, lower = (
            op.slice(x, _whole(op, [a]), _whole(op, [b]), _whole(op, [1]), _whole(op, [3])) for a, b in ends
        )
        minus = op.multiply(upper, op.constant(np.full((1, 1, 1, 1), -1, np.float32)))
        return op.add(op.multiply(x, self._cos), op.multiply(op.concat([minus, lower], -1), self._sin))

    def _repeated(self, x: Any) -> Any:
        """Keys or values once for every head that shares them."""
        op, facts = self._op, self._facts
        if facts.heads == facts.kv_heads:
            return x
        times = _whole(op, [facts.kv_heads, facts.heads // facts.kv_heads, 0, facts.head_dim])
        sizes = op.concat([self._batch(), times], 0)
        wide = op.broadcast(op.unsqueeze(x, _whole(op, 2)), sizes, broadcast_spec="BIDIRECTIONAL")
        return op.reshape(wide, _whole(op, [0, facts.heads, -1, facts.head_dim]), True)

    def _batch(self) -> Any:
        op = self._op
        return op.gather(op.shape_of(self._ids, "i64"), _whole(op, [0]), _whole(op, 0))

    def _norm(self, x: Any, name: str) -> Any:
        op = self._op
        mean = op.reduce_mean(op.power(x, _real(op, 2.0)), _whole(op, [-1]), True)
        scale = op.divide(_real(op, 1.0), op.sqrt(op.add(mean, _real(op, self._facts.epsilon))))
        return op.multiply(op.multiply(x, scale), op.constant(self._weights.read(f"{name}.weight")))

    def _linear(self, x: Any, name: str) -> Any:
        out = self._op.matmul(x, self._matrix(f"{name}.weight", self._bits), False, True)
        if f"{name}.bias" not in self._weights:
            return out
        return self._op.add(out, self._op.constant(self._weights.read(f"{name}.bias")))

    def _matrix(self, name: str, bits: Bits) -> Any:
        """A weight [out, in] as float32, from `bits` a value and float16 scales: fused into what takes it."""
        op, values = self._op, self._weights.read(name)
        if bits == 8:
            whole, scales = packing.int8(values)
            stored = op.constant(whole)
        else:
            whole, scales = packing.int4(values)
            nibbles = self._ov.Tensor(packing.nibbles(whole), self._ov.Shape(whole.shape), self._ov.Type.i4)
            stored = self._ov.op.Constant(nibbles, shared_memory=False)
        real = op.multiply(op.convert(stored, "f16"), op.constant(scales))
        if bits == 4:
            real = op.reshape(real, _whole(op, values.shape), False)
        return op.convert(real, "f32")


def _frequencies(facts: shape.Shape) -> np.ndarray:
    """Radians a token for each pair of a head's values, [1, head_dim / 2]."""
    turns = facts.theta ** -(np.arange(0, facts.head_dim, 2, dtype=np.float64) / facts.head_dim)
    if facts.rope["rope_type"] == "linear":
        turns = turns / facts.rope["factor"]
    divisors = facts.rope_factors()
    turns = turns if divisors is None else turns / divisors
    out: np.ndarray = turns.astype(np.float32)[None]
    return out


def _whole(op: Any, value: Any) -> Any:
    return op.constant(np.array(value, np.int64))


def _real(op: Any, value: float) -> Any:
    return op.constant(np.array(value, np.float32))


def _swapped(op: Any, x: Any) -> Any:
    """Heads and tokens exchanged: [rows, a, b, width] → [rows, b, a, width]."""
    return op.transpose(x, _whole(op, [0, 2, 1, 3]))
