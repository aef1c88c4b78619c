"""What a tuning cost elsewhere: the loss on general text, and on the base's own answers, before and after.

Both rise when a model forgets: the first says that it reads plain text worse, the second how far it has
moved from how it used to speak. Only ever run in a child; knows nothing of the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from smallworks.engines import adapter as adapters
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.tune import weights
from smallworks.tune.options import Forgetting, TuneOptions

SAMPLE = Path(__file__).with_name("general.txt")
"""Text of our own: tales, facts, instructions, letters, a little code. It never changes."""
LONGEST = 256
"""Tokens of a paragraph that are read."""
ASKED, ANSWERED = 12, 24
"""Tokens of a paragraph that the base goes on from, and of its answer."""


def measure(base: Path, tuned: Path, options: TuneOptions) -> dict[str, Any]:
    """A `Forgetting` of the weights in `tuned` as they will be frozen, over the base's own precision."""
    tokenizer = TextTokenizer.load(base)
    texts = SAMPLE.read_text(encoding="utf-8").strip().split("\n\n")
    general = [tokenizer.encode(text)[:LONGEST] for text in texts]
    model = weights.whole(base)
    own = [_answer(model, ids[:ASKED]) for ids in general]
    before = _loss(model, general, 1), _loss(model, own, ASKED)
    if options.part == "adapter":
        adapters.merge(model, tuned)
    else:
        del model
        model = weights.whole(tuned)
    after = _loss(model, general, 1), _loss(model, own, ASKED)
    return asdict(
        Forgetting(general_before=before[0], general_after=after[0], own_before=before[1], own_after=after[1])
    )


def _answer(model: Any, ids: Sequence[int]) -> list[int]:
    """`ids` and what the model itself says after them, greedily."""
    given = torch.tensor([list(ids)], device=model.device)
    with torch.inference_mode():
        said = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=ANSWERED,
            min_new_tokens=ANSWERED,
            do_sample=False,
            pad_token_id=0,
        )
    answer: list[int] = said[0].tolist()
    return answer


def _loss(model: Any, rows: Sequence[Sequence[int]], start: int) -> float:
    """Nats a token, those before `start` only read."""
    total, count = 0.0, 0
    for row in rows:
        ids = torch.tensor(list(row), device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids[None], use_cache=False).logits[0, start - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits.float(), ids[start:], reduction="sum"))
        count += len(ids) - start
    return total / count
