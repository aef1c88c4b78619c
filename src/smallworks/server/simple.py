"""The routes without ceremony: probes, /metrics, /generate as in FastAPI tutorials, /v1/classify."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from smallworks.server import ask, meters
from smallworks.server.reply import reply
from smallworks.server.room import Room
from smallworks.server.shapes import ClassifyRequest, GenerateRequest
from smallworks.server.wording import usage
from smallworks.types import Answer


async def healthz(request: Request) -> Response:
    return reply({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 while new requests are taken, 503 once the server is ending."""
    draining = request.app.state.door.draining
    return reply({"status": "draining" if draining else "ok"}, 503 if draining else 200)


async def metrics(request: Request) -> Response:
    """Counts and times for Prometheus."""
    return Response(request.app.state.meters.text(), media_type=meters.CONTENT_TYPE)


async def generate(request: Request, body: GenerateRequest) -> Response:
    """`output` is the answer; a classification brings `probabilities` too."""
    room: Room = request.app.state.room
    _, served = room.find(request.scope["visit"], body.model)
    (answer,) = await room.run(request, served, ask.from_generate(body, served.predictor))
    extra = {} if answer.probabilities is None else {"probabilities": answer.probabilities}
    return reply({"output": answer.text, **extra})


async def classify(request: Request, body: ClassifyRequest) -> Response:
    """Label and probabilities of each item; the items are scored as one batch."""
    room: Room = request.app.state.room
    name, served = room.find(request.scope["visit"], body.model)
    answers = await room.run(request, served, ask.from_items(body.items, served.predictor))
    data = [_labelled(index, answer) for index, answer in enumerate(answers)]
    return reply({"object": "list", "model": name, "data": data, "usage": usage(answers)})


def _labelled(index: int, answer: Answer) -> dict[str, Any]:
    assert answer.probabilities is not None
    return {
        "index": index,
        "label": answer.text,
        "probability": answer.probabilities[answer.text],
        "probabilities": answer.probabilities,
        **({"stage": answer.stage} if answer.stage else {}),
        **({"shortened": True} if answer.shortened else {}),
    }
