"""A model's architecture as numbers, and what follows from them: its parameters, its Shape. Pure.

Counts every tensor that is published: what an encoder was pre-trained with (its head) is not among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smallworks.engines.shape import Shape

Kind = Literal["encoder", "decoder"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes in numbers. `norms` a layer; `qk_norm` over each head or the width; `bias` of linear layers.

    With `experts`, each of them is a feed-forward layer of `expert_intermediate`, and a token goes through
    `experts_per_token`. `positions` and `token_types` are learned tables of an encoder, `pooler` its end.
    """

    layers: int
    hidden: int
    heads: int
    vocab: int
    intermediate: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    tied: bool = True
    bias: Literal["none", "qkv", "all"] = "none"
    mlp: Literal["gated", "plain"] = "gated"
    norms: int = 2
    qk_norm: Literal["none", "head", "width"] = "none"
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    positions: int = 0
    token_types: int = 0
    pooler: bool = False

    @property
    def queries(self) -> int:
        return self.heads * (self.head_dim or self.hidden // self.heads)

    @property
    def keys(self) -> int:
        return (self.kv_heads or self.heads) * (self.head_dim or self.hidden // self.heads)


def total(sizes: Architecture, kind: Kind) -> int:
    """Every parameter, tied tables once."""
    return _tables(sizes, kind) + sizes.layers * (_linear(sizes) + _small(sizes, kind)) + _rest(sizes, kind)


def active(sizes: Architecture, kind: Kind) -> int:
    """The parameters that one token goes through: all but the experts that are not asked."""
    idle = (sizes.experts - sizes.experts_per_token) * _matrices(sizes) * sizes.expert_intermediate
    return total(sizes, kind) - sizes.layers * sizes.hidden * idle


def shape_of(sizes: Architecture, kind: Kind, *, name: str, context: int) -> Shape:
    """In the terms of `engines.shape`, as if read from a folder; `intermediate` is what a token uses."""
    parameters = total(sizes, kind)
    used = sizes.intermediate + sizes.experts_per_token * sizes.expert_intermediate
    attention = 2 * (sizes.hidden + sizes.queries) + 2 * (sizes.hidden + sizes.keys)
    dense = _matrices(sizes) * (sizes.hidden + sizes.intermediate) if sizes.intermediate else 0
    return Shape(
        architecture=name,
        parameters=parameters,
        bytes=2 * parameters,
        linear=sizes.layers * _linear(sizes),
        widths=sizes.layers * (attention + dense),
        layers=sizes.layers,
        hidden=sizes.hidden,
        intermediate=used,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads or sizes.heads,
        head_dim=sizes.queries // sizes.heads,
        vocab=sizes.vocab,
        context=context,
    )


def _matrices(sizes: Architecture) -> int:
    return 3 if sizes.mlp == "gated" else 2


def _linear(sizes: Architecture) -> int:
    """Weights of the linear layers of one layer, the router of the experts among them."""
    attention = 2 * sizes.hidden * (sizes.queries + sizes.keys)
    dense = _matrices(sizes) * sizes.hidden * sizes.intermediate
    each = _matrices(sizes) * sizes.hidden * sizes.expert_intermediate + sizes.hidden
    return attention + dense + sizes.experts * each


def _small(sizes: Architecture, kind: Kind) -> int:
    """Norms and biases of one layer. An encoder's norms have a bias where its linear layers do."""
    norms = sizes.norms * sizes.hidden * (2 if kind == "encoder" and sizes.bias == "all" else 1)
    head = sizes.queries // sizes.heads
    norms += {"none": 0, "head": 2 * head, "width": sizes.queries + sizes.keys}[sizes.qk_norm]
    if sizes.bias == "none":
        return norms
    biases = sizes.queries + 2 * sizes.keys
    if sizes.bias == "all":
        biases += 2 * sizes.hidden + (_matrices(sizes) - 1) * sizes.intermediate
    return norms + biases


def _tables(sizes: Architecture, kind: Kind) -> int:
    rows = sizes.vocab * (1 if sizes.tied or kind == "encoder" else 2)
    return (rows + sizes.positions + sizes.token_types) * sizes.hidden


def _rest(sizes: Architecture, kind: Kind) -> int:
    """The last norm (of an encoder that of its embeddings), and the pooler."""
    norm = sizes.hidden * (2 if kind == "encoder" and sizes.bias == "all" else 1)
    return norm + (sizes.hidden * (sizes.hidden + 1) if sizes.pooler else 0)
