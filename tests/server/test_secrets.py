"""Planted secrets, asked over every route: none of them is in a log, a metric, a trace or a span."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from smallworks.engines.predictor import Predictor
from smallworks.server import KeyFile, background, create_app
from smallworks.server import log as module
from smallworks.server.log import Log
from smallworks.server.traces import Traces
from smallworks.server.visit import Visit

SECRET = "Zq7-planted"
"""In every prompt, header, path and field that a stranger chooses."""


@pytest.fixture()
def said(
    labelling: Callable[..., Predictor],
    writing: Callable[..., Predictor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> dict[str, str]:
    """What every place says after each route was asked with secrets: rightly, wrongly and broken."""
    stream = io.StringIO()
    monkeypatch.setattr(module.sys, "stderr", stream)
    caplog.set_level(logging.DEBUG, "smallworks")
    file = tmp_path / "traces.sqlite"
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys:
        _, key = keys.add(f"{SECRET}-name", scopes=("answers", "metrics"))
        app = create_app(
            {"tickets": labelling(), "echo": writing()},
            default="tickets",
            keys=keys,
            log=Log(format="json"),
            traces=Traces(store=file),
        )
        with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
            client.headers["authorization"] = f"Bearer {key}"
            metrics = _asked(client, [route.path for route in app.routes])
    database = b"".join(each.read_bytes() for each in tmp_path.glob("traces.sqlite*"))
    places = {"log": stream.getvalue(), "warnings": caplog.text, "metrics": metrics}
    return {**places, "traces": database.decode("latin-1"), "key": key}


def _asked(client: httpx2.Client, paths: list[str]) -> str:
    text = f"{SECRET} me@{SECRET}.example"
    bodies = [
        {"messages": [{"role": "user", "content": text}], "model": model, "stream": stream, "user": text}
        for model in ("tickets", "echo", text)
        for stream in (False, True)
    ]
    bodies += [
        {"prompt": text, "input": text, "input_text": text, "model": model} for model in ("echo", text)
    ]
    bodies += [{"messages": [{"role": text, "content": 3}], "prompt": {text: text}, "input": {text: text}}]
    headers = {"x-trace": text, "user-agent": text, "cookie": text, "x-request-deadline": SECRET}
    for path in paths:
        for body in bodies:
            client.post(path, json=body)
        client.post(path, content=text.encode(), headers={"content-type": "application/json"})
        client.post(path, json=bodies[0], headers=headers)
        client.get(path, headers={"cookie": text})
    client.get(f"/v1/models/{SECRET}")
    client.get(f"/{SECRET}?q={SECRET}")
    client.get("/v1/models", headers={"authorization": f"Bearer {SECRET}"})
    return client.get("/metrics").text


def test_no_place_holds_a_secret(said: dict[str, str]) -> None:
    key = said.pop("key")
    assert all(said[place] for place in ("log", "metrics", "traces")), "each place says something"
    found = {
        place: text[max(0, at - 80) : at + 80]
        for place, text in said.items()
        if (at := text.find(SECRET)) >= 0
    }
    assert found == {}
    assert [place for place, text in said.items() if key in text or key.split("-", 2)[2] in text] == []


def test_a_visit_in_a_traceback_tells_nothing_of_its_request() -> None:
    text = SECRET.encode()
    visit = Visit(
        id=b"r", deadline=1, sent={b"authorization": text}, body=text, content={"inputs": (SECRET,)}
    )
    assert SECRET not in repr(visit)
