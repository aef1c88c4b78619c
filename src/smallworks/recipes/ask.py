"""Ask an exported model without Smallworks: texts in, one JSON answer a line out. Exports carry a copy.

    echo '"The export button does nothing."' | python ask.py

A line of input is one text as JSON. An answer has `ids` (the prompt's token ids), and `label` with the
`probabilities` of all labels, or `text`. Needs torch and transformers, or onnxruntime, tokenizers and
safetensors, as the README beside it says. Knows only the files beside it.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
RISE = 1e-6
"""How much a flat piece of the calibration's curve rises."""


def main() -> None:
    here = Path(__file__).resolve().parent
    facts = json.loads((here / "task.json").read_text(encoding="utf-8"))
    answer = fused(here, facts) if (here / "encoder.onnx").is_file() else language_model(here, facts)
    for line in sys.stdin:
        if line.strip():
            sys.stdout.write(json.dumps(answer(json.loads(line)), ensure_ascii=False) + "\n")
            sys.stdout.flush()


def language_model(folder: Path, facts: dict[str, Any]) -> Callable[[str], Answer]:
    """A causal language model of transformers: labels by the log-probabilities of their codes, or text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, facts["dtype"]), local_files_only=True
    ).eval()
    controls = sorted((t for t in tokenizer.get_added_vocab() if len(t) > 1), key=len, reverse=True)

    def answer(text: str) -> Answer:
        for token in controls:  # a text that says '<|im_end|>' must not end the turn
            text = text.replace(token, f"{token[0]} {token[1:]}")
        prompt = facts["before"] + text + facts["after"]
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            if facts["labels"]:
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1, facts["code_ids"]]
                return {"ids": ids, **labelled(torch.log_softmax(logits.double(), -1).tolist(), facts)}
            said = model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=facts["max_tokens"],
                eos_token_id=facts["stop_ids"],
                pad_token_id=facts["stop_ids"][0],
            )[0, len(ids) :]
        return {"ids": ids, "text": tokenizer.decode(said, skip_special_tokens=True)}

    return answer


def fused(folder: Path, facts: dict[str, Any]) -> Callable[[str], Answer]:
    """A sentence encoder on onnxruntime beside TF-IDF n-grams, under one linear classifier."""
    import numpy as np
    from safetensors.numpy import load_file

    tensors = load_file(folder / "linear.safetensors")
    head = json.loads((folder / "linear.json").read_text(encoding="utf-8"))
    columns = [{ngram: i for i, ngram in enumerate(block["ngrams"])} for block in head["blocks"]]
    order = [head["labels"].index(label) for label in facts["labels"]]
    embed = encoder(folder)

    def answer(text: str) -> Answer:
        margins = tensors["intercept"].astype(np.float64) + embed(text) @ tensors["embedded"]
        for i, block in enumerate(head["blocks"]):
            seen = Counter(columns[i][n] for n in NGRAMS[block["family"]](text) if n in columns[i])
            if seen:
                where = np.fromiter(seen, np.int64)
                weights = (1 + np.log(np.fromiter(seen.values(), np.float64))) * tensors[f"idf.{i}"][where]
                weights /= np.sqrt(weights @ weights)
                margins = margins + weights @ tensors[f"coefficients.{i}"][where].astype(np.float64)
        return {"ids": [], **labelled(margins[order].tolist(), facts)}

    return answer


def encoder(folder: Path) -> Callable[[str], Any]:
    """A text to its unit vector."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    facts = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(facts["max_tokens"])
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def embed(text: str) -> Any:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (hidden,) = session.run(None, {name: feeds[name] for name in names})
        pooled = hidden[0, 0] if facts["pooling"] == "cls" else hidden[0].mean(0)
        return pooled / max(float(np.linalg.norm(pooled)), 1e-12)

    return embed


def words(text: str) -> Iterator[str]:
    """Words of two or more characters, and pairs of neighbours."""
    found = re.findall(r"\b\w\w+\b", text.lower())
    yield from found
    yield from (f"{left} {right}" for left, right in pairwise(found))


def characters(text: str) -> Iterator[str]:
    """Two to five characters inside each space-padded word; a word shorter than n counts once."""
    for word in text.lower().split():
        padded = f" {word} "
        for n in range(2, 6):
            yield padded[:n]
            yield from (padded[start : start + n] for start in range(1, len(padded) - n + 1))
            if len(padded) <= n:
                break


NGRAMS: dict[str, Callable[[str], Iterator[str]]] = {"word": words, "char": characters}


def labelled(scores: list[float], facts: dict[str, Any]) -> Answer:
    """Calibrated probabilities: (log p + bias) / temperature, then the curve, each renormalised."""
    fitted = facts["calibration"]
    bias = fitted["bias"] or [0.0] * len(scores)
    logp = normalised(scores)
    p = normalised([(x + b) / fitted["temperature"] for x, b in zip(logp, bias, strict=True)])
    if fitted["isotonic"]:
        p = normalised([math.log(bent(math.exp(x), fitted["isotonic"])) for x in p])
    probabilities = dict(zip(facts["labels"], map(math.exp, p), strict=True))
    return {
        "label": max(probabilities, key=lambda label: probabilities[label]),
        "probabilities": probabilities,
    }


def bent(p: float, curve: list[list[float]]) -> float:
    """The probability that is meant where `p` is said: straight lines between the points of the curve."""
    meant = curve[0][1] if p <= curve[0][0] else curve[-1][1]
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 < p < x1:
            meant = y0 + (y1 - y0) * (p - x0) / (x1 - x0)
        elif p == x1:
            meant = y1
    return meant + RISE * p


def normalised(scores: list[float]) -> list[float]:
    """Natural log-probabilities."""
    top = max(scores)
    total = top + math.log(sum(math.exp(x - top) for x in scores))
    return [x - total for x in scores]


if __name__ == "__main__":
    main()
