"""What a stranger puts into paths, headers and texts stays text: nothing is opened, added or run by it."""

from __future__ import annotations

import socket

import httpx2
import pytest
from starlette.routing import Route

from smallworks.engines.predictor import Predictor
from smallworks.server import KeyFile, background, create_app
from smallworks.server.door import PROBES


def raw(address: str, request: bytes) -> bytes:
    """The answer to exactly these bytes."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        said = b""
        while piece := connection.recv(65536):
            said += piece
    return said


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/v1/models/../../etc/passwd",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/v1/models/%00",
        "/v1/models/tickets%00.json",
        "//metrics/",
        "/%2e%2e/metrics",
        "/v1/models/" + "a" * 20_000,
    ],
)
def test_a_path_leads_nowhere_but_to_the_routes(address: str, path: str) -> None:
    said = raw(address, f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    assert said.split(b" ", 2)[1] in (b"404", b"400") and b"root:" not in said


@pytest.mark.parametrize("sent", [b"a\nset-cookie: x=1", b"a\x0bb", b"\xff\xfe", b"x" * 200, b"<script>"])
def test_a_request_id_that_is_not_plain_is_not_given_back(address: str, sent: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: "
    answer = raw(address, head + sent + b"\r\n\r\n").partition(b"\r\n\r\n")[0].lower()
    assert b"set-cookie" not in answer and b"x-request-id: " + sent.lower() not in answer


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
        b"content-length: 4\r\ncontent-length: 40\r\n\r\nabcd",
        b"content-length: -1\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["both", "two lengths", "negative", "endless chunk", "space before the colon"],
)
def test_framing_that_can_be_read_in_two_ways_is_refused(address: str, framing: bytes) -> None:
    said = raw(address, b"POST /generate HTTP/1.1\r\nhost: localhost\r\n" + framing)
    assert said.startswith(b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1 ") == 1


TEMPLATES = ("{{ 7 * 7 }}", "{% for x in y %}", "{0} %s %(x)s $HOME `id`", "'; --")


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_text_is_never_a_template(http: httpx2.Client, text: str) -> None:
    said = http.post("/generate", json={"model": "echo", "input_text": text}).json()
    assert said["output"].endswith(text)
    refused = http.post("/generate", json={"model": text, "input_text": "x"})
    assert refused.status_code == 404 and f"'{text}'" in refused.json()["error"]["message"]


def test_with_keys_every_route_but_the_probes_asks_for_one(
    bundles: dict[str, Predictor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with KeyFile(tmp_path_factory.mktemp("keys") / "keys.sqlite", create=True) as keys:
        app = create_app(bundles, default="tickets", keys=keys, local=False)
        with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
            routes = [(m, r.path) for r in app.routes if isinstance(r, Route) for m in r.methods or ()]
            paths = [*routes, ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/none")]
            statuses = {path: client.request(method, path).status_code for method, path in paths}
    assert {path for path, status in statuses.items() if status != 401} == PROBES
