"""New rows from a real server in OpenAI's shape: what is asked, what is taken out and why, what is kept."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallworks import data
from smallworks.errors import RequestError
from smallworks.recipes import synth as recipe
from smallworks.recipes.calls import Limits
from smallworks.recipes.label import Forecast
from smallworks.recipes.synth import Synthesis, asking, bench_of
from smallworks.recipes.teacher import open_teacher
from smallworks.types import Flagship, Table, Task

Completed = Callable[..., dict[str, Any]]
WORDS = (
    "amber",
    "basil",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "ivory",
    "jade",
    "koala",
    "lilac",
)
TEXTS = [f"{a} {b} {c}" for a, b, c in itertools.permutations(WORDS, 3)]


class Author:
    """A teacher that names the label in each row, so that it can label it again; some rows are no good."""

    def __init__(self, completed: Completed, *, faults: dict[int, list[Any]] | None = None) -> None:
        self.completed, self.faults, self.written = completed, faults or {}, 0

    def __call__(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        *system, user = [message["content"] for message in body["messages"]]
        if not system:
            text = user.split("Text: ")[1]
            label = next(label for label in ("bug", "feature", "question") if label in text)
            return 200, self.completed(label)
        label = re.search(r"right answer is '(\w+)'", user)[1]  # type: ignore[index]
        number, self.written = self.written, self.written + 1
        rows = [{"input": f"{label}: {text}"} for text in TEXTS[97 * number : 97 * number + 95 : 19]]
        rows += self.faults.get(number, [])
        return 200, self.completed(f"Here you are:\n```json\n{json.dumps(rows)}\n```", tokens=(300, 150))


def run(task: Task, url: str, out: Path, *, count: int = 15, **more: Any) -> Synthesis:
    flagship = Flagship(name="big", input_price=10.0, output_price=50.0, url=url)
    task = replace(task, flagship=flagship)
    splits = data.load(task)
    teacher = open_teacher(task, splits.labels, more.pop("bundle", None))
    try:
        return recipe.synth(bench_of(task, splits, teacher, count=count), out, **more)
    finally:
        teacher.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_written_in_the_columns_of_the_task_with_their_provenance(
    small_task: Task, tmp_path: Path, upstream_of: Callable[..., Any], completed: Completed
) -> None:
    done = run(small_task, upstream_of(Author(completed)).url, tmp_path / "new.jsonl")
    rows = lines(done.out)
    assert len(rows) == done.kept == 15 and done.labels == {"bug": 5, "feature": 5, "question": 5}
    assert all(row["text"].startswith(row["label"]) for row in rows)
    assert [tag.partition(":")[0] for tag in rows[0]["tags"]] == ["synthetic", "teacher", "model", "date"]
    assert (done.agreement, done.near, done.reasons) == (1.0, 0.0, {})
    assert done.variety.rows == 15 and 0 < done.variety.new[0] < 1
    assert done.spent == pytest.approx((3 * (300 * 10 + 150 * 50) + 15 * (100 * 10 + 2 * 50)) / 1e6)


def test_each_filter_counts_what_it_took_out(
    small_task: Task, tmp_path: Path, upstream_of: Callable[..., Any], completed: Completed
) -> None:
    splits = data.load(small_task)
    faults = [
        {"input": splits.test[0].text.upper()},
        {"input": splits.validation[0].text},
        splits.train[0].text,
        {"input": f"feature: {TEXTS[0]}"},
        {"text": "the wrong field"},
        42,
    ]
    author = Author(completed, faults={0: faults})
    done = run(small_task, upstream_of(author).url, tmp_path / "new.jsonl", limits=Limits(at_once=1))
    assert done.reasons == {
        "leak": 2,
        "repeats a training row": 1,
        "the second pass says otherwise": 1,
        "no 'input'": 1,
        "not an object with the task's fields": 1,
    }
    apart = {row["reason"]: row for row in lines(done.apart)}
    assert apart["leak"]["twin"] in (splits.test[0].text, splits.validation[0].text)
    assert apart["the second pass says otherwise"]["second_pass"] == "feature"
    assert done.agreement is not None and done.agreement < 1
    held_out = {example.text for example in (*splits.test, *splits.validation)}
    assert not held_out & {row["text"] for row in lines(done.out)}


def test_a_teacher_that_repeats_itself_ends_with_what_it_gave(
    small_task: Task, tmp_path: Path, upstream_of: Callable[..., Any], completed: Completed
) -> None:
    rows = json.dumps([f"bug: {TEXTS[0]}"] * 5)
    reply = lambda body: (200, completed(rows if len(body["messages"]) == 2 else "bug"))  # noqa: E731
    done = run(small_task, upstream_of(reply).url, tmp_path / "new.jsonl", count=10)
    assert done.kept <= 3 and "gave no more" in done.end and done.near > 0.5
    assert set(done.reasons) <= {"repeats a new row", "the second pass says otherwise"}


def test_nothing_is_paid_twice_and_more_rows_cost_only_themselves(
    small_task: Task, tmp_path: Path, upstream_of: Callable[..., Any], completed: Completed
) -> None:
    upstream, out = upstream_of(Author(completed)), tmp_path / "new.jsonl"
    first = run(small_task, upstream.url, out, count=15, limits=Limits(at_once=1))
    paid, content = len(upstream.asked), out.read_bytes()
    again = run(small_task, upstream.url, out, count=15, force=True)
    assert (again.asked, len(upstream.asked), out.read_bytes()) == (0, paid, content)
    more = run(small_task, upstream.url, out, count=20, force=True, limits=Limits(at_once=1))
    assert first.kept == 15 and more.kept == 20 and more.asked == len(upstream.asked) - paid < paid


@pytest.mark.parametrize(("count", "left"), [(15, [11]), (5, [])])
def test_what_is_left_is_told_by_how_many_rows_stayed(
    count: int,
    left: list[int],
    small_task: Task,
    tmp_path: Path,
    upstream_of: Callable[..., Any],
    completed: Completed,
) -> None:
    """Every other row is taken out by the second pass, which is paid: 22 questions for 10 rows."""
    faults = {n: [{"input": f"question: {text}"} for text in TEXTS[600 + 97 * n :: 19][:5]] for n in (0, 1)}
    author, told = Author(completed, faults=faults), list[Forecast]()
    limits = Limits(at_once=1)
    url = upstream_of(author).url
    run(small_task, url, tmp_path / "new.jsonl", count=count, tell=told.append, limits=limits)
    assert [forecast.questions for forecast in told[1:]] == left
    assert all(forecast.dollars > 0 for forecast in told)


def test_a_budget_ends_it(
    small_task: Task, tmp_path: Path, upstream_of: Callable[..., Any], completed: Completed
) -> None:
    limits = Limits(at_once=1, budget=0.06)
    done = run(
        small_task, upstream_of(Author(completed)).url, tmp_path / "new.jsonl", count=50, limits=limits
    )
    assert done.end == "budget" and done.spent <= 0.06 and done.kept < 50


def test_a_request_shows_training_rows_alone(small_task: Task, upstream_of: Callable[..., Any]) -> None:
    task = replace(
        small_task, flagship=Flagship(name="b", input_price=1, output_price=1, url="http://127.0.0.1:9")
    )
    splits = data.load(task)
    bench = bench_of(task, splits, open_teacher(task, splits.labels), count=10)
    content = asking(bench, 4)[1].content
    shown = [json.loads(line) for line in content.splitlines() if line.startswith('{"input"')]
    assert len(shown) == 6 and sum(row["output"] == splits.labels[4 % 3] for row in shown) == 3
    train = {example.text[:1000] for example in splits.train}
    assert all(row["input"] in train for row in shown)
    assert asking(bench, 4) == asking(bench, 4) != asking(bench, 7)


def test_a_bundle_that_labels_writes_nothing(small_task: Task, small_table: Table, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot hold a conversation"):
        run(small_task, "http://127.0.0.1:9", tmp_path / "new.jsonl", count=5, bundle=small_table.chosen)


def test_documents_are_written_with_their_output(
    small_task: Task, tmp_path: Path, upstream_of: Callable[..., Any], completed: Completed
) -> None:
    train = tmp_path / "train.jsonl"
    rows = [{"text": f"{text} on page {i}", "output": {"page": i}} for i, text in enumerate(TEXTS[:40])]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    schema = {"type": "object", "properties": {"page": {"type": "integer"}}, "required": ["page"]}
    files = replace(
        small_task.data, train=train, test=None, columns=replace(small_task.data.columns, output=None)
    )
    task = replace(small_task, kind="extract", labels=(), schema=schema, data=files)
    new = [
        {"input": "lilac koala jade, see page 7", "output": {"page": 7}},
        {"input": "heron grove fjord, see page 8", "output": {"page": 9}},
        {"input": "ivory heron ember, see page 6", "output": {"page": "six"}},
    ]

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if len(body["messages"]) == 2:
            return 200, completed(json.dumps(new))
        page = body["messages"][0]["content"].split("see page ")[1][0]
        return 200, completed(json.dumps({"page": int(page)}))

    done = run(task, upstream_of(reply).url, tmp_path / "new.jsonl", count=1)
    assert [(row["text"], row["output"]) for row in lines(done.out)] == [(new[0]["input"], {"page": 7})]
    assert done.reasons["the second pass says otherwise"] == 1
    assert done.reasons["output: does not fit the schema"] >= 1
