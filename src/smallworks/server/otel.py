"""OpenTelemetry: a span for each request with the GenAI conventions, by OTLP; without content unless said so.

A request's `traceparent` makes the span a child of the client's. Spans are made and sent by a thread of their
own, when the request is over.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.types import Scope

from smallworks import __version__, settings
from smallworks.errors import MissingExtra, UserError
from smallworks.server.door import header
from smallworks.server.outbox import Outbox
from smallworks.server.section import EnvName, Section
from smallworks.server.visit import Visit

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

OPERATIONS = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
"""Routes by the names of the conventions; other routes keep their own."""
TIMEOUT_SECONDS = 5.0


class Otel(Section):
    """`headers_env` names the variable of headers such as `authorization=Bearer …`, comma-separated."""

    endpoint: str = Field(default="http://127.0.0.1:4318/v1/traces", pattern=r"^https?://[^\s/@]+(/\S*)?$")
    headers_env: EnvName | None = Field(default=None, examples=["OTLP_HEADERS"])
    service: str = Field(default="smallworks", min_length=1)
    sample: float = Field(default=1.0, gt=0, le=1)
    content: bool = False
    queue: int = Field(default=10_000, ge=1, le=1_000_000)

    def check(self) -> str:
        _library()
        self.headers()
        return f"{100 * self.sample:g} % to {self.endpoint}, {'with' if self.content else 'without'} content"

    def headers(self) -> dict[str, str]:
        """Raises UserError for a variable that is not set or holds something else."""
        if self.headers_env is None:
            return {}
        pairs = [part.partition("=") for part in settings.secret(self.headers_env).split(",")]
        if not all(name.strip() and found for name, found, _ in pairs):
            raise UserError(
                f"The variable '{self.headers_env}' does not hold headers.",
                fix="Write NAME=VALUE,NAME=VALUE.",
            )
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a span is made of, taken when the request was over."""

    parent: str
    start: int
    end: int
    operation: str
    model: str
    error: str
    attributes: dict[str, Any]


class Spans:
    """Implements witness.Witness."""

    def __init__(self, config: Otel, lost: Callable[[int, str], None]) -> None:
        """Raises MissingExtra where OpenTelemetry is not installed."""
        _library()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it logs what it sends on failure
        self._config = config
        self._exporter = OTLPSpanExporter(
            endpoint=config.endpoint, headers=config.headers(), timeout=TIMEOUT_SECONDS
        )
        resource = Resource.create({"service.name": config.service, "service.version": __version__})
        sampler = ParentBased(TraceIdRatioBased(config.sample))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer("smallworks", __version__)
        self._outbox = Outbox("OpenTelemetry", self._write, size=config.queue, lost=lost)

    def wants(self, visit: Visit) -> bool:
        return self._config.content

    def __call__(self, scope: Scope, visit: Visit) -> None:
        if visit.inside or visit.error:
            self._outbox.put(_seen(scope, visit, content=self._config.content))

    def close(self) -> None:
        self._outbox.close()
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _write(self, seen: Sequence[Seen]) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult

        spans = [span for each in seen if (span := self._span(each))]
        if spans and self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise ConnectionError("the collector took no spans")

    def _span(self, seen: Seen) -> ReadableSpan | None:
        """None for one that is not sampled."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": seen.parent})
        name = f"{seen.operation} {seen.model}".strip()
        span = self._tracer.start_span(
            name, parent, kind=SpanKind.SERVER, attributes=seen.attributes, start_time=seen.start
        )
        if seen.error:
            span.set_status(StatusCode.ERROR, seen.error)
        span.end(seen.end)
        return span if isinstance(span, ReadableSpan) else None


def _seen(scope: Scope, visit: Visit, *, content: bool) -> Seen:
    route = getattr(scope.get("endpoint"), "__name__", "none")
    operation, taken, now = OPERATIONS.get(route, route), visit.taken(), time.time()
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "smallworks",
        "gen_ai.request.model": visit.bundle,
        "gen_ai.response.model": visit.bundle,
        "gen_ai.usage.input_tokens": visit.tokens_in,
        "gen_ai.usage.output_tokens": visit.tokens_out,
        "http.request.method": scope["method"],
        "http.response.status_code": visit.status or 499,
        "smallworks.request.id": visit.id.decode(),
        "smallworks.queue.seconds": visit.queued,
    }
    if visit.first:
        attributes["gen_ai.response.time_to_first_chunk"] = visit.first
    if visit.error:
        attributes["error.type"] = visit.error
    if visit.cache:
        attributes["smallworks.cache"] = visit.cache
    if content and visit.content:
        attributes["gen_ai.input.messages"] = _messages("user", map(_text, visit.content["inputs"]))
        attributes["gen_ai.output.messages"] = _messages("assistant", visit.content.get("outputs", ()))
    return Seen(
        parent=header(scope, b"traceparent").decode("latin-1"),
        start=int(1e9 * (now - taken)),
        end=int(1e9 * now),
        operation=operation,
        model=visit.bundle,
        error=visit.error if visit.status >= 500 or not visit.status else "",
        attributes=attributes,
    )


def _messages(role: str, texts: Any) -> str:
    parts = [{"role": role, "parts": [{"type": "text", "content": text}]} for text in texts]
    return json.dumps(parts, ensure_ascii=False)


def _text(inputs: dict[str, str]) -> str:
    return inputs["input"] if set(inputs) == {"input"} else json.dumps(inputs, ensure_ascii=False)


def _library() -> None:
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "opentelemetry-exporter-otlp-proto-http", extra="otel", wanted_for="OpenTelemetry"
        ) from error
