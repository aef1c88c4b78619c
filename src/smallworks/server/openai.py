"""The routes that OpenAI's clients know: models, chat completions, completions."""

from __future__ import annotations

from collections.abc import Generator
from threading import Event

from starlette.requests import Request
from starlette.responses import Response

from smallworks.server import ask, streaming
from smallworks.server.ask import Ask, Piece
from smallworks.server.reply import reply
from smallworks.server.room import Room
from smallworks.server.shapes import ChatRequest, CompletionRequest
from smallworks.server.wording import ChatWording, CompletionWording
from smallworks.types import Answer

ALL_LABELS = 20
"""Labels listed when logprobs are asked without a number: as many as the API allows."""


async def models(request: Request) -> Response:
    """Every model that can be asked for."""
    room: Room = request.app.state.room
    return reply({"object": "list", "data": [_model(request, name) for name in room.bundles]})


async def model(request: Request, name: str) -> Response:
    room: Room = request.app.state.room
    return reply(_model(request, room.find(name)[0]))


async def chat(request: Request, body: ChatRequest) -> Response:
    """One user message is an input of the bundle's task; more make a conversation."""
    room: Room = request.app.state.room
    name, predictor = room.find(body.model)
    asked = ask.from_chat(body, predictor)
    top = (ALL_LABELS if body.top_logprobs is None else body.top_logprobs) if body.logprobs else None
    wording = ChatWording(model=name, top=top, usage=body.wants_usage)
    if body.stream:
        return await streaming.begin(room.stream(request, predictor, lambda c: _pieces([asked], c)), wording)
    return reply(wording.reply([await room.run(request, predictor, asked.answer)]))


async def completions(request: Request, body: CompletionRequest) -> Response:
    """A prompt is an input of the bundle's task; a list of prompts gives a choice for each."""
    room: Room = request.app.state.room
    name, predictor = room.find(body.model)
    asked = ask.from_completion(body, predictor)
    wording = CompletionWording(model=name, top=body.logprobs, usage=body.wants_usage)
    if body.stream:
        return await streaming.begin(room.stream(request, predictor, lambda c: _pieces(asked, c)), wording)
    return reply(wording.reply(await room.run(request, predictor, lambda c: _answers(asked, c))))


def _answers(asked: list[Ask], cancel: Event) -> list[Answer]:
    return [one.answer(cancel) for one in asked if not cancel.is_set()]


def _pieces(asked: list[Ask], cancel: Event) -> Generator[Piece]:
    for index, one in enumerate(asked):
        yield from one.pieces(cancel, index)


def _model(request: Request, name: str) -> dict[str, object]:
    manifest = request.app.state.room.bundles[name].manifest
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
