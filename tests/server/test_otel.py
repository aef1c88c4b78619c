"""OpenTelemetry spans as a collector gets them: the conventions, the client's trace, no content unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx2
import pytest

from smallworks.engines.predictor import Predictor
from smallworks.errors import UserError
from smallworks.server import background, create_app
from smallworks.server import outbox as outboxes
from smallworks.server.otel import Otel

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector(ThreadingHTTPServer):
    """A stand-in for an OpenTelemetry collector."""

    bodies: list[bytes]
    headers: list[dict[str, str]]


@pytest.fixture()
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.headers.append({k.lower(): v for k, v in self.headers.items()})
            server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = Collector(("127.0.0.1", 0), Handler)
    server.bodies, server.headers = [], []
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture()
def spans(collector: Collector, labelling: Callable[..., Predictor]) -> Callable[..., list[Any]]:
    """The spans of one chat request."""

    def sent(headers: dict[str, str] | None = None, body: Any = None, **section: Any) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        otel = Otel(endpoint=f"http://127.0.0.1:{collector.server_port}/v1/traces", **section)
        app = create_app({"tickets": labelling()}, default="tickets", otel=otel)
        said = body or {"messages": [{"role": "user", "content": "It crashes."}]}
        with background(app) as url:
            httpx2.post(f"{url}/v1/chat/completions", json=said, headers=headers or {}, timeout=20)
        requests = [ExportTraceServiceRequest.FromString(raw) for raw in collector.bodies]
        return [
            s for r in requests for of in r.resource_spans for scope in of.scope_spans for s in scope.spans
        ]

    return sent


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_span_follows_the_conventions_and_holds_no_content(
    spans: Callable[..., list[Any]], collector: Collector
) -> None:
    (span,) = spans()
    found = attributes(span)
    assert span.name == "chat tickets" and span.end_time_unix_nano > span.start_time_unix_nano
    assert found["gen_ai.operation.name"] == "chat" and found["gen_ai.provider.name"] == "smallworks"
    assert found["gen_ai.request.model"] == "tickets" and found["http.response.status_code"] == 200
    assert {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"} <= set(found)
    assert b"crashes" not in b"".join(collector.bodies)


def test_a_span_is_a_child_of_the_clients(spans: Callable[..., list[Any]]) -> None:
    (span,) = spans({"traceparent": PARENT})
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")


@pytest.mark.parametrize("sent", ["nonsense", "00-0-0-01", "x" * 5000])
def test_a_traceparent_that_is_none_begins_a_trace(spans: Callable[..., list[Any]], sent: str) -> None:
    (span,) = spans({"traceparent": sent})
    assert span.parent_span_id == b""


def test_a_client_that_does_not_sample_is_not_traced(spans: Callable[..., list[Any]]) -> None:
    assert spans({"traceparent": PARENT[:-1] + "0"}) == []


def test_content_is_sent_when_it_is_asked_for(spans: Callable[..., list[Any]]) -> None:
    (span,) = spans(content=True)
    found = attributes(span)
    assert '"It crashes."' in found["gen_ai.input.messages"] and '"bug"' in found["gen_ai.output.messages"]


def test_a_failure_has_its_code(spans: Callable[..., list[Any]]) -> None:
    (span,) = spans(body={"messages": []})
    assert attributes(span)["error.type"] == "bad_field"


def test_headers_come_from_a_variable(
    spans: Callable[..., list[Any]], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_TEST", "Authorization=Bearer x=y, b=c")
    spans(headers_env="OTLP_TEST")
    assert collector.headers[0]["authorization"] == "Bearer x=y" and collector.headers[0]["b"] == "c"
    monkeypatch.setenv("OTLP_TEST", "my-secret-token")
    with pytest.raises(UserError, match="OTLP_TEST") as caught:
        Otel(headers_env="OTLP_TEST").check()
    assert "my-secret" not in str(caught.value)


def test_a_collector_that_is_gone_stops_nothing_and_is_counted(
    labelling: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outboxes, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(outboxes, "LAST_SECONDS", 0.1)
    otel = Otel(endpoint="http://127.0.0.1:1/v1/traces", content=True)
    app = create_app({"tickets": labelling()}, default="tickets", otel=otel)
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        while 'smallworks_lost_total{reason="failed",what="spans"}' not in client.get("/metrics").text:
            assert client.post("/generate", json={"input_text": "my prompt"}).status_code == 200
    assert "my prompt" not in caplog.text
