"""Public benchmarks through lm-eval: a real run where it is installed, its files read, what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from smallworks.bundle import Manifest, freeze
from smallworks.cli import run
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import UserError
from smallworks.evaluate.intervals import wilson
from smallworks.prompt.renderer import Renderer
from smallworks.recipes.lmeval import Options, document, measure, read
from smallworks.server import KeyFile, background, create_app
from smallworks.types import Choices, PromptSpec

PYTHON = Path(os.environ.get("SMALLWORKS_LM_EVAL", sys.executable))
"""The interpreter that has lm-eval."""
TASK = """
task: last_number
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
{more}
"""
GENERATES = """
generation_kwargs: {until: ["@@"], max_gen_toks: 200}
metric_list:
  - metric: exact_match
filter_list:
  - name: last-number
    filter:
      - {function: regex, regex_pattern: "([0-9]+)", group_select: -1}
      - {function: take_first}
"""


def echo(folder: Path, **spec: Any) -> Path:
    """A bundle that repeats its prompt."""
    (folder / "draft").mkdir()
    prompt = PromptSpec(**{"style": "chat", "kind": "generate", **spec})
    manifest = Manifest(task="echo", kind=prompt.kind, candidate="fake", engine="fake", prompt=prompt)
    return freeze(folder / "draft", manifest, into=folder / "bundles").path


@pytest.mark.slow
def test_a_task_of_ones_own_is_run_against_our_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if Path(sys.executable) == PYTHON and importlib.util.find_spec("lm_eval") is None:
        pytest.skip("lm-eval is not installed: name an interpreter that has it in SMALLWORKS_LM_EVAL")
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    rows = [{"question": f"Say {n}", "answer": str(n if n % 4 else 0)} for n in range(1, 9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = TASK.format(rows=tmp_path / "rows.jsonl", kind="generate_until", more=GENERATES)
    (tasks / "last_number.yaml").write_text(text)
    command = ["lmeval", str(echo(tmp_path)), "--tasks", "last_number", "--include", str(tasks)]
    command += ["--python", str(PYTHON), "--out", str(tmp_path / "kept"), "--json"]
    assert run(command) == 0
    (score,) = json.loads(capsys.readouterr().out)["scores"]
    assert (score["metric"], score["filter"], score["estimate"]["value"]) == (
        "exact_match",
        "last-number",
        0.75,
    )
    assert score["estimate"]["low"] == pytest.approx(wilson(6, 8).low)
    assert list((tmp_path / "kept").rglob("samples_last_number_*.jsonl"))


def kept(folder: Path) -> Path:
    """Files as lm-eval 0.4.13 writes them."""
    results = {
        "results": {
            "gsm8k": {
                "alias": "gsm8k",
                "sample_len": 4,
                "exact_match,strict": 0.75,
                "exact_match_stderr,strict": 0.25,
            },
            "story": {"alias": "story", "bleu,none": 31.5, "bleu_stderr,none": 1.5, "ter,none": 0.5},
        },
        "n-samples": {"gsm8k": {"original": 1319, "effective": 4}, "story": {"original": 9, "effective": 9}},
        "n-shot": {"gsm8k": 5},
        "higher_is_better": {"gsm8k": {"exact_match": True}, "story": {"ter": False}},
        "lm_eval_version": "0.4.13",
    }
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "results_2026-01-02.json").write_text(json.dumps(results))
    rows = [{"filter": "strict", "metrics": ["exact_match"], "exact_match": float(n != 0)} for n in range(4)]
    samples = folder / "model" / "samples_gsm8k_2026-01-02.jsonl"
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_what_lm_eval_wrote_is_read_with_intervals(tmp_path: Path) -> None:
    version, (exact, bleu, ter) = read(kept(tmp_path / "out"))
    assert version == "0.4.13"
    assert exact.estimate == wilson(3, 4) and (exact.fewshot, exact.filter) == (5, "strict")
    assert (bleu.estimate.value, bleu.estimate.n) == (31.5, 9)
    assert bleu.estimate.low == pytest.approx(31.5 - 1.96 * 1.5, abs=1e-3)
    assert not ter.higher_is_better and ter.estimate.low == float("-inf")  # no error is told


def test_an_unknown_interval_is_null_in_json(tmp_path: Path) -> None:
    from smallworks.recipes.lmeval import Results

    version, scores = read(kept(tmp_path / "out"))
    said = document(Results(target="x", model="m", lm_eval=version, scores=scores, out=None))
    assert [score["estimate"]["low"] is None for score in said["scores"]] == [False, False, True]
    json.dumps(said, allow_nan=False)


@pytest.mark.parametrize("task", ["humaneval", "humaneval_instruct", "mbpp"])
def test_code_of_a_model_is_not_run_unasked(task: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"'{task}' runs the code that the model writes.*--run-code"):
        measure(str(tmp_path), ["gsm8k", task])


def test_what_cannot_be_run_is_told_before_anything_starts(tmp_path: Path) -> None:
    labels = echo(tmp_path, style="raw", kind="classify", choices=Choices(labels=("a", "b")))
    with pytest.raises(UserError, match="labels text and holds no conversation"):
        measure(str(labels), ["gsm8k"])
    with pytest.raises(UserError, match=r"no-python' has no lm-eval.*pip install .lm-eval\[api\]"):
        measure("http://127.0.0.1:9", ["gsm8k"], Options(python=tmp_path / "no-python"))
    with pytest.raises(UserError, match="No task is named"):
        measure("http://127.0.0.1:9", [])
    with pytest.raises(UserError, match="No folder of tasks"):
        measure("http://127.0.0.1:9", ["x"], Options(include=tmp_path / "none"))


STAND_IN = """
import json, os, pathlib, sys
def cli_evaluate():
    out = pathlib.Path(sys.argv[sys.argv.index("--output_path") + 1])
    told = {"argv": sys.orig_argv + sys.argv, "key": os.environ.get("OPENAI_API_KEY"),
            "run_code": os.environ.get("HF_ALLOW_CODE_EVAL")}
    (out / "told.json").write_text(json.dumps(told))
    (out / "results_1.json").write_text(json.dumps({"results": {}, "lm_eval_version": "stand-in"}))
"""
"""In place of lm-eval: writes down how it was called and what it was given."""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What lm-eval is given by `measure`."""
    package = tmp_path / "stand-in" / "lm_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("OPENAI_API_KEY", "of-another-provider")

    def ask(target: str, **options: Any) -> dict[str, Any]:
        out = tmp_path / "told"
        out.mkdir(exist_ok=True)
        assert measure(target, ["gsm8k"], Options(**options), out=out).lm_eval == "stand-in"
        found: dict[str, Any] = json.loads((out / "told.json").read_text())
        return found

    return ask


def test_a_key_reaches_lm_eval_only_where_it_is_named(
    told: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMEVAL_TEST_KEY", "for-this-server")
    without = told("http://127.0.0.1:9", model="m")
    assert without["key"] is None and without["run_code"] is None
    given = told("http://127.0.0.1:9", model="m", key_env="LMEVAL_TEST_KEY", run_code=True)
    assert (given["key"], given["run_code"]) == ("for-this-server", "1")
    assert "for-this-server" not in str(given["argv"])
    assert told("http://127.0.0.1:9", model="m", key_env="OPENAI_API_KEY")["key"] == "of-another-provider"
    with pytest.raises(UserError, match="'LMEVAL_TEST_NONE' is not set"):
        told("http://127.0.0.1:9", model="m", key_env="LMEVAL_TEST_NONE")


def served(name: str, keys: KeyFile | None = None) -> AbstractContextManager[str]:
    """A server whose one model has this name."""
    spec = PromptSpec(style="chat", kind="generate")
    manifest = Manifest(task="talk", kind="generate", candidate="fake", engine="fake", prompt=spec)
    predictor = Predictor(manifest=manifest, model=Fake(), renderer=Renderer(spec))
    return background(create_app({name: predictor}, default=name, keys=keys))


def test_the_model_is_asked_with_the_key(
    told: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys:
        monkeypatch.setenv("LMEVAL_TEST_KEY", keys.add("ci")[1])
        with served("behind-a-door", keys) as url:
            found = told(url, key_env="LMEVAL_TEST_KEY")
    (asked,) = {word for word in found["argv"] if word.startswith("base_url=")}
    assert asked.startswith(f"base_url={url}/v1/chat/completions,model=behind-a-door,")


def test_a_server_cannot_slip_arguments_into_lm_eval(told: Callable[..., dict[str, Any]]) -> None:
    name = "x,tokenizer_backend=huggingface,tokenizer=evil/r,trust_remote_code=True"
    with served(name) as url, pytest.raises(UserError, match=r"trust_remote_code=True.*--model"):
        told(url)
    with pytest.raises(UserError, match="holds a comma or an equals sign"):
        told("http://127.0.0.1:9", model="x=y")
    with pytest.raises(UserError, match=r"The address 'http://127.0.0.1:9/a,b"):
        told("http://127.0.0.1:9/a,b", model="m")
