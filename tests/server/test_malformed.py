"""Malformed requests are answered in shape, with a code; the server is well afterwards."""

from __future__ import annotations

import http.client
import json

import httpx2
import pytest
from benchmarks.malformed import requests, send


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_sent_is_answered_below_500_in_shape(address: str, seed: int) -> None:
    host, port = address.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    for sent in requests(300, seed):
        status, body = send(connection, sent)
        assert 200 <= status < 500, (sent.method, sent.path, sent.body[:300], sent.headers)
        if status >= 400 and body and sent.method != "HEAD" and b"Invalid HTTP" not in body:
            error = json.loads(body)["error"]
            assert error["code"] and error["message"]
    assert httpx2.get(f"{address}/healthz").json() == {"status": "ok"}
