"""From a request that is over to its trace: sampled, queued, written by one thread, trimmed in time."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from starlette.types import Scope

from smallworks.server.outbox import Outbox
from smallworks.server.prices import FREE, Price
from smallworks.server.traces.config import Traces
from smallworks.server.traces.store import Store
from smallworks.server.traces.trace import Trace
from smallworks.server.visit import Visit

LOG = logging.getLogger("smallworks.server")
TRIM_SECONDS = 60.0
SLICE = 5_000
"""Traces deleted at once, ten times as many as a batch brings."""
DAY = 24 * 60 * 60


class Collector:
    """Implements witness.Witness."""

    def __init__(
        self,
        config: Traces,
        store: Store,
        price_of: Callable[[str], Price],
        *,
        written: Callable[[int], None],
        lost: Callable[[int, str], None],
    ) -> None:
        self._config, self._store, self._price_of, self._written = config, store, price_of, written
        self._secret = secrets.token_bytes(16)
        self._trimmed = float("-inf")
        self._outbox = Outbox("traces", self._write, size=config.queue, lost=lost)

    def wants(self, visit: Visit) -> bool:
        return self._config.content and self._sampled(visit)

    def __call__(self, scope: Scope, visit: Visit) -> None:
        if (visit.inside or visit.error) and self._sampled(visit):
            self._outbox.put(self._trace(scope, visit))

    def close(self) -> None:
        self._outbox.close()
        self._store.close()

    def _sampled(self, visit: Visit) -> bool:
        """The same for every step of one request. No client can choose an id that is never in the sample."""
        drawn = blake2b(visit.id, digest_size=4, key=self._secret).digest()
        return int.from_bytes(drawn) < self._config.sample * 2**32

    def _trace(self, scope: Scope, visit: Visit) -> Trace:
        said: dict[str, Any] = (visit.content or {}) if self._config.content else {}
        price = self._price_of(visit.bundle)
        return Trace(
            id=visit.id.decode(),
            at=time.time() - visit.taken(),
            route=getattr(scope.get("endpoint"), "__name__", "none"),
            bundle=visit.bundle,
            status=visit.status or 499,
            code=visit.error,
            ms=1000 * visit.taken(),
            queue_ms=1000 * visit.queued,
            first_ms=1000 * visit.first if visit.first else None,
            tokens_in=visit.tokens_in,
            tokens_out=visit.tokens_out,
            cost=None if price == FREE else price.cost(visit.tokens_in, visit.tokens_out),
            key=visit.allowance.key.id if visit.allowance else None,
            stage=visit.stage,
            cache=visit.cache,
            findings=visit.findings,
            inputs=said.get("inputs"),
            outputs=said.get("outputs"),
        )

    def _write(self, traces: Sequence[Trace]) -> None:
        self._store.write(traces)
        self._written(len(traces))
        if time.monotonic() - self._trimmed > TRIM_SECONDS:
            self._trim()

    def _trim(self) -> None:
        """One slice, and the next after the next batch: what comes meanwhile is not kept waiting."""
        before = time.time() - self._config.days * DAY
        try:
            deleted = self._store.trim(before=before, rows=self._config.rows, most=SLICE)
        except Exception as error:  # what was written is written; tried again in a minute
            LOG.error("traces: old ones could not be deleted (%s)", type(error).__name__)
            deleted = 0
        if deleted < SLICE:
            self._trimmed = time.monotonic()
