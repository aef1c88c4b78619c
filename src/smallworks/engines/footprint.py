"""What a model of a shape takes: bytes of weights in a format, keys and values, a server, a training. Pure.

Formulas, not rules of thumb; `python -m benchmarks estimates` sets them beside what was measured. Measures
nothing and knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smallworks.engines.shape import Shape

Format = Literal["f32", "bf16", "f16", "q8_0", "q4_K_M", "q4_0", "int8"]
FORMATS: tuple[Format, ...] = ("f32", "bf16", "f16", "q8_0", "q4_K_M", "q4_0", "int8")
Q4_K, Q6_K, Q8_0, Q4_0 = 144 / 256, 210 / 256, 34 / 32, 18 / 32
"""Bytes a number in GGUF's blocks, scales included."""
LINEAR = {"f32": 4.0, "bf16": 2.0, "f16": 2.0, "q8_0": Q8_0, "q4_K_M": Q4_K, "q4_0": Q4_0, "int8": 1.0}
"""Bytes a parameter of a linear layer; of q4_K_M see `_lifted`."""
TABLE = {"f32": 4.0, "bf16": 2.0, "f16": 2.0, "q8_0": Q8_0, "q4_K_M": Q6_K, "q4_0": Q8_0, "int8": 1.0}
"""Bytes a parameter of the embedding and the output; in a q4_0 file of ours they stay q8_0."""
OTHER = 4
"""Norms and biases stay in float32."""
QUANTIZED = {"nf4": 0.5 + 1 / 64, "int8": 1.0}
"""What bitsandbytes keeps of a linear parameter in training; nf4 with its blocks' scales quantised too."""
EXACT_CACHE = 64 * 2**20
"""Bytes up to which llama.cpp's keys and values are kept in float32, which makes scores exact to 1e-5."""
TRAINING_RUNTIME = 620_000_000
"""Resident memory of Python with torch, transformers, PEFT and TRL before any model."""
SERVING_RUNTIME = 74_000_000
"""Resident memory of Python with llama.cpp before any model (measured)."""
VOCABULARY = 690
"""Bytes that llama.cpp keeps for each token of the vocabulary: texts, merges, maps (measured)."""
REPACKED = ("q4_0", "q4_K_M")
"""Formats whose linear layers llama.cpp keeps a second time, in the order that the CPU multiplies fastest."""
BATCH = 512
"""Tokens of a prompt that llama.cpp reads at once."""
PEAK = 1.5
"""Peak over what is kept for the backward pass: temporaries, gradients, the allocator's gaps (measured)."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Peak bytes of a process that answers, by part.

    `repacked` is a second copy of weights: the first is the file's own pages, which the system takes back
    where memory is short. So `needed` is what has to be free, `total` what the process shows at its peak.
    """

    runtime: int
    weights: int
    cache: int
    activations: int
    repacked: int = 0

    @property
    def needed(self) -> int:
        return self.runtime + self.weights + self.cache + self.activations

    @property
    def total(self) -> int:
        return self.needed + self.repacked


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Peak bytes of the training process by part; `trained` is what training adds to the base's weights."""

    runtime: int
    weights: int
    trained: int
    activations: int

    @property
    def total(self) -> int:
        return self.runtime + self.weights + self.trained + self.activations

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients and optimiser": self.trained,
            "activations": self.activations,
            "libraries": self.runtime,
        }
        return ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items())


def tables(shape: Shape) -> int:
    """Embedding tables that are stored: 1 where input and output share one, or there is no output."""
    rest = shape.parameters - shape.linear
    return max(1, round(rest / max(1, shape.vocab * shape.hidden)))


def weights(shape: Shape, form: Format) -> int:
    """Bytes of the weights in a format, as its file holds them."""
    table = shape.vocab * shape.hidden
    count = tables(shape)
    embedded = count * table * TABLE[form]
    if form == "q4_K_M" and count == 2:
        embedded = table * (Q4_K + Q6_K)  # only the output is lifted
    other = max(0, shape.parameters - shape.linear - count * table) * OTHER
    return int(shape.linear * LINEAR[form] + (_lifted(shape) if form == "q4_K_M" else 0) + embedded + other)


def _lifted(shape: Shape) -> float:
    """What q4_K_M adds to q4_K: values and down projections of every second layer are q6_K.

    Source: llama.cpp, `llama_tensor_get_type` (use_more_bits).
    """
    values = shape.layers * shape.hidden * shape.kv_heads * shape.head_dim
    # A third of the gated feed-forward layers is their down projection, however many experts there are.
    attention = 2 * shape.layers * shape.hidden * shape.head_dim * (shape.heads + shape.kv_heads)
    down = max(0, shape.linear - attention) / 3
    return (Q6_K - Q4_K) * (values + down) / 2


def cache(shape: Shape, tokens: int, *, width: int = 2) -> int:
    """Bytes of keys and values for so many tokens of all sequences together, `width` bytes a number."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * tokens * width


def serving(shape: Shape, form: Format, *, context: int, slots: int = 1) -> Serving:
    """A process of ours with llama.cpp: `slots` sequences of `context` tokens, all room taken up front."""
    exact = cache(shape, context * slots, width=4)
    kept = exact if exact <= EXACT_CACHE else exact // 2
    read = min(BATCH, context)
    # Inputs and outputs of a layer, its feed-forward product, and a score of every head and pair of tokens.
    at_once = read * (4 * shape.hidden + 3 * shape.intermediate + shape.heads * context)
    return Serving(
        runtime=SERVING_RUNTIME + VOCABULARY * shape.vocab,
        weights=weights(shape, form),
        cache=kept,
        activations=2 * at_once,  # float32, and half of them live at once
        repacked=int(shape.linear * LINEAR[form]) if form in REPACKED else 0,
    )


def encoding(shape: Shape, form: Format, *, tokens: int, rows: int = 1) -> Serving:
    """A process of ours with an encoder on onnxruntime, `rows` texts of `tokens` tokens at once."""
    at_once = rows * tokens * (4 * shape.hidden + 2 * shape.intermediate + shape.heads * tokens)
    return Serving(runtime=SERVING_RUNTIME, weights=weights(shape, form), cache=0, activations=4 * at_once)


def training(
    shape: Shape,
    *,
    rank: int | None,
    tokens: int,
    width: int = 4,
    bits: Literal["nf4", "int8"] | None = None,
    checkpointing: bool = False,
) -> Memory:
    """The training process: an adapter of `rank`, or with None every weight; `tokens` in a batch.

    `width` is the bytes of a weight and an activation; `bits` what the linear layers are quantised to.
    """
    linear = shape.linear * (QUANTIZED[bits] if bits else width)
    kept = activations(shape, tokens, rank or 0, checkpointing=checkpointing)
    # In float32: an adapter, its gradient and AdamW's two moments; of a whole model all but the weights.
    trained = 3 * shape.parameters if rank is None else 4 * rank * shape.widths
    return Memory(
        runtime=TRAINING_RUNTIME,
        weights=int(linear) + (shape.parameters - shape.linear) * width,
        trained=4 * trained,
        activations=int(PEAK * width * kept),
    )


def activations(shape: Shape, tokens: int, rank: int, *, checkpointing: bool) -> int:
    """Numbers kept for the backward pass, attention by blocks (no score matrix is kept).

    A layer keeps its two normed inputs and their residuals, queries, keys, values, the attention's
    output and projection, the gate, its activation, the up projection and their product, and the
    low-rank halves of seven adapters.
    """
    attention = (3 * shape.heads + 4 * shape.kv_heads) * shape.head_dim
    layer = 6 * shape.hidden + attention + 5 * shape.intermediate + 14 * rank
    if checkpointing:
        return tokens * (shape.layers * shape.hidden + layer)
    return tokens * shape.layers * layer
