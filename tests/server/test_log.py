"""The log of requests: a line each as JSON or text, the same id everywhere, and nothing that was said."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable

import httpx2
import pytest

from smallworks.engines.predictor import Predictor
from smallworks.server import background, create_app
from smallworks.server import log as module
from smallworks.server.log import JsonFormatter, Log

FIELDS = ["time", "event", "id", "route", "bundle", "status", "code", "ms", "tokens_in", "tokens_out", "key"]


@pytest.fixture()
def logged(
    labelling: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Log, Callable[[httpx2.Client], object]], str]:
    """What a server with this [log] writes while it is asked."""

    def lines(section: Log, ask: Callable[[httpx2.Client], object]) -> str:
        stream = io.StringIO()
        monkeypatch.setattr(module.sys, "stderr", stream)
        app = create_app({"tickets": labelling()}, default="tickets", log=section)
        with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
            ask(client)
        return stream.getvalue()

    return lines


def ask(client: httpx2.Client) -> None:
    client.post("/generate", json={"input_text": "my prompt"}, headers={"x-request-id": "mine"})
    client.post("/generate", json={})
    client.get("/no/such%0Apath?key=my-secret")
    client.get("/healthz")


def test_each_request_is_one_json_line_with_the_id_of_its_answer(
    logged: Callable[[Log, Callable[[httpx2.Client], object]], str],
) -> None:
    lines = [json.loads(line) for line in logged(Log(format="json"), ask).splitlines()]
    assert [list(line) for line in lines] == [FIELDS] * 3
    assert [(line["route"], line["status"], line["code"]) for line in lines] == [
        ("generate", 200, ""),
        ("generate", 400, "bad_field"),
        ("none", 404, "route_not_found"),
    ]
    assert lines[0]["id"] == "mine" and lines[0]["bundle"] == "tickets" and lines[0]["ms"] > 0


def test_text_has_a_line_each_too(logged: Callable[[Log, Callable[[httpx2.Client], object]], str]) -> None:
    first, second, third = logged(Log(format="text"), ask).splitlines()
    assert re.fullmatch(r"\S+Z 200 generate tickets \S+ ms \d+\+0 tokens key=- id=mine", first)
    assert "bad_field" in second and "route_not_found" in third


def test_what_was_said_is_in_neither(logged: Callable[[Log, Callable[[httpx2.Client], object]], str]) -> None:
    for section in (Log(format="json"), Log(format="text")):
        written = logged(section, ask)
        assert not {word for word in ("my prompt", "secret", "/no/such") if word in written}


def test_without_a_format_no_request_is_logged(
    logged: Callable[[Log, Callable[[httpx2.Client], object]], str],
) -> None:
    assert logged(Log(), ask) == logged(Log(format="json", requests=False), ask) == ""


def test_a_logged_exception_tells_its_class_and_not_its_message() -> None:
    try:
        raise ValueError("the prompt")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "It failed.", (), info)
    said = json.loads(JsonFormatter().format(record))
    assert (said["level"], said["message"], said["error"]) == ("error", "It failed.", "ValueError")
    assert "the prompt" not in str(said)
