"""Many chat requests in one call: each answered or refused by its index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from smallworks.engines.predictor import Predictor
from smallworks.server import KeyFile, background, create_app
from smallworks.server.traces import Traces


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_answers_and_errors_come_by_index(http: httpx2.Client) -> None:
    items = [ask("It crashes."), ask("x", model="gpt-9"), ask("Hi.", model="echo"), {"messages": []}]
    items.append(ask("x", stream=True))
    reply = http.post("/v1/batch", json={"requests": items}).json()
    assert [item["index"] for item in reply["data"]] == [0, 1, 2, 3, 4]
    assert [item["status"] for item in reply["data"]] == [200, 404, 200, 400, 400]
    assert reply["data"][0]["response"]["smallworks"]["label"] == "bug"
    assert reply["data"][1]["error"]["code"] == "model_not_found"
    assert reply["data"][2]["response"]["choices"][0]["message"]["content"] == "Say it.\n\nHi."
    assert reply["request_counts"] == {"total": 5, "completed": 2, "failed": 3}


def test_the_batchs_model_is_that_of_items_that_name_none(http: httpx2.Client) -> None:
    reply = http.post("/v1/batch", json={"model": "echo", "requests": [ask("a"), ask("b")]}).json()
    texts = [item["response"]["choices"][0]["message"]["content"] for item in reply["data"]]
    assert texts == ["Say it.\n\na", "Say it.\n\nb"]
    assert reply["usage"]["total_tokens"] == sum(
        i["response"]["usage"]["total_tokens"] for i in reply["data"]
    )


def test_a_hundred_are_all_answered(http: httpx2.Client) -> None:
    reply = http.post("/v1/batch", json={"requests": [ask(f"text {at}") for at in range(100)]}).json()
    assert reply["request_counts"]["completed"] == 100


@pytest.mark.parametrize("requests", [[], "x", [1], [{}] * 129])
def test_a_batch_that_is_none_is_refused(http: httpx2.Client, requests: object) -> None:
    assert http.post("/v1/batch", json={"requests": requests}).status_code == 400


def test_each_item_counts_against_the_requests_of_a_minute(
    labelling: Callable[..., Predictor], tmp_path: Path
) -> None:
    with (
        KeyFile(tmp_path / "keys.sqlite", create=True) as keys,
        background(create_app({"tickets": labelling()}, default="tickets", keys=keys)) as url,
    ):
        _, key = keys.add("ann", requests_per_minute=2)
        reply = httpx2.post(
            f"{url}/v1/batch",
            json={"requests": [ask("a"), ask("b"), ask("c"), ask("d")]},
            headers={"authorization": f"Bearer {key}"},
        ).json()
    assert sorted(item["status"] for item in reply["data"]) == [200, 200, 429, 429]
    assert {item["error"]["code"] for item in reply["data"] if "error" in item} == {"rate_limit_exceeded"}


def test_traces_pair_each_item_with_its_own_answer(
    labelling: Callable[..., Predictor], writing: Callable[..., Predictor], tmp_path: Path
) -> None:
    traces = Traces(store=tmp_path / "traces.sqlite", content=True)
    app = create_app({"tickets": labelling(), "echo": writing()}, default="tickets", traces=traces)
    items = [ask(f"text {at}", n=1 + at % 2, temperature=1.0) for at in range(20)]
    items[3]["n"] = "wrong"
    with background(app) as url:
        httpx2.post(f"{url}/v1/batch", json={"model": "echo", "requests": items})
        httpx2.post(f"{url}/v1/batch", json={"requests": [ask("a"), ask("b", model="echo")]})
        failed = 'smallworks_errors_total{bundle="echo",code="bad_field"} 1.0'
        assert failed in httpx2.get(f"{url}/metrics").text
    store = traces.opened()
    one, two = store.read()
    store.close()
    rows = list(one.examples())
    assert [row["input"] for row in rows] == [
        f"text {at}" for at in range(20) if at != 3 for _ in range(1 + at % 2)
    ]
    assert all(sorted(row["output"].split()) == sorted(f"Say it. {row['input']}".split()) for row in rows)
    assert (one.bundle, one.code, one.tokens_out > 0) == ("echo", "", True)
    assert two.bundle == ""
