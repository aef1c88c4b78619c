"""Rows labelled by a teacher: a real server in OpenAI's shape, and bundles of our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallworks.bundle import Manifest, Remote, freeze, open_bundle
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.errors import BundleError, UpstreamError, UserError
from smallworks.recipes import label as recipe
from smallworks.recipes.calls import Limits
from smallworks.recipes.label import Forecast, Labelling
from smallworks.recipes.teacher import open_teacher
from smallworks.server import background, create_app
from smallworks.types import Choices, Flagship, PromptSpec, Table, Task

LABELS = ("bug", "feature", "question")
ROWS = [{"text": f"It crashes on page {i}", "number": i} for i in range(30)]
Completed = Callable[..., dict[str, Any]]
Upstreams = Callable[..., Any]


def taught(task: Task, url: str) -> Task:
    flagship = Flagship(name="big", input_price=1000.0, output_price=5000.0, url=url)
    return replace(task, labels=LABELS, flagship=flagship)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(task: Task, rows: Path, *, twice: bool = False, limit: int | None = None, **more: Any) -> Labelling:
    teacher = open_teacher(task, LABELS, more.pop("bundle", None))
    try:
        job = recipe.job_of(task, rows, teacher, LABELS, twice=twice, limit=limit)
        return recipe.label(job, rows.with_name("out.jsonl"), **more)
    finally:
        teacher.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asked_text(body: dict[str, Any]) -> str:
    return body["messages"][-1]["content"].split("Text: ")[1].split("\n\nAnswer with")[0]


def test_rows_come_with_label_probabilities_and_provenance(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    upstream = upstream_of(lambda body: (200, completed("A", A=0.7, B=0.2, C=0.1)))
    done = run(taught(small_task, upstream.url), write(tmp_path / "rows.jsonl", ROWS[:3]))
    first = lines(done.out)[0]
    assert (first["text"], first["number"], first["label"]) == (ROWS[0]["text"], 0, "bug")
    assert first["teacher_probabilities"] == pytest.approx({"bug": 0.7, "feature": 0.2, "question": 0.1})
    assert [tag.partition(":")[0] for tag in first["tags"]] == ["teacher", "model", "date"]
    assert (done.labelled, done.asked, done.with_probabilities) == (3, 3, 3)
    assert done.spent == pytest.approx(3 * (100 * 1000 + 2 * 5000) / 1e6)
    assert [message["role"] for message in upstream.asked[0]["messages"]] == ["user"]


def test_nothing_is_paid_twice_after_a_failure(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    served = []

    def fails_once(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        served.append(asked_text(body))
        return (401, {"error": {"message": "key expired"}}) if len(served) == 15 else (200, completed("B"))

    task, rows = taught(small_task, upstream_of(fails_once).url), write(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(UpstreamError, match="key expired"):
        run(task, rows)
    kept = tmp_path / "out.jsonl.work" / "answers.jsonl"
    paid = len(kept.read_text().splitlines())
    with kept.open("ab") as file:
        file.write(b'["half a li')  # as a kill may leave it
    done = run(task, rows)
    assert paid >= 10 and (done.labelled, done.asked) == (30, 30 - paid)
    assert len(served) == 31  # thirty answers and the refusal


def test_an_interrupt_keeps_every_answer_that_was_under_way(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    upstream = upstream_of(lambda body: (200, completed("B")))
    task, rows = taught(small_task, upstream.url), write(tmp_path / "rows.jsonl", ROWS)

    def interrupt(step: str, done: float, total: float, note: str) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(task, rows, progress=interrupt)
    assert len(lines(tmp_path / "out.jsonl.work" / "answers.jsonl")) == len(upstream.asked) < 30
    assert run(task, rows).labelled == len(upstream.asked) == 30


def test_the_same_text_is_asked_once(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    upstream = upstream_of(lambda body: (200, completed("C")))
    done = run(taught(small_task, upstream.url), write(tmp_path / "rows.jsonl", [ROWS[0]] * 5))
    assert (done.labelled, len(upstream.asked)) == (5, 1)


def test_a_limit_then_more_pays_for_the_difference(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    upstream = upstream_of(lambda body: (200, completed("C")))
    task, rows = taught(small_task, upstream.url), write(tmp_path / "rows.jsonl", ROWS)
    first = run(task, rows, limit=4)
    assert (first.labelled, first.left, first.asked) == (4, 26, 4)
    second = run(task, rows, limit=6, force=True)
    assert (second.labelled, second.asked, len(upstream.asked)) == (6, 2, 6)
    assert second.spent == pytest.approx(6 * 0.11)


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_budget_is_not_exceeded(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed, at_once: int
) -> None:
    upstream = upstream_of(lambda body: (200, completed("C")))
    task, rows = taught(small_task, upstream.url), write(tmp_path / "rows.jsonl", ROWS)
    done = run(task, rows, limits=Limits(at_once=at_once, budget=1.0))
    assert done.end == "budget" and done.spent <= 1.0 and done.labelled == 9  # of 0.11 dollars each


def test_the_cost_is_told_before_and_again_after_the_first_answers(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    upstream = upstream_of(lambda body: (200, completed("C")))
    told: list[Forecast] = []
    task, rows = taught(small_task, upstream.url), write(tmp_path / "rows.jsonl", ROWS)
    done = run(task, rows, tell=told.append)
    before, after = told
    assert (before.questions, before.measured, after.measured, after.questions) == (30, 0, 10, 20)
    assert before.dollars > 0 and after.dollars == pytest.approx(20 * 0.11)
    assert done.spent == pytest.approx(30 * 0.11)


def test_what_is_no_label_is_set_apart_with_the_reason(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    answers = ["I'm sorry, I cannot help with this bug.", "B", "Feature", "C: question", "", "A bug", "D"]

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        number = int(asked_text(body).split()[-1])
        if number == len(answers):
            return 400, {"error": {"message": "content policy"}}
        return 200, completed(answers[number])

    rows = write(tmp_path / "rows.jsonl", [*ROWS[: len(answers) + 1], {"text": " "}])
    done = run(taught(small_task, upstream_of(reply).url), rows)
    assert [row["label"] for row in lines(done.out)] == ["feature", "feature", "question"]
    apart = {row["row"]: row["reason"] for row in lines(done.apart)}
    assert apart[1] == apart[6] == apart[7] == "not one of the labels" and apart[5] == "empty"
    assert "content policy" in apart[8] and apart[9] == "no input"
    assert lines(done.apart)[0]["said"].startswith("I'm sorry")


def test_a_server_that_refuses_every_request_is_an_error(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams
) -> None:
    upstream = upstream_of(lambda body: (400, {"error": {"message": "no such voice"}}))
    with pytest.raises(UserError, match="no such voice"):
        run(taught(small_task, upstream.url), write(tmp_path / "rows.jsonl", ROWS))


def test_a_second_pass_marks_the_rows_where_the_answers_disagree(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    """A teacher that always says the first code: the second pass lists the labels in reverse."""

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        sure = int(asked_text(body).split()[-1]) < 2
        said = "bug" if sure else "A"
        return 200, completed(said)

    rows = write(tmp_path / "rows.jsonl", ROWS[:5])
    done = run(taught(small_task, upstream_of(reply).url), rows, twice=True)
    assert (done.asked, done.disputed) == (10, 3)
    assert ["disputed" in row["tags"] for row in lines(done.out)] == [False, False, True, True, True]


def test_rows_that_have_an_output_are_left_alone(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    upstream = upstream_of(lambda body: (200, completed("C")))
    rows = write(tmp_path / "rows.jsonl", [{"text": "done", "label": "bug"}, {"text": "new", "label": ""}])
    done = run(taught(small_task, upstream.url), rows)
    assert (done.skipped, [row["text"] for row in lines(done.out)]) == (1, ["new"])


def test_documents_are_checked_by_the_schema(
    small_task: Task, tmp_path: Path, upstream_of: Upstreams, completed: Completed
) -> None:
    schema = {"type": "object", "properties": {"page": {"type": "integer"}}, "required": ["page"]}
    said = ['{"page": 1}', '```json\n{"page": 2}\n```', '{"page": "three"}', "no page"]
    rows = write(tmp_path / "rows.jsonl", ROWS[:4])

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 200, completed(said[int(asked_text(body).split()[-1])])

    train = write(tmp_path / "train.jsonl", [{"text": "page 9", "output": '{"page": 9}'}] * 3)
    files = replace(
        small_task.data, train=train, test=None, columns=replace(small_task.data.columns, output=None)
    )
    task = replace(
        taught(small_task, upstream_of(reply).url), kind="extract", labels=(), schema=schema, data=files
    )
    teacher = open_teacher(task, ())
    job = recipe.job_of(task, rows, teacher, (), twice=False, limit=None)
    done = recipe.label(job, tmp_path / "out.jsonl")
    assert [row["output"] for row in lines(done.out)] == [{"page": 1}, {"page": 2}]
    assert done.aside == {"does not fit the schema": 1, "not JSON": 1}


def test_our_own_server_is_sent_the_text_alone(small_task: Task, small_table: Table, tmp_path: Path) -> None:
    """The linear bundle behind `serve` as the teacher: its labels and its probabilities, to the last row."""
    assert small_table.chosen is not None
    bundle = open_bundle(small_table.chosen)
    rows = write(tmp_path / "rows.jsonl", ROWS[:12])
    with open_predictor(bundle) as predictor:
        own = [predictor.answer(str(row["text"])) for row in ROWS[:12]]
        with background(create_app({"linear": predictor}, default="linear")) as url:
            served = replace(
                taught(small_task, f"{url}/v1"),
                flagship=Flagship(name="linear", input_price=0.0, output_price=0.0, url=f"{url}/v1"),
            )
            done = run(served, rows)
    said = lines(done.out)
    assert [row["label"] for row in said] == [answer.text for answer in own]
    for row, answer in zip(said, own, strict=True):
        assert row["teacher_probabilities"] == pytest.approx(dict(answer.probabilities or {}), abs=1e-4)


def test_a_bundle_on_this_machine_labels_for_nothing(
    small_task: Task, small_table: Table, tmp_path: Path
) -> None:
    assert small_table.chosen is not None
    rows = write(tmp_path / "rows.jsonl", ROWS[:4])
    done = run(replace(small_task, labels=LABELS), rows, bundle=small_table.chosen)
    assert (done.labelled, done.spent, done.with_probabilities) == (4, 0.0, 4)
    with pytest.raises(UserError, match="says the same twice"):
        run(replace(small_task, labels=LABELS), rows, bundle=small_table.chosen, twice=True)


def test_a_teacher_of_other_labels_is_refused(small_task: Task, small_table: Table) -> None:
    with pytest.raises(BundleError, match="'idea' and 1 more"):
        open_teacher(small_task, ("bug", "feature", "idea"), small_table.chosen)


def test_a_task_without_a_server_is_told(small_task: Task) -> None:
    with pytest.raises(UserError, match="names no server"):
        open_teacher(small_task, LABELS)


def test_a_bundle_that_is_a_server_is_refused_since_its_answers_cost_money(
    small_task: Task, tmp_path: Path
) -> None:
    manifest = Manifest(
        task="t",
        kind="classify",
        candidate="flagship",
        engine="http",
        prompt=PromptSpec(style="chat", kind="classify", choices=Choices(labels=LABELS)),
        remote=Remote(url="http://127.0.0.1:9/v1", model="big"),
    )
    (tmp_path / "draft").mkdir()
    bundle = freeze(tmp_path / "draft", manifest, into=tmp_path / "bundles")
    with pytest.raises(UserError, match=r"is the server http://127\.0\.0\.1:9/v1"):
        open_teacher(small_task, LABELS, bundle.path)
