"""What the response cache counts, for Prometheus: outcomes by bundle, what it saved, what its store did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from smallworks.server.prices import MILLION, Price

Outcome = Literal["hit", "near", "miss", "joined", "bypass"]


class CacheMeters:
    """Outcomes: `near` is a hit by likeness, `joined` one that another request had asked for already."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._outcomes: dict[tuple[str, Outcome], Counter] = {}
        self._saved: dict[str, tuple[Counter, Counter, Counter]] = {}
        by_bundle = ("bundle",)
        self._requests = self._counter("requests", "Requests, by what the cache did.", "bundle", "outcome")
        self._tokens_in = self._counter("saved_tokens_in", "Tokens of prompts not read again.", *by_bundle)
        self._tokens_out = self._counter("saved_tokens_out", "Tokens of answers not made again.", *by_bundle)
        self._dollars = self._counter("saved_dollars", "What they would have cost.", *by_bundle)
        self._checks = self._counter("rechecks", "Near hits that the host answered too.", "bundle", "outcome")
        self._near_errors = self._counter("near_errors", "Searches by likeness that failed.")
        self._stale = self._counter("stale", "Entries found past their time.")
        self._corrupt = self._counter("corrupt", "Entries that could not be read, or were not ours.")
        self._errors = self._counter("store_errors", "Failures of the store behind memory.")
        self._dropped = self._counter("dropped_writes", "Answers not written: too many writes under way.")
        self._evictions = self._counter("evictions", "Entries removed to make room.")

    def watch(self, entries: Callable[[], float], size: Callable[[], float]) -> None:
        self._gauge("entries", "Entries in memory.").set_function(entries)
        self._gauge("bytes", "Bytes of answers in memory.").set_function(size)

    def outcome(self, bundle: str, outcome: Outcome) -> None:
        which = bundle, outcome
        if which not in self._outcomes:
            self._outcomes[which] = self._requests.labels(*which)
        self._outcomes[which].inc()

    def saved(self, bundle: str, tokens_in: int, tokens_out: int, price: Price) -> None:
        if bundle not in self._saved:
            self._saved[bundle] = (
                self._tokens_in.labels(bundle),
                self._tokens_out.labels(bundle),
                self._dollars.labels(bundle),
            )
        read, made, dollars = self._saved[bundle]
        read.inc(tokens_in)
        made.inc(tokens_out)
        if cost := price.cost(tokens_in, tokens_out):
            dollars.inc(cost / MILLION)

    def checked(self, bundle: str, agreed: bool) -> None:
        self._checks.labels(bundle, "agreed" if agreed else "disagreed").inc()

    def near_failed(self) -> None:
        self._near_errors.inc()

    def stale(self) -> None:
        self._stale.inc()

    def corrupt(self) -> None:
        self._corrupt.inc()

    def failed(self) -> None:
        self._errors.inc()

    def dropped(self) -> None:
        self._dropped.inc()

    def evicted(self, count: int) -> None:
        """Safe from any thread."""
        self._evictions.inc(count)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"smallworks_cache_{name}", what, labels, registry=self._registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"smallworks_cache_{name}", what, registry=self._registry)
