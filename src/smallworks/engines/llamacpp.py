"""The default engine: GGUF files on llama.cpp. Prompts arrive as token ids; label sets are scored exactly.

Knows nothing of templates or tasks. The model's own end-of-generation tokens always end an answer,
whether or not the sampling lists them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import numpy as np

from smallworks import settings
from smallworks.engines import gguf_file
from smallworks.engines.footprint import EXACT_CACHE
from smallworks.engines.llamacpp_answer import Answer
from smallworks.engines.llamacpp_server import Server
from smallworks.engines.schema import fits, usable
from smallworks.errors import ModelError, RequestError, SmallworksError
from smallworks.seams import Ability
from smallworks.types import Choices, Chunk, Completion, Prompt, Sampling

LARGEST_DEFAULT_CONTEXT = 4096
SLOTS = 4
"""Sequences at once, each with room for a whole context."""
BIAS = 50.0
"""Added to the logits of label codes: enough to lift them over all others, little enough for float32."""
TOP_K = 1024
"""Candidates that a draw considers: sorting a whole vocabulary of 150,000 costs 20 ms a token, this 1."""
LEAST = 1e-45
"""Probability given to a code that underflowed float32."""
CONTROL = 3
"""llama.cpp's type for tokens that are never text."""


class LlamaCpp:
    """Implements seams.Model over a GGUF file, with GGUF adapters applied at the given scales.

    `context` is tokens of prompt and answer per request, 0 for the model's own up to 4,096; memory for
    `slots` requests at once is taken up front. `threads` defaults to the settings'.
    """

    engine = "llamacpp"
    abilities: frozenset[Ability] = frozenset({"logprobs", "logit_bias"})

    def __init__(
        self,
        path: Path,
        *,
        context: int = 0,
        slots: int = SLOTS,
        threads: int | None = None,
        loras: Sequence[tuple[Path, float]] = (),
    ) -> None:
        self.header = gguf_file.read(path)
        for lora, _ in loras:
            gguf_file.read(lora)
        self.context: int = context_of(self.header, context)
        self._server = Server(
            path,
            context=self.context,
            slots=slots,
            threads=threads or settings.load().threads,
            exact_cache=cache_bytes(self.header, self.context * slots) <= EXACT_CACHE,
            loras=[lora for lora, _ in loras],
        )
        self._scales = tuple(scale for _, scale in loras)
        self._slots = slots
        self._end: Callable[[], None] = self._server.close

    def with_scales(self, *scales: float, end: Callable[[], None] | None = None) -> LlamaCpp:
        """The same loaded model with other scales of its adapters, 0.0 for the base.

        They close together, unless `end` is what closing this one does.
        """
        if len(scales) != len(self._scales):
            raise ModelError(
                f"{len(scales)} scales for {len(self._scales)} adapters.",
                fix="Give one scale for each adapter.",
            )
        other = copy.copy(self)
        other._scales, other._end = scales, end or self._end
        return other

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        answer = self._answer(prompt, sampling)
        request = self._request(prompt, sampling)

        def take(event: Mapping[str, Any]) -> bool:
            answer.take(event)
            return answer.done or _is_set(cancel)

        if request["n_predict"] > 0:
            self._server.stream(request, self._scales, take, lambda: _is_set(cancel))
        cancelled = _is_set(cancel) or self._server.closing.is_set()
        return _held(answer.completion(cancelled=cancelled), sampling)

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        request = self._request(prompt, sampling)
        return self._chunks(request, self._answer(prompt, sampling), sampling, cancel or Event())

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        """The exact distribution over `choices.ids` after each prompt, at the cost of the prefill.

        One token is drawn with every code lifted over all other tokens, so that its reported
        probabilities are the softmax over the codes alone; checked against transformers.
        """
        if not choices.ids or len(set(choices.ids)) != len(choices.labels):
            raise RequestError(
                f"{len(choices.labels)} labels have {len(set(choices.ids))} different token ids.",
                fix="Give each label a code that is one token of this model's tokenizer.",
            )
        requests = [self._scoring(prompt, choices.ids) for prompt in prompts]

        def row(request: Mapping[str, Any]) -> list[float]:
            return _log_probabilities(self._server.complete(request, self._scales), choices.ids)

        if len(requests) < 2:
            rows = [row(request) for request in requests]
        else:
            with ThreadPoolExecutor(min(self._slots, len(requests))) as pool:
                rows = list(pool.map(row, requests))
        return np.array(rows, dtype=np.float64).reshape(len(prompts), len(choices.ids))

    def count(self, text: str) -> int:
        return len(self.tokenize(text))

    def tokenize(self, text: str, *, parse_special: bool = True) -> list[int]:
        """llama.cpp's own ids of `text`; none are added at its ends."""
        return self._server.tokenize(text, parse_special=parse_special)

    def detokenize(self, ids: Sequence[int]) -> str:
        """llama.cpp's own text of `ids`, special tokens written out."""
        return self._server.detokenize(ids)

    def close(self) -> None:
        self._end()

    @property
    def chat_template(self) -> str:
        """The Jinja source that the file carries. Raises ModelError where it carries none."""
        source = self.header.metadata.get("tokenizer.chat_template")
        if not source:
            raise ModelError(
                f"'{self.header.path}' carries no chat template.",
                fix="Take the instruct version of the model.",
            )
        return str(source)

    @property
    def special_tokens(self) -> dict[str, str]:
        """Texts of the named special tokens, e.g. {'eos_token': '<|im_end|>'}, for the chat template."""
        tokens = self.header.metadata.get("tokenizer.ggml.tokens", ())
        keys = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
        ids = {name: self.header.metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}
        return {name: tokens[id] for name, id in ids.items() if id is not None and id < len(tokens)}

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that the file itself says end an answer."""
        keys = ("eos", "eot", "eom")
        ids = (self.header.metadata.get(f"tokenizer.ggml.{key}_token_id") for key in keys)
        return tuple(dict.fromkeys(int(id) for id in ids if id is not None))

    @property
    def strips_space(self) -> bool:
        """Whether text begins with a space that its tokenizer added, which decoding takes away again."""
        metadata = self.header.metadata
        added = metadata.get("tokenizer.ggml.add_space_prefix", True)
        return metadata.get("tokenizer.ggml.model") == "llama" and bool(added)

    def _chunks(
        self, request: Mapping[str, Any], answer: Answer, sampling: Sampling, cancel: Event
    ) -> Iterator[Chunk]:
        stopped, queue = Event(), SimpleQueue[Any]()

        def gone() -> bool:
            return stopped.is_set() or cancel.is_set()

        def work() -> None:
            try:
                if request["n_predict"] > 0:
                    self._server.stream(request, self._scales, take, gone)
                queue.put(None)
            except BaseException as error:  # raised again in the reader's thread
                queue.put(error)

        def take(event: Mapping[str, Any]) -> bool:
            if text := answer.take(event):
                queue.put(Chunk(text=text, tokens=answer.told()))
            return answer.done or gone()

        Thread(target=work, name="llamacpp-stream", daemon=True).start()
        try:
            while isinstance(item := queue.get(), Chunk):
                yield item
            if item is not None:
                raise item
            rest = answer.rest()
            cancelled = cancel.is_set() or self._server.closing.is_set()
            completion = _held(answer.completion(cancelled=cancelled), sampling)
            yield Chunk(text=rest, completion=completion, tokens=answer.told())
        finally:
            stopped.set()

    def _answer(self, prompt: Prompt, sampling: Sampling) -> Answer:
        return Answer(sampling, tokens_in=len(prompt.ids), strip_space=self.strips_space)

    def _request(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        room = self._room(prompt)
        return {
            "prompt": list(prompt.ids) or prompt.text,
            "n_predict": min(sampling.max_tokens, room),
            "cache_prompt": True,
            "timings_per_token": True,
            **_telling(sampling),
            **_drawing(sampling),
            "logit_bias": [list(pair) for pair in sampling.logit_bias],
            **_constraint(sampling.schema),
        }

    def _scoring(self, prompt: Prompt, ids: Sequence[int]) -> dict[str, Any]:
        self._room(prompt)
        return {
            "prompt": list(prompt.ids) or prompt.text,
            "n_predict": 1,
            "cache_prompt": True,
            "samplers": ["top_k", "temperature"],
            "top_k": len(ids),
            "temperature": 1.0,
            "logit_bias": [[id, BIAS] for id in ids],
            "n_probs": len(ids),
            "post_sampling_probs": True,
        }

    def _room(self, prompt: Prompt) -> int:
        """Tokens left for the answer. Raises RequestError when the prompt is empty or leaves none."""
        if not prompt.ids and not prompt.text:
            raise RequestError("The prompt is empty.", fix="Give at least one token.")
        if len(prompt.ids) >= self.context:
            raise RequestError(
                f"The prompt takes {len(prompt.ids)} tokens; the model's context is {self.context}.",
                fix="Shorten the input, or choose a base with a longer context.",
            )
        return self.context - len(prompt.ids)


class GgufTokenizer:
    """Implements seams.Tokenizer by llama.cpp itself, for a GGUF file that comes without its folder."""

    def __init__(self, model: LlamaCpp | Path) -> None:
        self._model = (
            model if isinstance(model, LlamaCpp) else LlamaCpp(model, context=256, slots=1, threads=1)
        )
        metadata = self._model.header.metadata
        types = metadata.get("tokenizer.ggml.token_type", ())
        self.size: int = len(metadata.get("tokenizer.ggml.tokens", ()))
        self._control = frozenset(id for id, kind in enumerate(types) if kind == CONTROL)

    def encode(self, text: str) -> list[int]:
        return self._model.tokenize(text)

    def decode(self, ids: Sequence[int]) -> str:
        text = self._model.detokenize([id for id in ids if id not in self._control])
        return text.removeprefix(" ") if self._model.strips_space else text


def context_of(header: gguf_file.Header, wanted: int) -> int:
    """Tokens of prompt and answer per request: those wanted, 0 for as many as the file was trained on."""
    trained = int(header.of_architecture("context_length") or LARGEST_DEFAULT_CONTEXT)
    return min(wanted or LARGEST_DEFAULT_CONTEXT, trained)


def cache_bytes(header: gguf_file.Header, tokens: int) -> int:
    """Bytes of a float32 KV cache for so many tokens; more than any limit where the file does not tell."""
    layers, heads = header.of_architecture("block_count"), header.of_architecture("attention.head_count")
    if not isinstance(layers, int) or not isinstance(heads, int):
        return EXACT_CACHE + 1
    kv_heads = header.of_architecture("attention.head_count_kv", heads)
    size = (
        header.of_architecture("attention.key_length") or header.of_architecture("embedding_length") // heads
    )
    return int(tokens * layers * kv_heads * size * 2 * 4) if isinstance(kv_heads, int) else EXACT_CACHE + 1


def _telling(sampling: Sampling) -> dict[str, Any]:
    """What is told of each drawn token."""
    if sampling.logprobs is None:
        # The one most probable candidate comes along, which is how the drawn token's id is learned.
        return {"n_probs": 1, "post_sampling_probs": True}
    # The model's own distribution: llama.cpp sorts the whole vocabulary for it, so only when asked.
    return {"n_probs": max(1, sampling.logprobs), "post_sampling_probs": False}


def _drawing(sampling: Sampling) -> dict[str, Any]:
    """Which samplers run. An empty list would draw at random even at temperature 0."""
    if sampling.temperature <= 0:
        return {"samplers": ["top_k"], "top_k": 1, "temperature": 1.0}
    return {
        "samplers": ["top_k", "temperature", "top_p"],
        "top_k": TOP_K,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": -1 if sampling.seed is None else sampling.seed % 2**32,
    }


def _constraint(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Raises SchemaError for a schema that llama.cpp would ignore without a word."""
    return {} if schema is None else {"json_schema": usable(schema)}


def _held(done: Completion, sampling: Sampling) -> Completion:
    """What was answered. Raises SmallworksError where llama.cpp let go of its schema without a word."""
    if sampling.schema is None or sampling.stop or done.finish != "stop" or fits(done.text, sampling.schema):
        return done
    raise SmallworksError(
        "llama.cpp did not hold the answer to its JSON schema.", fix="Send a simpler schema."
    )


def _log_probabilities(reply: Mapping[str, Any], ids: Sequence[int]) -> list[float]:
    """Natural log-probabilities of `ids`, renormalised in float64."""
    told = reply["choices"][0]["logprobs"]
    if told is None:  # the drawn code was held back, as a byte of a character that may go on
        raise RequestError(
            f"Token ids {', '.join(map(str, ids[:8]))} … are not all whole characters.",
            fix="Give each label a code whose text stands by itself.",
        )
    entries = told["content"][0]["top_probs"]
    found = {entry["id"]: entry["prob"] for entry in entries}
    raw = [max(found.get(id, 0.0), LEAST) for id in ids]
    total = math.log(math.fsum(raw))
    return [math.log(value) - total for value in raw]


def _is_set(cancel: Event | None) -> bool:
    return cancel is not None and cancel.is_set()
