"""The routes without ceremony: /healthz, /generate as in the common FastAPI tutorial, /v1/classify."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from smallworks.server import ask
from smallworks.server.reply import reply
from smallworks.server.room import Room
from smallworks.server.shapes import ClassifyRequest, GenerateRequest
from smallworks.server.wording import usage
from smallworks.types import Answer


async def healthz(request: Request) -> Response:
    return reply({"status": "ok"})


async def generate(request: Request, body: GenerateRequest) -> Response:
    """`output` is the answer; a classification brings `probabilities` too."""
    room: Room = request.app.state.room
    _, predictor = room.find(body.model)
    answer = await room.run(request, predictor, ask.from_generate(body, predictor).answer)
    extra = {} if answer.probabilities is None else {"probabilities": answer.probabilities}
    return reply({"output": answer.text, **extra})


async def classify(request: Request, body: ClassifyRequest) -> Response:
    """Label and probabilities of each item; the items are scored as one batch."""
    room: Room = request.app.state.room
    name, predictor = room.find(body.model)
    items = ask.classifiable(body.items, predictor)
    answers = await room.run(request, predictor, lambda cancel: predictor.answers(items))
    data = [_labelled(index, answer) for index, answer in enumerate(answers)]
    return reply({"object": "list", "model": name, "data": data, "usage": usage(answers)})


def _labelled(index: int, answer: Answer) -> dict[str, Any]:
    assert answer.probabilities is not None
    return {
        "index": index,
        "label": answer.text,
        "probability": answer.probabilities[answer.text],
        "probabilities": answer.probabilities,
        **({"shortened": True} if answer.shortened else {}),
    }
