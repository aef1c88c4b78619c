"""Measures a starter model: bits per byte on held-out text, zero-shot accuracy on held-out WordNet labels."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from training.starter import corpora, documents, encoding
from training.starter.curriculum import topics
from training.starter.curriculum.classify import Problem, described
from training.starter.curriculum.labels import CODES, code, first_turn

SEED = 7


@dataclass(frozen=True, slots=True)
class Accuracy:
    right: int
    rows: int
    chance: float


def bits_per_byte(
    model: LlamaForCausalLM, tokenizer: Tokenizer, chunks: Sequence[str], length: int = 256
) -> float:
    """Rows of `length` tokens, each predicted from its own start."""
    bits, size = 0.0, 0
    for chunk in chunks:
        ids = encoding.document(tokenizer, chunk)
        for start in range(0, len(ids) - 1, length):
            row = torch.tensor([ids[start : start + length + 1]])
            with torch.no_grad():
                logits = model(row[:, :-1]).logits.float()
            nats = torch.nn.functional.cross_entropy(logits[0], row[0, 1:], reduction="sum")
            bits += nats.item() / math.log(2)
        size += len(chunk.encode())
    return bits / size


def accuracy(model: LlamaForCausalLM, tokenizer: Tokenizer, problems: Sequence[Problem]) -> Accuracy:
    """The likeliest of the listed codes, over the first item of each problem."""
    right, chance = 0, 0.0
    for problem in problems:
        text, label = problem.items[0]
        user = first_turn(problem.instruction, problem.labels, text)
        ids = torch.tensor([encoding.prompt(tokenizer, user)])
        with torch.no_grad():
            logits = model(ids, logits_to_keep=1).logits[0, -1]
        listed = [tokenizer.token_to_id(letter) for letter in CODES[: len(problem.labels)]]
        right += CODES[int(logits[listed].argmax())] == code(problem.labels, label)
        chance += 1 / len(problem.labels)
    return Accuracy(right, len(problems), chance / len(problems))


def topic_problems(
    glosses: Sequence[corpora.Gloss], held_out_labels: bool, rows: int, labels: int
) -> list[Problem]:
    """Each gloss once, among `labels` topics; the topics are either all trained or all held out."""
    random = Random(SEED)
    names = sorted(topic for topic in topics.NAMES if (topic in topics.HELD_OUT) == held_out_labels)
    chosen = [gloss for gloss in topics.short(glosses) if topics.is_held_out(gloss) and gloss.topic in names]
    problems = []
    for gloss in random.sample(chosen, min(rows, len(chosen))):
        others = random.sample([topic for topic in names if topic != gloss.topic], labels - 1)
        order = [topics.NAMES[topic][0] for topic in random.sample([gloss.topic, *others], labels)]
        item = (described(gloss), topics.NAMES[gloss.topic][0])
        problems.append(Problem("What kind of thing is described?", tuple(order), (item,)))
    return problems


def figures(
    model: LlamaForCausalLM, tokenizer: Tokenizer, source: corpora.Corpora, rows: int = 500
) -> dict[str, float]:
    """Every figure of the card, by name."""
    model.eval()
    held_out = documents.build(source).held_out
    found = {
        f"bits_per_byte/{name}": bits_per_byte(model, tokenizer, chunks[:20])
        for name, chunks in held_out.items()
        if chunks
    }
    problems: Mapping[str, list[Problem]] = {
        "trained_labels_new_texts": topic_problems(source.glosses, False, rows, 4),
        "held_out_labels": topic_problems(source.glosses, True, rows, 4),
    }
    for name, listed in problems.items():
        measured = accuracy(model, tokenizer, listed)
        found[f"accuracy/{name}"] = measured.right / measured.rows
        found[f"rows/{name}"] = measured.rows
        found[f"chance/{name}"] = measured.chance
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = LlamaForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    print(json.dumps(figures(model, tokenizer, corpora.read(arguments.corpora)), indent=1))


if __name__ == "__main__":
    main()
