"""Attention that looks things up, given to the model before training starts; knows nothing about data.

A small model spends tens of millions of tokens before it finds by gradient descent that "look for the word,
then read what stood beside it" is worth doing; until then every label code is a guess (LOG.md). So the path
is laid in the first weights, in steps that training then bends to its needs:

1. layer 0 copies the tokens one, two and three places back beside each token ("previous-token heads");
2. layers 1 and 2 match tokens: one finds its own earlier place, or the place after it ("induction heads");
3. what a match found is written apart, in a space of its own: a vote;
4. layer 3 reads, from anywhere, the places where a vote names a label code;
5. layer 1 gives each token the first word of its line; in layer 2 a token finds its own earlier place and
   takes that place's line; layer 3 gathers what the last question, or the field just named, has taken;
6. layer 4 finds the value of a gathered line, after its colon, and says it; layer 5 goes on with it.

The residual stream is cut into orthogonal parts: identity of the token, the one before it, the two before
that, votes, the line a token stands in, and the line that is asked for. Source of the idea: Olsson et al. 2022, "In-context Learning and Induction
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
MATCH_LINE = 24.0  # of the line that is asked for
BACK = 4.0  # size of the biases that look back by a fixed number of tokens
AROUND = 9.0  # size of the biases that look at a stretch of tokens
AWAY = 2.5  # size of the biases that keep a token from matching itself
READ = 8.0  # attention score of a vote for a label code
SHARED = 0.7  # what the embeddings of the label codes have in common, of their length
KIN = 0.6  # what the embeddings of "word", " word" and " Word" have in common, of their length
REACH = 400  # tokens over which a match must hold
OPENS = 25.0  # score of a place right after a token that opens a value, such as a colon, or ends a line
PARTS = 6  # of the residual stream
FADED = {4: 0.35, 5: 0.3}  # what is left of a part's length in late layers, measured on fresh weights
PAIR = 0.8  # how much the token before counts in a match of two, beside the token itself
NEAR = 0.05  # radians a token of the fastest pair that prefers the last line to the ones before
FIELD, QUESTION = (5, 0.07), (13, 0.05)  # tokens back to the middle of a stretch, and its fastest pair
GATHERED = 4.0  # a mean over a stretch, of which a few tokens tell the line, is written so much larger


@dataclass(frozen=True, slots=True)
class Spaces:
    """Orthonormal rows [head_dim, hidden_size], of the lines [head_dim / 2, hidden_size]: the parts of the
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
    that open a value; tokens that end a line."""

    codes: Sequence[int]
    kin: Sequence[Sequence[int]] = ()
    openers: Sequence[int] = ()
    enders: Sequence[int] = ()


@torch.no_grad()  # type: ignore[untyped-decorator]
def give(model: LlamaForCausalLM, words: Words) -> None:
    """Writes the circuits into fresh weights.

    Needs six layers, at least four key-value heads with two queries each, and hidden_size ≥ 5 · head_dim.
    """
    config = model.config
    width, size = config.hidden_size, config.head_dim
    random = torch.Generator().manual_seed(0)
    basis = _orthonormal(width, random)
    token, before, earlier, vote, lines = (basis[part * size : (part + 1) * size] for part in range(5))
    common = token.T @ torch.randn(size, generator=random)
    half = size // 2
    spaces = Spaces(token, before, earlier, vote, lines[:half], lines[half:], common / common.norm())
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(DAMP)
        layer.mlp.down_proj.weight.mul_(DAMP)
    _embeddings(model, spaces, words, random)
    pick, drawn = _orthonormal(size, random), _orthonormal(size, random)
    layers = [Heads(model, layer) for layer in range(6)]
    _copy_back(layers[0], spaces)
    for heads in layers[1:3]:
        _match(heads, spaces, pick)
    _read(layers[3], spaces)
    if words.enders and words.openers:
        table = model.model.embed_tokens.weight
        _lines(layers[1], spaces, table[list(words.enders)].mean(0), drawn)
        _take_line(layers[2], spaces, pick)
        _gather(layers[3], spaces)
        for heads in layers[4:6]:
            _say_value(heads, spaces, table[list(words.openers)].mean(0))
        _go_on(layers[5], spaces, pick)


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
        # of one of the equal parts of a normalised state; it falls as layers add to the others
        self.length = (config.hidden_size / PARTS) ** 0.5 * FADED.get(layer, 1.0)
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

    def prefer(
        self, head: int, index: int, number: int, space: torch.Tensor, wanted: torch.Tensor, token: torch.Tensor
    ) -> None:
        """Query `index` prefers places where `space` [head_dim, hidden_size] holds the token `wanted`."""
        amount = OPENS**0.5 * self.size**0.25
        seen = (wanted / wanted.norm()) @ token.T @ space
        self.attention.k_proj.weight[self.key(head)][number] = seen * amount / self.length
        self.attention.q_proj.bias[self.query(head, index)][number] = amount

    def carry(
        self, head: int, indices: Sequence[int], read: torch.Tensor, write: torch.Tensor, amount: float
    ) -> None:
        """What places hold in `read` [≤ head_dim, hidden_size] is written into `write`, alike in shape."""
        rows = self.key(head)
        self.attention.v_proj.weight[rows][: len(read)] = read
        written = torch.zeros(self.size, self.width)
        written[: len(write)] = write
        for index in indices:
            self.write(head, index, written, amount * 0.7 * self.written / self.length)

    def write(self, head: int, index: int, space: torch.Tensor, amount: float) -> None:
        self.attention.o_proj.weight[:, self.query(head, index)] = space.T * amount


def _embeddings(
    model: LlamaForCausalLM, spaces: Spaces, words: Words, random: torch.Generator
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


def _lines(heads: Heads, spaces: Spaces, ender: torch.Tensor, drawn: torch.Tensor) -> None:
    """Head 3: each token takes the first token of its line."""
    head, weights = 3, heads.attention
    weights.k_proj.weight[heads.key(head)] *= 0.02
    weights.q_proj.weight[heads.query(head, 0)] *= 0.02
    heads.look_around(head, 0, 0, NEAR, AROUND)
    heads.prefer(head, 0, heads.size - 1, spaces.before, ender, spaces.token)
    heads.carry(head, (0,), drawn[: len(spaces.line)] @ spaces.token, spaces.line, 1.4)


def _take_line(heads: Heads, spaces: Spaces, pick: torch.Tensor) -> None:
    """Head 3: a token finds its own earlier place, and takes the line of that place."""
    head, weights = 3, heads.attention
    token = pick[: len(heads.slow)] @ spaces.token
    share = len(token) / heads.size
    heads.compare(weights.k_proj.weight, heads.key(head), token, share)
    heads.compare(weights.q_proj.weight, heads.query(head, 0), token, share)
    heads.look_back(head, 0, 0, -AWAY, slice(0, 8))
    heads.carry(head, (0,), spaces.line, spaces.asked, 1.0)


def _gather(heads: Heads, spaces: Spaces) -> None:
    """Head 3: the lines that the tokens of a stretch have taken: of a question, or of a field's name."""
    head, weights = 3, heads.attention
    weights.k_proj.weight[heads.key(head)] *= 0.02
    for index, (middle, fastest) in enumerate((QUESTION, FIELD)):
        weights.q_proj.weight[heads.query(head, index)] *= 0.02
        heads.look_around(head, index, middle, fastest, AROUND)
    heads.carry(head, (0, 1), spaces.asked, spaces.asked, GATHERED)


def _say_value(heads: Heads, spaces: Spaces, opener: torch.Tensor) -> None:
    """Head 0, query 0: the place of the asked line right after `opener` [hidden_size]; says its token."""
    weights = heads.attention
    fits = min(len(heads.slow) - 2, len(spaces.line))
    share = fits / len(spaces.line)
    heads.compare(weights.k_proj.weight, heads.key(0), spaces.line[:fits], share, MATCH_LINE)
    heads.compare(weights.q_proj.weight, heads.query(0, 0), spaces.asked[:fits], share, MATCH_LINE)
    weights.v_proj.weight[heads.key(0)] = spaces.token
    heads.prefer(0, 0, heads.size - 1, spaces.before, opener, spaces.token)
    heads.write(0, 0, spaces.token, heads.written / heads.length)


def _go_on(heads: Heads, spaces: Spaces, pick: torch.Tensor) -> None:
    """Head 0, query 1: the place of the asked line that this token stands before."""
    weights = heads.attention
    fits = min(len(heads.slow) - 2, len(spaces.line))
    heads.compare(
        weights.q_proj.weight, heads.query(0, 1), spaces.asked[:fits], fits / len(spaces.line), MATCH_LINE
    )
    chosen = pick[:fits]
    scale = (MATCH * heads.size**0.5 / (heads.length**2 * fits / heads.size)) ** 0.5
    slow = torch.tensor(heads.slow[:fits])
    weights.k_proj.weight[heads.key(0).start + slow] += chosen @ spaces.before * scale
    weights.q_proj.weight[heads.query(0, 1).start + slow] += chosen @ spaces.token * scale
    heads.write(0, 1, spaces.token, heads.written / heads.length)


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
