"""The OpenAPI document: what every route takes and gives. Its bodies are the shapes, told once.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pydantic.json_schema import models_json_schema

from smallworks import __version__
from smallworks.server.hosts import Said
from smallworks.server.responses import ResponsesRequest
from smallworks.server.shapes import (
    BatchRequest,
    ChatRequest,
    ClassifyRequest,
    CompletionRequest,
    EmbeddingRequest,
    GenerateRequest,
    Shape,
)

AT = "#/components/schemas/"
STATUSES = {
    400: "A field that is wrong or cannot be honoured; the message says what to send instead",
    401: "No key, or one that is not known",
    403: "A key without the scope, or a host name that is not this machine's",
    404: "No such model",
    413: "A body that is too large",
    415: "A body that is not JSON",
    429: "Later: Retry-After says when",
    500: "The server failed",
    502: "A server behind this one failed",
    503: "The server is ending, or what it needs is not there",
    504: "The deadline passed",
}
QUESTIONS = (400, 401, 403, 404, 413, 415, 429, 500, 502, 503, 504)
LOOKS = (401, 403, 404, 429, 503)


@dataclass(frozen=True, kw_only=True)
class Route:
    path: str
    summary: str
    answer: str
    """The name of the answer's schema, or a media type that is not JSON."""
    body: type[Shape] | None = None
    streams: bool = False
    parameters: tuple[Said, ...] = ()
    open: bool = False
    others: tuple[int, ...] = ()


EVENT = {
    "type": "object",
    "description": "One of the server-sent events",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
ROUTES = (
    Route(
        path="/v1/chat/completions",
        summary="One answer to one input of the bundle's task, or a conversation",
        body=ChatRequest,
        answer="ChatCompletion",
        streams=True,
    ),
    Route(
        path="/v1/completions",
        summary="One answer, or several, to each prompt",
        body=CompletionRequest,
        answer="Completion",
        streams=True,
    ),
    Route(
        path="/v1/responses",
        summary="As chat completions, with items and named events; nothing is stored",
        body=ResponsesRequest,
        answer="Response",
        streams=True,
    ),
    Route(
        path="/v1/embeddings",
        summary="A unit vector for each text",
        body=EmbeddingRequest,
        answer="Embeddings",
    ),
    Route(
        path="/v1/batch",
        summary="Many chat requests in one call: an answer or an error for each",
        body=BatchRequest,
        answer="Batch",
    ),
    Route(
        path="/v1/classify",
        summary="Label and probabilities of each item",
        body=ClassifyRequest,
        answer="Labels",
    ),
    Route(
        path="/generate",
        summary="As in the common FastAPI tutorial",
        body=GenerateRequest,
        answer="Output",
    ),
    Route(path="/v1/models", summary="Every model that can be asked for", answer="Models"),
    Route(path="/v1/models/{name}", summary="One model", answer="Model", parameters=(NAME,)),
    Route(path="/healthz", summary="Whether the process is there", answer="Status", open=True),
    Route(path="/health/live", summary="The same", answer="Status", open=True),
    Route(
        path="/health/ready",
        summary="Whether new requests are taken",
        answer="Status",
        open=True,
        others=(503,),
    ),
    Route(path="/metrics", summary="Counts and times for Prometheus", answer="text/plain"),
)


@lru_cache(2)
def document(*, keyed: bool) -> Said:
    """The whole of it; `keyed` says that the routes ask for a key."""
    shapes = [route.body for route in ROUTES if route.body]
    _, found = models_json_schema([(shape, "validation") for shape in shapes], ref_template=AT + "{model}")
    told: Said = {
        "openapi": "3.1.0",
        "info": {
            "title": "Smallworks",
            "version": __version__,
            "description": "Bundles and the servers behind this one, in the shape of OpenAI's API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {route.path: _path(route, keyed=keyed) for route in ROUTES},
        "components": {"schemas": {**found["$defs"], **ANSWERS}},
    }
    if keyed:
        told["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return told


def _path(route: Route, *, keyed: bool) -> Said:
    operation: Said = {
        "operationId": route.path.strip("/").translate(str.maketrans("/{}", "___")).strip("_"),
        "summary": route.summary,
        "responses": {"200": _answer(route), **_errors(_statuses(route, keyed=keyed), route)},
        "security": [{"key": []}] if keyed and not route.open else [],
    }
    if route.parameters:
        operation["parameters"] = list(route.parameters)
    if route.body is None:
        return {"get": operation}
    body = {"application/json": {"schema": {"$ref": AT + route.body.__name__}}}
    return {"post": {**operation, "requestBody": {"required": True, "content": body}}}


def _answer(route: Route) -> Said:
    if "/" in route.answer:
        return {"description": "The answer", "content": {route.answer: {"schema": {"type": "string"}}}}
    content: Said = {"application/json": {"schema": {"$ref": AT + route.answer}}}
    if route.streams:
        content["text/event-stream"] = {"schema": EVENT}
    said = "The answer; server-sent events where `stream` is true" if route.streams else "The answer"
    return {"description": said, "content": content}


def _statuses(route: Route, *, keyed: bool) -> Iterable[int]:
    if route.open:
        return route.others
    wanted = QUESTIONS if route.body else LOOKS
    return wanted if keyed else (status for status in wanted if status != 401)


def _errors(statuses: Iterable[int], route: Route) -> Said:
    schema = {"$ref": AT + ("Status" if route.open else "Error")}
    content = {"application/json": {"schema": schema}}
    return {str(status): {"description": STATUSES[status], "content": content} for status in statuses}


def _object(properties: Said, *required: str) -> Said:
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def _of(*values: str) -> Said:
    return {"type": "string", "enum": list(values)}


def _list(schema: Said) -> Said:
    return {"type": "array", "items": schema}


TEXT, COUNT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "number"}
OPTIONAL, FLAG = {"type": ["string", "null"]}, {"type": "boolean"}
USAGE = _object({"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT})
HEAD = {"id": TEXT, "created": COUNT, "model": TEXT}
LOGPROBS = {"type": ["object", "null"]}
LABELS = {"type": "object", "additionalProperties": NUMBER}
CALL = _object({"id": TEXT, "type": _of("function"), "function": _object({"name": TEXT, "arguments": TEXT})})
MESSAGE = _object(
    {"role": _of("assistant"), "content": OPTIONAL, "refusal": OPTIONAL, "tool_calls": _list(CALL)},
    "role",
    "content",
)
CHOICE = {
    "index": COUNT,
    "logprobs": LOGPROBS,
    "finish_reason": _of("stop", "length", "tool_calls", "cancelled"),
}
MODEL = {
    "id": TEXT,
    "object": _of("model"),
    "created": COUNT,
    "owned_by": TEXT,
    "smallworks": {"type": "object"},
}
LABELLED = _object(
    {"index": COUNT, "label": TEXT, "probability": NUMBER, "probabilities": LABELS, "abstain": FLAG},
    "index",
    "label",
    "probability",
    "probabilities",
)
ERROR = _object({"message": TEXT, "type": TEXT, "param": OPTIONAL, "code": OPTIONAL})
ITEM = _object(
    {"index": COUNT, "status": COUNT, "response": {"$ref": f"{AT}ChatCompletion"}, "error": ERROR},
    "index",
    "status",
)
ANSWERS: Said = {
    "Error": _object({"error": ERROR}),
    "Status": _object({"status": _of("ok", "draining")}),
    "Model": _object(MODEL),
    "Models": _object({"object": _of("list"), "data": _list({"$ref": f"{AT}Model"})}),
    "ChatCompletion": _object(
        {
            **HEAD,
            "object": _of("chat.completion"),
            "choices": _list(_object({**CHOICE, "message": MESSAGE})),
            "usage": USAGE,
        }
    ),
    "Completion": _object(
        {
            **HEAD,
            "object": _of("text_completion"),
            "choices": _list(_object({**CHOICE, "text": TEXT})),
            "usage": USAGE,
        }
    ),
    "Response": _object(
        {
            "id": TEXT,
            "object": _of("response"),
            "created_at": COUNT,
            "model": TEXT,
            "status": _of("completed", "incomplete"),
            "output": _list({"type": "object"}),
            "usage": {"type": "object"},
        }
    ),
    "Embeddings": _object(
        {
            "object": _of("list"),
            "model": TEXT,
            "data": _list(
                _object({"index": COUNT, "object": TEXT, "embedding": {"type": ["array", "string"]}})
            ),
            "usage": _object({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        }
    ),
    "Labels": _object({"object": _of("list"), "model": TEXT, "data": _list(LABELLED), "usage": USAGE}),
    "Output": _object({"output": TEXT, "probabilities": LABELS, "abstain": FLAG}, "output"),
    "Batch": _object(
        {"object": _of("list"), "data": _list(ITEM), "request_counts": {"type": "object"}, "usage": USAGE}
    ),
}
