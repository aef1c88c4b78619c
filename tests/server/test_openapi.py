"""The OpenAPI document is valid, tells every route with its body, and is what the server does."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from smallworks.server.openapi import document

USER = {"role": "user", "content": "It crashes."}
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [USER]},
    "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"},
    "/v1/batch": {"requests": [{"messages": [USER]}, {}]},
    "/v1/classify": {"input": ["x"]},
    "/generate": {"input_text": "x"},
}


@pytest.fixture(scope="module")
def told(http: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


@pytest.mark.parametrize("keyed", [False, True])
def test_the_document_is_a_valid_one(keyed: bool) -> None:
    validate(json.loads(json.dumps(document(keyed=keyed))))


def test_every_route_is_in_it_and_every_question_has_its_body(
    http: httpx2.Client, told: dict[str, Any]
) -> None:
    from smallworks.server import create_app

    app = create_app({}, default="none")
    routes = {route.path.replace(":path", "") for route in app.routes if hasattr(route, "endpoint")}
    assert set(told["paths"]) == routes - {"/openapi.json"}
    questions = {path for path, methods in told["paths"].items() if "post" in methods}
    assert questions == {*GOOD, "/v1/embeddings"}
    for path in questions:
        assert told["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]


@pytest.mark.parametrize("path", GOOD)
def test_what_is_sent_and_answered_is_as_it_says(
    http: httpx2.Client, told: dict[str, Any], path: str
) -> None:
    operation = told["paths"][path]["post"]

    def fits(part: dict[str, Any], value: object) -> bool:
        schema = {**part["content"]["application/json"]["schema"], "components": told["components"]}
        return jsonschema_rs.is_valid(schema, value)

    assert fits(operation["requestBody"], GOOD[path])
    reply = http.post(path, json=GOOD[path])
    assert reply.status_code == 200 and fits(operation["responses"]["200"], reply.json())
    wrong = http.post(path, json={"model": 1})
    assert wrong.status_code == 400 and fits(operation["responses"]["400"], wrong.json())
    assert not fits(operation["requestBody"], {"model": 1})


def test_a_server_with_keys_says_that_it_asks_for_them() -> None:
    keyed = document(keyed=True)
    assert keyed["paths"]["/generate"]["post"]["security"] == [{"key": []}]
    assert keyed["paths"]["/healthz"]["get"]["security"] == []
