"""The busy routes answer as the router's own would."""

from __future__ import annotations

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from smallworks.server.app import ROUTES
from smallworks.server.shortcut import Shortcut


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None: ...


def test_every_busy_route_takes_the_shortcut_and_no_other() -> None:
    short = Shortcut(_nobody, routes=ROUTES)
    assert set(short._endpoints) == {route.path for route in ROUTES if route.methods == {"POST"}}
    assert {"/v1/chat/completions", "/v1/completions", "/v1/classify"} <= set(short._endpoints)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/nothing", 404),
    ],
)
def test_wrong_methods_and_paths_are_the_routers(
    http: httpx2.Client, method: str, path: str, status: int
) -> None:
    told = http.request(method, path, json={})
    assert told.status_code == status
    assert told.json()["error"]["code"] in ("method_not_allowed", "route_not_found")


def test_failures_are_worded_on_the_short_way_too(http: httpx2.Client) -> None:
    path = "/v1/chat/completions"
    assert http.post(path, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert http.post(path, json={"messages": 7, "model": "tickets"}).json()["error"]["param"] == "messages"
    assert http.post(path, content=b"{}").status_code == 415
    assert http.post(path, json={"model": "no", "messages": []}).status_code == 404
