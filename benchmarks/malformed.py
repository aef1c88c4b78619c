"""Whatever is sent, the server answers in shape: no 5xx, no hang, memory flat.

Measured: schemathesis over the whole OpenAPI document (statuses, content types and bodies as documented),
then 10,000 malformed requests to every route over real sockets: bodies that are no JSON, cut off, with
flipped bytes, with a value of another kind anywhere, far too deep or too large, odd headers, wrong methods,
paths. A request that sets itself a deadline may get 504. The starter answers; memory of this process, client
and server, after 4,000 requests and at the end, once the C library has given back what is free: a body of
2 MB leaves it in pieces for a while. No peer. Not covered: broken HTTP, which uvicorn answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import http.client
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.claim import Finding, Say
from benchmarks.served import starter_served

UNIT = "answers that are 5xx or none"
GOAL = "0 of 10,000, none by schemathesis, and at most 32 MB more at the end"
REQUESTS = 10_000
WARM = 4_000
MOST_MB = 32
DEADLINE = "x-request-deadline"
SECONDS = 30
"""A request that takes longer hangs."""
SCHEMATHESIS_SECONDS = 180
"""One of its requests is 128 prompts, which a busy machine needs its time for."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 60
TURN = [{"role": "user", "content": "Hi."}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "starter",
        "messages": [{"role": "system", "content": "Be brief."}, *TURN],
        "max_tokens": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 1,
        "stop": ["x"],
        "n": 1,
        "logit_bias": {"5": 1},
        "logprobs": True,
        "top_logprobs": 2,
        "stream": False,
    },
    "/v1/completions": {"prompt": ["a", "b"], "max_tokens": 2, "logprobs": 1, "n": 2, "temperature": 1},
    "/v1/responses": {
        "input": TURN,
        "max_output_tokens": 2,
        "instructions": "x",
        "text": {"format": {"type": "text"}},
    },
    "/v1/embeddings": {"input": ["a", "b"], "encoding_format": "float", "dimensions": 4},
    "/v1/batch": {"requests": [{"messages": TURN, "max_tokens": 1}, {"messages": TURN, "max_tokens": 2}]},
    "/v1/classify": {"input": ["a", {"b": "c"}]},
    "/generate": {"input_text": "a", "instruction": "b", "max_new_tokens": 2, "temperature": 0.1},
}
SPECIAL: dict[str, Any] = {"messages": TURN, "max_tokens": 2, "tools": [TOOL], "response_format": FORM}
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    -0.0,
    float("inf"),
    float("nan"),
    "",
    " ",
    "\x00",
    "\ud800",
    "x" * 5000,
    "../../etc/passwd",
    "{{7*7}}",
    "a\r\nx: y",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"type": "text"},
    [{"role": "user"}],
    {"$ref": "#"},
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
)
TYPES = (
    "application/json",
    "application/json; charset=latin-1",
    "text/plain",
    "",
    "application/jsonx",
    "\xff",
)
PATHS = ("/v1/chat/completions/", "/v1/../metrics", "/v1/models/%2e%2e", "/%00", "/v1/models/" + "a" * 3000)


@dataclass(frozen=True)
class Sent:
    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def requests(count: int, seed: int = 0) -> Iterator[Sent]:
    """Malformed requests, the same for a seed."""
    source = random.Random(seed)
    makers = (_cut, _flipped, _noise, _kind, _kind, _kind, _kind, _key, _deep, _large, _headers, _elsewhere)
    for at in range(count):
        path = source.choice(list(BODIES))
        body = BODIES[path]
        if path == "/v1/chat/completions" and at % 3 == 0:
            body = SPECIAL
        yield source.choice(makers)(source, path, body)


def send(connection: http.client.HTTPConnection, sent: Sent) -> tuple[int, bytes]:
    """Status and body; a status of 0 where there was no answer."""
    try:
        connection.request(sent.method, sent.path, sent.body, sent.headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0, b""


def measure(say: Say) -> Finding:
    with starter_served() as url:
        failed = _schemathesis(url, say)
        host, port = url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
        statuses: Counter[int] = Counter()
        bad: list[str] = []
        warm = 0.0
        for at, sent in enumerate(requests(REQUESTS)):
            status, _ = send(connection, sent)
            statuses[status] += 1
            if status == 0 or (status >= 500 and not (status == 504 and DEADLINE in sent.headers)):
                bad.append(f"{status} {sent.method} {sent.path} {sent.body[:200]!r}")
            if at == WARM:
                warm = _megabytes()
            if at % 1000 == 0:
                say(f"{at} sent, {_megabytes():.0f} MB, {dict(statuses)}")
        grown = _megabytes() - warm
    say(
        f"{len(bad)} bad, {grown:.1f} MB more than after {WARM}; "
        f"schemathesis {'failed' if failed else 'passed'}"
    )
    return Finding(
        value=len(bad),
        holds=not bad and not failed and grown <= MOST_MB,
        details={
            "statuses": dict(sorted(statuses.items())),
            "bad": bad[:20],
            "grown_mb": round(grown, 1),
            "schemathesis": failed or "passed",
        },
    )


def _schemathesis(url: str, say: Say) -> str:
    """What it found; empty where nothing."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--checks", CHECKS]
    command += [
        "--max-examples",
        str(EXAMPLES),
        "--seed",
        "1",
        "--request-timeout",
        str(SCHEMATHESIS_SECONDS),
        "--no-color",
    ]
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:  # it keeps a folder where it runs
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch)
    say(done.stdout[-1500:])
    return "" if done.returncode == 0 else done.stdout[-6000:] + done.stderr[-2000:]


def _megabytes() -> float:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # a C library that is not glibc
        ctypes.CDLL(None).malloc_trim(0)
    return float(psutil.Process().memory_info().rss / 2**20)


def _cut(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    raw = json.dumps(body).encode()
    return Sent("POST", path, raw[: source.randrange(len(raw))])


def _flipped(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    raw = bytearray(json.dumps(body).encode())
    for _ in range(source.randint(1, 4)):
        raw[source.randrange(len(raw))] = source.randrange(256)
    return Sent("POST", path, bytes(raw))


def _noise(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    return Sent("POST", path, source.randbytes(source.randrange(200)))


def _kind(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    """A value of another kind, anywhere in the body."""
    changed = json.loads(json.dumps(body))
    places = list(_places(changed))
    holder, key = source.choice(places)
    holder[key] = source.choice(ODD)
    return Sent("POST", path, json.dumps(changed).encode())


def _key(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    changed = {source.choice((key, key.upper(), key + "\x00", "")): value for key, value in body.items()}
    return Sent("POST", path, json.dumps(changed).encode())


def _deep(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    levels = source.choice((70, 900, 5000, 100_000))
    opening, closing = source.choice(
        (("[", "]"), ('{"a":', "}"), ('{"anyOf":[', "]}"), ('{"properties":{"a":', "}}"))
    )
    nested = opening * levels + ("1" if opening != '{"anyOf":[' else "{}") + closing * levels
    key = source.choice(list(body))
    if body is SPECIAL and source.random() < 0.7:
        form = '{"type":"json_schema","json_schema":{"name":"x","schema":' + nested + "}}"
        raw = (
            json.dumps({k: v for k, v in body.items() if k == "messages"})[:-1]
            + f',"response_format":{form}}}'
        )
        return Sent("POST", path, raw.encode())
    rest = json.dumps({k: v for k, v in body.items() if k != key})[:-1]
    return Sent("POST", path, f'{rest}{"," if len(rest) > 1 else ""}"{key}":{nested}}}'.encode())


def _large(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    key = source.choice(list(body))
    huge = source.choice(
        ("x" * 300_000, ["x"] * 20_000, {str(at): at for at in range(20_000)}, "9" * 2_000_000)
    )
    return Sent("POST", path, json.dumps({**body, key: huge}).encode())


def _headers(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    headers = {
        "content-type": source.choice(TYPES),
        source.choice((DEADLINE, "x-request-id", "authorization", "accept", "x-odd")): source.choice(
            ("", "-1", "nan", "1e-9", "inf", "Bearer " + "x" * 3000, "\xe9", "a" * 6000)
        ),
    }
    return Sent("POST", path, json.dumps(body).encode(), headers)


def _elsewhere(source: random.Random, path: str, body: dict[str, Any]) -> Sent:
    method = source.choice(("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"))
    return Sent(
        method, source.choice((path, *PATHS)), b"" if method in ("GET", "HEAD") else json.dumps(body).encode()
    )


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a body."""
    for key, below in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(below, dict | list):
            yield from _places(below)
