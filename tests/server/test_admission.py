"""The line, the deadline and the drain, through a real server on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event

import httpx2
import openai as sdk
import pytest

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.server import Rules, background, create_app
from smallworks.types import Completion, Prompt, Sampling

CHAT = "/v1/chat/completions"
TEXT = {"messages": [{"role": "user", "content": "x"}]}


class Held(Fake):
    """Answers once `go` is set, unless it is cancelled first; `begun` counts what reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.begun = threading.Semaphore(0)

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        assert cancel is not None
        self.begun.release()
        while not (cancel.is_set() or self.go.wait(0.005)):
            pass
        return super().generate(prompt, sampling, cancel=cancel)


@pytest.fixture
def held(writing: Callable[..., Predictor]) -> Iterator[Callable[..., tuple[str, Held]]]:
    """Serves a Held model on one thread under the given rules."""
    with ExitStack() as stack:

        def serve(**rules: float) -> tuple[str, Held]:
            model = Held()
            stack.callback(model.go.set)
            app = create_app(
                {"held": writing(model, engine="transformers")},
                default="held",
                rules=Rules(**rules),
            )
            return stack.enter_context(background(app)), model

        yield serve


@contextmanager
def asking(url: str) -> Iterator[list[httpx2.Response]]:
    """One request under way; its reply is in the list on leaving."""
    replies: list[httpx2.Response] = []
    thread = threading.Thread(target=lambda: replies.append(httpx2.post(url + CHAT, json=TEXT, timeout=60)))
    thread.start()
    yield replies
    thread.join(60)


def metric(url: str, line: str) -> float:
    text = httpx2.get(f"{url}/metrics").text
    return next((float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line)), 0.0)


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_a_full_line_is_a_429_with_the_seconds_to_wait(held: Callable[..., tuple[str, Held]]) -> None:
    url, model = held(waiting=0)
    with asking(url) as first:
        model.begun.acquire()
        refused = httpx2.post(url + CHAT, json=TEXT)
        client = sdk.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        with client, pytest.raises(sdk.RateLimitError) as limit:
            client.chat.completions.create(model="held", messages=TEXT["messages"], stream=True)
        model.go.set()
    assert first[0].status_code == 200
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    error = refused.json()["error"]
    assert (error["code"], error["type"], limit.value.code) == ("busy", "rate_limit_error", "busy")
    assert "The line before 'held' is full" in error["message"] and "Retry-After" in error["message"]


def test_tokens_that_are_asked_for_fill_the_line_too(held: Callable[..., tuple[str, Held]]) -> None:
    url, model = held(tokens=500)
    with asking(url):
        model.begun.acquire()
        large = httpx2.post(url + CHAT, json={**TEXT, "max_tokens": 450})
        with asking(url) as small:
            assert until(lambda: metric(url, 'smallworks_waiting{bundle="held"}') == 1)
            model.go.set()
    assert large.status_code == 429 and "this request may take" in large.json()["error"]["message"]
    assert small[0].status_code == 200


@pytest.mark.parametrize("waits", [False, True])
def test_a_client_that_hangs_up_frees_its_place_at_once(
    held: Callable[..., tuple[str, Held]], waits: bool
) -> None:
    url, model = held(waiting=1 if waits else 0)
    with asking(url) if waits else httpx2.Client():  # the one that is at the engine stays there
        if waits:
            model.begun.acquire()
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(url + CHAT, json=TEXT, timeout=0.5)
        assert until(lambda: metric(url, 'smallworks_errors_total{bundle="held",code="client_gone"}') == 1)
        with asking(url) as next_one:
            model.go.set()
    assert next_one[0].status_code == 200


def test_a_deadline_counts_the_time_in_line(held: Callable[..., tuple[str, Held]]) -> None:
    url, model = held(deadline=2)
    with asking(url) as first:
        model.begun.acquire()
        second = httpx2.post(url + CHAT, json=TEXT, headers={"x-request-deadline": "0.05"})
    assert second.status_code == first[0].status_code == 504
    assert second.json()["error"]["code"] == "deadline_exceeded"
    assert "0.05 s passed in line, before its turn came" in second.json()["error"]["message"]
    assert "2 s passed while it was answered" in first[0].json()["error"]["message"]
    assert not model.begun.acquire(timeout=0.05)  # the second one never reached the engine


@pytest.mark.parametrize("sent", ["soon", "-1", "nan"])
def test_a_deadline_that_is_no_time_is_refused(http: httpx2.Client, sent: str) -> None:
    reply = http.post(CHAT, json=TEXT, headers={"x-request-deadline": sent})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "x-request-deadline")


def test_a_stream_that_outlasts_its_deadline_says_so_and_ends(http: httpx2.Client) -> None:
    body = {**TEXT, "model": "slow", "stream": True}
    body["messages"] = [{"role": "user", "content": "x" * 500}]
    text = http.post(CHAT, json=body, headers={"x-request-deadline": "2"}).text
    *chunks, last = [event for event in text.split("\n\n") if event]
    assert len(chunks) >= 2
    assert '"code":"deadline_exceeded"' in last


def test_while_it_ends_streams_finish_and_new_requests_get_503(writing: Callable[..., Predictor]) -> None:
    app = create_app({"slow": writing(Fake(pace=0.01))}, default="slow")
    leave, url = Event(), []

    def serve() -> None:
        with background(app) as address:
            url.append(address)
            leave.wait(30)

    thread = threading.Thread(target=serve)
    thread.start()
    assert until(lambda: bool(url))
    body = {"messages": [{"role": "user", "content": "x" * 200}], "stream": True, "max_tokens": 200}
    with (
        httpx2.Client(base_url=url[0], timeout=30) as client,
        client.stream("POST", CHAT, json=body) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        leave.set()
        assert until(lambda: client.get("/health/ready").status_code == 503)
        assert client.get("/health/live").status_code == client.get("/metrics").status_code == 200
        refused = client.post(CHAT, json=TEXT)
        assert list(lines)[-2:] == ["data: [DONE]", ""]
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
    assert int(refused.headers["retry-after"]) == 1
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url[0] + "/health/live")
