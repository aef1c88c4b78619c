"""The cache behind a real server: what is kept, for whom, and that a hit is the answer as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import numpy as np
import pytest

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError
from smallworks.server import KeyFile, background, create_app
from smallworks.server.cache import CacheConfig
from smallworks.server.cache.asked import Asked, Recorder
from smallworks.server.cache.flight import Flights
from smallworks.server.cache.replay import Whole
from smallworks.server.visit import Visit
from smallworks.types import Choices, Completion, Prompt, Sampling

CHAT = "/v1/chat/completions"
HELLO = {"model": "echo", "temperature": 0, "messages": [{"role": "user", "content": "Hello there."}]}


class Counting(Fake):
    """Counts what it is asked; waits, where told so, until it may go on; fails the first `failures` times."""

    def __init__(self, failures: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.asked, self.failures = 0, failures
        self.may, self.begun = Event(), Event()
        self.may.set()

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        self._count()
        return super().generate(prompt, sampling, cancel=cancel)

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Any]:
        self._count()
        yield from super().stream(prompt, sampling, cancel=cancel)

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        self._count()
        return super().score(prompts, choices)

    def _count(self) -> None:
        self.asked += 1
        self.begun.set()
        assert self.may.wait(60)
        if self.failures:
            self.failures -= 1
            raise RequestError("It failed at 'x'.", fix="Ask again.")


class Letters:
    """An embedder by letter counts: near for texts of the same letters."""

    dimension = 26

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = [[text.casefold().count(chr(97 + at)) for at in range(26)] for text in texts]
        counts = np.array(rows, np.float32) + 1e-6
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), np.float32)


@pytest.fixture()
def model() -> Counting:
    return Counting()


@pytest.fixture()
def serve(
    writing: Callable[..., Predictor], labelling: Callable[..., Predictor], model: Counting
) -> Callable[..., Any]:
    """A server with a cache of this configuration; a client of it."""

    @contextmanager
    def start(config: Mapping[str, Any] | None = None, **options: Any) -> Iterator[httpx2.Client]:
        cache = CacheConfig.model_validate_json(json.dumps(config or {}))
        scored = Counting(scores={"It crashes.": {"bug": 0.7, "feature": 0.1, "question": 0.2}})
        bundles = {"echo": writing(model), "tickets": labelling(scored)}
        app = create_app(bundles, default="echo", cache=cache, embedder=Letters(), **options)
        with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
            yield client

    return start


def asked(client: httpx2.Client, body: Any = HELLO, path: str = CHAT, **headers: str) -> tuple[str, Any]:
    """What the cache did, and the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(path, json=body, headers=named)
    return answer.headers.get("x-smallworks-cache", ""), answer.json()


def streamed(client: httpx2.Client, body: Any) -> tuple[str, list[Any]]:
    answer = client.post(CHAT, json={**body, "stream": True})
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return answer.headers["x-smallworks-cache"], [json.loads(event) for event in events[:-1]]


def content(events: Sequence[Any]) -> str:
    return "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])


def test_a_hit_is_the_answer_as_it_was(serve: Callable[..., Any], model: Counting) -> None:
    with serve() as client:
        miss, hit = asked(client), asked(client, {**HELLO, "user": "somebody", "model": "echo"})
    assert (miss[0], hit[0]) == ("miss", "hit")
    assert miss[1] == hit[1]
    assert model.asked == 1


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.0, "max_tokens": 5},
        {"messages": [{"role": "user", "content": "Hello there"}]},
        {"top_p": 0.5},
        {"something_new": 1},
    ],
)
def test_what_may_change_the_answer_is_another_request(serve: Callable[..., Any], change: Any) -> None:
    with serve() as client:
        asked(client)
        assert asked(client, {**HELLO, **change})[0] == "miss"


def test_drawn_answers_are_kept_only_where_the_config_says_so(serve: Callable[..., Any]) -> None:
    drawn = {**HELLO, "temperature": 0.7}
    with serve() as client:
        assert [asked(client, drawn)[0] for _ in range(2)] == ["bypass", "bypass"]
        assert [asked(client, {**drawn, "seed": 1})[0] for _ in range(2)] == ["miss", "hit"]
    with serve({"sampled": True}) as client:
        assert [asked(client, drawn)[0] for _ in range(2)] == ["miss", "hit"]


def test_labels_are_never_drawn(serve: Callable[..., Any]) -> None:
    body = {"model": "tickets", "temperature": 1, "messages": [{"role": "user", "content": "It crashes."}]}
    items = {"model": "tickets", "input": ["It crashes.", "Other."]}
    with serve() as client:
        assert [asked(client, body)[0] for _ in range(2)] == ["miss", "hit"]
        assert [asked(client, items, "/v1/classify")[0] for _ in range(2)] == ["miss", "hit"]
        assert [asked(client, {"model": "tickets", "input_text": "x"}, "/generate")[0] for _ in range(2)] == [
            "miss",
            "hit",
        ]


def test_a_client_may_want_none_of_it_or_a_new_one(serve: Callable[..., Any], model: Counting) -> None:
    with serve() as client:
        outcomes = [
            asked(client, x_smallworks_cache=wish)[0] for wish in ("no-store", "", "refresh", "no-store", "")
        ]
        refused = client.post(CHAT, json=HELLO, headers={"x-smallworks-cache": "sometimes"})
    assert outcomes == ["bypass", "miss", "miss", "bypass", "hit"]
    assert model.asked == 4
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-smallworks-cache")


def test_errors_are_never_kept(serve: Callable[..., Any], model: Counting) -> None:
    model.failures = 1
    with serve() as client:
        assert "error" in asked(client)[1]
        assert [asked(client)[0] for _ in range(2)] == ["miss", "hit"]


def test_without_a_cache_no_header_tells_of_one(writing: Callable[..., Predictor]) -> None:
    app = create_app({"echo": writing()}, default="echo")
    with background(app) as url, httpx2.Client(base_url=url) as client:
        assert asked(client)[0] == ""


def test_a_stream_is_kept_and_told_again(serve: Callable[..., Any], model: Counting) -> None:
    with serve() as client:
        first, whole = streamed(client, HELLO), asked(client)
        usage = {"stream_options": {"include_usage": True}}
        again, with_usage = streamed(client, HELLO), streamed(client, {**HELLO, **usage})
    assert [each[0] for each in (first, whole, again, with_usage)] == ["miss", "hit", "hit", "hit"]
    text = whole[1]["choices"][0]["message"]["content"]
    assert content(first[1]) == content(again[1]) == content(with_usage[1]) == text
    assert with_usage[1][-1]["usage"] == whole[1]["usage"]
    assert whole[1]["usage"]["completion_tokens"] > 0
    assert not any("usage" in event for event in first[1] + again[1])
    assert model.asked == 1


def test_a_stream_that_is_taken_from_once_more_is_kept_once(run: Callable[..., Any]) -> None:
    choice = {"index": 0, "text": "x", "finish_reason": "stop"}
    batches: list[list[Any]] = [[{"choices": [choice], "usage": {"prompt_tokens": 1}}]]
    answers = list[Any]()

    class Told:
        async def take(self) -> list[Any]:
            return batches.pop(0) if batches else []

        def close(self) -> None: ...

    async def keep(_: Any, answer: Any) -> None:
        answers.append(answer)

    async def take() -> None:
        visit = Visit(id=b"r", deadline=10)
        asked = Asked(key=b"", visit=visit, flights=Flights())
        recorder = Recorder(Told(), asked, Whole("/completions", 1000), keep, usage=True)
        assert [len(await recorder.take()) for _ in range(3)] == [1, 0, 0]

    run(take())
    assert len(answers) == 1


def test_a_whole_answer_is_the_same_streamed_or_not(
    serve: Callable[..., Any], labelling: Callable[..., Predictor]
) -> None:
    body = {"model": "tickets", "messages": [{"role": "user", "content": "It crashes."}]}
    with serve() as client:
        streamed(client, body)
        kept = asked(client, body)[1]
        fresh = asked(client, body, x_smallworks_cache="no-store")[1]
    for answer in (kept, fresh):
        del answer["id"], answer["created"]
    assert kept == fresh


def test_a_stream_that_breaks_off_is_not_kept(serve: Callable[..., Any], model: Counting) -> None:
    with serve() as client:
        model.failures = 1
        client.post(CHAT, json={**HELLO, "stream": True})
        assert asked(client)[0] == "miss"


def test_many_at_once_are_one_question(serve: Callable[..., Any], model: Counting) -> None:
    model.may.clear()
    with serve() as client, ThreadPoolExecutor(16) as pool:
        leader = pool.submit(asked, client)
        assert model.begun.wait(60)
        others = [pool.submit(asked, client) for _ in range(15)]
        threading.Timer(0.3, model.may.set).start()
        answers = [each.result() for each in (leader, *others)]
    assert model.asked == 1
    assert {outcome for outcome, _ in answers} <= {"miss", "joined", "hit"}
    assert len({json.dumps(answer) for _, answer in answers}) == 1


def test_a_leader_that_fails_fails_alone(serve: Callable[..., Any], model: Counting) -> None:
    model.may.clear()
    model.failures = 1
    with serve() as client, ThreadPoolExecutor(8) as pool:
        leader = pool.submit(asked, client)
        assert model.begun.wait(60)
        others = [pool.submit(asked, client) for _ in range(7)]
        threading.Timer(0.3, model.may.set).start()
        assert "error" in leader.result()[1]
        assert all("choices" in each.result()[1] for each in others)
    assert model.asked == 2


def test_a_leader_that_hangs_up_hands_over(serve: Callable[..., Any], model: Counting) -> None:
    model.may.clear()
    with serve() as client, ThreadPoolExecutor(2) as pool:
        leader = pool.submit(client.post, CHAT, json=HELLO, timeout=0.5)
        assert model.begun.wait(60)
        follower = pool.submit(asked, client)
        with pytest.raises(httpx2.ReadTimeout):
            leader.result()
        model.may.set()
        assert "choices" in follower.result()[1]


def test_a_key_sees_its_own_answers_alone_unless_shared(
    serve: Callable[..., Any], tmp_path: Path, model: Counting
) -> None:
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys:
        texts = [keys.add(name)[1] for name in ("one", "two")]
        sent = [f"Bearer {texts[at]}" for at in (0, 1, 0)]
        with serve(keys=keys) as client:
            apart = [asked(client, authorization=each)[0] for each in sent]
        with serve({"shared": True}, keys=keys) as client:
            together = [asked(client, authorization=each)[0] for each in sent]
    assert (apart, together) == (["miss", "miss", "hit"], ["miss", "hit", "hit"])


def test_a_hit_costs_a_key_no_tokens(serve: Callable[..., Any], tmp_path: Path) -> None:
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys:
        bearer = f"Bearer {keys.add('one', monthly_tokens=400)[1]}"
        with serve(keys=keys) as client:
            first = asked(client, authorization=bearer)[1]
            paid = [asked(client, authorization=bearer, x_smallworks_cache="no-store")[1] for _ in range(40)]
            assert paid[-1]["error"]["code"] == "insufficient_quota"
            assert asked(client, authorization=bearer) == ("hit", first)


def test_a_hit_counts_as_a_request(serve: Callable[..., Any], tmp_path: Path) -> None:
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys:
        bearer = f"Bearer {keys.add('one', requests_per_minute=3)[1]}"
        with serve(keys=keys) as client:
            outcomes = [asked(client, authorization=bearer)[0] for _ in range(4)]
    assert outcomes == ["miss", "hit", "hit", ""]


def test_what_happened_is_counted(serve: Callable[..., Any]) -> None:
    with serve() as client:
        answer = asked(client)[1]
        for _ in range(3):
            asked(client)
        asked(client, x_smallworks_cache="no-store")
        text = client.get("/metrics").text
    tokens = answer["usage"]["completion_tokens"]
    for line in (
        'smallworks_cache_requests_total{bundle="echo",outcome="hit"} 3.0',
        'smallworks_cache_requests_total{bundle="echo",outcome="miss"} 1.0',
        'smallworks_cache_requests_total{bundle="echo",outcome="bypass"} 1.0',
        f'smallworks_cache_saved_tokens_out_total{{bundle="echo"}} {3.0 * tokens}',
        "smallworks_cache_entries 1.0",
    ):
        assert line in text
    assert "Hello there" not in text


def test_a_file_answers_after_a_restart(serve: Callable[..., Any], tmp_path: Path, model: Counting) -> None:
    config = {"store": "sqlite", "path": str(tmp_path / "cache.sqlite")}
    with serve(config) as client:
        first = asked(client)
    with serve(config) as client:
        again = asked(client)
    assert (first[0], again[0]) == ("miss", "hit")
    assert first[1] == again[1]
    assert model.asked == 1


NEAR = {"semantic": {"models": ["echo"], "embedder": "letters", "threshold": 0.9, "recheck": 0.0}}


def saying(text: str) -> dict[str, Any]:
    return {**HELLO, "messages": [{"role": "user", "content": text}]}


def test_a_near_text_that_agrees_is_a_hit(serve: Callable[..., Any], model: Counting) -> None:
    with serve(NEAR) as client:
        asked(client, saying("How do I reset the password?"))
        answer = client.post(CHAT, json=saying("how do I reset my password"))
        metrics = client.get("/metrics").text
    assert answer.headers["x-smallworks-cache"] == "hit"
    assert answer.headers["x-smallworks-cache-kind"] == "semantic"
    assert 'outcome="near"} 1.0' in metrics
    assert model.asked == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("Refund 50 of it.", "Refund 60 of it."), ("It is on.", "It is not on."), ("Ask Anna.", "Ask Nana.")],
)
def test_a_near_text_that_does_not_agree_is_a_miss(serve: Callable[..., Any], one: str, other: str) -> None:
    with serve(NEAR) as client:
        asked(client, saying(one))
        assert asked(client, saying(other))[0] == "miss"


def test_likeness_serves_only_the_models_that_are_named_and_the_same_frame(
    serve: Callable[..., Any],
) -> None:
    with serve({**NEAR, "semantic": {**NEAR["semantic"], "models": ["tickets"]}}) as client:
        asked(client, saying("How do I reset the password?"))
        assert asked(client, saying("how do I reset my password"))[0] == "miss"
    with serve(NEAR) as client:
        asked(client, saying("How do I reset the password?"))
        assert asked(client, {**saying("how do I reset my password"), "max_tokens": 9})[0] == "miss"


def test_a_share_of_near_hits_is_asked_of_the_host_and_compared(
    serve: Callable[..., Any], model: Counting
) -> None:
    with serve({"semantic": {**NEAR["semantic"], "recheck": 1.0}}) as client:
        asked(client, saying("How do I reset the password?"))
        again = asked(client, saying("how do I reset my password"))
        metrics = client.get("/metrics").text
    assert (again[0], model.asked) == ("miss", 2)
    assert 'smallworks_cache_rechecks_total{bundle="echo",outcome="agreed"} 1.0' in metrics


def test_an_embedder_that_fails_costs_its_hits_alone(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Letters, texts: Sequence[str]) -> np.ndarray:
        raise RuntimeError

    monkeypatch.setattr(Letters, "embed", broken)
    with serve(NEAR) as client:
        assert [asked(client)[0] for _ in range(2)] == ["miss", "hit"]
        assert "smallworks_cache_near_errors_total 1.0" in client.get("/metrics").text
