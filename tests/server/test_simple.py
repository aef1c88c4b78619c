"""/healthz, /generate and /v1/classify, as curl would ask them."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from smallworks.bundle.manifest import Scope
from smallworks.engines.predictor import Predictor
from smallworks.server import background, create_app


def test_health_is_a_word(http: httpx2.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}


def test_generate_answers_as_in_the_tutorial(http: httpx2.Client) -> None:
    body = {
        "instruction": "Say it.",
        "input_text": "Hi",
        "max_new_tokens": 50,
        "temperature": 0,
        "top_p": 1.0,
    }
    assert http.post("/generate", json={**body, "model": "echo"}).json() == {"output": "Say it.\n\nHi"}


def test_another_instruction_goes_to_the_language_model_as_it_came(http: httpx2.Client) -> None:
    body = {"model": "echo", "instruction": "Sing.", "input_text": "Hi"}
    assert http.post("/generate", json=body).json() == {"output": "Sing.\n\nHi"}


def test_generate_on_a_labelling_bundle_gives_label_and_probabilities(http: httpx2.Client) -> None:
    reply = http.post("/generate", json={"input_text": "It crashes."}).json()
    assert reply["output"] == "bug"
    assert reply["probabilities"]["bug"] == pytest.approx(0.7)
    refused = http.post("/generate", json={"instruction": "Sing.", "input_text": "x"})
    assert refused.status_code == 400
    assert "Leave 'instruction' out" in refused.json()["error"]["message"]


def test_classify_takes_one_text_or_many(http: httpx2.Client) -> None:
    one = http.post("/v1/classify", json={"input": "It crashes."}).json()
    assert one["data"][0]["label"] == "bug"
    assert one["data"][0]["probability"] == pytest.approx(0.7)
    many = http.post("/v1/classify", json={"input": ["It crashes.", "Why?"]}).json()
    assert [row["index"] for row in many["data"]] == [0, 1]
    assert many["data"][0]["probabilities"] == one["data"][0]["probabilities"]


def test_classify_takes_named_inputs_and_checks_their_names(http: httpx2.Client) -> None:
    def ask(item: dict[str, str]) -> httpx2.Response:
        return http.post("/v1/classify", json={"model": "pair", "input": item})

    assert ask({"title": "a", "body": "b"}).json()["data"][0]["label"]
    assert "Did you mean 'title'?" in ask({"titel": "a", "body": "b"}).json()["error"]["message"]
    assert "'body' is missing" in ask({"title": "a"}).json()["error"]["message"]


def test_classify_on_a_writing_bundle_points_to_the_right_route(http: httpx2.Client) -> None:
    refused = http.post("/v1/classify", json={"model": "echo", "input": "x"})
    assert refused.status_code == 400
    assert "/v1/chat/completions" in refused.json()["error"]["message"]


def test_a_bundle_with_a_scope_says_whether_it_abstains(labelling: Callable[..., Predictor]) -> None:
    bundle = labelling(scope=Scope(score="probability", at=0.6))
    with background(create_app({"scoped": bundle}, default="scoped")) as url:
        rows = httpx2.post(f"{url}/v1/classify", json={"input": ["It crashes.", "Why?"]}).json()["data"]
        said = httpx2.post(f"{url}/generate", json={"input_text": "It crashes."}).json()
        chat = {"model": "scoped", "messages": [{"role": "user", "content": "It crashes."}]}
        extra = httpx2.post(f"{url}/v1/chat/completions", json=chat).json()["smallworks"]
    assert rows[0]["abstain"] is said["abstain"] is extra["abstain"] is False
    assert rows[1]["abstain"] is (rows[1]["probability"] < 0.6)


def test_a_bundle_without_one_says_nothing_of_it(http: httpx2.Client) -> None:
    assert "abstain" not in http.post("/v1/classify", json={"input": "It crashes."}).json()["data"][0]
