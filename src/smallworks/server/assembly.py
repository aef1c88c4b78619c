"""From a configuration to the application: every part opened in order, and closed together."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial

from starlette.applications import Starlette

from smallworks import settings
from smallworks.errors import UserError, nearest
from smallworks.server.app import create_app
from smallworks.server.bases import Bases
from smallworks.server.bundles import Seat, named, open_proven, seated, stable, where
from smallworks.server.config import Config
from smallworks.server.embedding import called, opened
from smallworks.server.hosts import check_names
from smallworks.server.keys import open_keys
from smallworks.server.memory import RoomConfig
from smallworks.server.reload import Reload
from smallworks.server.upstream.settings import EVERY


def check_all_names(config: Config, bundles: Iterable[str]) -> None:
    """Raises UserError for a name that two models have, or one that [cache.semantic] names in vain."""
    names = set(bundles)
    listed = any(EVERY in upstream.models for upstream in config.upstream)
    others = [upstream.models for upstream in config.upstream if EVERY not in upstream.models]
    for more in ([called(ref) for ref in config.embedders], *others):
        check_names(more, names)
        names.update(more)
    semantic = config.cache.semantic if config.cache else None
    unknown = set(semantic.models) - names if semantic and not listed else ()
    for name in sorted(unknown):
        raise UserError(
            f"[cache.semantic] names the model '{name}', and there is none.", fix=nearest(name, names)
        )


def assembled(config: Config, stack: ExitStack, *, local: bool) -> Starlette:
    """The application of a configuration; `stack` closes what was opened for it. Raises SmallworksError.

    A slice adds one line here: its part, opened from its section, handed to `create_app`.
    """
    patient = config.limits.when_gone == "open"
    keys = open_keys(config.keys, config.keys_env, patient=patient) if config.asks else None
    if keys is not None:
        stack.enter_context(keys)
    releases = config.releases or settings.load().releases
    room = config.room or RoomConfig()
    bases = Bases([where(entry.path, releases)[0] for entry in config.entries], open_proven)
    seat = partial(seated, opens=bases.later if room.load == "demand" else bases.open)
    with ExitStack() as unfinished:
        seats: list[Seat] = []
        for entry in config.entries:
            seats.append(seat(entry.path, releases))
            unfinished.callback(seats[-1].predictor.close)
        bundles = named(seats)
        check_all_names(config, bundles)
        default = stable(config.entries[0].path) if config.entries else config.upstream[0].models[0]
        app = create_app(
            bundles,
            default=default,
            keys=keys,
            limits=config.limits,
            prices={name: section.price for name, section in config.prices.items()},
            flagships={name: section.flagship for name, section in config.flagships.items()},
            rules=config.rules,
            embedders={called(ref): opened(ref) for ref in config.embedders},
            budget=room.budget,
            local=local,
            upstreams=config.upstream,
            log=config.log,
            traces=config.traces,
            otel=config.otel,
            cache=config.cache,
            embedder=config.cache.embedder() if config.cache else None,
            guards=stack.enter_context(config.guards.open()) if config.guards else None,
        )
        unfinished.pop_all()
    state = app.state
    reload = Reload(seats, releases, room=state.room, door=state.door, meters=state.meters, seat=seat)
    state.looks = [stack.enter_context(reload).look]
    return app
