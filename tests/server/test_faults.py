"""An engine that dies or hangs under a stream: told to who waited, counted, and over for who comes next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest

from smallworks import starter
from smallworks.bundle.manifest import Manifest
from smallworks.compress import quantize
from smallworks.engines.fake import Fake
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.predictor import Predictor
from smallworks.prompt import Template, TextTokenizer
from smallworks.prompt.codes import choose
from smallworks.prompt.renderer import Renderer
from smallworks.server import background, create_app
from smallworks.server.rules import Rules
from smallworks.types import Chunk, PromptSpec, Sampling

CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "Say much."}], "stream": True}


class Brittle(Fake):
    """Streams one piece; then, while `ill`, raises or hangs until it is let go."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.ill, self.go = how, True, Event()

    def stream(self, *args: Any, **options: Any) -> Iterator[Chunk]:
        if not self.ill:
            yield from super().stream(*args, **options)
            return
        yield Chunk(text="one ")
        if self.how == "raises":
            raise OSError("secret words of a prompt")
        assert self.go.wait(30)
        raise RuntimeError("it came back and was broken")


def events(response: httpx2.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def stream(client: httpx2.Client, **headers: str) -> list[Any]:
    with client.stream("POST", CHAT, json=BODY, headers=headers) as response:
        assert response.status_code == 200
        return events(response)


def until(client: httpx2.Client, line: str) -> None:
    for _ in range(1000):
        if line in client.get("/metrics").text:
            return
    raise AssertionError(f"never seen: {line}")


def test_an_engine_that_raises_mid_stream_is_told_in_it_and_frees_its_place(
    writing: Callable[..., Predictor], caplog: pytest.LogCaptureFixture
) -> None:
    model = Brittle("raises")
    app = create_app({"echo": writing(model, engine="transformers")}, default="echo")
    with background(app) as url, httpx2.Client(base_url=url, timeout=30) as client:
        said = stream(client)
        assert said[-1]["error"]["code"] == "internal_error"
        until(client, 'smallworks_errors_total{bundle="echo",code="internal_error"} 1.0')
        until(client, 'smallworks_held_tokens{bundle="echo"} 0.0')
        model.ill = False
        assert "error" not in stream(client)[-1], "its only place is free again"
    assert "secret" not in caplog.text + json.dumps(said)


def test_an_engine_that_hangs_costs_one_place_and_nobodys_patience(
    writing: Callable[..., Predictor],
) -> None:
    model = Brittle("hangs")
    bundles = {"echo": writing(model, engine="transformers"), "other": writing()}
    app = create_app(bundles, default="echo", rules=Rules(waiting=1))
    with background(app) as url, httpx2.Client(base_url=url, timeout=30) as client:
        hung = stream(client, **{"x-request-deadline": "0.2"})
        assert hung[-1]["error"]["code"] == "deadline_exceeded"
        # The thread is still inside: one more may wait, in vain, and a third is told to go.
        late = client.post(CHAT, json=BODY, headers={"x-request-deadline": "0.1"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        assert client.get("/healthz").status_code == 200
        other = client.post("/generate", json={"model": "other", "input_text": "hi"})
        assert other.json()["output"] == "Say it.\n\nhi"
        model.ill = False
        model.go.set()
        until(client, 'smallworks_held_tokens{bundle="echo"} 0.0')
        assert "error" not in stream(client)[-1]


@pytest.fixture(scope="module")
def starter_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantize(starter.MODEL, tmp_path_factory.mktemp("gguf") / "starter.gguf", "q8_0")


def predictor(file: Path, *, labels: tuple[str, ...] = ()) -> Predictor:
    words, template = TextTokenizer.load(starter.MODEL), Template.load(starter.MODEL)
    choices = choose(labels, words, template) if labels else None
    spec = PromptSpec(style="chat", kind="classify" if labels else "generate", choices=choices)
    manifest = Manifest(
        task="real", kind=spec.kind, candidate="starter", engine="llamacpp", prompt=spec,
        sampling=Sampling(max_tokens=200),
    )  # fmt: skip
    return Predictor(
        manifest=manifest, model=LlamaCpp(file, threads=1), renderer=Renderer(spec, template, words)
    )


def test_llama_cpp_ended_under_a_stream_is_told_in_the_stream(starter_file: Path) -> None:
    bundle = predictor(starter_file)
    app = create_app({"real": bundle}, default="real")
    with background(app) as url, httpx2.Client(base_url=url, timeout=30) as client:
        with client.stream("POST", CHAT, json={**BODY, "ignore_eos": True}) as response:
            lines = response.iter_lines()
            next(lines)
            bundle.close()
            rest = [line.removeprefix("data: ") for line in lines if line]
        last = json.loads([line for line in rest if line != "[DONE]"][-1])
        assert last.get("error", {}).get("code", "unavailable") == "unavailable"
        gone = client.post(CHAT, json=BODY)
        assert gone.status_code >= 400
        until(client, 'smallworks_held_tokens{bundle="real"} 0.0')
        assert client.get("/healthz").status_code == 200


def test_a_pass_of_llama_cpp_says_what_each_row_alone_does(starter_file: Path) -> None:
    bundle = predictor(starter_file, labels=("bug", "feature", "question"))
    rows = [
        f"{text} {n}" for n in range(4) for text in ("It crashes.", "Please add it.", "How does it work?")
    ]
    with bundle:
        alone = [bundle.answer(row) for row in rows]
        together = bundle.answers(rows)
    worst = max(
        abs(a.probabilities[label] - b.probabilities[label])  # type: ignore[index]
        for a, b in zip(alone, together, strict=True)
        for label in ("bug", "feature", "question")
    )
    assert worst < 1e-3
    assert [a.text for a in alone] == [b.text for b in together]
