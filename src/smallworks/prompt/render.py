"""A task and a text as messages: the one wording of every prompt, and of the answer that belongs to it.

Knows nothing of templates or tokens. The starter is trained on these very forms: a changed character
here is a changed model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from smallworks.errors import DataError, ModelError, nearest
from smallworks.files import canonical
from smallworks.types import Choices, Message, PromptSpec


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Everything around the input text: earlier turns, and the words before and after it in the last one."""

    earlier: tuple[Message, ...]
    before: str
    after: str

    def messages(self, text: str) -> tuple[Message, ...]:
        return (*self.earlier, Message(role="user", content=self.before + text + self.after))


def messages(spec: PromptSpec, text: str) -> tuple[Message, ...]:
    """The conversation that asks for the answer to `text`; raw style passes the text through."""
    return frame(spec).messages(text)


def frame(spec: PromptSpec) -> Frame:
    """The fixed part of every prompt of a task. The first user turn carries instruction and labels."""
    if spec.style == "raw":
        return Frame(earlier=(), before="", after="")
    head, (before, after) = _head(spec), _around(spec)
    turns: list[Message] = []
    for text, answer in spec.shots:
        opening = "" if turns else head
        turns.append(Message(role="user", content=opening + before + text + after))
        turns.append(Message(role="assistant", content=answer_text(spec, answer)))
    return Frame(earlier=tuple(turns), before=before if turns else head + before, after=after)


def answer_text(spec: PromptSpec, output: str) -> str:
    """What the model says for an expected output: a label's code, canonical JSON, or the text itself."""
    if spec.style == "raw":
        return output
    if spec.kind == "classify":
        choices = _choices(spec)
        if output not in choices.labels:
            raise DataError(
                f"'{output}' is not one of the task's labels.", fix=nearest(output, choices.labels)
            )
        return (choices.codes or choices.labels)[choices.labels.index(output)]
    if spec.kind == "extract":
        return _canonical_json(output)
    return output


def shares(spec: PromptSpec, probabilities: Mapping[str, float]) -> tuple[float, ...]:
    """What each label of a classification has of `probabilities`, in their order and summing to 1.

    Empty where none of them speaks for a label, or the labels have no codes.
    """
    if spec.kind != "classify" or not _choices(spec).codes:
        return ()
    given = [probabilities.get(label, 0.0) for label in _choices(spec).labels]
    total = sum(given)
    return tuple(share / total for share in given) if total > 0 else ()


def _head(spec: PromptSpec) -> str:
    parts = [spec.instruction] if spec.instruction else []
    if spec.kind == "classify" and spec.listed:
        parts.append("Labels:\n" + "\n".join(_label_lines(_choices(spec))))
    return "".join(part + "\n\n" for part in parts)


def _label_lines(choices: Choices) -> Iterable[str]:
    if not choices.codes:
        return (f"- {label}" for label in choices.labels)
    return (f"{code}: {label}" for code, label in zip(choices.codes, choices.labels, strict=True))


def _around(spec: PromptSpec) -> tuple[str, str]:
    if spec.kind == "classify":
        # Without codes (remote engines) the label itself is the answer.
        asked = "the code of one label" if _choices(spec).codes else "one label"
        return "Text: ", f"\n\nAnswer with {asked}."
    if spec.kind == "extract":
        return "Text: ", "\n\nAnswer with JSON."
    return "", ""


def _choices(spec: PromptSpec) -> Choices:
    if spec.choices is None or not spec.choices.labels:
        raise ModelError(
            "The prompt of a classify task has no labels.",
            fix="List labels in task.toml, or give data that hold them.",
        )
    return spec.choices


def _canonical_json(output: str) -> str:
    try:
        return canonical(json.loads(output)).decode()
    except json.JSONDecodeError as error:
        raise DataError(
            f"The expected output {output[:80]!r} is not valid JSON: {error.msg}.",
            fix="Mend that row of the data.",
        ) from error
