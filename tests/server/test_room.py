"""Threads and hang-ups: nobody waits for an engine but who asked it, and an abandoned answer ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx2
import pytest

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError
from smallworks.server import background, create_app
from smallworks.server.room import WORKERS, _work
from smallworks.types import Answer, Chunk, Completion, Prompt, Sampling

CHAT = "/v1/chat/completions"


class Endless(Fake):
    """Writes until it is cancelled, and counts how many answers are under way."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = 0
        self.begun = Event()
        self._lock = threading.Lock()

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        *_, last = self.stream(prompt, sampling, cancel=cancel)
        assert last.completion is not None
        return last.completion

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        assert cancel is not None
        with self._lock:
            self.busy += 1
        self.begun.set()
        try:
            while not cancel.wait(0.01):
                yield Chunk(text="word ")
            done = Completion(text="", finish="cancelled", tokens_in=1, tokens_out=1)
            yield Chunk(text="", completion=done)
        finally:
            with self._lock:
                self.busy -= 1


@pytest.fixture()
def endless(writing: Callable[..., Predictor]) -> Iterator[tuple[str, Endless]]:
    model = Endless()
    # One thread, as the reference engine has.
    bundles = {"endless": writing(model, engine="transformers"), "echo": writing()}
    with background(create_app(bundles, default="endless")) as url:
        yield url, model


def idle(model: Endless) -> bool:
    deadline = time.monotonic() + 30
    while model.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    return not model.busy


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_frees_the_engine(endless: tuple[str, Endless], stream: bool) -> None:
    url, model = endless
    body = {"messages": [{"role": "user", "content": "x"}], "stream": stream}
    try:
        with httpx2.stream("POST", url + CHAT, json=body, timeout=0.5) as reply:
            next(reply.iter_raw())
    except httpx2.ReadTimeout:
        assert not stream
    assert model.begun.is_set()
    assert idle(model)


def test_a_client_that_hangs_up_in_the_line_never_reaches_the_engine(endless: tuple[str, Endless]) -> None:
    url, model = endless
    assert WORKERS["transformers"] == 1
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
    with httpx2.Client(timeout=30) as client, client.stream("POST", url + CHAT, json=body):
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(url + CHAT, json=body, timeout=0.3)
        assert model.busy == 1
    assert idle(model)
    time.sleep(0.1)
    assert not model.busy


def test_a_busy_engine_holds_up_neither_health_nor_other_bundles(endless: tuple[str, Endless]) -> None:
    url, _ = endless
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
    with httpx2.Client(timeout=30) as client, client.stream("POST", url + CHAT, json=body):
        assert httpx2.get(url + "/healthz", timeout=20).status_code == 200
        other = {"model": "echo", "input_text": "hi"}
        assert httpx2.post(url + "/generate", json=other, timeout=20).json()["output"] == "Say it.\n\nhi"


def test_the_first_piece_arrives_long_before_the_last(http: httpx2.Client) -> None:
    body = {"model": "slow", "messages": [{"role": "user", "content": "x" * 30}], "stream": True}
    start = time.perf_counter()
    with http.stream("POST", CHAT, json=body) as reply:
        arrivals = [time.perf_counter() - start for _ in reply.iter_raw()]
    assert len(arrivals) > 5
    assert arrivals[-1] - arrivals[0] > 0.15  # they are made in 0.6 s, however late the first one comes


def test_many_clients_get_their_own_answers(http: httpx2.Client) -> None:
    def ask(number: int) -> bool:
        body = {"model": "echo", "input_text": f"I am {number}."}
        return http.post("/generate", json=body).json()["output"] == f"Say it.\n\nI am {number}."

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(100)))


class Told:
    """Stands for the ticket: what it was told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def begin(self) -> None:
        pass

    def answered(self, *answers: Answer) -> None:
        self.answers += answers


class Failing:
    """One answer, and then a prompt that does not fit."""

    def most(self, _: Any) -> int:
        return 2

    def answers(self, _: Event) -> Iterator[Answer]:
        yield Answer(text="yes", tokens_in=3, tokens_out=1, ms=1.0)
        raise RequestError("The prompt is too long.", fix="Shorten it.")


def test_what_was_answered_before_a_failure_is_told() -> None:
    ticket: Any = Told()
    with pytest.raises(RequestError):
        _work(Failing(), ticket, Event())
    assert [answer.text for answer in ticket.answers] == ["yes"]
