"""A load test of a real server of ours: a stall is seen, streams are timed, refusals are told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from smallworks.bundle.manifest import Manifest
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import DataError, RequestError, UserError
from smallworks.evaluate.load import Load
from smallworks.prompt.renderer import Renderer
from smallworks.recipes.bench import Bench, Options, bench
from smallworks.recipes.bench_page import render
from smallworks.server import background, create_app
from smallworks.types import Choices, Completion, Prompt, PromptSpec, Sampling

STALL = 0.6
QUICK = {"seconds": 0.3, "warmup": 0.1}


class Stalling(Fake):
    """Answers at once, but stalls once, when it is told, and holds up everybody who asks meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.after = 0
        self._lock = threading.Lock()

    def generate(
        self, prompt: Prompt, sampling: Sampling, *, cancel: threading.Event | None = None
    ) -> Completion:
        with self._lock:
            self.after -= 1
            if self.after == 0:
                time.sleep(STALL)
        return super().generate(prompt, sampling, cancel=cancel)


def predictor(model: Any, spec: PromptSpec, task: str) -> Predictor:
    manifest = Manifest(
        task=task,
        kind=spec.kind,
        candidate="fake",
        engine="fake",
        prompt=spec,
        sampling=Sampling(max_tokens=64),
    )
    return Predictor(manifest=manifest, model=model, renderer=Renderer(spec))


@pytest.fixture(scope="module")
def model() -> Stalling:
    return Stalling()


@pytest.fixture(scope="module")
def url(model: Stalling) -> Iterator[str]:
    writing = PromptSpec(style="chat", kind="generate", instruction="Say it.")
    labelling = PromptSpec(style="raw", kind="classify", choices=Choices(labels=("bug", "question")))
    bundles = {
        "echo": predictor(model, writing, "echo"),
        "tickets": predictor(Fake(), labelling, "tickets"),
        "paced": predictor(Fake(pace=0.001), writing, "paced"),
    }
    with background(create_app(bundles, default="echo")) as address:
        yield address


def p99(done: Bench) -> float:
    latency = done.levels[0].latency
    assert latency
    return latency["p99"].value


def test_an_open_loop_shows_a_stall_that_a_closed_loop_leaves_out(url: str, model: Stalling) -> None:
    model.after = 100
    closed = bench(url, [Load(clients=1, seconds=20, warmup=0, most=150)], Options())
    assert p99(closed) < STALL * 1e3 / 2  # the stall is one request of 150, and the tool waited with the rest
    model.after = 50
    rate = Load(rate=100, arrivals="fixed", seconds=1.2, warmup=0, grace=10)
    opened = bench(url, [rate], Options())
    assert opened.levels[0].requests == 120 and not opened.levels[0].errors
    assert p99(opened) > STALL * 1e3 / 2  # half of them were due meanwhile


def test_a_stream_is_timed_to_its_first_token(url: str) -> None:
    done = bench(url, [Load(clients=2, **QUICK)], Options(model="paced", stream=True, max_tokens=20))
    (one,) = done.levels
    assert one.first and one.latency and one.each and not one.errors
    assert one.first["p50"].value < one.latency["p50"].value
    assert one.tokens_out == 20 and one.tokens_out_per_second > 0


def test_labels_are_asked_of_their_own_route(url: str) -> None:
    done = bench(url, [Load(clients=1, **QUICK)], Options(model="tickets", route="classify"))
    assert done.levels[0].answered and not done.levels[0].errors
    with pytest.raises(UserError, match="/v1/classify does not stream"):
        bench(url, [Load(clients=1, **QUICK)], Options(model="tickets", route="classify", stream=True))


def test_what_is_asked_comes_from_a_file_and_the_first_model_is_named(url: str, tmp_path: Path) -> None:
    rows = tmp_path / "asked.jsonl"
    rows.write_text("".join(json.dumps({"id": n, "Text": f"No. {n % 2}"}) + "\n" for n in range(4)))
    done = bench(url + "/v1/", [Load(clients=1, **QUICK)], Options(prompts=rows))
    assert (done.prompts, done.source, done.model, done.local) == (2, str(rows), "echo", True)
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(DataError, match="holds nothing to ask"):
        bench(url, [Load(clients=1, **QUICK)], Options(prompts=tmp_path / "none.txt"))


def test_a_server_that_refuses_the_first_request_is_quoted(url: str) -> None:
    with pytest.raises(RequestError, match=r"first request with 404: .*'nobody'.*--model"):
        bench(url, [Load(clients=1, **QUICK)], Options(model="nobody"))


def test_refusals_under_load_are_counted_by_their_cause(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from smallworks.evaluate.wire import Wire

    asked: Callable[..., Any] = Wire.ask
    monkeypatch.setattr(
        Wire, "ask", lambda self, path, body, stream: asked(self, "/nowhere", body, stream=stream)
    )
    (one,) = bench(url, [Load(clients=1, seconds=30, warmup=0, most=5)], Options()).levels
    assert (one.errors, one.answered, one.latency) == ({"404": 5}, 0, None)


def test_the_servers_own_count_agrees(url: str) -> None:
    def served() -> float:
        text = httpx2.get(f"{url}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("smallworks_requests_total")]
        return sum(float(line.rpartition(" ")[2]) for line in lines if "chat" in line and '"echo"' in line)

    before = served()
    done = bench(url, [Load(clients=2, seconds=30, warmup=0, most=40)], Options(model="echo"))
    assert done.levels[0].answered == 40
    assert served() - before == 41  # and the first one, which is asked before the load


def test_the_page_stands_alone_and_shows_every_level(url: str) -> None:
    loads = [Load(clients=1, **QUICK), Load(rate=20, **QUICK)]
    page = render(bench(url, loads, Options(model="paced", stream=True, max_tokens=4)))
    assert page.count("<svg") == 4 and "1 client" in page and "20/s" in page
    assert "http-equiv" in page and "<script" not in page and "src=" not in page
