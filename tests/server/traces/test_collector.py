"""Traces of real requests: what is in them with and without content, and examples made of them again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from smallworks.cli import run
from smallworks.engines.predictor import Predictor
from smallworks.errors import UserError
from smallworks.server import background, create_app, otel
from smallworks.server import outbox as outboxes
from smallworks.server.prices import FREE
from smallworks.server.traces import Traces, collector
from smallworks.server.traces.sqlite import SqliteTraces
from smallworks.server.traces.trace import Trace
from smallworks.server.visit import Visit

TRACE = Trace(
    id="r",
    at=0.0,
    route="chat",
    bundle="a",
    status=200,
    code="",
    ms=1.0,
    queue_ms=0.0,
    first_ms=None,
    tokens_in=1,
    tokens_out=1,
    cost=None,
    key=None,
    stage="",
    cache="",
)
CHAT = {"messages": [{"role": "user", "content": "It crashes."}]}


@pytest.fixture()
def file(tmp_path: Path) -> Path:
    return tmp_path / "traces.sqlite"


@pytest.fixture()
def ask(
    file: Path, labelling: Callable[..., Predictor], writing: Callable[..., Predictor]
) -> Callable[..., list[Trace]]:
    """Sends requests (path, body) to a server with these traces; gives what was traced by its end."""

    def asked(*requests: tuple[str, dict[str, Any]], **section: Any) -> list[Trace]:
        traces = Traces(store=file, **section)
        app = create_app({"tickets": labelling(), "echo": writing()}, default="tickets", traces=traces)
        with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
            for number, (path, body) in enumerate(requests):
                client.post(path, json=body, headers={"x-request-id": f"r{number}"})
        store = traces.opened()
        found = list(store.read())
        store.close()
        return found

    return asked


def test_a_trace_holds_no_content_unless_it_is_asked_for(ask: Callable[..., list[Trace]], file: Path) -> None:
    (trace,) = ask(("/v1/chat/completions", CHAT))
    assert (trace.id, trace.route, trace.bundle, trace.status) == ("r0", "chat", "tickets", 200)
    assert trace.ms > 0 and trace.inputs is None and trace.outputs is None
    assert b"crashes" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


def test_with_content_every_route_gives_examples(ask: Callable[..., list[Trace]]) -> None:
    stream = {**CHAT, "model": "echo", "stream": True}
    found = ask(
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", stream),
        ("/v1/completions", {"prompt": ["It crashes.", "b"]}),
        ("/v1/classify", {"input": ["It crashes.", "b"]}),
        ("/generate", {"input_text": "It crashes."}),
        content=True,
    )
    rows = [row for trace in found for row in trace.examples()]
    assert [row["id"] for row in rows] == ["r0", "r1", "r2-0", "r2-1", "r3-0", "r3-1", "r4"]
    assert [row["output"] for row in rows if row["input"] == "It crashes."] == [
        "bug",
        "Say it.\n\nIt crashes.",
        "bug",
        "bug",
        "bug",
    ]
    assert found[1].first_ms is not None and found[1].tokens_out > 0


def test_failures_are_traced_with_their_code(ask: Callable[..., list[Trace]]) -> None:
    found = ask(("/v1/chat/completions", {**CHAT, "model": "none"}), ("/generate", {}), content=True)
    assert [(t.status, t.code) for t in found] == [(404, "model_not_found"), (400, "bad_field")]


def test_a_sample_is_a_share_that_no_client_can_choose_by_its_id(ask: Callable[..., list[Trace]]) -> None:
    requests = [("/generate", {"input_text": "x"})] * 60
    some = {trace.id for trace in ask(*requests, sample=0.5)}
    assert 0 < len(some) < 60
    assert {trace.id for trace in ask(*requests, sample=0.5)} != some, "another process, another sample"


def test_a_store_that_is_gone_stops_no_request_and_is_counted(
    labelling: Callable[..., Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "PAUSE_SECONDS", 0.01)
    file = tmp_path / "gone" / "traces.sqlite"
    (tmp_path / "gone").write_text("a file where the folder should be")
    app = create_app({"tickets": labelling()}, default="tickets", traces=Traces(store=file))
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        while 'smallworks_lost_total{reason="failed",what="traces"}' not in client.get("/metrics").text:
            assert client.post("/generate", json={"input_text": "x"}).status_code == 200
        (tmp_path / "gone").unlink()
        while "smallworks_traces_total 0.0" in client.get("/metrics").text:
            assert client.post("/generate", json={"input_text": "x"}).status_code == 200
    assert sqlite3.connect(file).execute("SELECT count(*) FROM traces").fetchone()[0] > 0


def test_a_full_disk_stops_no_request_and_is_counted(
    labelling: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "PAUSE_SECONDS", 0.01)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    app = create_app({"tickets": labelling()}, default="tickets", traces=Traces(store=full))
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        while 'smallworks_lost_total{reason="failed",what="traces"}' not in client.get("/metrics").text:
            assert client.post("/generate", json={"input_text": "x"}).status_code == 200


def test_the_section_names_one_place() -> None:
    for section in (Traces(), Traces(store=Path("a"), url_env="B")):
        with pytest.raises(UserError, match=r"\[traces\] names"):
            section.opened()


def test_the_command_lists_and_exports_what_data_reads_again(
    ask: Callable[..., list[Trace]], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("It crashes.", "Why?", "Dark mode, please.")
    ask(*[("/generate", {"input_text": text}) for text in texts], ("/generate", {}), content=True)
    out = tmp_path / "rows.jsonl"
    assert run(["traces", "export", "--store", str(file), "--out", str(out)]) == 0
    assert "3 rows" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["input"] for row in rows] == list(texts)
    assert run(["data", "check", str(out), "--json"]) in (0, 1)
    assert "3" in capsys.readouterr().out
    assert run(["traces", "list", "--store", str(file), "--json", "--last", "1"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["code"] == "bad_field"
    assert run(["traces", "list", "--store", str(tmp_path / "none")]) == 2
    assert run(["traces", "export", "--store", str(file)]) == 2


@pytest.mark.parametrize(("kept", "sent"), [(False, True), (True, False)])
def test_each_witness_keeps_content_only_where_its_own_section_says_so(
    file: Path, labelling: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch, kept: bool, sent: bool
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(otel.Spans, "_write", lambda self, batch: seen.extend(batch))
    traces, spans = Traces(store=file, content=kept), otel.Otel(content=sent)
    app = create_app({"tickets": labelling()}, default="tickets", traces=traces, otel=spans)
    with background(app) as url:
        httpx2.post(f"{url}/v1/chat/completions", json=CHAT)
    store = traces.opened()
    (trace,) = store.read()
    store.close()
    assert (trace.inputs is not None, trace.outputs is not None) == (kept, kept)
    assert ("gen_ai.input.messages" in seen[0].attributes) is sent


def test_a_response_is_one_conversation_and_its_text(ask: Callable[..., list[Trace]]) -> None:
    turns = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "It "}, {"type": "input_text", "text": "is."}],
        }
    ]
    body = {"model": "echo", "input": turns, "instructions": "Say it."}
    found = ask(
        ("/v1/responses", {"model": "echo", "input": "It is."}),
        ("/v1/responses", body),
        ("/v1/responses", {**body, "stream": True}),
        ("/v1/responses", {**body, "input": [*turns, {"role": "assistant", "content": "A"}, *turns]}),
        content=True,
    )
    *rows, last = [row for trace in found for row in trace.examples()]
    assert [(row["input"], row["output"]) for row in rows] == [("It is.", "Say it.\n\nIt is.")] * 3
    assert [turn["role"] for turn in json.loads(last["input"])] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_to_several_prompts_are_paired(ask: Callable[..., list[Trace]], stream: bool) -> None:
    body = {"model": "echo", "prompt": ["one", "two"], "n": 2, "temperature": 1.0, "stream": stream}
    (trace,) = ask(("/v1/completions", body), content=True)
    rows = [(row["input"], sorted(row["output"].split())) for row in trace.examples()]
    assert rows == [(text, ["Say", "it.", text]) for text in ("one", "one", "two", "two")]


def test_an_empty_answer_is_no_example() -> None:
    two = replace(TRACE, inputs=({"input": "a"}, {"input": "b"}), outputs=("", "x"))
    assert [row["id"] for row in two.examples()] == ["r-1"]


def test_old_traces_that_cannot_be_deleted_lose_no_new_ones(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Any, **_: Any) -> int:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(SqliteTraces, "trim", refuse)
    written, lost = collected(file, 3)
    assert (written, lost) == (3, 0) and "could not be deleted (OperationalError)" in caplog.text


def test_old_traces_are_deleted_a_slice_at_a_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "SLICE", 2)
    monkeypatch.setattr(outboxes, "BATCH", 1)
    asked: list[int] = []
    trim = SqliteTraces.trim

    def noted(self: SqliteTraces, **limits: Any) -> int:
        asked.append(trim(self, **limits))
        return asked[-1]

    monkeypatch.setattr(SqliteTraces, "trim", noted)
    store = SqliteTraces(file)
    store.write([TRACE] * 5)  # at 0: far too old
    store.close()
    collected(file, 4)
    assert asked == [2, 2, 1]


def collected(file: Path, requests: int) -> tuple[int, int]:
    """How many were written and how many lost, by the end."""
    written, lost = [0], [0]

    def add(to: list[int], count: int) -> None:
        to[0] += count

    traces = Traces(store=file)
    made = collector.Collector(
        traces, traces.opened(), lambda _: FREE, written=partial(add, written), lost=lambda n, _: add(lost, n)
    )
    for number in range(requests):
        made({}, Visit(id=b"r%d" % number, deadline=60, inside=True))
    made.close()
    return written[0], lost[0]
