"""What is counted of each server behind this one, for Prometheus; names of servers, never their keys."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge

from smallworks.server.histogram import Histogram
from smallworks.server.meters import SECONDS, Meters
from smallworks.server.upstream.failed import Cause


class UpstreamMeters:
    """Of one application: every upstream shares it."""

    def __init__(self, meters: Meters) -> None:
        own, labels = meters.registry, ("bundle", "server")
        self._failures = Counter(
            "smallworks_upstream_failures", "Attempts that failed.", (*labels, "cause"), registry=own
        )
        self._retries = Counter(
            "smallworks_upstream_retries", "Attempts after a failed one.", ("bundle",), registry=own
        )
        self._seconds = Histogram(
            "smallworks_upstream_seconds",
            "From the request to a whole answer.",
            labels,
            buckets=SECONDS,
            registry=own,
        )
        self._first = Histogram(
            "smallworks_upstream_first_token_seconds",
            "From the request to the first event of a stream.",
            labels,
            buckets=SECONDS,
            registry=own,
        )
        self._outstanding = Gauge(
            "smallworks_upstream_outstanding_tokens", "Tokens under way.", labels, registry=own
        )
        self._open = Gauge(
            "smallworks_upstream_breaker", "0 closed, 1 half-open, 2 open.", labels, registry=own
        )
        self._healthy = Gauge(
            "smallworks_upstream_healthy", "1 where the last look found it well.", labels, registry=own
        )

    def server(self, bundle: str, server: str) -> ServerMeters:
        return ServerMeters(self, bundle, server)

    def retried(self, bundle: str) -> None:
        self._retries.labels(bundle).inc()


class ServerMeters:
    """Of one server under one upstream's name."""

    def __init__(self, meters: UpstreamMeters, bundle: str, server: str) -> None:
        self._which, self._failures = (bundle, server), meters._failures
        self.seconds = meters._seconds.labels(bundle, server)
        self.first = meters._first.labels(bundle, server)
        self._gauges = meters._outstanding, meters._open, meters._healthy

    def failed(self, cause: Cause) -> None:
        self._failures.labels(*self._which, cause).inc()

    def watch(self, *reads: Callable[[], float]) -> None:
        """How to read outstanding tokens, the breaker and health, whenever somebody looks."""
        for gauge, read in zip(self._gauges, reads, strict=True):
            gauge.labels(*self._which).set_function(read)
