"""Task files: what is read, and one clear sentence for each thing that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.errors import TaskError
from smallworks.taskfile import METRICS, load_task
from smallworks.types import KINDS, Columns

LEAST = """
[task]
name = "tickets"
kind = "classify"
instruction = "Name the kind."
[data]
train = "train.csv"
"""


SCOPED = """
[task]
name = "tickets"
kind = "{kind}"
instruction = "Name the kind."
labels = ["bug", "none"]
[data]
train = "train.csv"
out_of_scope = "none"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    return tmp_path


def refusal(folder: Path, text: str) -> TaskError:
    (folder / "task.toml").write_text(text, encoding="utf-8")
    with pytest.raises(TaskError) as caught:
        load_task(folder)
    assert caught.value.what and caught.value.fix
    return caught.value


def test_the_least_that_works_is_filled_with_defaults(folder: Path) -> None:
    (folder / "task.toml").write_text(LEAST)
    task = load_task(folder)
    assert task == load_task(str(folder / "task.toml"))
    assert (task.name, task.kind, task.instruction) == ("tickets", "classify", "Name the kind.")
    assert task.data.train == folder / "train.csv" and task.data.columns == Columns()
    assert task.targets.metric == "accuracy" and task.targets.at_least is None
    assert task.flagship is None and task.build.seed == 0 and task.labels == ()


def test_every_key_arrives(folder: Path) -> None:
    (folder / "test.csv").write_text("text,label\nc,b\n")
    (folder / "answers.jsonl").write_text("")
    (folder / "models").mkdir()
    (folder / "task.toml").write_text(
        LEAST.replace('"Name the kind."', '"Name the kind."\nlabels = ["bug", " idea "]')
        + 'test = "test.csv"\ninput = ["title", "body"]\noutput = "label"\nid = "n"\ntags = "t"\n'
        + '[targets]\nmetric = "macro_f1"\nat_least = 0.9\np95_ms = 50\n'
        + "memory_mb = 900\ncost_per_1000 = 0.1\n"
        + '[flagship]\nname = "big"\ninput_price = 2\noutput_price = 8.5\nurl = "https://host/v1"\n'
        + 'key_env = "BIG_KEY"\nanswers = "answers.jsonl"\n'
        + '[build]\nbase = "models"\nembedder = "org/name"\nseed = 7\n'
        + "epochs = 2\nmachine_price_per_hour = 0.2\n"
    )
    task = load_task(folder)
    assert task.labels == ("bug", "idea") and task.data.test == folder / "test.csv"
    assert task.data.columns == Columns(input=("title", "body"), output="label", id="n", tags="t")
    assert task.targets.metric == "macro_f1" and task.targets.p95_ms == 50
    assert task.flagship and task.flagship.answers == folder / "answers.jsonl"
    assert task.build.base == str(folder / "models") and task.build.embedder == "org/name"
    assert task.build.seed == 7


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[data]", "[dta]", "[dta] Did you mean 'data'?"),
        ("train =", "trian =", "unknown key 'trian' Did you mean 'train'?"),
        ("instruction =", "at_least = 1\ninstruction =", "[task] 'at_least' belongs in [targets]"),
        ("classify", "clasify", "clasify Did you mean 'classify'?"),
        ('name = "tickets"', "", "[task] lacks the key 'name'"),
        ('train = "train.csv"', "", "[data] lacks the key 'train'"),
        ('"tickets"', "3", "[task] name = 3 is not"),
        ('"tickets"', '"a/b"', "a/b slashes"),
        ('"train.csv"', '"trein.csv"', "'trein.csv' no file Did you mean 'train.csv'?"),
        ('"train.csv"', '"."', "folder"),
        ('"train.csv"', '"train.csv"\ntest = "train.csv"', "train and test are the same file"),
        ('"train.csv"', '"train.csv"\ninput = ["a", "a"]', "input column"),
        ('"train.csv"', '"train.csv"\n[targets]\nat_least = 90', "at_least = 90 from 0 to 1 0.90, not 90"),
        ('"train.csv"', '"train.csv"\n[targets]\nat_least = true', "at_least = true from 0 to 1"),
        ('"train.csv"', '"train.csv"\n[targets]\np95_ms = nan', "p95_ms above 0"),
        ('"train.csv"', '"train.csv"\n[targets]\nmetric = "acuracy"', "acuracy Did you mean 'accuracy'?"),
        ('"train.csv"', '"train.csv"\n[targets]\nmetric = "bleu"', "'bleu' kind 'classify' macro_f1"),
        ('"train.csv"', '"train.csv"\n[build]\nseed = -1', "seed = -1 whole number"),
        ('"train.csv"', '"train.csv"\n[build]\nseed = 1.5', "seed = 1.5 whole number"),
        ('"train.csv"', '"train.csv"\n[flagship]\nname = "big"', "[flagship] lacks 'input_price' dollars"),
        ('"Name the kind."', '"Name."\nlabels = ["a"]', "two different labels"),
        ('"Name the kind."', '"Name."\nlabels = [1, 2]', "labels [1, 2] texts"),
        ('"Name the kind."', "\"Name.\"\nschema = '{}'", "schema no meaning 'classify' extract"),
        ('"Name the kind."', '"Name."\nrefusal = "No."', "refusal no meaning 'classify' answer"),
        ('"Name the kind."', "Name the kind.", "TOML line 5"),
        (
            '"train.csv"',
            '"train.csv"\n[targets]\nin_scope_loss = 2',
            "in_scope_loss = 2 below 1. 0.02, not 2",
        ),
        (
            LEAST,
            SCOPED.format(kind="extract").replace('labels = ["bug", "none"]', ""),
            "[data] out_of_scope no meaning 'extract' classify",
        ),
        (LEAST, SCOPED.format(kind="classify"), 'out_of_scope = "none" one of the labels'),
    ],
)
def test_each_mistake_gets_one_sentence_with_the_value_and_the_fix(
    folder: Path, old: str, new: str, said: str
) -> None:
    error = refusal(folder, LEAST.replace(old, new, 1))
    for words in said.split():
        assert words in str(error), str(error)
    assert str(folder / "task.toml") in error.what


def test_a_key_outside_every_section_is_sent_home(folder: Path) -> None:
    assert "[task]" in refusal(folder, 'kind = "classify"\n').fix


def test_a_missing_task_file_names_the_command_that_starts_one(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="smallworks init"):
        load_task(tmp_path)


def test_a_key_given_in_place_of_its_variable_is_never_repeated(folder: Path) -> None:
    section = '[flagship]\nname = "big"\ninput_price = 1\noutput_price = 1\nkey_env = "sk-live-123"\n'
    error = refusal(folder, LEAST + section)
    assert "sk-live-123" not in str(error) and "never the key" in error.fix


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_metric_is_the_first_of_its_kind(folder: Path, kind: str) -> None:
    schema = 'schema = {type = "object"}' if kind == "extract" else ""
    (folder / "task.toml").write_text(
        LEAST.replace('"classify"', f'"{kind}"').replace("[data]", f"{schema}\n[data]")
    )
    assert load_task(folder).targets.metric == next(m for k, m in METRICS.items() if k == kind)[0]


EXTRACT = LEAST.replace("classify", "extract")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    "written",
    ['{type = "object", properties = {city = {type = "string"}}}', f"'{json.dumps(SCHEMA)}'", '"s.json"'],
)
def test_a_schema_is_a_table_a_text_or_a_file(folder: Path, written: str) -> None:
    (folder / "s.json").write_text(json.dumps(SCHEMA))
    (folder / "task.toml").write_text(EXTRACT.replace("[data]", f"schema = {written}\n[data]"))
    assert load_task(folder).schema == SCHEMA


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (None, "lacks the key 'schema'"),
        ('{type = "objekt"}', "objekt"),
        ("'{\"type\": '", "line 1"),
        ('"gone.json"', "gone.json"),
        ('"list.json"', "not a JSON object"),
        ('{"$ref" = "http://127.0.0.1:9/x.json"}', "outside the schema"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(folder: Path, written: str | None, said: str) -> None:
    (folder / "list.json").write_text("[1]")
    line = "" if written is None else f"schema = {written}"
    assert said in refusal(folder, EXTRACT.replace("[data]", f"{line}\n[data]")).what


def test_a_file_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "task.toml").write_bytes(b'[task]\nname = "\xff"')
    with pytest.raises(TaskError, match="UTF-8"):
        load_task(folder)


@pytest.mark.parametrize("name", ["train.csv", "rows.jsonl"])
def test_a_data_file_is_not_read_as_a_task_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,label\nIt crashes.,bug\n")
    with pytest.raises(TaskError, match=f"{name}' is a data file") as refused:
        load_task(tmp_path / name)
    assert "Give the task's folder" in refused.value.fix


@pytest.mark.parametrize(
    ("data", "targets", "loss"),
    [("", "", None), ('out_of_scope = " none "', "", 0.05), ("", "in_scope_loss = 0.02", 0.02)],
)
def test_scope_is_asked_for_by_a_mark_or_by_a_loss(
    folder: Path, data: str, targets: str, loss: float | None
) -> None:
    (folder / "task.toml").write_text(f"{LEAST}{data}\n[targets]\n{targets}\n")
    task = load_task(folder)
    assert task.in_scope_loss == loss and task.data.out_of_scope in (None, "none")
