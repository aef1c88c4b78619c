"""Keys, limits and budgets through a real server: who comes in, and that no secret comes out."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx2
import openai as sdk
import pytest

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.server import KeyFile, background, create_app
from smallworks.server.keys import Key
from smallworks.server.limits.tables import Tables

CHAT = "/v1/chat/completions"
GENERATE = {"model": "echo", "input_text": "hi"}
LONG = {
    "model": "slow",
    "messages": [{"role": "user", "content": "x" * 1000}],
    "stream": True,
    "max_tokens": 2000,
}
"""A stream of twenty seconds."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyFile]:
    with KeyFile(tmp_path_factory.mktemp("keys") / "keys.sqlite", create=True) as file:
        yield file


@pytest.fixture(scope="module")
def locked(
    keys: KeyFile, labelling: Callable[..., Predictor], writing: Callable[..., Predictor]
) -> Iterator[str]:
    """The address of a server that asks for keys."""
    bundles = {"tickets": labelling(), "echo": writing(), "slow": writing(Fake(pace=0.02), task="slow")}
    with background(create_app(bundles, default="tickets", keys=keys)) as url:
        yield url


@pytest.fixture
def client(locked: str, keys: KeyFile) -> Iterator[Callable[..., httpx2.Client]]:
    """Makes a client with a new key that may do so much."""
    made: list[httpx2.Client] = []

    def make(**allowed: object) -> httpx2.Client:
        _, text = keys.add(f"key {len(keys.all())}", **allowed)
        made.append(httpx2.Client(base_url=locked, headers={"authorization": f"Bearer {text}"}, timeout=60))
        return made[-1]

    yield make
    for each in made:
        each.close()


def code(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def spent(keys: KeyFile, key: Key, true: Callable[[int], bool]) -> bool:
    """Whether what the key has spent comes to this, once what has ended is written down."""
    deadline = time.monotonic() + 60
    while not (done := true(sum(u.tokens for u in Tables(keys.database).usage() if u.account == key.id))):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return done


def comes_in(client: httpx2.Client) -> bool:
    """Whether GENERATE is answered within half the time that LONG takes."""
    deadline = time.monotonic() + 60
    while (reply := client.post("/generate", json=GENERATE)).status_code == 429:
        if time.monotonic() > deadline:
            return False
    return reply.status_code == 200


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer sw-00000000-" + "A" * 43, "Bearer \xff"]
)
def test_whoever_has_no_key_learns_nothing(locked: str, sent: str) -> None:
    headers = {"authorization": sent.encode("latin-1")} if sent else {}
    for method, path in [
        ("POST", CHAT),
        ("GET", "/v1/models"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    ]:
        reply = httpx2.request(method, locked + path, headers=headers, content=b"{")
        assert code(reply) == (401, "invalid_api_key")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert httpx2.get(locked + "/nowhere", headers=headers).status_code == 401
    probes = ("/healthz", "/health/live", "/health/ready")
    assert [httpx2.get(locked + path, headers=headers).status_code for path in probes] == [200] * 3


def test_a_stock_client_comes_in_with_its_key(locked: str, keys: KeyFile) -> None:
    _, text = keys.add("stock")
    messages = [{"role": "user", "content": "It crashes."}]
    with sdk.OpenAI(base_url=f"{locked}/v1", api_key=text, max_retries=0) as client:
        reply = client.chat.completions.create(model="tickets", messages=messages)
        assert reply.choices[0].message.content == "bug"
    stranger = sdk.OpenAI(base_url=f"{locked}/v1", api_key=text[:-1], max_retries=0)
    with stranger, pytest.raises(sdk.AuthenticationError, match="not known here"):
        stranger.models.list()


def test_a_revoked_and_an_expired_key_stay_outside(
    client: Callable[..., httpx2.Client], keys: KeyFile
) -> None:
    late = client(expires=1).get("/v1/models")
    assert code(late) == (401, "invalid_api_key") and "has expired" in late.json()["error"]["message"]
    known = client()
    assert known.get("/v1/models").status_code == 200
    keys.revoke(keys.all()[-1].name)
    assert code(known.get("/v1/models")) == (401, "invalid_api_key")


def test_a_key_file_that_cannot_be_read_keeps_the_door_shut(
    labelling: Callable[..., Predictor], tmp_path: Path
) -> None:
    with KeyFile(tmp_path / "keys.sqlite", create=True) as own:
        _, text = own.add("ci")
        with background(create_app({"tickets": labelling()}, default="tickets", keys=own)) as url:
            own.close()
            reply = httpx2.get(f"{url}/v1/models", headers={"authorization": f"Bearer {text}"})
    assert code(reply) == (503, "unavailable")


def test_a_scope_opens_its_routes_alone(client: Callable[..., httpx2.Client]) -> None:
    scraper, asker = client(scopes=("metrics",)), client()
    assert scraper.get("/metrics").status_code == asker.post("/generate", json=GENERATE).status_code == 200
    assert code(scraper.post("/generate", json=GENERATE)) == code(asker.get("/metrics")) == (403, "forbidden")


def test_a_key_sees_and_uses_its_models_alone(client: Callable[..., httpx2.Client]) -> None:
    own = client(models=("echo",))
    assert [model["id"] for model in own.get("/v1/models").json()["data"]] == ["echo"]
    assert own.post("/generate", json=GENERATE).status_code == 200
    for reply in (
        own.post("/generate", json={"input_text": "the default"}),
        own.post(CHAT, json={"model": "slow", "messages": [{"role": "user", "content": "x"}]}),
        own.get("/v1/models/tickets"),
    ):
        assert code(reply) == (404, "model_not_found")
        assert reply.json()["error"]["message"].endswith("Available: echo.")


def test_requests_a_minute_are_told_and_then_refused(client: Callable[..., httpx2.Client]) -> None:
    limited = client(requests_per_minute=2, tokens_per_minute=10_000)
    replies = [limited.post("/generate", json=GENERATE) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["1", "0", "0"]
    assert replies[0].headers["x-ratelimit-limit-tokens"] == "10000"
    assert re.fullmatch(r"\d+m?s|[\d.]+s", replies[0].headers["x-ratelimit-reset-requests"])
    assert code(replies[2]) == (429, "rate_limit_exceeded")
    assert 1 <= int(replies[2].headers["retry-after"]) <= 30


def test_tokens_a_minute_are_charged_as_they_were_used(client: Callable[..., httpx2.Client]) -> None:
    limited = client(tokens_per_minute=1000)
    used = 2 * len("Say it.\n\nhi")
    for number in (1, 2):
        left = int(limited.post("/generate", json=GENERATE).headers["x-ratelimit-remaining-tokens"])
        assert 1000 - number * used <= left < 1000
    body = {**GENERATE, "input_text": "x" * 990}
    assert code(limited.post("/generate", json=body)) == (429, "rate_limit_exceeded")


def test_answers_at_once_are_limited_and_a_hang_up_frees_one(client: Callable[..., httpx2.Client]) -> None:
    single = client(at_once=1, monthly_tokens=100_000)
    with single.stream("POST", CHAT, json=LONG) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert code(single.post("/generate", json=GENERATE)) == (429, "rate_limit_exceeded")
    assert comes_in(single)


def test_an_answer_that_is_broken_off_is_charged_as_far_as_it_came(
    client: Callable[..., httpx2.Client], keys: KeyFile
) -> None:
    single = client(at_once=1, monthly_tokens=100_000)
    key = keys.all()[-1]
    with single.stream("POST", CHAT, json=LONG) as stream:
        lines = stream.iter_lines()
        [next(lines) for _ in range(8)]
    assert comes_in(single)
    prompt, later = len("Say it.\n\n") + 1000, 2 * len("Say it.\n\nhi")
    assert spent(keys, key, lambda tokens: prompt < tokens - later < 2 * prompt)


def test_sixty_four_clients_cannot_overspend_a_budget(
    client: Callable[..., httpx2.Client], keys: KeyFile
) -> None:
    budget = 3000
    shared = client(monthly_tokens=budget)
    key, headers = keys.all()[-1], shared.headers
    together = Barrier(64)

    def ask(number: int) -> list[httpx2.Response]:
        body = {
            "model": "echo",
            "messages": [{"role": "user", "content": f"client {number}"}],
            "max_tokens": 40,
        }
        with httpx2.Client(base_url=shared.base_url, headers=headers, timeout=120) as own:
            together.wait(60)
            return [own.post(CHAT, json=body) for _ in range(3)]

    with ThreadPoolExecutor(64) as pool:
        replies = [reply for each in pool.map(ask, range(64)) for reply in each]
    body = {"model": "echo", "messages": [{"role": "user", "content": "what is left"}], "max_tokens": 40}
    while (reply := shared.post(CHAT, json=body)).status_code == 200:  # nothing stays held by those refused
        replies.append(reply)
    used = sum(reply.json()["usage"]["total_tokens"] for reply in replies if reply.status_code == 200)
    refused = [code(reply) for reply in replies if reply.status_code != 200]
    assert used <= budget and spent(keys, key, lambda tokens: tokens == used)
    assert used > budget - 150  # the last request may take so much before it is known what it took
    assert set(refused) == {(429, "insufficient_quota")}


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:8000", "127.0.0.1:1", "127.5.5.5", "[::1]:80", "[::1]"]
)
def test_a_keyless_server_on_loopback_answers_to_this_machines_names(http: httpx2.Client, host: str) -> None:
    assert http.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "[::2]", "a@localhost", ""]
)
def test_a_name_that_a_page_made_up_is_refused(http: httpx2.Client, host: str) -> None:
    reply = http.post("/generate", json=GENERATE, headers={"host": host})
    assert code(reply) == (403, "forbidden")
    assert "Host: localhost" in reply.json()["error"]["message"]


def test_with_keys_a_proxy_may_call_the_server_by_any_name(client: Callable[..., httpx2.Client]) -> None:
    assert client().get("/v1/models", headers={"host": "api.example.org"}).status_code == 200


def test_secrets_and_prompts_are_in_no_log_metric_or_error(
    locked: str,
    keys: KeyFile,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, text = keys.add("whisper", monthly_tokens=200, scopes=("answers", "metrics"))
    secret, prompt = text.split("-", 2)[2], "PROMPT-THAT-NOBODY-MAY-READ"
    said = []
    with caplog.at_level(logging.DEBUG):
        for sent in (text, text[:-1], text + "x", f"{text} {text}"):
            for body in ({"input_text": prompt}, {"input_text": prompt, "model": "echo"}, {"input_text": 5}):
                headers = {"authorization": f"Bearer {sent}"}
                reply = httpx2.post(f"{locked}/generate", json=body, headers=headers)
                said.append(reply.text if reply.status_code != 200 else "")
                said.append(str(reply.headers))
        said.append(httpx2.get(f"{locked}/metrics", headers={"authorization": f"Bearer {text}"}).text)
    printed = capfd.readouterr()
    everything = "\n".join((*said, caplog.text, printed.out, printed.err))
    assert "smallworks_requests_total" in everything
    assert secret[:-1] not in everything
    assert prompt not in everything
