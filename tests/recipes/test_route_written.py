"""Cascades of bundles that write: chosen by what tokens tell, frozen, verified, served; or by agreement."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from smallworks import compress, files, starter
from smallworks.bundle import Bundle, Manifest, freeze, open_bundle
from smallworks.cli import run
from smallworks.engines.base import resolve, words_of
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.engines.sureness import asked, signals
from smallworks.prompt import Renderer
from smallworks.server import background, create_app
from smallworks.types import PromptSpec, Sampling

ROWS = 72
KIND = {"task": "small", "kind": "generate", "inputs": ("input",)}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The starter, which writes three tokens of its own."""
    folder = tmp_path_factory.mktemp("writer")
    draft, words = folder / "draft", words_of(resolve(None))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        files.link_or_copy(starter.MODEL / name, draft / "tokenizer" / name)
    spec = PromptSpec(style="chat", kind="generate", instruction="Say it in other words.")
    stops = Renderer(spec, words.template, words.tokenizer).stop_ids
    compress.quantize(starter.MODEL, draft / "model.gguf", "q8_0")
    manifest = Manifest(
        **KIND,
        candidate="lm-zero-q8_0",
        engine="llamacpp",
        prompt=spec,
        model="model.gguf",
        quantization="q8_0",
        sampling=Sampling(max_tokens=3, stop_ids=stops),
    )
    return freeze(draft, manifest, into=folder)


def echoing(name: str, folder: Path) -> Bundle:
    """A bundle that says what it is given."""
    (folder / "draft").mkdir(parents=True)
    spec = PromptSpec(style="raw", kind="generate", instruction="Say it again.")
    return freeze(folder / "draft", Manifest(**KIND, candidate=name, engine="fake", prompt=spec), into=folder)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return echoing("echo", tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def rows(writer: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter is right where its least sure token is above the middle; else what was said is."""
    texts = [
        f"{('Bill', 'Order', 'Ticket')[i % 3]} number {i} of our last week came in late." for i in range(ROWS)
    ]
    with open_predictor(writer) as predictor:
        said = [predictor.answer(text, asked(predictor)) for text in texts]
    sure = [(signals(answer.tokens) or {"weakest": 0.0})["weakest"] for answer in said]
    middle = sorted(sure)[ROWS // 2]
    lines = [
        {"input": text, "output": answer.text if one > middle else text}
        for text, answer, one in zip(texts, said, sure, strict=True)
    ]
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def routed(writer: Bundle, echo: Bundle, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("routed")
    promise = ["--promise", "15 points", "--costs", "1,100", "--out", str(out), "--json"]
    return ["route", "calibrate", str(writer.path), str(echo.path), "--data", str(rows), *promise]


def test_it_is_calibrated_on_rows_of_its_own_frozen_and_verified(
    routed: list[str], rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run(routed), json.loads(capsys.readouterr().out)
    assert code == 0, found["why"]
    assert found["promise"]["kept"] and found["chosen"]["spread"] > 0
    assert 0.4 * ROWS < found["rows"] < ROWS and "tokens" in found["notes"][0]
    assert 0 < found["chosen"]["escalated"] < 0.9 and found["chosen"]["quality"] > found["last"]["quality"]
    bundle = open_bundle(found["bundle"])
    (how,) = bundle.manifest.sureness.values()
    assert how.signal in ("likelihood", "weakest", "margin") and how.curve
    assert run(["verify", str(bundle.path)]) == 0
    with (
        open_predictor(bundle) as cascade,
        background(create_app({"small": cascade}, default="small")) as url,
    ):
        texts = [row["input"] for row in files.read_jsonl(rows)][:12]
        assert {cascade.answer(text).stage for text in texts} == {"lm-zero-q8_0", "echo"}
        check_served(url, cascade.answer("Ticket 1.").text)


def check_served(url: str, said: str) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "Ticket 1."}]}
    whole = httpx2.post(f"{url}/v1/chat/completions", json=body).json()
    assert whole["choices"][0]["message"]["content"] == said
    streamed = httpx2.post(f"{url}/v1/chat/completions", json={**body, "stream": True}).text
    events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    pieces = [e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"]]
    assert "".join(pieces) == said
    form = {"type": "json_object"}
    refused = httpx2.post(f"{url}/v1/chat/completions", json={**body, "response_format": form})
    assert refused.status_code == 400 and "cascade" in refused.json()["error"]["message"]


def test_what_tells_nothing_may_only_stand_last_or_agree(
    writer: Bundle, echo: Bundle, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few.jsonl"
    files.write_jsonl(few, list(files.read_jsonl(rows))[:8])
    asked_for = ["route", "calibrate", str(echo.path), str(writer.path), "--data", str(few), "--costs", "1,9"]
    assert run(asked_for) == 2
    assert "their agreement tells" in capsys.readouterr().err


def test_two_that_agree_need_no_labelled_rows(
    writer: Bundle, echo: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = echoing("second", tmp_path / "second")
    for three in ((echo, second, writer), (echo, writer, second)):
        into = ["--out", str(tmp_path / three[0].name / three[1].name), "--json"]
        assert run(["route", "agree", *(str(one.path) for one in three), *into]) == 0
        bundle = open_bundle(json.loads(capsys.readouterr().out)["bundle"])
        assert "none" in bundle.manifest.lineage["promise"]
        with open_predictor(bundle) as cascade:
            answer = cascade.answer("Bill number 1 of our last week came in late.")
        assert (answer.stage, answer.text) == ("second", "Bill number 1 of our last week came in late.")
        assert len(answer.spent) == (2 if three[1] is second else 3)


def test_agreement_reads_no_rows(echo: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(echo.path)
    assert run(["route", "agree", path, path, path, "--data", "rows.csv"]) == 2
    assert "--data has no meaning for 'route agree'" in capsys.readouterr().err
