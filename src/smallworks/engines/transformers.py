"""The reference engine: a causal LM of transformers in this process. Every other engine is compared with it.

Local safetensors only: no network, no code of the model's own. Knows nothing of templates; prompts
arrive as token ids. Requests interleave: the lock is held for one forward pass at a time.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Literal

from smallworks import settings
from smallworks.engines import adapter as adapters
from smallworks.engines import shape
from smallworks.engines.sampler import Sampler
from smallworks.engines.schema import Grammars
from smallworks.engines.scoring import Scorer
from smallworks.engines.stops import StopScanner
from smallworks.errors import MissingExtra, ModelError, RequestError
from smallworks.prompt.detokenizer import Detokenizer
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.types import Choices, Chunk, Completion, Finish, Prompt, Sampling

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

DType = Literal["auto", "float32", "bfloat16"]
Quantization = Literal["int8", "nf4"]

SMALL = 300_000_000
"""Parameters below which float32 is affordable on a CPU, and then the default."""
CHUNK = 512
"""Prompt tokens computed between two looks at `cancel`."""


class Transformers:
    """Implements seams.Model over the model in `folder`, with a LoRA adapter merged into it if given.

    `dtype` 'auto' is float32 for models under 300 M parameters on a CPU and bfloat16 otherwise;
    `quantization` needs bitsandbytes. `device` 'auto' takes a GPU where there is one.
    """

    engine = "transformers"

    def __init__(
        self,
        folder: Path,
        *,
        adapter: Path | None = None,
        dtype: DType = "auto",
        quantization: Quantization | None = None,
        threads: int | None = None,
        device: Literal["cpu", "auto"] = "cpu",
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtra("torch", extra="train", wanted_for="The transformers engine") from error
        torch.set_num_threads(threads or settings.load().threads)
        self._folder = folder
        self._tokenizer = TextTokenizer.load(folder)
        self._model: Any = _load(folder, dtype=dtype, quantization=quantization, device=device)
        if adapter is not None:
            if quantization:
                raise ModelError(
                    f"An adapter cannot be merged into {quantization} weights.",
                    fix="Leave out the quantization, or merge the adapter into the base first.",
                )
            adapters.merge(self._model, adapter)
        self.context: int = shape.read(folder).context
        self._scorer = Scorer(self._model)
        self._grammars = Grammars(self._tokenizer)
        self._lock = Lock()

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        *_, last = self.stream(prompt, sampling, cancel=cancel)
        assert last.completion is not None
        return last.completion

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        ids = self._ids(prompt)
        # A model's own end of text always ends an answer, as in every other engine.
        sampling = replace(
            sampling, stop_ids=tuple(dict.fromkeys((*sampling.stop_ids, *self._tokenizer.eos_ids)))
        )
        steps = _Steps(self, ids, sampling, cancel or Event())
        return _chunks(steps, ids, sampling, Detokenizer(self._tokenizer))

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        import numpy as np
        import torch

        if len(choices.ids) != len(choices.labels):
            raise RequestError(
                f"{len(choices.labels)} labels have {len(choices.ids)} token ids; this engine scores tokens.",
                fix="Give the label codes with the ids of this model's tokenizer.",
            )
        out = np.zeros((len(prompts), len(choices.labels)))
        rows = [self._ids(prompt) for prompt in prompts]
        if not rows:
            return out
        with self._lock:
            self._alive()
            self._scorer.prepare(rows)
            for batch in self._scorer.batches(rows):
                logits = self._scorer.logits([rows[index] for index in batch])[:, list(choices.ids)]
                out[batch] = torch.log_softmax(logits.to("cpu", torch.float64), dim=-1).numpy()
        return out

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text))

    def close(self) -> None:
        with self._lock:
            self._model = None
            self._scorer = Scorer(None)

    def forward(self, ids: Sequence[int], cache: Any) -> Tensor:
        """Logits [vocabulary] after `ids`, which `cache` (a DynamicCache) then holds too."""
        import torch

        with self._lock, torch.inference_mode():
            self._alive()
            tensor = torch.tensor([list(ids)], device=self._model.device)
            out = self._model(input_ids=tensor, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits: Tensor = out.logits[0, -1]
        return logits

    def cache(self) -> Any:
        from transformers import DynamicCache

        with self._lock:
            return DynamicCache(config=self._alive().config)

    def constraint(self, sampling: Sampling) -> Any:
        if sampling.schema is None:
            return None
        return self._grammars.start(sampling.schema, sampling.stop_ids)

    def _alive(self) -> Any:
        if self._model is None:
            raise ModelError(f"The engine over '{self._folder}' is closed.", fix="Load the model again.")
        return self._model

    def _ids(self, prompt: Prompt) -> tuple[int, ...]:
        ids = prompt.ids or tuple(self._tokenizer.encode(prompt.text))
        if not ids:
            raise RequestError("The prompt is empty.", fix="Give at least one token.")
        if len(ids) >= self.context:
            raise RequestError(
                f"The prompt takes {len(ids)} tokens; the model's context is {self.context}.",
                fix="Shorten the input, or choose a base with a longer context.",
            )
        return ids


class _Steps:
    """The tokens of one answer, one at a time; `finish` says why they ended."""

    def __init__(self, engine: Transformers, ids: tuple[int, ...], sampling: Sampling, cancel: Event) -> None:
        self._engine = engine
        self._ids = ids
        self._sampling = sampling
        self._cancel = cancel
        self._constraint = engine.constraint(sampling)
        self.finish: Finish = "length"

    def __iter__(self) -> Iterator[int]:
        sampler, cache = Sampler(self._sampling), self._engine.cache()
        todo = list(self._ids)
        for _ in range(min(self._sampling.max_tokens, self._engine.context - len(self._ids))):
            logits = self._advance(todo, cache)
            if logits is None:
                self.finish = "cancelled"
                return
            token = sampler.draw(logits, self._constraint and self._constraint.allowed(len(logits)))
            if token in self._sampling.stop_ids:
                self.finish = "stop"
                return
            if self._constraint:
                self._constraint.take(token)
            yield token
            if self._constraint and self._constraint.done:
                self.finish = "stop"
                return
            todo = [token]

    def _advance(self, ids: list[int], cache: Any) -> Tensor | None:
        """Logits after `ids`, computed in chunks; None when cancelled before the end."""
        logits = None
        for start in range(0, len(ids), CHUNK):
            if self._cancel.is_set():
                return None
            logits = self._engine.forward(ids[start : start + CHUNK], cache)
        return logits


def _chunks(
    steps: _Steps, ids: tuple[int, ...], sampling: Sampling, detokenizer: Detokenizer
) -> Iterator[Chunk]:
    scanner, taken, texts = StopScanner(sampling.stop), list[int](), list[str]()
    for token in steps:
        taken.append(token)
        piece = scanner.push(detokenizer.push([token]))
        if piece:
            texts.append(piece)
            yield Chunk(text=piece)
        if scanner.found:
            break
    rest = "" if scanner.found else scanner.push(detokenizer.flush())
    rest += "" if scanner.found else scanner.flush()
    texts.append(rest)
    yield Chunk(
        text=rest,
        completion=Completion(
            text="".join(texts),
            finish="stop" if scanner.found else steps.finish,
            tokens_in=len(ids),
            tokens_out=len(taken),
            ids=tuple(taken),
        ),
    )


def _load(folder: Path, *, dtype: DType, quantization: Quantization | None, device: str) -> Any:
    import torch

    facts = shape.read(folder)
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtra("transformers", extra="train", wanted_for="The transformers engine") from error
    logging.disable_progress_bar()
    place = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
    chosen = resolve(dtype, parameters=facts.parameters, device=place)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, chosen),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            device_map=place if quantization else None,
            quantization_config=_bits(quantization),
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"transformers cannot load '{folder}': {str(error).splitlines()[0][:200]}.",
            fix="Check that the folder is a complete causal language model that this transformers knows.",
        ) from error
    if lost := info["missing_keys"]:
        raise ModelError(
            f"The weights at '{folder}' lack {len(lost)} of the model's tensors, e.g. '{min(lost)}'.",
            fix="Download the model again.",
        )
    return (model if quantization else model.to(place)).eval()


def resolve(dtype: DType, *, parameters: int, device: str = "cpu") -> Literal["float32", "bfloat16"]:
    """The number type that 'auto' means for a model of this size on this device."""
    if dtype != "auto":
        return dtype
    return "float32" if device == "cpu" and parameters < SMALL else "bfloat16"


def _bits(quantization: Quantization | None) -> Any:
    if quantization is None:
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("bitsandbytes", extra="train", wanted_for=f"Loading in {quantization}")
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
