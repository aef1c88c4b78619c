"""Shapes: which columns are understood, and what a row becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smallworks.data.shapes import Problem, detect, reader, with_ids
from smallworks.errors import DataError
from smallworks.types import Columns, Example, Task

MakeTask = Callable[..., Task]


def read(make_task: MakeTask, row: dict[str, Any], **task: Any) -> Example | Problem:
    made = make_task([row], **task)
    return reader(detect(list(row), made.data.columns, "train.jsonl"), made)(1, row)


@pytest.mark.parametrize(
    ("row", "inputs", "output"),
    [
        ({"text": "hi", "label": "a"}, {"input": "hi"}, "a"),
        ({"Text": "hi", "Category": " a "}, {"input": "hi"}, "a"),
        ({"text": "hi", "label": 3}, {"input": "hi"}, "3"),
        ({"text": "hi", "label": True}, {"input": "hi"}, "true"),
        ({"id": "7", "question": "q", "answer": "a"}, {"input": "q"}, "a"),
        ({"question": "q", "context": "c", "answer": "a"}, {"context": "c", "question": "q"}, "a"),
        ({"prompt": "p", "completion": "c"}, {"input": "p"}, "c"),
        ({"instruction": "i", "output": "o"}, {"input": "i"}, "o"),
        ({"instruction": "i", "input": "x", "output": "o"}, {"instruction": "i", "input": "x"}, "o"),
        ({"instruction": "Do it.", "input": "x", "output": "o"}, {"input": "x"}, "o"),
        ({"instruction": "i", "input": "", "output": "o"}, {"input": "i"}, "o"),
    ],
)
def test_common_shapes_are_understood(
    make_task: MakeTask, row: dict[str, Any], inputs: dict[str, str], output: str
) -> None:
    example = read(make_task, row)
    assert isinstance(example, Example)
    assert (dict(example.inputs), example.output) == (inputs, output)


def test_messages_give_the_user_turns_and_the_last_answer(make_task: MakeTask) -> None:
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "thanks"},
    ]
    example = read(make_task, {"messages": turns}, kind="generate")
    assert isinstance(example, Example)
    assert (example.text, example.output) == ("one\ntwo", "done")


def test_named_columns_win_and_bring_ids_and_tags(make_task: MakeTask) -> None:
    columns = Columns(input=("title", "body"), output="kind", id="n", tags="t")
    row = {"text": "no", "label": "no", "title": "T", "body": None, "kind": "a", "n": 4, "t": "x; y"}
    example = read(make_task, row, columns=columns)
    assert isinstance(example, Example)
    assert example == Example(
        id=example.id, inputs={"title": "T", "body": ""}, output="a", tags=("x", "y"), row=1
    )
    assert example.id == "4"


@pytest.mark.parametrize(
    ("names", "columns", "said"),
    [
        (["text", "label"], Columns(input="txt"), "'txt' text, label Did you mean 'text'?"),
        (["text", "label"], Columns(output="class_name"), "'class_name' (output) text, label"),
        (["foo", "label"], Columns(), "input foo, label [data] input"),
        (["text", "bar"], Columns(), "output text, bar [data] output"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    names: list[str], columns: Columns, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        detect(names, columns, "train.csv")
    for words in said.split():
        assert words in str(caught.value)


SCHEMA: dict[str, Any] = {"properties": {"a": {"properties": {"x": {}, "y": {}}}, "b": {}}}


@pytest.mark.parametrize("cell", ['{"b": 1, "a": {"y": 2, "x": "é"}}', {"b": 1, "a": {"y": 2, "x": "é"}}])
def test_json_outputs_are_compact_and_in_the_order_of_the_schema(make_task: MakeTask, cell: Any) -> None:
    example = read(make_task, {"text": "t", "output": cell}, kind="extract", schema=SCHEMA)
    assert isinstance(example, Example)
    assert example.output == '{"a":{"x":"é","y":2},"b":1}'


@pytest.mark.parametrize(
    ("row", "kind", "what"),
    [
        ({"text": " ", "label": "a"}, "classify", ""),
        ({"text": "t", "label": None}, "classify", ""),
        ({"text": "t", "label": ["a", "b"]}, "classify", "not one text"),
        ({"text": "t", "output": "{a"}, "extract", "not valid JSON"),
        ({"text": "\ud83d", "label": "a"}, "classify", "half of a Unicode surrogate pair"),
        ({"messages": "[1]"}, "generate", "list of {role, content}"),
        ({"messages": [{"role": "user", "content": "x"}]}, "generate", ""),
    ],
)
def test_rows_without_use_become_problems(
    make_task: MakeTask, row: dict[str, Any], kind: str, what: str
) -> None:
    problem = read(make_task, row, kind=kind)
    assert isinstance(problem, Problem)
    assert problem.row == 1 and what in problem.what and bool(problem.what) == bool(what)


def test_ids_come_from_content_and_stay_apart() -> None:
    def example(text: str, name: str = "") -> Example:
        return Example(id=name, inputs={"input": text}, output="a")  # type: ignore[arg-type]

    first, second, again, named = with_ids([example("x"), example("y"), example("x"), example("x", "mine")])
    assert [e.id for e in with_ids([example("y"), example("x")])] == [second.id, first.id]
    assert again.id == f"{first.id}-2" and named.id == "mine"
