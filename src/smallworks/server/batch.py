"""Many chat requests in one call: an answer or an error for each, by its index.

Each goes the whole way of a request by itself, a few at a time, so that a batch neither fills the line nor
waits behind itself. OpenAI's batches of uploaded files are another thing, and not here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from smallworks.server import exchange, failures
from smallworks.server.failures import BadField, ClientGone
from smallworks.server.hosts import Said
from smallworks.server.openai import CHAT
from smallworks.server.reply import reply, to_object
from smallworks.server.shapes import BatchRequest, checked
from smallworks.server.visit import Visit

AT_ONCE = 8
"""Requests of one batch that are under way at once."""
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


async def batch(request: Request) -> Response:
    """Each item of `requests` is a body of /v1/chat/completions; partial failures are told by index."""
    body = checked(BatchRequest, await exchange.read(request))
    request.scope["visit"].body = b""  # no item's own
    turn = asyncio.Semaphore(AT_ONCE)
    each = [_own(request) for _ in body.requests]
    tasks = [asyncio.ensure_future(_item(own, turn, at, body)) for at, own in enumerate(each)]
    try:
        data = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        _note(request, [own.scope["visit"] for own in each])
    used = [item["response"].get("usage") or {} for item in data if "response" in item]
    usage = {key: sum(one.get(key, 0) for one in used) for key in USAGE}
    failed = sum("error" in item for item in data)
    counts = {"total": len(data), "completed": len(data) - failed, "failed": failed}
    return reply({"object": "list", "data": data, "request_counts": counts, "usage": usage})


def _own(request: Request) -> Request:
    """An item's own, so that what becomes of it is noted apart from the others."""
    return Request({**request.scope, "visit": replace(request.scope["visit"])}, request.receive)


def _note(request: Request, visits: Sequence[Visit]) -> None:
    """What the items come to. `bundle` stays empty where several answered."""
    visit: Visit = request.scope["visit"]
    visit.tokens_in = sum(one.tokens_in for one in visits)
    visit.tokens_out = sum(one.tokens_out for one in visits)
    visit.queued = max(one.queued for one in visits)
    visit.findings = tuple(dict.fromkeys(name for one in visits for name in one.findings))
    visit.bundle, visit.stage, visit.cache = (
        found.pop() if len(found := set(filter(None, each))) == 1 else ""
        for each in zip(*((one.bundle, one.stage, one.cache) for one in visits), strict=True)
    )
    kept = [one.content for one in visits if one.content]
    if kept:
        pairs = [pair for content in kept for pair in _pairs(content)]
        visit.content = {"inputs": tuple(one for one, _ in pairs), "outputs": tuple(one for _, one in pairs)}
    for one in visits:
        if one.error:
            request.app.state.meters.errors.labels(one.bundle, one.error).inc()


def _pairs(content: dict[str, Any]) -> list[tuple[dict[str, str], str]]:
    """The one input of a chat with each answer to it."""
    (asked,) = content["inputs"]
    return [(asked, told) for told in content.get("outputs", ())]


async def _item(request: Request, turn: asyncio.Semaphore, at: int, body: BatchRequest) -> dict[str, Any]:
    visit: Visit = request.scope["visit"]
    said: Said = body.requests[at]
    if body.model is not None:
        said = {"model": body.model, **said}
    async with turn:
        try:
            if said.get("stream"):
                raise BadField("A batch does not stream.", fix="Leave 'stream' out.", param="stream")
            if at and visit.allowance:  # the first was counted at the door
                await visit.allowance.knock()
            told = await exchange.whole(request, CHAT, said)
            return {"index": at, "status": 200, "response": to_object(told)}
        except ClientGone:
            raise
        except Exception as error:
            worded = await _error(request, error)
            return {"index": at, "status": worded.status_code, **json.loads(bytes(worded.body))}


async def _error(request: Request, error: Exception) -> Response:
    try:
        return await failures.handled(request, error)
    except Exception as unexpected:
        return failures.answer(request.scope, unexpected)
