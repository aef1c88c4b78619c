"""A schema in, a valid document out: every finished answer of the starter is valid, or there is a clear 400.

Measured: the starter on llama.cpp behind `smallworks serve`'s own application, over HTTP; 300 schemas (every
keyword of the public test suite's kinds by itself and in company, the rest drawn from a seed; half of them at
temperature 1), 384 tokens each. Valid by jsonschema-rs, formats too. Schemas that no grammar here holds must
get a 400 that names their keyword. No peer. Not covered: whether the values make sense; other engines;
documents that the token limit cut off, which are counted and shown: they end with finish_reason "length".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import httpx2

from benchmarks import schemas
from benchmarks.claim import Finding, Say
from benchmarks.served import starter_served

UNIT = "share of finished answers that are valid"
GOAL = "1.0, and a 400 that names the keyword for each schema that cannot be held"
SCHEMAS = 300
TOKENS = 384
ASKED = "Make up a small example as JSON."


def measure(say: Say) -> Finding:
    with starter_served() as url, httpx2.Client(base_url=url, timeout=300) as client:
        found = [_asked(client, at, schema) for at, schema in enumerate(_schemas())]
        named = [keyword in _refusal(client, schema) for keyword, schema in schemas.REFUSED.items()]
    finished = [one for one in found if one["finish"] == "stop"]
    cut = [one for one in found if one["finish"] == "length"]
    bad = [one for one in finished if not one["valid"]]
    refused = [one for one in found if one["finish"] == "refused"]
    say(
        f"{len(found)} schemas: {len(finished)} finished, {len(bad)} of them not valid; {len(cut)} cut off, "
        f"{sum(one['valid'] for one in cut)} of them valid all the same; {len(refused)} refused; "
        f"{sum(named)} of {len(named)} refusals name their keyword"
    )
    return Finding(
        value=round(1 - len(bad) / len(finished), 4),
        holds=not bad and not refused and all(named),
        details={
            "finished": len(finished),
            "cut": len(cut),
            "cut_and_valid": sum(one["valid"] for one in cut),
            "refused": [one["schema"] for one in refused],
            "not_valid": bad,
            "named": f"{sum(named)} of {len(named)}",
        },
    )


def _schemas() -> Iterator[schemas.Schema]:
    return islice(chain(schemas.suite(), schemas.drawn(SCHEMAS)), SCHEMAS)


def _asked(client: httpx2.Client, at: int, schema: schemas.Schema) -> dict[str, Any]:
    import jsonschema_rs

    reply = client.post("/v1/chat/completions", json=_body(schema, temperature=float(at % 2), seed=at))
    if reply.status_code != 200:
        return {"schema": schema, "finish": "refused", "valid": False, "text": reply.text}
    choice = reply.json()["choices"][0]
    text = choice["message"]["content"]
    try:
        valid = jsonschema_rs.is_valid(schema, json.loads(text), validate_formats=True)
    except ValueError:
        valid = False
    return {"schema": schema, "finish": choice["finish_reason"], "valid": valid, "text": text}


def _refusal(client: httpx2.Client, schema: schemas.Schema) -> str:
    reply = client.post("/v1/chat/completions", json=_body(schema))
    return reply.json()["error"]["message"] if reply.status_code == 400 else ""


def _body(schema: schemas.Schema, **more: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    messages = [{"role": "user", "content": ASKED}]
    return {"messages": messages, "response_format": form, "max_tokens": TOKENS, **more}
