"""The routes without ceremony: probes, /metrics, /generate as in FastAPI tutorials, /v1/classify."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from smallworks.engines.predictor import Predictor
from smallworks.server import ask, exchange, meters
from smallworks.server.ask import Work
from smallworks.server.hosts import Form
from smallworks.server.reply import reply
from smallworks.server.shapes import ClassifyRequest, GenerateRequest
from smallworks.server.wording import LabelsWording, OutputWording


async def healthz(request: Request) -> Response:
    return reply({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 while new requests are taken, 503 once the server is ending."""
    draining = request.app.state.door.draining
    return reply({"status": "draining" if draining else "ok"}, 503 if draining else 200)


async def metrics(request: Request) -> Response:
    """Counts and times for Prometheus."""
    return Response(request.app.state.meters.text(), media_type=meters.CONTENT_TYPE)


async def openapi(request: Request) -> Response:
    """What every route takes and gives."""
    from smallworks.server.openapi import document  # few ask, and a server starts sooner without

    return reply(document(keyed=request.app.state.door.keyed))


async def generate(request: Request) -> Response:
    """`output` is the answer; a classification brings `probabilities` too."""
    return await exchange.answer(request, GENERATE)


async def classify(request: Request) -> Response:
    """Label and probabilities of each item; the items are scored as one batch."""
    return await exchange.answer(request, CLASSIFY)


def _items(body: ClassifyRequest, predictor: Predictor) -> Work:
    return ask.from_items(body.items, predictor)


GENERATE = Form(
    path="/generate", shape=GenerateRequest, ask=ask.from_generate, wording=lambda body, name: OutputWording()
)
CLASSIFY = Form(
    path="/classify", shape=ClassifyRequest, ask=_items, wording=lambda body, name: LabelsWording(name)
)
