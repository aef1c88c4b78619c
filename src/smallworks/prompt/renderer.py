"""The one renderer: task and text to a finished prompt, or to a row for training. Every stage calls this.

Knows nothing of engines. What training sees before the answer is `.prompt(text).ids` itself, not a
second rendering that might differ.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from smallworks.errors import ModelError, RequestError
from smallworks.files import canonical
from smallworks.prompt import render
from smallworks.prompt.controls import Controls
from smallworks.prompt.template import Template
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.seams import Tokenizer
from smallworks.types import Message, Prompt, PromptSpec

_PLACE = "ANSWER-GOES-HERE"


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """Prompt and answer as one sequence; `supervised` marks the answer and its end-of-turn token.

    `supervised` has the length of `ids`; the prompt's ids come first and are never supervised. `shares` is
    how probable a teacher holds each label, in the order of the choices, and sums to 1: where it stands, the
    first supervised token is learned from it instead of from the id that is there.
    """

    ids: tuple[int, ...]
    supervised: tuple[bool, ...]
    shares: tuple[float, ...] = ()


class Renderer:
    """Renders one task for one model; safe to share between threads.

    Without template and tokenizer: raw style (linear, encoders) gives the text, chat style
    (remote engines) gives messages and their plain text.
    """

    def __init__(
        self,
        spec: PromptSpec,
        template: Template | None = None,
        tokenizer: Tokenizer | None = None,
        *,
        controls: Controls | None = None,
    ) -> None:
        if (template is None) != (tokenizer is None):
            raise ModelError(
                "A template and a tokenizer belong together, and one is missing.",
                fix="Give both, or neither.",
            )
        self.spec = spec
        self.template = template
        self.tokenizer = tokenizer
        self._controls = controls
        if controls is None and tokenizer is not None and template is not None:
            self._controls = Controls(tokenizer, template)
        frame = render.frame(spec)
        self._frame = render.Frame(earlier=self._clean(frame.earlier), before=frame.before, after=frame.after)

    def with_spec(self, spec: PromptSpec) -> Renderer:
        """The same model with another task or other shots; cheap enough for every request."""
        return Renderer(spec, self.template, self.tokenizer, controls=self._controls)

    def prompt(self, text: str, *, limit: int | None = None) -> Prompt:
        """The finished prompt for one input. Raises RequestError when it takes more than `limit` tokens."""
        turns = self._frame.messages(text)
        prompt = self._finish((*turns[:-1], *self._clean(turns[-1:])))
        if limit is not None and len(prompt.ids) > limit:
            raise RequestError(
                f"The prompt takes {len(prompt.ids)} tokens, and {limit} fit.",
                fix="Shorten the input, or take a model with a longer context.",
            )
        return prompt

    def fit(self, text: str, limit: int) -> str:
        """The longest beginning of `text` whose prompt takes at most `limit` tokens.

        The whole text where it fits; a caller that gets less must say so. Raises RequestError when
        not even the instruction fits.
        """
        if self.tokenizer is None or len(self.prompt(text).ids) <= limit:
            return text
        self.prompt("", limit=limit)
        fits, over = 0, len(text)
        while over - fits > 1:
            middle = (fits + over) // 2
            if len(self.prompt(text[:middle]).ids) <= limit:
                fits = middle
            else:
                over = middle
        return text[:fits]

    def chat(self, messages: Sequence[Message]) -> Prompt:
        """The finished prompt for a free conversation, as the client sent it."""
        if self.spec.style == "raw":
            raise RequestError(
                "This model takes one text and cannot hold a conversation.", fix="Send the text alone."
            )
        return self._finish(self._clean(messages))

    def training(
        self, text: str, answer: str, probabilities: Mapping[str, float] | None = None
    ) -> TrainingRow:
        """Ids of prompt, answer and end of turn; what a template writes after the end of turn is left out.

        `probabilities` are a teacher's, by label; those of labels that the task lacks are left out.
        """
        prompt = self.prompt(text)
        said = self._clean([Message(role="assistant", content=self.answer_text(answer))])[0].content
        tail = self._following(prompt, said + self.end_of_turn)
        return TrainingRow(
            ids=(*prompt.ids, *tail),
            supervised=(False,) * len(prompt.ids) + (True,) * len(tail),
            shares=render.shares(self.spec, probabilities or {}),
        )

    def answer_text(self, output: str) -> str:
        """What the model should say: a label's code, canonical JSON, or the text itself."""
        return render.answer_text(self.spec, output)

    def fits(self, prompt: Prompt, max_tokens: int, context: int) -> bool:
        """Whether prompt and answer fit; `context` 0 means that the engine has no tokens."""
        return context == 0 or len(prompt.ids) + max_tokens <= context

    @cached_property
    def end_of_turn(self) -> str:
        """What the template writes after an answer, through its first control token, e.g. '<|im_end|>'.

        A template that writes none ends with the model's end-of-text token.
        """
        template, _, controls = self._model()
        turns = [Message(role="user", content="x"), Message(role="assistant", content=_PLACE)]
        _, place, after = template.render(turns, add_generation_prompt=False).rpartition(_PLACE)
        found = controls.find(after)
        if place and found:
            return after[: found.end()]
        if "eos_token" in template.special:
            return template.special["eos_token"]
        raise ModelError(
            "The chat template ends an answer with no control token, and the model names no eos_token.",
            fix="Add eos_token to tokenizer_config.json in the model's folder.",
        )

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer: the template's end of turn first, then the model's own."""
        template, tokenizer, _ = self._model()
        if isinstance(tokenizer, TextTokenizer):
            own: Sequence[int] = tokenizer.eos_ids
        else:
            own = tokenizer.encode(template.special.get("eos_token", ""))
        return tuple(dict.fromkeys((tokenizer.encode(self.end_of_turn)[-1], *own)))

    @cached_property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema with sorted keys: a constrained answer then keeps the order of the trained ones."""
        if self.spec.schema is None:
            return None
        ordered: dict[str, Any] = json.loads(canonical(self.spec.schema))
        return ordered

    def _finish(self, messages: tuple[Message, ...]) -> Prompt:
        if self.template is None or self.tokenizer is None:
            return Prompt(text="\n\n".join(m.content for m in messages), messages=messages)
        text = messages[-1].content if self.spec.style == "raw" else self.template.render(messages)
        return Prompt(text=text, ids=tuple(self.tokenizer.encode(text)), messages=messages)

    def _clean(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        if self._controls is None:
            return tuple(messages)
        neutral = self._controls.neutralise
        return tuple(Message(role=m.role, content=neutral(m.content)) for m in messages)

    def _following(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        """Ids of `text` after the prompt's own ids, which stay as they are when the two would merge."""
        _, tokenizer, _ = self._model()
        size = len(prompt.ids)
        joint = tuple(tokenizer.encode(prompt.text + text))
        return joint[size:] if joint[:size] == prompt.ids else tuple(tokenizer.encode(text))

    def _model(self) -> tuple[Template, Tokenizer, Controls]:
        if self.template is None or self.tokenizer is None or self._controls is None:
            raise ModelError(
                "Training rows and stop tokens need the model's template and tokenizer.",
                fix="Choose a base model that has both.",
            )
        return self.template, self.tokenizer, self._controls


def prompt_hash(prompt: Prompt) -> str:
    """Hex SHA-256 of text and ids: equal exactly when the model sees the same prompt."""
    digest = hashlib.sha256(prompt.text.encode())
    digest.update(b"\0" + array("I", prompt.ids).tobytes())
    return digest.hexdigest()
