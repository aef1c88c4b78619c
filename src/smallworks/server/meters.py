"""What the server counts, for Prometheus at /metrics: bundles, routes, codes; never what was said.

Requests are counted when their last byte is out; tokens, labels and times of the engine when its work has
ended, so that an answer that nobody waited for is counted too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from starlette.types import Scope

from smallworks.server.histogram import Histogram, Times
from smallworks.server.line import Line
from smallworks.server.prices import EVERY_BUNDLE, FREE, MILLION, Flagship, Price, Tariff
from smallworks.server.visit import Visit
from smallworks.types import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
SHARED = (2, 4, 8, 16, 32, 64)
TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Meters:
    """Of one application; several in one process do not mix."""

    def __init__(
        self, prices: Mapping[str, Price] | None = None, flagships: Mapping[str, Flagship] | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        self._prices, self._flagships = prices or {}, flagships or {}
        self._lines: dict[str, Line] = {}
        ProcessCollector(registry=self.registry)
        self._seen: dict[tuple[str, str, int], tuple[Counter, Times]] = {}
        self.requests = self._counter("requests", "Requests answered.", "route", "status")
        self.errors = self._counter("errors", "Requests that failed, by the code of the error.", "code")
        self.tokens_in = self._counter("tokens_in", "Tokens of prompts.")
        self.tokens_out = self._counter("tokens_out", "Tokens of answers.")
        self.labels = self._counter("labels", "Labels given.", "label")
        self.stages = self._counter("stages", "Answers that a cascade gave, by the stage.", "stage")
        self.reloads = self._counter("reloads", "Releases that moved on, or were refused.", "result")
        self.loads = self._counter("loads", "Bundles brought into memory when they were asked for.", "result")
        self.evictions = self._counter("evictions", "Bundles that made room for others.")
        self.loaded = self._gauge("loaded_bytes", "Memory that a bundle loaded on demand holds.")
        self.dollars = self._counter("dollars", "What its tokens cost by [prices].")
        self.flagship = self._counter("flagship_dollars", "What the flagship would cost for these tokens.")
        self.saved = self._counter("saved_dollars", "That, less what they cost here.")
        self.limits = LimitMeters(self.registry)
        self.lost = Counter(
            "smallworks_lost",
            "Lines of the log, traces and spans that could not be written.",
            ("what", "reason"),
            registry=self.registry,
        )
        self.traces = Counter("smallworks_traces", "Traces written.", registry=self.registry)
        self.seconds = self._times("request", "From arrival to the last byte.", SECONDS, "route")
        self.queue = self._times("queue", "In line, before the engine took it up.", SECONDS)
        self.first = self._times("first_token", "From arrival in line to the first piece.", SECONDS)
        self.token = self._times("token", "A token after the first, streamed.", TOKEN_SECONDS)
        self.shared = Histogram(
            "smallworks_pass_requests",
            "Requests that shared a pass of the engine, for passes of several.",
            ("bundle",),
            buckets=SHARED,
            registry=self.registry,
        )
        self.waiting = self._gauge("waiting", "Requests in line.")
        self.held = self._gauge("held_tokens", "Tokens that requests inside may take.")
        self.age = self._gauge("oldest_waiting_seconds", "Age of the oldest request in line.")

    def bundle(
        self,
        name: str,
        line: Line,
        usual: Price = FREE,
        names: Sequence[str] = (),
        *,
        flagship: Flagship | None = None,
        stages: Mapping[str, Price] | None = None,
    ) -> BundleMeters:
        """`names` are all that it goes by; `usual` is its price where none was set for one of them.

        `flagship` is what it replaces, where the price of that is known; `stages` are those of a cascade's
        stages that cost something.
        """
        self._lines[name] = line
        self.waiting.labels(name).set_function(line.waiting)
        self.held.labels(name).set_function(line.tokens)
        self.age.labels(name).set_function(line.age)
        return BundleMeters(self, name, self.price((name, *names), usual), flagship, stages or {})

    def price(self, names: Iterable[str], usual: Price) -> Price:
        """Of the first name that has one."""
        return next((self._prices[name] for name in names if name in self._prices), usual)

    def replaces(self, names: Iterable[str], own: Flagship | None) -> Flagship | None:
        """What a bundle replaces: by one of its names, else its `own`, else that of all bundles."""
        by_name = next((self._flagships[name] for name in names if name in self._flagships), None)
        return by_name or own or self._flagships.get(EVERY_BUNDLE)

    def forget(self, name: str, line: Line) -> None:
        """A bundle is served no more, nor its line, unless another one goes by its name. What was counted
        stays."""
        if self._lines.get(name) is not line:
            return
        del self._lines[name]
        for gauge in (self.waiting, self.held, self.age):
            gauge.remove(name)

    def visited(self, scope: Scope, visit: Visit) -> None:
        """Count a request that is over. A path that is no route has none, whatever a stranger asks for."""
        if not visit.inside and not visit.error:
            return
        which = visit.bundle, getattr(scope.get("endpoint"), "__name__", "none"), visit.status
        if which not in self._seen:
            self._seen[which] = self.requests.labels(*which), self.seconds.labels(*which[:2])
        count, seconds = self._seen[which]
        count.inc()
        seconds.observe(visit.taken())
        if visit.error:
            self.errors.labels(visit.bundle, visit.error).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"smallworks_{name}", what, ("bundle", *labels), registry=self.registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"smallworks_{name}", what, ("bundle",), registry=self.registry)

    def _times(self, name: str, what: str, buckets: Sequence[float], *labels: str) -> Histogram:
        names, own = ("bundle", *labels), self.registry
        return Histogram(f"smallworks_{name}_seconds", what, names, buckets=buckets, registry=own)


class LimitMeters:
    """Of the store of limits: whether it answers, how fast, and what was done without it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "smallworks_limit_store"
        self._up = Gauge(f"{name}_up", "Whether the store of limits answers.", registry=registry)
        self._up.set(1)
        self._failures = Counter(f"{name}_failures", "Batches that the store failed.", registry=registry)
        self._lost = Counter(f"{name}_lost", "Answers left charged in full.", registry=registry)
        self._unchecked = Counter(f"{name}_unchecked", "Let in without it.", registry=registry)
        self._seconds = Histogram(f"{name}_seconds", "A batch.", buckets=SECONDS, registry=registry)

    def batch(self, seconds: float) -> None:
        self._seconds.observe(seconds)

    def gone(self, gone: bool) -> None:
        self._up.set(not gone)
        if gone:
            self._failures.inc()

    def lost(self, settlements: int) -> None:
        self._lost.inc(settlements)

    def unchecked(self) -> None:
        self._unchecked.inc()


class BundleMeters:
    """Of one bundle. Safe to share between threads."""

    def __init__(
        self,
        meters: Meters,
        name: str,
        price: Price = FREE,
        flagship: Flagship | None = None,
        stages: Mapping[str, Price] | None = None,
    ) -> None:
        self.tariff, self._dollars = Tariff(price, stages or {}), meters.dollars.labels(name)
        self._flagship = flagship
        self._owed, self._lock = 0, Lock()
        if flagship:
            self._instead, self._saved = meters.flagship.labels(name), meters.saved.labels(name)
        self._name, self._labels, self._stages = name, meters.labels, meters.stages
        self._queue, self._first, self._token = (
            each.labels(name) for each in (meters.queue, meters.first, meters.token)
        )
        self._in, self._out = meters.tokens_in.labels(name), meters.tokens_out.labels(name)
        self._shared = meters.shared.labels(name)

    @property
    def price(self) -> Price:
        """Of all its tokens alike; FREE for a cascade whose stages have prices of their own."""
        return self.tariff.price

    def waited(self, seconds: float) -> None:
        self._queue.observe(seconds)

    def passed(self, requests: int) -> None:
        """So many requests were labelled in one pass."""
        self._shared.observe(requests)

    def streamed(self, first: float, rest: float, tokens: int) -> None:
        """Seconds to the first piece, and from it to the last of `tokens`."""
        self._first.observe(first)
        if tokens > 1:
            self._token.observe(rest / (tokens - 1))

    def answered(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._in.inc(answer.tokens_in)
            self._out.inc(answer.tokens_out)
            cost = self.tariff.cost((answer,))
            if cost:
                self._dollars.inc(cost / MILLION)
            if self._flagship:
                one = answer.spent[-1] if answer.spent else answer  # the flagship would be asked once
                self._save(self._flagship.cost(one.tokens_in, one.tokens_out), cost)
            if answer.probabilities is not None:
                self._labels.labels(self._name, answer.text).inc()
            if answer.stage:
                self._stages.labels(self._name, answer.stage).inc()

    def _save(self, instead: int, cost: int) -> None:
        """Micro-dollars. A counter never falls: a loss is taken off the savings that come after it."""
        with self._lock:
            gain = instead - cost - self._owed
            self._owed = max(0, -gain)
        self._instead.inc(instead / MILLION)
        if gain > 0:
            self._saved.inc(gain / MILLION)
