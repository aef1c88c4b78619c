"""Bundles loaded when they are asked for, and put out of memory: one load, proven, within a budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest

from smallworks.bundle.manifest import Manifest
from smallworks.bundle.store import Bundle, freeze
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import BundleError, UserError
from smallworks.guard import Guards
from smallworks.guard.policy import parse
from smallworks.prompt.renderer import Renderer
from smallworks.server import background, create_app, demand, memory
from smallworks.server.config import load as load_config
from smallworks.server.demand import Unloaded
from smallworks.server.memory import RoomConfig, size
from smallworks.server.rules import Rules
from smallworks.types import PromptSpec

SIZE = 100 * 10**6


class Slow(Fake):
    """Answers character by character, until it is let go."""

    def __init__(self, go: Event) -> None:
        super().__init__(pace=0.0)
        self.go, self.closed = go, False

    def stream(self, *args: Any, **options: Any) -> Any:
        inner = super().stream(*args, **options)
        yield next(inner)
        assert self.go.wait(30)
        yield from inner

    def close(self) -> None:
        self.closed = True
        super().close()


class Loads:
    """Stands for the engines: loads what it is told to, counts, and fails with `error` where there is one."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.models: list[Slow] = []
        self.error: Exception | None = None
        self.go, self.answering, self.begun = Event(), Event(), Event()
        self.go.set()
        self.answering.set()

    def __call__(self, path: Path) -> Predictor:
        self.begun.set()
        assert self.go.wait(30)
        if self.error:
            raise self.error
        self.opened.append(path.name.split("-")[0])
        self.models.append(Slow(self.answering))
        spec = PromptSpec(style="chat", kind="generate")
        manifest = Manifest(task="t", kind="generate", candidate="fake", engine="fake", prompt=spec)
        return Predictor(manifest=manifest, model=self.models[-1], renderer=Renderer(spec))


@pytest.fixture()
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    counted = count(0, SIZE)  # each load takes SIZE
    monkeypatch.setattr(memory, "resident", lambda: next(counted))
    monkeypatch.setattr(memory, "available", lambda: 10**15)
    monkeypatch.setattr(memory, "WAIT", 0.2)
    return Loads()


@pytest.fixture()
def frozen(tmp_path: Path) -> Callable[[str], Bundle]:
    def freeze_one(task: str) -> Bundle:
        (tmp_path / "draft").mkdir(exist_ok=True)
        spec = PromptSpec(style="chat", kind="generate")
        manifest = Manifest(task=task, kind="generate", candidate="fake", engine="fake", prompt=spec)
        return freeze(tmp_path / "draft", manifest, into=tmp_path)

    return freeze_one


Serve = Callable[..., Any]


@pytest.fixture()
def serve(loads: Loads, frozen: Callable[[str], Bundle]) -> Serve:
    """Serves bundles a, b, c of SIZE bytes each on demand, so many of which fit at once."""

    @contextmanager
    def start(fit: float, **options: Any) -> Iterator[httpx2.Client]:
        bundles = {name: Unloaded(frozen(name), loads) for name in "abc"}
        for bundle in bundles.values():
            bundle.bytes = SIZE
        app = create_app(bundles, default="a", budget=int(fit * SIZE), **options)
        with background(app) as url, httpx2.Client(base_url=url, timeout=30) as client:
            yield client
            loads.go.set()
            loads.answering.set()

    return start


def ask(client: httpx2.Client, name: str, **headers: str) -> httpx2.Response:
    body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def test_a_bundle_is_loaded_when_it_is_first_asked_for(serve: Serve, loads: Loads) -> None:
    with serve(fit=3) as client:
        assert loads.opened == []
        listed = client.get("/v1/models").json()["data"]
        assert [model["smallworks"]["loaded"] for model in listed] == [False, False, False]
        assert ask(client, "b").json()["choices"][0]["message"]["content"] == "hi"
        assert ask(client, "b").status_code == 200
        assert loads.opened == ["b"]
        assert 'smallworks_loads_total{bundle="b",result="loaded"} 1.0' in client.get("/metrics").text


def test_all_who_wait_share_one_load(serve: Serve, loads: Loads) -> None:
    loads.go.clear()
    with serve(fit=3) as client, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, client, "a") for _ in range(8)]
        assert loads.begun.wait(30)
        assert client.get("/healthz").status_code == 200
        loads.go.set()
        assert [future.result().status_code for future in waiting] == [200] * 8
        assert loads.opened == ["a"]


def test_a_load_that_takes_too_long_is_504_and_serves_who_comes_later(serve: Serve, loads: Loads) -> None:
    loads.go.clear()
    with serve(fit=3) as client:
        late = ask(client, "a", **{"x-request-deadline": "0.2"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        loads.go.set()
        assert ask(client, "a").status_code == 200
        assert loads.opened == ["a"]


def test_the_least_lately_used_makes_room(serve: Serve, loads: Loads) -> None:
    with serve(fit=2) as client:
        for name in "abac":
            assert ask(client, name).status_code == 200
        assert loads.opened == ["a", "b", "c"]
        assert [model.closed for model in loads.models] == [False, True, False]
        metrics = client.get("/metrics").text
        assert 'smallworks_evictions_total{bundle="b"} 1.0' in metrics
        assert 'smallworks_loaded_bytes{bundle="b"} 0.0' in metrics
        assert 'smallworks_waiting{bundle="b"}' not in metrics
        assert ask(client, "b").status_code == 200
        assert loads.opened == ["a", "b", "c", "b"]


def test_a_bundle_with_an_answer_under_way_never_goes(
    serve: Serve, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    loads.answering.clear()
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with serve(fit=1) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            refused = ask(client, "b")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_loaded")
            assert "answers are under way at: 'a' (100 MB)" in caplog.text
            assert "'a'" not in refused.json()["error"]["message"], "whose it is, is nobody else's matter"
            assert int(refused.headers["retry-after"]) >= 1
            assert not loads.models[0].closed
            loads.answering.set()
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert ask(client, "b").status_code == 200
        assert loads.models[0].closed


def test_what_can_never_fit_says_so(serve: Serve, loads: Loads, caplog: pytest.LogCaptureFixture) -> None:
    with serve(fit=0.5) as client:
        refused = ask(client, "a")
        assert refused.status_code == 503
        assert "takes 100 MB of a budget of 50 MB" in caplog.text
        assert "not memory enough for 'a'" in refused.json()["error"]["message"]
        assert loads.opened == []


def test_a_load_that_fails_tells_the_log_why_and_is_tried_again_after_a_pause(
    serve: Serve, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    loads.error = BundleError("'/srv/a' does not answer as it did when it was frozen.", fix="Rebuild it.")
    with serve(fit=3) as client:
        for _ in range(3):
            failed = ask(client, "a")
            assert (failed.status_code, failed.json()["error"]["code"]) == (503, "not_loaded")
            assert "/srv" not in failed.text
        assert caplog.text.count("'/srv/a' does not answer as it did when it was frozen") == 1
        metrics = client.get("/metrics").text
        assert 'smallworks_loads_total{bundle="a",result="failed"} 1.0' in metrics, "it was not tried again"
        loads.error = None
        assert ask(client, "b").status_code == 200


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("llama.cpp: cannot allocate")])
def test_memory_that_runs_out_while_loading_is_an_answer_and_no_crash(
    serve: Serve, loads: Loads, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(demand, "FIRST_PAUSE", 0.01)
    loads.error = error
    with serve(fit=3) as client:
        failed = ask(client, "a")
        assert failed.status_code == 503
        assert "cannot allocate" not in failed.json()["error"]["message"]
        loads.error = None
        while (answer := ask(client, "a")).status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
        assert answer.status_code == 200


def test_what_a_bundle_really_takes_counts(
    serve: Serve, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter([0, 180 * 10**6, 0, 0, 0, 0])
    monkeypatch.setattr(memory, "resident", lambda: next(taken))
    with serve(fit=2) as client:
        assert ask(client, "a").status_code == 200
        assert 'smallworks_loaded_bytes{bundle="a"} 1.8e+08' in client.get("/metrics").text
        assert ask(client, "b").status_code == 200, "100 MB more do not fit beside 180 of 200"
        assert loads.models[0].closed


def test_more_than_the_machine_has_is_refused_before_it_is_tried(
    serve: Serve, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: SIZE - 1)
    with serve(fit=3) as client:
        assert ask(client, "a").status_code == 503
        assert loads.opened == []


def test_the_line_before_a_load_is_bounded(serve: Serve, loads: Loads) -> None:
    loads.go.clear()
    with serve(fit=3, rules=Rules(waiting=2)) as client, ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(ask, client, "a") for _ in range(3)]
        first = next(as_completed(futures)).result()
        assert (first.status_code, first.json()["error"]["code"]) == (429, "busy")
        loads.go.set()
        assert sorted(future.result().status_code for future in futures) == [200, 200, 429]


@pytest.mark.parametrize(
    ("text", "bytes"),
    [
        ("4GB", 4 * 10**9),
        ("1.5 GiB", 1.5 * 2**30),
        ("512mb", 512 * 10**6),
        ("9", 9),
        ("much", 0),
        ("4 XB", 0),
    ],
)
def test_sizes(text: str, bytes: float) -> None:
    assert size(text) == bytes


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('load = "demand"\nmemory = "lots"', "a size such as 4gb"),
        ('memory = "4GB"', 'load = "demand"'),
        ('load = "sometimes"', "demand"),
    ],
)
def test_a_wrong_room_is_told_with_its_fix(tmp_path: Path, section: str, says: str) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(f"[room]\n{section}\n")
    with pytest.raises(UserError, match=says):
        load_config(file)


def test_a_room_is_read(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('[room]\nload = "demand"\nmemory = "2GB"\n')
    assert load_config(file).room == RoomConfig(load="demand", memory="2GB")


def test_no_thread_is_left_of_a_bundle_that_went(serve: Serve, loads: Loads) -> None:
    with serve(fit=1) as client:
        assert ask(client, "a").status_code == 200
        before = threading.active_count()
        for name in "bcabc":
            assert ask(client, name).status_code == 200
        assert threading.active_count() <= before + 2


def test_a_rule_on_tokens_holds_before_a_bundle_is_loaded(serve: Serve, loads: Loads) -> None:
    guards = Guards(parse('[[rule]]\nname = "tokens"\nmax_tokens = 5', "policy"))
    with serve(fit=3, guards=guards) as client:
        assert ask(client, "a").status_code == 200
        body = {"model": "b", "messages": [{"role": "user", "content": "word " * 50}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 400
        assert loads.opened == ["a"]
