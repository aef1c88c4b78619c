"""Attention that looks things up, given to the model before training starts; knows nothing about data.

A small model spends tens of millions of tokens before it finds by gradient descent that "look for the word,
then read what stood beside it" is worth doing; until then every label code is a guess (LOG.md). So the path
is laid in the first weights, in steps that training then bends to its needs:

1. layer 0 copies the tokens one, two and three places back beside each token ("previous-token heads"), and
   beside them the mean of the last few tokens (`line`) and of the few before those (`asked`);
2. layers 1 and 2 match tokens: one finds its own earlier place, or the place after it ("induction heads");
3. what a match found is written apart, in a space of its own: a vote;
4. layer 3 reads, from anywhere, the places where a vote names a label code;
5. layers 1 and 2 match lines: what was just asked, or the field just named, finds the place whose last few
   tokens were the same words, and says the token there: a value after its key;
6. in layer 2 the token before must match as well, which carries such a copy past its first token.

The residual stream is cut into orthogonal parts: identity of the token, the one before it, the two before
that, votes, and the two means. Source of the idea: Olsson et al. 2022, "In-context Learning and Induction
Heads".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

SPREAD = 0.06  # standard deviation of an embedding's numbers
DAMP = 0.05  # what is not given is made small, so that it drowns nothing
MATCH = 12.0  # attention score of a match; the others score about 0
MATCH_LINE = 30.0  # of two means of the same tokens; means that share some score less
BACK = 4.0  # size of the biases that look back by a fixed number of tokens
AROUND = 9.0  # size of the biases that look at a stretch of tokens
AWAY = 2.5  # size of the biases that keep a token from matching itself
READ = 8.0  # attention score of a vote for a label code
SHARED = 0.7  # what the embeddings of the label codes have in common, of their length
KIN = 0.6  # what the embeddings of "word", " word" and " Word" have in common, of their length
REACH = 400  # tokens over which a match must hold
OPENS = 25.0  # score of a place right after a token that opens a value, such as a colon
PARTS = 6  # of the residual stream
PAIR = 0.8  # how much the token before counts in a match of two, beside the token itself
LINE, ASKED = (5, 0.07), (13, 0.05)  # tokens back to the middle; radians a token of the fastest pair


@dataclass(frozen=True, slots=True)
class Spaces:
    """Orthonormal rows [head_dim, hidden_size], of the means [head_dim / 2, hidden_size]: the parts of the
    residual stream; and `code`, the direction [hidden_size] that the label codes share."""

    token: torch.Tensor
    before: torch.Tensor
    earlier: torch.Tensor
    vote: torch.Tensor
    line: torch.Tensor
    asked: torch.Tensor
    code: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Token ids with a part to play: label codes; groups that differ only in capitals or in a space; tokens
    that open a value; and the first `common` ids, which but for codes say nothing about what a line is about."""

    codes: Sequence[int]
    kin: Sequence[Sequence[int]] = ()
    openers: Sequence[int] = ()
    common: int = 0


@torch.no_grad()  # type: ignore[untyped-decorator]
def give(model: LlamaForCausalLM, words: Words) -> None:
    """Writes the circuits into fresh weights.

    Needs four layers, at least four key-value heads with two queries each, and hidden_size ≥ 5 · head_dim.
    """
    config = model.config
    width, size = config.hidden_size, config.head_dim
    random = torch.Generator().manual_seed(0)
    basis = _orthonormal(width, random)
    token, before, earlier, vote, means = (basis[part * size : (part + 1) * size] for part in range(5))
    common = token.T @ torch.randn(size, generator=random)
    half = size // 2
    spaces = Spaces(token, before, earlier, vote, means[:half], means[half:], common / common.norm())
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(DAMP)
        layer.mlp.down_proj.weight.mul_(DAMP)
    drawn = _orthonormal(size, random)[:half]
    _embeddings(model, spaces, words, drawn, random)
    first = Heads(model, 0)
    _copy_back(first, spaces)
    _means(first, spaces, drawn)
    pick = _orthonormal(size, random)
    for layer in (1, 2):
        _match(Heads(model, layer), spaces, pick)
        _match_lines(Heads(model, layer), spaces)
    table = model.model.embed_tokens.weight
    _prefer_values(Heads(model, 1), spaces, table[list(words.openers)].mean(0) if words.openers else None)
    _match_next(Heads(model, 2), spaces, pick)
    _read(Heads(model, 3), spaces)


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
        slow = [pair for pair in range(half) if self.turns[pair] * REACH < 0.8]
        self.slow = [*slow, *(half + pair for pair in slow)]  # numbers that hardly turn within REACH
        self.length = (config.hidden_size / PARTS) ** 0.5  # of one of the equal parts of a normalised state
        self.written = SPREAD * config.hidden_size**0.5  # length of an embedding, and of what a head writes

    def key(self, head: int) -> slice:
        return slice(head * self.size, (head + 1) * self.size)

    def query(self, head: int, index: int) -> slice:
        return self.key(head * self.queries + index)

    def look_back(self, head: int, index: int, distance: float, amount: float, pairs: slice) -> None:
        """Biases: query `index` prefers the key `distance` tokens back; with a negative amount, avoids it."""
        keys = self.attention.k_proj.bias[self.key(head)]
        asked = self.attention.q_proj.bias[self.query(head, index)]
        keys[pairs] = abs(amount)
        angle = self.turns[pairs] * distance
        asked[pairs] = amount * torch.cos(angle)
        asked[self.half + pairs.start : self.half + pairs.stop] = -amount * torch.sin(angle)

    def look_around(self, head: int, index: int, middle: float, fastest: float, amount: float) -> None:
        """The same for a stretch of tokens, about 1 / `fastest` to each side of the middle."""
        first = int((self.turns > fastest).sum())
        self.look_back(head, index, middle, amount, slice(first, first + self.half // 4))

    def compare(
        self, weight: torch.Tensor, rows: slice, directions: torch.Tensor, share: float, match: float = MATCH
    ) -> None:
        """A key or query becomes `directions` [≤ len(slow), hidden_size] of the state, which keep `share` of
        the squared length; a match scores `match`."""
        scale = (match * self.size**0.5 / (self.length**2 * share)) ** 0.5
        weight[rows] *= 0.1
        weight[rows.start + torch.tensor(self.slow[: len(directions)])] += directions * scale

    def write(self, head: int, index: int, space: torch.Tensor, amount: float) -> None:
        self.attention.o_proj.weight[:, self.query(head, index)] = space.T * amount


def _embeddings(
    model: LlamaForCausalLM, spaces: Spaces, words: Words, drawn: torch.Tensor, random: torch.Generator
) -> None:
    """Embeddings lie mostly in the token part, which leaves the other parts free for what heads write."""
    table = model.model.embed_tokens.weight
    table.normal_(0, SPREAD, generator=random)
    for group in words.kin:
        ids = torch.tensor(group)
        own = torch.randn(len(group), table.shape[1], generator=random) * SPREAD
        table[ids] = KIN**0.5 * table[ids[0]] + (1 - KIN) ** 0.5 * own
    own = table @ spaces.token.T @ spaces.token
    table.copy_(1.9 * own + 0.3 * (table - own))
    meant = drawn @ spaces.token
    common = [token for token in range(words.common) if token not in words.codes]
    length = table[common].norm(dim=1, keepdim=True)
    table[common] -= 0.8 * table[common] @ meant.T @ meant
    table[common] *= length / table[common].norm(dim=1, keepdim=True)
    length = SPREAD * table.shape[1] ** 0.5
    for code in words.codes:
        table[code] = table[code] * (1 - SHARED**2) ** 0.5 + SHARED * length * spaces.code


def _copy_back(heads: Heads, spaces: Spaces) -> None:
    attention = heads.attention
    plan = ((0, 0, 1, spaces.before), (0, 1, 2, spaces.earlier), (1, 0, 3, spaces.earlier))
    for head, index, distance, space in plan:
        attention.k_proj.weight[heads.key(head)] *= 0.1
        attention.q_proj.weight[heads.query(head, index)] *= 0.1
        attention.v_proj.weight[heads.key(head)] = spaces.token
        heads.look_back(head, index, distance, BACK, slice(0, heads.half // 2))
        heads.write(head, index, space, heads.written / heads.width**0.5)


def _means(heads: Heads, spaces: Spaces, drawn: torch.Tensor) -> None:
    """Head 2: the mean of a stretch of tokens, whose length falls with the square root of their number."""
    head, size = 2, len(drawn)
    attention = heads.attention
    attention.k_proj.weight[heads.key(head)] *= 0.02
    attention.v_proj.weight[heads.key(head)][:size] = drawn @ spaces.token
    for index, (space, (middle, fastest)) in enumerate(((spaces.line, LINE), (spaces.asked, ASKED))):
        attention.q_proj.weight[heads.query(head, index)] *= 0.02
        heads.look_around(head, index, middle, fastest, AROUND)
        tokens = 1 / fastest
        written = torch.zeros(heads.width, heads.size)
        written[:, :size] = space.T
        heads.write(head, index, written.T, heads.written * (2 * tokens / heads.width) ** 0.5)


def _match(heads: Heads, spaces: Spaces, pick: torch.Tensor) -> None:
    """Head 0 finds what followed this token earlier, best after the same two; head 1 what stood before it;
    head 2 the token itself."""
    chosen = pick[: len(heads.slow)]
    share = len(chosen) / heads.size
    token, before = chosen @ spaces.token, chosen @ spaces.before
    both = spaces.vote + spaces.token
    further = PAIR * chosen.flip(0)
    plan = (
        (before + further @ spaces.earlier, (token + further @ spaces.before,), spaces.token, spaces.token),
        (before, (token,), spaces.earlier, spaces.vote),
        (token, (token, before), spaces.earlier, both),
    )
    for head, (key, queries, value, space) in enumerate(plan):
        heads.compare(heads.attention.k_proj.weight, heads.key(head), key, share)
        heads.attention.v_proj.weight[heads.key(head)] = value
        for index, query in enumerate(queries):
            heads.compare(heads.attention.q_proj.weight, heads.query(head, index), query, share)
            heads.write(head, index, space, 0.7 * heads.written / heads.length)
    heads.look_back(2, 0, 0, -AWAY, slice(0, 8))


def _match_lines(heads: Heads, spaces: Spaces) -> None:
    """Head 3: query 0 finds the line that was asked for, query 1 the one that this line repeats."""
    head, attention = 3, heads.attention
    fits = min(len(heads.slow), len(spaces.line))
    share = fits / len(spaces.line)
    heads.compare(attention.k_proj.weight, heads.key(head), spaces.line[:fits], share, MATCH_LINE)
    attention.v_proj.weight[heads.key(head)] = spaces.token
    for index, space in enumerate((spaces.asked, spaces.line)):
        rows = heads.query(head, index)
        heads.compare(attention.q_proj.weight, rows, space[:fits], share, MATCH_LINE)
        heads.look_around(head, index, 0, LINE[1], -AROUND / 2)
        heads.write(head, index, spaces.token, 0.7 * heads.written / heads.length)


def _prefer_values(heads: Heads, spaces: Spaces, opener: torch.Tensor | None) -> None:
    """Head 3 prefers the places right after `opener` [hidden_size], the mean of what opens a value."""
    if opener is None:
        return
    head, number = 3, heads.size - 1  # a number that compares no line
    amount = OPENS**0.5 * heads.size**0.25
    seen = (opener / opener.norm()) @ spaces.token.T @ spaces.before
    heads.attention.k_proj.weight[heads.key(head)][number] = seen * amount / heads.length
    for index in range(heads.queries):
        heads.attention.q_proj.bias[heads.query(head, index)][number] = amount


def _match_next(heads: Heads, spaces: Spaces, pick: torch.Tensor) -> None:
    """Head 3: the token before must match as well, which carries a copy past its first token."""
    head, attention = 3, heads.attention
    chosen = pick[: len(heads.slow)]
    scale = (MATCH * heads.size**0.5 / (heads.length**2 * len(chosen) / heads.size)) ** 0.5
    slow = torch.tensor(heads.slow[: len(chosen)])
    attention.k_proj.weight[heads.key(head).start + slow] += chosen @ spaces.before * scale
    for index in range(heads.queries):
        attention.q_proj.weight[heads.query(head, index).start + slow] += chosen @ spaces.token * scale


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
