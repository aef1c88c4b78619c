"""The routes that OpenAI's clients know: models, chat completions, completions."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from smallworks.server import ask, streaming
from smallworks.server.reply import reply
from smallworks.server.room import Room, Served
from smallworks.server.shapes import ChatRequest, CompletionRequest
from smallworks.server.wording import ChatWording, CompletionWording

ALL_LABELS = 20
"""Labels listed when logprobs are asked without a number: as many as the API allows."""


async def models(request: Request) -> Response:
    """Every model that can be asked for."""
    room: Room = request.app.state.room
    open_to = room.open_to(request.scope["visit"])
    return reply({"object": "list", "data": [_model(request, *each) for each in open_to.items()]})


async def model(request: Request, name: str) -> Response:
    room: Room = request.app.state.room
    return reply(_model(request, *room.find(request.scope["visit"], name)))


async def chat(request: Request, body: ChatRequest) -> Response:
    """One user message is an input of the bundle's task; more make a conversation."""
    room: Room = request.app.state.room
    name, served = room.find(request.scope["visit"], body.model)
    work = ask.from_chat(body, served.predictor)
    top = (ALL_LABELS if body.top_logprobs is None else body.top_logprobs) if body.logprobs else None
    wording = ChatWording(model=name, top=top, usage=body.wants_usage)
    if body.stream:
        return await streaming.begin(room.stream(request, served, work), wording)
    return reply(wording.reply(await room.run(request, served, work)))


async def completions(request: Request, body: CompletionRequest) -> Response:
    """A prompt is an input of the bundle's task; a list of prompts gives a choice for each."""
    room: Room = request.app.state.room
    name, served = room.find(request.scope["visit"], body.model)
    work = ask.from_completion(body, served.predictor)
    wording = CompletionWording(model=name, top=body.logprobs, usage=body.wants_usage)
    if body.stream:
        return await streaming.begin(room.stream(request, served, work), wording)
    return reply(wording.reply(await room.run(request, served, work)))


def _model(request: Request, name: str, served: Served) -> dict[str, object]:
    manifest = served.predictor.manifest
    choices = manifest.prompt.choices
    return {
        "id": name,
        "object": "model",
        "created": request.app.state.started,
        "owned_by": "smallworks",
        "smallworks": {
            "task": manifest.task,
            "kind": manifest.kind,
            "candidate": manifest.candidate,
            "engine": manifest.engine,
            "labels": list(choices.labels) if choices else None,
        },
    }
