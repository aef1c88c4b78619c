"""Endless seeded streams of training batches: packed plain text, and chat padded among its like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer

from training.starter import encoding
from training.starter.config import Batch
from training.starter.curriculum.conversation import Conversation
from training.starter.documents import WEIGHTS, Documents

POOL = 512  # rows or conversations that are shuffled together
PAD_ID = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """`inputs`, `targets` int64 [rows, length]; `weights` float32 alike, 0 where nothing is learned."""

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def text(
    documents: Documents, tables: Iterator[str], tokenizer: Tokenizer, batch: Batch, seed: int
) -> Iterator[Rows]:
    """Rows of `text_length`, cut from documents and tables laid end to end and drawn from a shuffled pool."""
    random = Random(seed)
    rows = _packed(_pieces(documents, tables, tokenizer, batch.table_share, random), batch.text_length)
    pool = [next(rows) for _ in range(POOL)]
    count = batch.text_tokens // batch.text_length
    while True:
        picked = []
        for _ in range(count):
            place = random.randrange(POOL)
            picked.append(pool[place])
            pool[place] = next(rows)
        table = torch.tensor(picked)
        yield Rows(table[:, :-1], table[:, 1:], torch.ones(count, batch.text_length))


def _pieces(
    documents: Documents, tables: Iterator[str], tokenizer: Tokenizer, table_share: float, random: Random
) -> Iterator[list[int]]:
    """Token ids of about a thousand tokens: tables in their share, else documents of one source."""
    sources = [source for source, chunks in documents.training.items() if chunks]
    weights = [WEIGHTS[source] for source in sources]
    while True:
        if random.random() < table_share:
            yield _about(tables, tokenizer)
        else:
            chunks = documents.training[random.choices(sources, weights)[0]]
            yield _about(_endless(chunks, random), tokenizer)


def _endless(chunks: tuple[str, ...], random: Random) -> Iterator[str]:
    while True:
        yield random.choice(chunks)


def _packed(pieces: Iterator[list[int]], length: int) -> Iterator[list[int]]:
    buffer: list[int] = []
    for piece in pieces:
        buffer += piece
        while len(buffer) > length:
            yield buffer[: length + 1]
            buffer = buffer[length:]


def _about(texts: Iterator[str], tokenizer: Tokenizer, size: int = 1000) -> list[int]:
    """Whole texts up to `size` tokens, so that sources of short documents get their share."""
    ids: list[int] = []
    while len(ids) < size:
        ids += encoding.document(tokenizer, next(texts))
    return ids


def chat(
    conversations: Iterator[Conversation], tokenizer: Tokenizer, batch: Batch, seed: int
) -> Iterator[Rows]:
    """Right padding and causal attention: the padding is never seen, so no mask is needed."""
    random = Random(seed)
    while True:
        pool: list[encoding.Encoded] = []
        while len(pool) < POOL:
            encoded = encoding.shortened(tokenizer, next(conversations), batch.chat_length)
            if encoded is not None:
                pool.append(encoded)
        groups = list(_groups(sorted(pool, key=lambda encoded: len(encoded.ids)), batch.chat_tokens))
        random.shuffle(groups)
        yield from (_padded(group) for group in groups)


def _groups(ordered: list[encoding.Encoded], tokens: int) -> Iterator[list[encoding.Encoded]]:
    group: list[encoding.Encoded] = []
    for encoded in ordered:
        if group and (len(group) + 1) * len(encoded.ids) > tokens:
            yield group
            group = []
        group.append(encoded)
    yield group


def _padded(group: list[encoding.Encoded]) -> Rows:
    longest = max(len(encoded.ids) for encoded in group)
    ids = torch.full((len(group), longest), PAD_ID)
    weights = torch.zeros(len(group), longest)
    for row, encoded in enumerate(group):
        ids[row, : len(encoded.ids)] = torch.tensor(encoded.ids)
        weights[row, : len(encoded.ids)] = torch.tensor(encoded.weights)
    return Rows(ids[:, :-1], ids[:, 1:], weights[:, 1:])
