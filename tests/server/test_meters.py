"""/metrics after real requests, read back with Prometheus's own parser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.server import background, create_app

CHAT = "/v1/chat/completions"


@pytest.fixture
def url(labelling: Callable[..., Predictor], writing: Callable[..., Predictor]) -> Iterator[str]:
    tickets = labelling()
    bundles = {"tickets-fake-1": tickets, "tickets": tickets, "echo": writing(Fake(pace=0.001))}
    with background(create_app(bundles, default="tickets")) as address:
        yield address


def samples(url: str) -> dict[tuple[str, ...], float]:
    """Value by name and the values of its labels."""
    reply = httpx2.get(f"{url}/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_requests_errors_labels_and_tokens_are_counted_by_bundle(url: str) -> None:
    for text in ("It crashes.", "It crashes.", "Why?"):
        httpx2.post(f"{url}/generate", json={"input_text": text})
    httpx2.post(f"{url}/v1/classify", json={"input": ["It crashes."], "model": "tickets-fake-1"})
    httpx2.post(f"{url}/generate", json={"input_text": "x", "instruction": "Sing."})
    httpx2.post(f"{url}/generate", json={})
    httpx2.get(f"{url}/any/path/at/all")
    httpx2.get(f"{url}/healthz")
    found = samples(url)
    bundle = "tickets-fake-1"
    requests = {key[1:]: value for key, value in found.items() if key[0] == "smallworks_requests_total"}
    assert requests == {
        (bundle, "generate", "200"): 3,
        (bundle, "generate", "400"): 2,
        (bundle, "classify", "200"): 1,
        ("", "none", "404"): 1,
    }
    assert found["smallworks_errors_total", "", "route_not_found"] == 1
    assert found["smallworks_errors_total", bundle, "bad_field"] == 2
    assert found["smallworks_labels_total", bundle, "bug"] >= 3
    assert sum(value for key, value in found.items() if key[0] == "smallworks_labels_total") == 4
    assert found["smallworks_tokens_in_total", bundle] == 3 * len("It crashes.") + len("Why?")
    assert found["smallworks_queue_seconds_count", bundle] == 4
    assert (found["smallworks_waiting", bundle], found["smallworks_held_tokens", bundle]) == (0, 0)


def test_a_stream_tells_its_first_token_and_the_time_of_the_others(url: str) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "x" * 20}], "stream": True}
    assert httpx2.post(url + CHAT, json=body).text.endswith("[DONE]\n\n")
    found = samples(url)
    tokens = len("Say it.\n\n") + 20
    assert found["smallworks_first_token_seconds_count", "echo"] == 1
    assert found["smallworks_token_seconds_count", "echo"] == 1
    assert found["smallworks_token_seconds_sum", "echo"] >= 0.001
    assert found["smallworks_tokens_out_total", "echo"] == tokens
    assert found["smallworks_request_seconds_sum", "echo", "chat"] >= 0.001 * tokens
