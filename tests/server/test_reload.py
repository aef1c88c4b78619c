"""A release that is moved while it is asked: no request fails, and only what proves itself is served."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from smallworks.bundle.golden import Golden, write
from smallworks.bundle.manifest import Manifest
from smallworks.bundle.store import freeze
from smallworks.engines.predictor import Predictor
from smallworks.registry import Releases
from smallworks.server import Config, background, create_app
from smallworks.server import bundles as proving
from smallworks.server.assembly import assembled
from smallworks.types import PromptSpec


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles that echo, each its own instruction."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "draft").mkdir()
    made = []
    for instruction in ("first", "second"):
        spec = PromptSpec(style="chat", kind="generate", instruction=instruction)
        manifest = Manifest(task="echo", kind="generate", candidate="fake", engine="fake", prompt=spec)
        made.append(freeze(folder / "draft", manifest, into=folder).path)
    return made


@pytest.fixture()
def releases(tmp_path: Path, bundles: list[Path]) -> Releases:
    made = Releases(tmp_path / "releases.sqlite", create=True)
    made.promote("production", bundles[0])
    return made


@pytest.fixture()
def app(releases: Releases) -> Iterator[Starlette]:
    config = Config(bundles=("production",), releases=releases.path)
    with ExitStack() as stack:
        yield assembled(config, stack, local=True)


def look(app: Starlette, *, asked: bool = False) -> None:
    for each in app.state.looks:
        each(asked)


def ask(client: httpx2.Client, **more: Any) -> httpx2.Response:
    return client.post("/generate", json={"input_text": "x", **more})


def test_a_release_answers_by_its_name_its_task_and_its_folder(app: Starlette, bundles: list[Path]) -> None:
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        for name in (None, "production", "echo", bundles[0].name):
            more = {"model": name} if name else {}
            assert ask(client, **more).json()["output"] == "first\n\nx"


def test_no_request_fails_during_20_reloads_under_load(
    app: Starlette, releases: Releases, bundles: list[Path]
) -> None:
    ended, failed, seen = Event(), list[str](), set[str]()

    def load(url: str) -> None:
        with httpx2.Client(base_url=url, timeout=20) as client:
            while not ended.is_set():
                reply = ask(client, model="production")
                if reply.status_code == 200:
                    seen.add(reply.json()["output"])
                else:
                    failed.append(reply.text)

    with background(app) as url:
        threads = [Thread(target=load, args=(url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(20):
            releases.promote("production", bundles[(number + 1) % 2])
            look(app)
        ended.set()
        for thread in threads:
            thread.join()
        metrics = httpx2.get(f"{url}/metrics").text
    assert failed == []
    assert seen == {"first\n\nx", "second\n\nx"}
    assert 'smallworks_reloads_total{bundle="production",result="served"} 20.0' in metrics


def test_a_stream_of_the_old_bundle_is_finished_before_it_is_closed(
    app: Starlette, releases: Releases, bundles: list[Path]
) -> None:
    old = app.state.room.hosts["production"].predictor
    closed = Event()
    old.model._pace, old.model.close = 0.02, closed.set
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        body = {"messages": [{"role": "user", "content": "y" * 20}], "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            releases.promote("production", bundles[1])
            look(app)
            assert ask(client).json()["output"] == "second\n\nx"
            look(app)
            assert not closed.is_set()
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        while not closed.is_set():
            look(app)
            time.sleep(0.01)


def test_a_bundle_that_fails_its_proof_leaves_the_old_one_serving(
    app: Starlette, releases: Releases, bundles: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = _lying(tmp_path)
    releases.promote("production", wrong)
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        look(app)
        look(app)
        assert ask(client, model="production").json()["output"] == "first\n\nx"
        metrics = client.get("/metrics").text
        assert 'smallworks_reloads_total{bundle="production",result="refused"} 1.0' in metrics
        assert "does not answer here as it did when it was frozen" in caplog.text
        look(app, asked=True)
        assert caplog.text.count("refused, the old bundle serves on") == 2
        releases.rollback("production")
        look(app)
        assert ask(client, model="production").json()["output"] == "first\n\nx"


def test_a_load_that_fails_otherwise_is_refused_once_as_well(
    app: Starlette, releases: Releases, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = list[object]()

    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(proving, "replay", out_of_memory)
    monkeypatch.setattr(Predictor, "close", lambda one: closed.append(one))
    releases.promote("production", bundles[1])
    look(app)
    look(app)
    metrics = app.state.meters.text().decode()
    assert 'smallworks_reloads_total{bundle="production",result="refused"} 1.0' in metrics
    assert len(closed) == 1, "it was loaded once, and let go"


def test_a_name_of_another_model_is_not_taken_from_it(
    app: Starlette, releases: Releases, bundles: list[Path]
) -> None:
    other = app.state.room.hosts[bundles[1].name] = object()
    releases.promote("production", bundles[1])
    look(app)
    assert app.state.room.hosts[bundles[1].name] is other
    metrics = app.state.meters.text().decode()
    assert 'smallworks_reloads_total{bundle="production",result="refused"} 1.0' in metrics


def test_a_new_bundle_of_the_same_name_keeps_its_gauges(writing: Callable[..., Predictor]) -> None:
    app = create_app({"echo": writing()}, default="echo")
    (gone,) = app.state.room.serve({"echo": writing()})
    gone.forget()
    assert 'smallworks_waiting{bundle="echo"} 0.0' in app.state.meters.text().decode()


def _lying(folder: Path) -> Path:
    """A bundle whose golden row no engine would answer so."""
    draft = folder / "draft"
    draft.mkdir()
    spec = PromptSpec(style="chat", kind="generate", instruction="third")
    write(draft, [Golden(inputs={"text": "x"}, ids=(), text="never that")])
    manifest = Manifest(task="echo", kind="generate", candidate="fake", engine="fake", prompt=spec)
    return freeze(draft, manifest, into=folder).path


def test_a_link_is_followed_when_it_is_asked_for(bundles: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(bundles[0])
    with ExitStack() as stack:
        app = assembled(Config(bundles=(str(link),)), stack, local=True)
        with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
            link.unlink()
            link.symlink_to(bundles[1])
            look(app)
            assert ask(client).json()["output"] == "first\n\nx"
            look(app, asked=True)
            assert ask(client, model="current").json()["output"] == "second\n\nx"
            assert ask(client, model=bundles[0].name).status_code == 404


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_sighup_makes_a_server_look_at_once(bundles: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(bundles[0])
    code = f"from smallworks.server import Config, serve; serve(Config(bundles=({str(link)!r},), port=0))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        url = process.stderr.readline().split()[2]
        link.unlink()
        link.symlink_to(bundles[1])
        process.send_signal(signal.SIGHUP)
        assert "'current' is '" in process.stderr.readline()
        with httpx2.Client(base_url=url, timeout=20) as client:
            assert ask(client).json()["output"] == "second\n\nx"
    finally:
        process.kill()
        process.communicate()
