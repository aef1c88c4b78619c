"""Requests that are wrong, and engines that fail: each is answered in OpenAI's shape with what mends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import httpx2
import openai as sdk
import pytest

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import UpstreamError
from smallworks.server import background, create_app
from smallworks.types import Chunk, Completion, Prompt, Sampling

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


class Broken(Fake):
    """Fails after the first piece when streamed, at once otherwise."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: object = None) -> Completion:
        raise self.error

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: object = None) -> Iterator[Chunk]:
        yield Chunk(text="first")
        raise self.error


@pytest.fixture(scope="module")
def broken(writing: Callable[..., Predictor]) -> Iterator[str]:
    errors = {
        "bug": KeyError("SECRET PROMPT"),
        "upstream": UpstreamError("The flagship is down.", fix="Wake it."),
    }
    bundles = {name: writing(Broken(error)) for name, error in errors.items()}
    with background(create_app(bundles, default="bug")) as url:
        yield url


@pytest.mark.parametrize(
    ("content", "param", "words"),
    [
        (b"{", None, "not valid JSON at byte"),
        (b"[]", None, "'body': Input should be"),
        (b"{}", "messages", "'messages': Field required"),
        (b'{"messages": []}', "messages", "at least 1 item"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "messages.0.content", "valid string; or: "),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "messages.0.content", "surrogate"),
        (b'{"messages": [{"role": "critic", "content": "x"}]}', "messages.0.role", "'system'"),
        (b'{"temperature": NaN, "messages": [{"role": "user", "content": "x"}]}', "temperature", "finite"),
        (b"[" * 100_000, None, "could not be read as JSON"),
    ],
)
def test_a_wrong_body_names_the_field_and_what_it_should_be(
    http: httpx2.Client, content: bytes, param: str | None, words: str
) -> None:
    reply = http.post(CHAT, content=content, headers=JSON)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]


def test_fields_that_nobody_knows_are_left_alone(http: httpx2.Client) -> None:
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "user": "u1",
        "store": True,
        "frequency_penalty": 0,
    }
    assert http.post(CHAT, json=body).status_code == 200


def test_a_body_that_is_not_sent_as_json_is_refused(http: httpx2.Client) -> None:
    # A page in a browser may post text/plain anywhere; JSON needs a permission that is never given.
    reply = http.post(CHAT, content=b'{"messages": []}', headers={"content-type": "text/plain"})
    assert reply.status_code == 415
    assert "content-type: application/json" in reply.json()["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_a_mebibyte_is_refused(http: httpx2.Client, chunked: bool) -> None:
    content = b'{"input_text": "' + b"x" * (2**20) + b'"}'
    sent = iter([content[:500_000], content[500_000:]]) if chunked else content
    reply = http.post("/generate", content=sent, headers=JSON)
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "body_too_large"


def test_unknown_routes_and_methods_point_to_the_list(http: httpx2.Client) -> None:
    for method, path, status in [("GET", "/v2", 404), ("GET", CHAT, 405), ("GET", "/docs", 404)]:
        reply = http.request(method, path)
        assert reply.status_code == status
        assert "/openapi.json" in reply.json()["error"]["message"]
    assert CHAT in http.get("/openapi.json").json()["paths"]


def test_every_answer_carries_a_request_id_and_keeps_a_plain_one(http: httpx2.Client) -> None:
    assert len(http.get("/healthz").headers["x-request-id"]) == 32
    assert len(http.get("/nowhere").headers["x-request-id"]) == 32
    assert http.get("/healthz", headers={"x-request-id": "mine-7"}).headers["x-request-id"] == "mine-7"
    odd = http.get("/healthz", headers={"x-request-id": "a b; c"}).headers["x-request-id"]
    assert odd != "a b; c"


def test_an_unexpected_failure_is_a_500_that_tells_and_logs_no_prompt(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"messages": [{"role": "user", "content": "SECRET PROMPT"}]}
    with caplog.at_level(logging.DEBUG):
        reply = httpx2.post(broken + CHAT, json=body)
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "internal_error"
    assert "unexpected KeyError at" in caplog.text
    assert "SECRET" not in reply.text + caplog.text


def test_a_failing_upstream_is_a_502_with_its_fix(broken: str) -> None:
    with sdk.OpenAI(base_url=f"{broken}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(sdk.InternalServerError, match=r"The flagship is down. Wake it\.") as failure:
            client.chat.completions.create(model="upstream", messages=[{"role": "user", "content": "x"}])
        assert failure.value.status_code == 502


def test_a_failure_in_the_middle_of_a_stream_is_told_in_the_stream(broken: str) -> None:
    with sdk.OpenAI(base_url=f"{broken}/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": "x"}]
        stream = client.chat.completions.create(model="upstream", messages=messages, stream=True)
        said = []
        with pytest.raises(sdk.APIError, match="The flagship is down"):
            said.extend(chunk.choices[0].delta.content for chunk in stream)
