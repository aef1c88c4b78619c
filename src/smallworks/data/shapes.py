"""Turn raw rows into Examples: which columns hold the input and the output, and what their cells say.

Knows neither file formats nor checks over several rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from smallworks.errors import DataError, nearest
from smallworks.files import hash_value
from smallworks.types import Columns, Example, ExampleId, Task

INPUTS = (
    "text", "input", "question", "prompt", "query", "sentence", "utterance", "message", "document", "article",
    "content", "instruction",
)  # fmt: skip
OUTPUTS = (
    "label", "output", "answer", "summary", "completion", "response", "category", "intent", "class", "target",
    "expected", "highlights",
)  # fmt: skip
"""Column names that are understood unasked, the likeliest first; case is ignored."""

PROBABILITIES = "teacher_probabilities"
"""The column of a teacher's probabilities, an object of label → number; read for `classify` alone."""

Cells = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How to read the rows of one file. `inputs` are columns; with `messages` they come from the turns."""

    inputs: tuple[str, ...]
    output: str
    id: str | None
    tags: str | None
    messages: bool = False
    alpaca: bool = False
    group: str | None = None
    document: str | None = None

    def __str__(self) -> str:
        if self.messages:
            return f"{self.inputs[0]}: user turns → input, last assistant turn → output"
        return f"{', '.join(self.inputs)} → input, {self.output} → output"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A row that could not be used as it stands; `what` is empty for a row without input or output."""

    row: int
    what: str


class Unusable(Exception):
    """Raised inside the reading of one row; says what is wrong with it."""


def detect(names: Sequence[str], asked: Columns, file: str) -> Shape:
    """The shape of a file with these column names; columns that the task names win.

    Raises DataError that lists the columns when one that was asked for is absent or none is understood.
    """
    given = (asked.input,) if isinstance(asked.input, str) else asked.input or ()
    for key, name in [("input", n) for n in given] + [
        (k, getattr(asked, k)) for k in ("output", "id", "tags", "group", "document")
    ]:
        if name is not None and name not in names:
            raise _no_column(name, key, names, file)
    id_column = asked.id or _first(names, ("id",))
    if "messages" in names and asked.output is None and given in ((), ("messages",)):
        return Shape(
            inputs=("messages",),
            output="messages",
            id=id_column,
            tags=asked.tags,
            messages=True,
            group=asked.group,
            document=asked.document,
        )
    output = asked.output or _first(names, OUTPUTS, but=given)
    if output is None:
        raise _not_understood("output", OUTPUTS, names, file)
    inputs, alpaca = tuple(given), False
    if not inputs:
        inputs, alpaca = _inputs([name for name in names if name != output])
    if not inputs:
        raise _not_understood("input", INPUTS, names, file)
    return Shape(
        inputs=inputs,
        output=output,
        id=id_column,
        tags=asked.tags,
        alpaca=alpaca,
        group=asked.group,
        document=asked.document,
    )


def _inputs(names: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    instruction = _first(names, ("instruction",))
    if instruction and (text := _first(names, ("input",))):
        return (instruction, text), True
    if (question := _first(names, ("question",))) and (context := _first(names, ("context",))):
        return (context, question), False
    found = _first(names, INPUTS)
    return ((found,) if found else ()), False


def _first(names: Sequence[str], known: Sequence[str], but: Sequence[str] = ()) -> str | None:
    by_case = {name.casefold(): name for name in reversed(names) if name not in but}
    return next((by_case[name] for name in known if name in by_case), None)


def _no_column(name: str, key: str, names: Sequence[str], file: str) -> DataError:
    hint = nearest(name, names)
    return DataError(
        f"'{file}' has no column '{name}' ({key}); its columns are: {', '.join(names)}.",
        fix=hint if hint.startswith("Did you mean") else f"Set [data] {key} to one of them.",
    )


def _not_understood(key: str, known: Sequence[str], names: Sequence[str], file: str) -> DataError:
    return DataError(
        f"'{file}' has no column that is surely the {key}; its columns are: {', '.join(names)}.",
        fix=f'Name it in the task file: [data] {key} = "…" (understood unasked: {", ".join(known)}).',
    )


def reader(shape: Shape, task: Task, *, labelled: bool = True) -> Callable[[int, Cells], Example | Problem]:
    """A function from a numbered raw row to its Example, or to the Problem that it has.

    Not `labelled`: the output is left alone, and the Example's is empty.
    """

    with_shares = labelled and task.kind == "classify"

    def read(number: int, cells: Cells) -> Example | Problem:
        try:
            inputs, cell = _turns(cells.get("messages")) if shape.messages else _cells(shape, cells, task)
            output = _output(cell, task) if labelled else ""
            _refuse_half_characters(*inputs.values(), output)
            taught = _probabilities(cells.get(PROBABILITIES)) if with_shares else None
        except Unusable as error:
            return Problem(row=number, what=str(error))
        if not any(text.strip() for text in inputs.values()) or (labelled and not output.strip()):
            return Problem(row=number, what="")
        return Example(
            id=ExampleId(_text(cells.get(shape.id)).strip() if shape.id else ""),
            inputs=inputs,
            output=output,
            tags=_tags(cells.get(shape.tags)) if shape.tags else (),
            row=number,
            group=_text(cells.get(shape.group)).strip() if shape.group else "",
            documents=documents_of(cells.get(shape.document)) if shape.document else (),
            probabilities=taught,
        )

    return read


def shape_without_output(names: Sequence[str], asked: Columns, file: str, *, output: str) -> Shape:
    """The shape of a file whose rows need no output: its column is the asked or a usual one, or `output`.

    Raises DataError where no column is surely the input.
    """
    found = asked.output or _first(names, OUTPUTS) or output
    return detect([*names, *({found} - set(names))], replace(at_hand(asked, names), output=found), file)


def at_hand(asked: Columns, names: Sequence[str]) -> Columns:
    """The asked columns without those that a teacher's rows may lack: id, tags, group and document."""
    absent = {key: None for key in ("id", "tags", "group", "document") if getattr(asked, key) not in names}
    return replace(asked, **absent)


def documents_of(cell: Any) -> tuple[str, ...]:
    """Paths of documents: a list of them, or a text that separates them by semicolons."""
    parts = cell if isinstance(cell, list) else _text(cell).split(";")
    return tuple(text for part in parts if (text := _text(part).strip()))


def _probabilities(cell: Any) -> Mapping[str, float] | None:
    """What a teacher gave the labels; None where it gave nothing."""
    if cell in (None, ""):
        return None
    value = _parsed(cell, f"its {PROBABILITIES}") if isinstance(cell, str) else cell
    numbers = list(value.values()) if isinstance(value, dict) else []
    if not numbers or not all(_is_share(number) for number in numbers) or sum(numbers) <= 0:
        raise Unusable(f"its {PROBABILITIES} are {_text(cell)[:40]}, not an object of label and probability")
    return {label: float(number) for label, number in value.items()}


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _refuse_half_characters(*texts: str) -> None:
    """JSON can spell half of a surrogate pair, which no file and no tokenizer can hold."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise Unusable(r"it holds half of a Unicode surrogate pair (such as \ud83d alone)") from error


def _cells(shape: Shape, cells: Cells, task: Task) -> tuple[dict[str, str], Any]:
    output = cells.get(shape.output)
    if shape.alpaca:
        instruction, text = (_text(cells.get(name)) for name in shape.inputs)
        return _alpaca(instruction, text, task), output
    if len(shape.inputs) == 1:
        return {"input": _text(cells.get(shape.inputs[0]))}, output
    return {name: _text(cells.get(name)) for name in shape.inputs}, output


def _alpaca(instruction: str, text: str, task: Task) -> dict[str, str]:
    """A row's own instruction is part of its input, unless it repeats the task's or stands alone."""
    if not text.strip():
        return {"input": instruction}
    if not instruction.strip() or instruction.strip() == task.instruction:
        return {"input": text}
    return {"instruction": instruction, "input": text}


def _turns(turns: Any) -> tuple[dict[str, str], str]:
    """The last assistant turn is the output, the user turns before it are the input."""
    if isinstance(turns, str):
        turns = _parsed(turns or "[]", "its list of messages")
    if not isinstance(turns, list) or not all(map(_is_turn, turns)):
        raise Unusable("its messages are not a list of {role, content}")
    last = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)
    said = [_content(turn["content"]) for turn in turns[:last] if turn["role"] == "user"]
    return {"input": "\n".join(said)}, _content(turns[last]["content"]) if said else ""


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and "role" in turn and "content" in turn


def _content(content: Any) -> str:
    if isinstance(content, list):  # OpenAI's content parts
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return _text(content)


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None:
        return ""
    if isinstance(cell, bool | list | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)


def _tags(cell: Any) -> tuple[str, ...]:
    parts = cell if isinstance(cell, list) else _text(cell).replace(";", ",").split(",")
    return tuple(_text(part).strip() for part in parts if _text(part).strip())


def _output(cell: Any, task: Task) -> str:
    if task.kind == "classify":
        if isinstance(cell, list | dict):
            raise Unusable(f"its label is {_text(cell)[:40]}, not one text")
        return _text(cell).strip()
    if task.kind == "extract" and cell not in (None, ""):
        return _json_text(cell, task.schema or {})
    return _text(cell)


def _json_text(cell: Any, schema: Mapping[str, Any]) -> str:
    """Compact JSON with the keys in the schema's order: the form that constrained decoding produces."""
    value = _parsed(cell, "its output") if isinstance(cell, str) else cell
    return json.dumps(_in_order(value, schema), ensure_ascii=False, separators=(",", ":"), default=str)


def _parsed(text: str, noun: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Unusable(f"{noun} is not valid JSON: {error.msg} at column {error.colno}") from error


def _in_order(value: Any, schema: Any) -> Any:
    if not isinstance(schema, dict):
        return value
    if isinstance(value, list):
        return [_in_order(item, schema.get("items")) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    known = [name for name in properties if name in value]
    rest = [name for name in value if name not in properties]
    return {name: _in_order(value[name], properties.get(name)) for name in (*known, *rest)}


def with_ids(examples: Iterable[Example]) -> Iterator[Example]:
    """Give every example without an id one made of its content, so that it survives a new row order.

    Repeated content is told apart by a counter.
    """
    seen: dict[str, int] = {}
    for example in examples:
        if not example.id:
            key = hash_value([example.inputs, example.output])[:12]
            seen[key] = seen.get(key, 0) + 1
            example = replace(example, id=ExampleId(key if seen[key] == 1 else f"{key}-{seen[key]}"))
        yield example
