"""The application: every route on one page."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from smallworks import __version__
from smallworks.engines.predictor import Predictor
from smallworks.server import failures, openai, simple
from smallworks.server.edge import Edge
from smallworks.server.room import Room


def create_app(bundles: Mapping[str, Predictor], *, default: str) -> FastAPI:
    """The API over `bundles` by name; `default` answers requests that name no model.

    The bundles stay the caller's to close, after the application has ended.
    """
    room = Room(bundles, default)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        room.close()

    app = FastAPI(
        title="Smallworks",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.room = room
    app.state.started = int(time.time())
    app.add_middleware(Edge)
    failures.install(app)
    app.add_api_route("/healthz", simple.healthz, methods=["GET"])
    app.add_api_route("/generate", simple.generate, methods=["POST"])
    app.add_api_route("/v1/classify", simple.classify, methods=["POST"])
    app.add_api_route("/v1/models", openai.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", openai.model, methods=["GET"])
    app.add_api_route("/v1/chat/completions", openai.chat, methods=["POST"])
    app.add_api_route("/v1/completions", openai.completions, methods=["POST"])
    return app
