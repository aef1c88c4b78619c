"""Who looks on when a request is over: the log, the traces, OpenTelemetry. None of them is waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from starlette.types import Scope

from smallworks.server.content import Keeper
from smallworks.server.log import Log, RequestLog
from smallworks.server.meters import Meters
from smallworks.server.otel import Otel, Spans
from smallworks.server.prices import Price
from smallworks.server.traces import Collector, Traces
from smallworks.server.visit import Visit


class Witness(Protocol):
    def __call__(self, scope: Scope, visit: Visit) -> None:
        """The request is over. Returns at once."""
        ...

    def wants(self, visit: Visit) -> bool:
        """Whether what is said on this visit should be kept on it."""
        ...

    def close(self) -> None:
        """Write what is left, for some seconds at most."""
        ...


def witnesses(
    meters: Meters,
    price_of: Callable[[str], Price],
    *,
    log: Log,
    traces: Traces | None,
    otel: Otel | None,
) -> list[Witness]:
    """Raises UserError for a store that is not named, MissingExtra for a library that is not there."""

    def lost(what: str, count: int, reason: str) -> None:
        meters.lost.labels(what, reason).inc(count)

    found: list[Witness] = []
    if log.format and log.requests:
        found.append(RequestLog(log.format, partial(lost, "log")))
    if traces:
        store, written = traces.opened(), meters.traces.inc
        found.append(Collector(traces, store, price_of, written=written, lost=partial(lost, "traces")))
    if otel:
        found.append(Spans(otel, partial(lost, "spans")))
    return found


def keeper(witnesses: Sequence[Witness]) -> Keeper | None:
    """Keeps what is said where one of them wants it; None where none ever will."""
    if not witnesses:
        return None
    return Keeper(lambda visit: any(each.wants(visit) for each in witnesses))
