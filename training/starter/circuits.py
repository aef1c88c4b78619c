"""Attention that looks things up, given to the model before training starts; knows nothing about data.

A small model spends tens of millions of tokens before it finds by gradient descent that "look for the word,
then read what stood beside it" is worth doing; until then every label code is a guess (LOG.md). So the path
is laid in the first weights, in four steps that training then bends to its needs:

1. layer 0 copies the tokens one, two and three places back beside each token ("previous-token heads");
2. layers 1 and 2 match: a token finds its own earlier place, or the place after it ("induction heads");
3. what a match found is written apart, in a space of its own: a vote;
4. layer 3 reads, from anywhere, the places where a vote names a label code.

The residual stream is cut into four orthogonal parts of `head_dim`: identity of the token, the one before
it, the two before that, and votes. Source of the idea: Olsson et al. 2022, "In-context Learning and
Induction Heads".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

from training.starter.tokenizer import Form

SPREAD = 0.06  # standard deviation of an embedding's numbers
DAMP = 0.05  # what is not given is made small, so that it drowns nothing
MATCH = 12.0  # attention score of a match; the others score about 0
BACK = 4.0  # size of the biases that look back by a fixed number of tokens
AWAY = 2.5  # size of the biases that keep a token from matching itself
READ = 8.0  # attention score of a vote for a label code
ALONE = 0.25  # of an embedding, what a form of a word does not share with its other forms
APART = 0.35  # length of what sets forms with a space, or a capital, apart, of an embedding's length
SHARED = 0.7  # what the embeddings of the label codes have in common, of their length
REACH = 400  # tokens over which a match must hold


@dataclass(frozen=True, slots=True)
class Spaces:
    """Orthonormal rows [head_dim, hidden_size] each: the four parts of the residual stream, and `code`,
    the direction [hidden_size] that the label codes share."""

    token: torch.Tensor
    before: torch.Tensor
    earlier: torch.Tensor
    vote: torch.Tensor
    code: torch.Tensor


@torch.no_grad()
def give(model: LlamaForCausalLM, codes: Sequence[int], forms: Sequence[Form]) -> None:
    """Writes the circuits into fresh weights. `codes`: token ids of the label codes; `forms`: of each token.

    Needs four layers, at least three key-value heads with two queries each, and hidden_size ≥ 4 · head_dim.
    """
    config = model.config
    width, size = config.hidden_size, config.head_dim
    random = torch.Generator().manual_seed(0)
    basis = _orthonormal(width, random)
    token, before, earlier, vote = (basis[part * size : (part + 1) * size] for part in range(4))
    common = token.T @ torch.randn(size, generator=random)
    spaces = Spaces(token, before, earlier, vote, common / common.norm())
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(DAMP)
        layer.mlp.down_proj.weight.mul_(DAMP)
    _embeddings(model, spaces, codes, forms, random)
    _copy_back(Heads(model, 0), spaces)
    pick = _orthonormal(size, random)
    for layer in (1, 2):
        _match(Heads(model, layer), spaces, pick)
    _read(Heads(model, 3), spaces)
    _read_near(Heads(model, 4), spaces)


def _orthonormal(size: int, random: torch.Generator) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=random))[0].T


class Heads:
    """One layer's attention, addressed by key-value head and query."""

    def __init__(self, model: LlamaForCausalLM, layer: int) -> None:
        config = model.config
        self.attention = model.model.layers[layer].self_attn
        self.size, self.width = config.head_dim, config.hidden_size
        self.queries = config.num_attention_heads // config.num_key_value_heads
        self.half = half = self.size // 2
        self.turns = config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)  # radians a token
        slow = [pair for pair in range(half) if self.turns[pair] * REACH < 0.6]
        self.slow = [*slow, *(half + pair for pair in slow)]  # numbers that hardly turn within REACH
        self.length = config.hidden_size**0.5 / 2  # of one of four equal parts of a normalised state
        self.written = SPREAD * config.hidden_size**0.5  # length of an embedding, and of what a head writes

    def key(self, head: int) -> slice:
        return slice(head * self.size, (head + 1) * self.size)

    def query(self, head: int, index: int) -> slice:
        return self.key(head * self.queries + index)

    def look_back(self, head: int, index: int, distance: int, amount: float, pairs: slice) -> None:
        """Biases: query `index` prefers the key `distance` tokens back; with a negative amount, avoids it."""
        keys = self.attention.k_proj.bias[self.key(head)]
        asked = self.attention.q_proj.bias[self.query(head, index)]
        keys[pairs] = abs(amount)
        angle = self.turns[pairs] * distance
        asked[pairs] = amount * torch.cos(angle)
        asked[self.half + pairs.start : self.half + pairs.stop] = -amount * torch.sin(angle)

    def compare(self, weight: torch.Tensor, rows: slice, directions: torch.Tensor) -> None:
        """A key or query becomes `directions` [len(slow), hidden_size] of the state; a match scores MATCH."""
        share = len(self.slow) / self.size
        scale = (MATCH * self.size**0.5 / (self.length**2 * share)) ** 0.5
        weight[rows] *= 0.1
        weight[rows.start + torch.tensor(self.slow)] += directions * scale

    def write(self, head: int, index: int, space: torch.Tensor, amount: float) -> None:
        self.attention.o_proj.weight[:, self.query(head, index)] = space.T * amount


def _embeddings(
    model: LlamaForCausalLM,
    spaces: Spaces,
    codes: Sequence[int],
    forms: Sequence[Form],
    random: torch.Generator,
) -> None:
    """Embeddings lie mostly in the token part, which leaves the other parts free for what heads write.

    Forms of one word are nearly the same vector: what matches " scar" matches "Scar" too.
    """
    table = model.model.embed_tokens.weight
    table.normal_(0, SPREAD, generator=random)
    words = table[torch.tensor([form.word for form in forms])]
    spaced, capital = torch.randn(2, table.shape[1], generator=random) * SPREAD * APART
    marks = torch.tensor([[form.spaced, form.capital] for form in forms]).float() @ torch.stack(
        [spaced, capital]
    )
    table.copy_((1 - ALONE**2) ** 0.5 * words + ALONE * table + marks)
    own = table @ spaces.token.T @ spaces.token
    table.copy_(1.9 * own + 0.3 * (table - own))
    length = SPREAD * table.shape[1] ** 0.5
    table.mul_(length / table.norm(dim=1, keepdim=True))
    for code in codes:
        table[code] = table[code] * (1 - SHARED**2) ** 0.5 + SHARED * length * spaces.code


def _copy_back(heads: Heads, spaces: Spaces) -> None:
    attention = heads.attention
    plan = ((0, 0, 1, spaces.before), (0, 1, 2, spaces.earlier), (1, 0, 3, spaces.earlier))
    for head, index, distance, space in plan:
        attention.k_proj.weight[heads.key(head)] *= 0.1
        attention.q_proj.weight[heads.query(head, index)] *= 0.1
        attention.v_proj.weight[heads.key(head)] = spaces.token
        heads.look_back(head, index, distance, BACK, slice(0, heads.half // 2))
        heads.write(head, index, space, heads.written / (2 * heads.length))


def _match(heads: Heads, spaces: Spaces, pick: torch.Tensor) -> None:
    """Head 0 finds what followed this token earlier, head 1 what stood before it, head 2 the token itself.

    Head 3 finds what followed the token before this one, with another between: a value after its name.
    """
    chosen = pick[: len(heads.slow)]
    token, before, earlier = chosen @ spaces.token, chosen @ spaces.before, chosen @ spaces.earlier
    both = spaces.vote + spaces.token
    plan = (
        (before, spaces.token, ((token, spaces.token),)),
        (before, spaces.earlier, ((token, spaces.vote),)),
        (token, spaces.earlier, ((token, both), (before, both))),
        (earlier, spaces.token, ((before, spaces.token), (token, spaces.vote))),
    )
    for head, (key, value, queries) in enumerate(plan):
        heads.compare(heads.attention.k_proj.weight, heads.key(head), key)
        heads.attention.v_proj.weight[heads.key(head)] = value
        for index, (query, space) in enumerate(queries):
            heads.compare(heads.attention.q_proj.weight, heads.query(head, index), query)
            heads.write(head, index, space, 0.7 * heads.written / heads.length)
    heads.look_back(2, 0, 0, -AWAY, slice(0, 8))


def _read(heads: Heads, spaces: Spaces) -> None:
    """Query 0 of head 0 finds votes for a code anywhere; the others begin at fixed distances."""
    attention, last = heads.attention, heads.half - 1  # the pair that turns slowest
    amount = (READ * heads.size**0.5) ** 0.5
    middle = slice(heads.half // 4, heads.half * 5 // 8)
    distances = iter((20, 24, 32, 45))
    for head in range(3):
        attention.v_proj.weight[heads.key(head)] = spaces.vote
        for index in range(heads.queries):
            if head > 0:
                heads.look_back(head, index, next(distances), 3.0, middle)
            heads.write(head, index, spaces.token, heads.written / heads.length / heads.queries)
    vote = spaces.code @ spaces.token.T @ spaces.vote
    attention.k_proj.weight[last] = vote * 2 * amount / (heads.length * SHARED)
    attention.q_proj.bias[last] = amount
    attention.q_proj.weight[heads.query(0, 0)] *= 0.1


def _read_near(heads: Heads, spaces: Spaces) -> None:
    """Every query finds votes a few tokens back: those of a question, where its answer begins."""
    middle = slice(heads.half // 8, heads.half // 2)
    distances = iter((6, 7, 8, 9, 10, 11, 13, 15))
    for head in range(4):
        heads.attention.v_proj.weight[heads.key(head)] = spaces.vote
        for index in range(heads.queries):
            heads.look_back(head, index, next(distances), 3.0, middle)
            heads.write(head, index, spaces.token, heads.written / heads.length / heads.queries)
