"""A draft model would not make the starter faster, so none comes with it.

Measured: CPU time in llama.cpp (one thread, f16) of an answer of 96 tokens that copies a fact sheet: plain;
with the next tokens guessed from the prompt's own n-grams, which costs nothing; and with the starter as its
own draft, whose guesses are right: what any draft could gain at most, but for its own time.
Against: plain decoding in the same run. Not covered: GPUs, several threads, other bases; drafts that were
trained for it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.claim import Finding, Say
from smallworks import starter
from smallworks.compress.gguf import convert
from smallworks.engines import llamacpp_server

UNIT = "times the speed of plain decoding, the better of the two"
GOAL = "below 1.3 with guesses that cost nothing, below 1 with a perfect draft: then none is shipped"
FREE, DRAFT = 1.3, 1.0
TOKENS, GUESSED, ROUNDS = 96, 4, 9
FACTS = """\
Name: Brightwater Lending Society
Founded: 14 March 1987
Town: Oakfield Springs
Members: 12,430
Chair: Marian Holloway
Telephone: 020 7946 0301
Opens: Monday to Friday, 9:00 to 17:30"""
PROMPT = f"<|im_start|>user\nRepeat the facts.\n\n{FACTS}<|im_end|>\n<|im_start|>assistant\n{FACTS}\nName:"


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        file = convert(starter.MODEL, Path(scratch) / "starter.gguf", "f16", lambda *_: None)
        found = {kind: _answered(file, kind) for kind in ("plain", "n-grams", "itself")}
    plain = found["plain"]["seconds"]
    for kind, one in found.items():
        one["ratio"] = round(plain / one["seconds"], 2)
        say(f"{kind}: {one['ratio']}× plain, {one['accepted']} of {one['guessed']} guesses right")
    free, own = found["n-grams"]["ratio"], found["itself"]["ratio"]
    return Finding(
        value=max(free, own),
        holds=free < FREE and own < DRAFT,
        against={"name": "plain decoding, same run", "tokens_per_second": round(TOKENS / plain)},
        details=found,
    )


def _answered(file: Path, kind: str) -> dict[str, Any]:
    """The median CPU seconds of ROUNDS answers after a first one, and how many guesses were right."""
    import xllamacpp

    types = xllamacpp.common_speculative_type
    params = llamacpp_server._params(file, context=1024, slots=1, threads=1, exact_cache=True)
    if kind == "n-grams":
        params.speculative.types = [types.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    elif kind == "itself":
        params.speculative.types = [types.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        params.speculative.draft.mparams.path = str(file)
        params.speculative.draft.n_max = GUESSED
    server = xllamacpp.Server(params)
    request = {"prompt": PROMPT, "n_predict": TOKENS, "cache_prompt": True, "ignore_eos": True}
    request |= {"samplers": ["top_k"], "top_k": 1}
    taken, told = [], {}
    for _ in range(1 + ROUNDS):
        start = time.process_time()
        told = server.handle_completions(dict(request))["timings"]
        taken.append(time.process_time() - start)
    return {
        "seconds": median(taken[1:]),
        "guessed": told.get("draft_n") or 0,
        "accepted": told.get("draft_n_accepted") or 0,
    }
