"""The application: every route on one page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from smallworks.seams import Embedder
from smallworks.server import batch, failures, openai, simple, witness
from smallworks.server import prices as prices_of
from smallworks.server.cache import CacheConfig
from smallworks.server.door import Door
from smallworks.server.edge import Edge
from smallworks.server.embedding import Embedding, Encodes
from smallworks.server.hosts import check_names
from smallworks.server.keys import Keys
from smallworks.server.limits.section import LimitsConfig, open_limiter
from smallworks.server.log import Log
from smallworks.server.meters import Meters
from smallworks.server.otel import Otel
from smallworks.server.prices import Flagship, Price
from smallworks.server.room import Bundled, Room
from smallworks.server.rules import Rules
from smallworks.server.shortcut import Shortcut
from smallworks.server.traces import Traces
from smallworks.server.upstream import Fleet, Upstream

if TYPE_CHECKING:
    from smallworks.guard import Guards
    from smallworks.server.cache.responses import ResponseCache
    from smallworks.server.guards.passing import Guarding

USUAL = Rules()
QUIET = Log.usual()
ROUTES = (
    # Matched in this order: the busiest come first.
    Route("/v1/chat/completions", openai.chat, methods=["POST"]),
    Route("/v1/completions", openai.completions, methods=["POST"]),
    Route("/v1/responses", openai.responses, methods=["POST"]),
    Route("/v1/embeddings", openai.embeddings, methods=["POST"]),
    Route("/v1/batch", batch.batch, methods=["POST"]),
    Route("/v1/classify", simple.classify, methods=["POST"]),
    Route("/generate", simple.generate, methods=["POST"]),
    Route("/v1/models", openai.models),
    Route("/v1/models/{name:path}", openai.model),
    Route("/healthz", simple.healthz),
    Route("/health/live", simple.healthz),
    Route("/health/ready", simple.ready),
    Route("/metrics", simple.metrics),
    Route("/openapi.json", simple.openapi),
)


class Application(Starlette):
    """Starlette without its outermost layer, for failures that nobody expected: the edge answers those."""

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=self.exception_handlers)
        for layer in reversed(self.user_middleware):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        return app


def create_app(
    bundles: Mapping[str, Bundled],
    *,
    default: str,
    keys: Keys | None = None,
    limits: LimitsConfig | None = None,
    prices: Mapping[str, Price] | None = None,
    flagships: Mapping[str, Flagship] | None = None,
    rules: Rules = USUAL,
    budget: int | None = None,
    local: bool = True,
    upstreams: Sequence[Upstream] = (),
    cache: CacheConfig | None = None,
    embedder: Embedder | None = None,
    embedders: Mapping[str, Encodes] | None = None,
    log: Log = QUIET,
    traces: Traces | None = None,
    otel: Otel | None = None,
    guards: Guards | None = None,
) -> Starlette:
    """The API over `bundles` by name; `default` answers requests that name no model.

    With `keys` every route but the probes asks for one. Without, a `local` application answers only to
    this machine's own names. `limits` says where they are counted, `prices` what tokens cost, and
    `flagships` what they would cost at the models that bundles replace. `upstreams`
    are servers that answer to further names, `embedders` models that answer at /v1/embeddings; `cache`
    keeps answers, with `embedder` for its hits by likeness. Bundles and keys stay the caller's to close,
    after the application has ended.
    """
    meters = Meters(prices, flagships)
    limiter = open_limiter(limits or LimitsConfig.usual(), keys, meters.limits)
    door = Door(keys, local=local, limiter=limiter)
    room = Room(bundles, default, rules=rules, meters=meters, budget=budget)
    fleet = Fleet(upstreams, rules=rules, meters=meters)
    fleet.join(room)
    check_names(embedders or (), room.hosts)
    for name, model in (embedders or {}).items():
        room.hosts[name] = Embedding(name, model, rules=rules, meters=meters)

    prices_of.check_flagships(flagships or (), bundles)
    prices_of.check_priced(prices or (), [*room.hosts, *(name for each in upstreams for name in each.models)])

    seen_by = witness.witnesses(meters, room.price, log=log, traces=traces, otel=otel)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        fleet.start()
        yield
        room.close()
        fleet.close()
        if app.state.cache:
            await app.state.cache.close()
        # Together: each may need some seconds, and whoever stops the server waits for so long in all.
        last = (limiter.close, *(each.close for each in seen_by))
        await asyncio.gather(*map(asyncio.to_thread, last))

    edge = Middleware(Edge, door=door, meters=meters, rules=rules, witnesses=seen_by)
    around = [edge, Middleware(Shortcut, routes=ROUTES)]
    app = Application(
        routes=ROUTES, middleware=around, exception_handlers=failures.HANDLERS, lifespan=lifespan
    )
    app.router.redirect_slashes = False
    app.state.room, app.state.door, app.state.meters = room, door, meters
    app.state.cache = _cache(cache, meters, embedder) if cache else None
    app.state.guarding = _guarding(guards, meters) if guards else None
    app.state.keeper = witness.keeper(seen_by)
    app.state.started = int(time.time())
    return app


# Loaded only by a server that has them: together they take as long as everything else that is ours.


def _cache(config: CacheConfig, meters: Meters, embedder: Embedder | None) -> ResponseCache:
    from smallworks.server.cache.responses import ResponseCache

    return ResponseCache(config, meters.registry, embedder)


def _guarding(guards: Guards, meters: Meters) -> Guarding:
    from smallworks.server.guards.passing import Guarding

    return Guarding(guards, meters.registry)
