"""/metrics after real requests, read back with Prometheus's own parser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from smallworks.bundle.manifest import Remote
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.server import background, create_app
from smallworks.server.line import Line
from smallworks.server.meters import BundleMeters, Meters
from smallworks.server.prices import Flagship, Price
from smallworks.server.room import Served
from smallworks.server.rules import Rules
from smallworks.types import Answer, Spent

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


TOKENS = Answer(text="bug", tokens_in=1000, tokens_out=100, ms=1.0)


def counted(meters: Meters, name: str = "tickets") -> list[float | None]:
    """Dollars paid, of the flagship instead, and saved."""
    names = ("dollars", "flagship_dollars", "saved_dollars")
    return [meters.registry.get_sample_value(f"smallworks_{each}_total", {"bundle": name}) for each in names]


def bundle_of(meters: Meters, labelling: Callable[..., Predictor], **manifest: Any) -> BundleMeters:
    return Served(("tickets",), labelling(**manifest), Rules(), meters)._meters


def test_what_a_bundle_saves_is_counted_against_the_flagship(labelling: Callable[..., Predictor]) -> None:
    meters = Meters({"tickets": Price.of(0.1, 0.1)}, {"default": Flagship(Price.of(2.5, 10))})
    bundle_of(meters, labelling).answered([TOKENS, TOKENS])
    assert counted(meters) == pytest.approx([0.00022, 0.007, 0.00678])


def test_the_prices_of_its_task_come_with_a_bundle(labelling: Callable[..., Predictor]) -> None:
    meters, lineage = Meters(), {"flagship_input_price": 1.0, "flagship_output_price": 2.0}
    bundle_of(meters, labelling, lineage=lineage).answered([TOKENS])
    assert counted(meters) == pytest.approx([0.0, 0.0012, 0.0012])


def test_without_a_price_nothing_is_counted(labelling: Callable[..., Predictor]) -> None:
    meters = Meters()
    bundle_of(meters, labelling).answered([TOKENS])
    assert counted(meters) == [0.0, None, None]
    meters = Meters(flagships={"default": Flagship(Price.of(1, 1))})
    remote = Remote(url="http://127.0.0.1:1/v1", model="big")
    bundle_of(meters, labelling, remote=remote).answered([TOKENS])
    assert counted(meters) == [0.0, None, None], "what that server takes is not known"


def test_a_loss_is_taken_off_later_savings() -> None:
    meters = Meters({"tickets": Price.of(3, 3)})
    line = Line("tickets", 1, Rules())
    bundle = meters.bundle("tickets", line, flagship=Flagship(Price.of(2, 20)))
    bundle.answered([replace(TOKENS, tokens_out=0)])  # a loss of 0.001
    assert counted(meters) == pytest.approx([0.003, 0.002, 0.0])
    bundle.answered([TOKENS])  # a gain of 0.0007: not yet earned back
    bundle.answered([TOKENS])
    assert counted(meters)[2] == pytest.approx(0.0004)


def test_a_stage_that_asks_the_flagship_costs_what_it_takes() -> None:
    meters = Meters()
    line, big = Line("tickets", 1, Rules()), Price.of(2.5, 10)
    bundle = meters.bundle("tickets", line, flagship=Flagship(big), stages={"flagship": big})
    cheap, dear = Spent("linear", 1000, 100), Spent("flagship", 1000, 100)
    both = replace(TOKENS, stage="flagship", tokens_in=2000, tokens_out=200, spent=(cheap, dear))
    bundle.answered([replace(TOKENS, stage="linear", spent=(cheap,)), both])
    assert counted(meters) == pytest.approx([0.0035, 0.007, 0.0035]), "the flagship would be asked once"


def test_a_paid_stage_that_was_not_sure_costs_all_the_same() -> None:
    meters = Meters()
    bundle = meters.bundle("tickets", Line("tickets", 1, Rules()), stages={"cheap/paid": Price.of(1, 1)})
    spent = (Spent("cheap/paid", 900, 100), Spent("dear", 5000, 1))
    bundle.answered([replace(TOKENS, stage="dear", tokens_in=5900, tokens_out=101, spent=spent)])
    assert counted(meters)[0] == pytest.approx(0.001)


def test_an_answer_without_tokens_is_counted_as_one_answer(labelling: Callable[..., Predictor]) -> None:
    meters = Meters(flagships={"tickets": Flagship(Price.of(2.5, 10), answer=700)})
    bundle_of(meters, labelling).answered([replace(TOKENS, tokens_in=0, tokens_out=0)] * 2)
    assert counted(meters) == pytest.approx([0.0, 0.0014, 0.0014])
