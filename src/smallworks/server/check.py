"""`smallworks serve --check`: all that can be tried before listening, part by part, with the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from smallworks import settings
from smallworks.bundle import open_bundle
from smallworks.engines import hub
from smallworks.engines.base import local, resolve_embedder
from smallworks.errors import SmallworksError
from smallworks.server.assembly import check_all_names
from smallworks.server.bundles import Seat, check_id, named, open_proven, where
from smallworks.server.config import Config
from smallworks.server.demand import Unloaded
from smallworks.server.embedding import called
from smallworks.server.keys import open_keys
from smallworks.server.prices import check_flagships, check_priced
from smallworks.server.run import check_openness, listen


@dataclass(frozen=True, kw_only=True)
class Row:
    """One part; `fix` is empty where it is well."""

    part: str
    what: str
    fix: str = ""


def rows(config: Config) -> list[Row]:
    """Every part that would be served, also after one that is wrong. No model is loaded, nothing listens."""
    return [_row(part, attempt) for part, attempt in _attempts(config)]


def _attempts(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "address", partial(_address, config)
    if config.asks:
        yield "keys", partial(_keys, config)
    seats: list[Seat] = []
    for entry in config.entries:
        yield "bundle", partial(_bundle, entry.path, config.releases or settings.load().releases, seats)
    for ref in config.embedders:
        yield "embedder", partial(_embedder, ref)
    if len(seats) == len(config.entries):  # else not every name is known
        yield "names", partial(_names, config, seats)
        if config.prices or config.flagships:
            yield "prices", partial(_prices, config, seats)
    for name, section in config.sections():
        yield name, section.check


def _row(part: str, attempt: Callable[[], str]) -> Row:
    try:
        return Row(part=part, what=attempt())
    except SmallworksError as error:
        return Row(part=part, what=error.what, fix=error.fix)


def _address(config: Config) -> str:
    check_openness(config)
    with listen(config.host, config.port):
        return f"{config.host}, port {config.port or 'any'}: free"


def _keys(config: Config) -> str:
    with open_keys(config.keys, config.keys_env) as keys:
        live = [key for key in keys.all() if key.revoked is None]
        return f"'{keys.database.where}': {len(live)} live"


def _prices(config: Config, seats: list[Seat]) -> str:
    upstreams = (name for each in config.upstream for name in each.models)
    check_priced(config.prices, [*named(seats), *upstreams, *map(called, config.embedders)])
    check_flagships(config.flagships, named(seats))
    return f"of {', '.join({**config.prices, **config.flagships})}"


def _bundle(word: str, releases: Path, seats: list[Seat]) -> str:
    """Tells of one bundle, which is added to `seats`."""
    path, id = where(word, releases)
    bundle = open_bundle(path)
    check_id(word, path, id, bundle.id)
    seats.append(Seat(word=word, path=path, id=id, predictor=Unloaded(bundle, open_proven)))
    manifest = bundle.manifest
    return f"'{path}': {manifest.task}, {manifest.kind} on {manifest.engine}; every byte as frozen"


def _embedder(ref: str) -> str:
    """A folder is looked at; what is on a hub is fetched when the server starts."""
    if hub.parse(ref) is not None and not local(ref).is_dir():
        return f"'{called(ref)}', from the hub when the server starts"
    return f"'{called(ref)}', '{resolve_embedder(ref)}'"


def _names(config: Config, seats: list[Seat]) -> str:
    bundles = named(seats)
    check_all_names(config, bundles)
    return f"{', '.join(bundles) or 'no bundles'}: each once"
