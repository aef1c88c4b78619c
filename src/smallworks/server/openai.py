"""The routes that OpenAI's clients know: models, chat completions, completions, responses."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from smallworks.engines.predictor import Predictor
from smallworks.server import ask, exchange
from smallworks.server.ask import Work
from smallworks.server.failures import BadField
from smallworks.server.hosts import Form, Host
from smallworks.server.reply import reply
from smallworks.server.responses import ResponsesRequest, ResponsesWording, from_responses
from smallworks.server.room import Room
from smallworks.server.shapes import ChatRequest, CompletionRequest, EmbeddingRequest
from smallworks.server.wording import ChatWording, CompletionWording, OutputWording

ALL_LABELS = 20
"""Labels listed when logprobs are asked without a number: as many as the API allows."""


async def models(request: Request) -> Response:
    """Every model that can be asked for."""
    room: Room = request.app.state.room
    open_to = room.open_to(request.scope["visit"])
    return reply({"object": "list", "data": [_model(request, *each) for each in open_to.items()]})


async def model(request: Request) -> Response:
    room: Room = request.app.state.room
    return reply(_model(request, *room.find(request.scope["visit"], request.path_params["name"])))


async def chat(request: Request) -> Response:
    """One user message is an input of the bundle's task; more make a conversation."""
    return await exchange.answer(request, CHAT)


async def completions(request: Request) -> Response:
    """A prompt is an input of the bundle's task; a list of prompts gives a choice for each."""
    return await exchange.answer(request, COMPLETIONS)


async def responses(request: Request) -> Response:
    """As chat completions, with items and named events; nothing is stored."""
    return await exchange.answer(request, RESPONSES)


async def embeddings(request: Request) -> Response:
    """A unit vector for each text, from a model that embeds."""
    return await exchange.answer(request, EMBEDDINGS)


def _no_vectors(body: EmbeddingRequest, predictor: Predictor) -> Work:
    raise BadField(
        f"The bundle '{predictor.manifest.task}' gives no embeddings.",
        fix="Ask one whose kind is 'embed' in GET /v1/models; `smallworks serve --embedder` adds one.",
        param="model",
    )


def _chat_wording(body: ChatRequest, name: str) -> ChatWording:
    top = (ALL_LABELS if body.top_logprobs is None else body.top_logprobs) if body.logprobs else None
    calls = bool(body.tools) and body.tool_choice != "none"
    return ChatWording(model=name, top=top, usage=body.wants_usage, calls=calls)


def _completion_wording(body: CompletionRequest, name: str) -> CompletionWording:
    return CompletionWording(model=name, top=body.logprobs, usage=body.wants_usage)


def _responses_wording(body: ResponsesRequest, name: str) -> ResponsesWording:
    calls = bool(body.tools) and body.tool_choice != "none"
    return ResponsesWording(model=name, body=body, calls=calls)


def _model(request: Request, name: str, host: Host) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": request.app.state.started,
        "owned_by": "smallworks",
        "smallworks": host.describe(),
    }


CHAT = Form(
    path="/chat/completions", shape=ChatRequest, ask=ask.from_chat, wording=_chat_wording, streams=True
)
COMPLETIONS = Form(
    path="/completions",
    shape=CompletionRequest,
    ask=ask.from_completion,
    wording=_completion_wording,
    streams=True,
)
RESPONSES = Form(
    path="/responses", shape=ResponsesRequest, ask=from_responses, wording=_responses_wording, streams=True
)
EMBEDDINGS = Form(
    path="/embeddings",
    shape=EmbeddingRequest,
    ask=_no_vectors,
    wording=lambda body, name: OutputWording(),
)
