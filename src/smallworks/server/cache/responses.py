"""The response cache: found, waited for, or asked of the host and kept. Stands before every host.

What it keeps is what the host said, as it goes out; guards act outside of it, on what was asked and on every
answer. Keys are charged nothing for what the host was not asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from starlette.requests import Request

from smallworks.seams import Embedder
from smallworks.server.cache import worth
from smallworks.server.cache.asked import Asked, Recorder
from smallworks.server.cache.config import CacheConfig
from smallworks.server.cache.entry import Kept
from smallworks.server.cache.flight import Flights
from smallworks.server.cache.key import key_of
from smallworks.server.cache.likeness import Likeness
from smallworks.server.cache.meters import CacheMeters, Outcome
from smallworks.server.cache.redis import RedisStore
from smallworks.server.cache.replay import KINDS, Replay, Whole
from smallworks.server.cache.sqlite import SqliteStore
from smallworks.server.cache.store import MemoryStore, Store
from smallworks.server.cache.tiers import Tiers
from smallworks.server.door import header
from smallworks.server.failures import BadField
from smallworks.server.hosts import Events, Form, Host, Said
from smallworks.server.reply import to_bytes
from smallworks.server.usage import wants_usage, with_usage
from smallworks.server.visit import Visit

HEADER = b"x-smallworks-cache"
WISHES = (b"", b"no-store", b"refresh")
"""What a request may say there: neither read nor keep; or ask the host, and keep the answer anew."""
BEHIND = 10
"""How much more a file holds than memory does."""


class ResponseCache:
    """For one event loop. `close` it when the application ends."""

    def __init__(
        self, config: CacheConfig, registry: CollectorRegistry, embedder: Embedder | None = None
    ) -> None:
        """`embedder` is the one that the config's [cache.semantic] names. Raises UserError for a store
        that cannot be had."""
        self._config, self._meters = config, CacheMeters(registry)
        memory = MemoryStore(config.entries, config.bytes, self._meters.evicted)
        self._meters.watch(memory.__len__, lambda: memory.bytes)
        self._tiers = Tiers(memory, _store(config, self._meters.evicted), self._meters)
        self._flights = Flights()
        self._likeness = Likeness(config.semantic, embedder) if config.semantic and embedder else None

    def before(self, host: Host) -> Cached:
        """Answers in the host's place."""
        return Cached(self, host)

    async def reply(self, request: Request, form: Form, name: str, host: Host, said: Said) -> Said | bytes:
        found = await self._found(request, form, name, host, said)
        if isinstance(found, Kept):
            return found.body
        if found is None:
            return await host.reply(request, form, name, said)
        try:
            return await self._keep(found, await host.reply(request, form, name, said))
        finally:
            found.close()

    async def stream(self, request: Request, form: Form, name: str, host: Host, said: Said) -> Events:
        found = None
        if form.path in KINDS:
            found = await self._found(request, form, name, host, said)
        if isinstance(found, Kept):
            return Replay(form.path, json.loads(found.body), usage=wants_usage(said))
        if found is None:
            return await host.stream(request, form, name, said)
        try:
            visit: Visit = request.scope["visit"]
            visit.usage_for_cache = not wants_usage(said)
            events = await host.stream(request, form, name, with_usage(said))
        except BaseException:
            found.close()
            raise
        whole = Whole(form.path, self._config.bytes // 4)
        return Recorder(events, found, whole, self._keep, usage=wants_usage(said))

    async def close(self) -> None:
        if self._likeness:
            self._likeness.close()
        await self._tiers.close()

    async def _found(
        self, request: Request, form: Form, name: str, host: Host, said: Said
    ) -> Kept | Asked | None:
        """What was kept or came meanwhile, else the right to ask the host; None where nothing is kept."""
        visit: Visit = request.scope["visit"]
        wish = _wish(request)
        key = None if wish == b"no-store" else self._key(visit, form, name, host, said)
        if key is None:
            self._note(visit, "bypass")
            return None
        asked = Asked(key=key, visit=visit, flights=self._flights, price=host.price)
        if wish == b"refresh":
            self._note(visit, "miss")
            return asked
        kept = self._tiers.near(key)
        if kept is not None:
            return self._hit(asked, kept)
        kept = await self._flights.join(key, visit, request.receive)
        if kept is not None:
            return self._hit(asked, kept, "joined")
        asked.leads = True
        try:
            kept = await self._looked_up(asked, form, name, host, said)
        except BaseException:
            asked.close()
            raise
        return asked if kept is None else kept

    async def _looked_up(self, asked: Asked, form: Form, name: str, host: Host, said: Said) -> Kept | None:
        """In the store, then by likeness, while others wait for what comes of it."""
        kept = await self._tiers.far(asked.key)
        if kept is not None:
            asked.land(kept)
            return self._hit(asked, kept)
        if self._likeness and self._likeness.models.intersection(host.names):
            near = await self._near(asked, form, name, host, said)
            if near is not None:
                asked.land(near)
                return near
        self._note(asked.visit, "miss")
        return None

    async def _near(self, asked: Asked, form: Form, name: str, host: Host, said: Said) -> Kept | None:
        """The answer to a text that is near and agrees. A share of them is asked of the host all the same."""
        assert self._likeness is not None
        try:
            text = await self._likeness.read(
                form.path, said, lambda rest: self._hash(asked.visit, form, name, host, rest)
            )
        except Exception:  # an embedder that fails costs its hits, never the answer
            self._meters.near_failed()
            return None
        if text is None:
            return None
        asked.text = text
        for key in self._likeness.nearest(text):
            kept = self._tiers.near(key) or await self._tiers.far(key)
            if kept is None:
                self._likeness.forget(text, key)
            elif self._likeness.draws_recheck():
                asked.expected = kept
                return None
            else:
                return self._hit(asked, kept, "near")
        return None

    def _hit(self, asked: Asked, kept: Kept, outcome: Outcome = "hit") -> Kept:
        self._note(asked.visit, outcome)
        self._meters.saved(asked.visit.bundle, kept.tokens_in, kept.tokens_out, asked.price)
        return kept

    def _note(self, visit: Visit, outcome: Outcome) -> None:
        visit.cache = outcome
        self._meters.outcome(visit.bundle, outcome)

    def _key(self, visit: Visit, form: Form, name: str, host: Host, said: Said) -> bytes | None:
        """None where the answer is not to be kept: drawn, or about more than itself."""
        if worth.stateful(said):
            return None
        if not self._config.sampled and not worth.repeats(form.path, said, host.temperature(said)):
            return None
        try:
            return self._hash(visit, form, name, host, said)
        except (ValueError, RecursionError):
            return None

    def _hash(self, visit: Visit, form: Form, name: str, host: Host, said: Said) -> bytes:
        tenant = "" if self._config.shared or visit.allowance is None else visit.allowance.key.id
        return key_of(identity=host.identity, form=form.path, name=name, tenant=tenant, said=said)

    async def _keep(self, asked: Asked, answer: Said) -> bytes:
        """The answer's bytes, kept where it ended well."""
        body = to_bytes(answer)
        if not worth.ended_well(answer):
            return body
        kept = Kept(body, time.time() + self._config.ttl, *worth.tokens(answer))
        self._tiers.put(asked.key, kept)
        asked.land(kept)
        if asked.text is not None and self._likeness is not None:
            self._likeness.add(asked.text, asked.key)
            if asked.expected is not None:
                await self._compare(asked, asked.expected, answer)
        return body

    async def _compare(self, asked: Asked, expected: Kept, answer: Said) -> None:
        assert self._likeness is not None
        try:
            agreed = await self._likeness.same(json.loads(expected.body), answer)
        except Exception:  # as above: the answer is there, and goes out
            self._meters.near_failed()
        else:
            self._meters.checked(asked.visit.bundle, agreed)


class Cached:
    """One host behind the cache. Asked as the host is; a whole answer may come as the bytes that go out."""

    def __init__(self, cache: ResponseCache, host: Host) -> None:
        self._cache, self._host = cache, host

    async def reply(self, request: Request, form: Form, name: str, said: Said) -> Said | bytes:
        return await self._cache.reply(request, form, name, self._host, said)

    async def stream(self, request: Request, form: Form, name: str, said: Said) -> Events:
        return await self._cache.stream(request, form, name, self._host, said)


def _wish(request: Request) -> bytes:
    wish = header(request.scope, HEADER).strip().lower()
    if wish not in WISHES:
        raise BadField(
            f"The header x-smallworks-cache is '{wish.decode('latin-1')}'.",
            fix="Send no-store or refresh, or leave it out.",
            param=HEADER.decode(),
        )
    return wish


def _store(config: CacheConfig, evicted: Callable[[int], None]) -> Store | None:
    """The store behind memory. Raises UserError for one that cannot be had."""
    if config.store == "sqlite":
        assert config.path is not None, "the section says so"
        return SqliteStore(config.path, BEHIND * config.entries, BEHIND * config.bytes, evicted)
    return RedisStore(config.url()) if config.store == "redis" else None
