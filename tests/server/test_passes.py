"""Labels asked for by several requests at once: one pass, and each request's own answer, failure and end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

import httpx2
import numpy as np
import pytest

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError
from smallworks.server import background, create_app
from smallworks.server.passes import MOST_ROWS
from smallworks.types import Choices, Prompt

ONE_AT_ONCE = "transformers"


class Gate(Fake):
    """Scores nothing until it is let go, and remembers the texts of every pass; chokes on 'poison'."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.begun = Event(), Event()
        self.passes: list[list[str]] = []
        self._guard = Lock()

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        texts = [prompt.text for prompt in prompts]
        with self._guard:
            self.passes.append(texts)
        self.begun.set()
        assert self.go.wait(30)
        if "poison" in texts:
            raise RequestError("This row cannot be read.", fix="Mend it.")
        return super().score(prompts, choices)


@pytest.fixture()
def gate(labelling: Callable[..., Predictor]) -> Iterator[tuple[httpx2.Client, Gate]]:
    model = Gate()
    app = create_app({"tickets": labelling(model, engine=ONE_AT_ONCE)}, default="tickets")
    with background(app) as url, httpx2.Client(base_url=url, timeout=30) as client:
        yield client, model
        model.go.set()


def waiting(client: httpx2.Client, count: int) -> None:
    """Until so many requests stand in line."""
    for _ in range(1000):
        if f'smallworks_waiting{{bundle="tickets"}} {float(count)}' in client.get("/metrics").text:
            return
    raise AssertionError("they never came")


def classify(client: httpx2.Client, text: str) -> httpx2.Response:
    return client.post("/v1/classify", json={"input": text})


def probabilities(response: httpx2.Response) -> Any:
    return response.json()["data"][0]["probabilities"]


def behind_one(gate: tuple[httpx2.Client, Gate], asks: Sequence[Callable[[], Any]]) -> list[Any]:
    """What comes of `asks`, which all waited while the engine was held by a first request."""
    client, model = gate
    with ThreadPoolExecutor(len(asks) + 1) as pool:
        first = pool.submit(classify, client, "first")
        assert model.begun.wait(30)
        futures = [pool.submit(ask) for ask in asks]
        waiting(client, len(asks))
        model.go.set()
        assert first.result().status_code == 200
        return [future.result() for future in futures]


def test_what_waits_shares_one_pass_whatever_route_it_came_by(gate: tuple[httpx2.Client, Gate]) -> None:
    client, model = gate
    chat = {"messages": [{"role": "user", "content": "b"}]}
    classified, chatted, streamed, generated = behind_one(
        gate,
        [
            lambda: classify(client, "a"),
            lambda: client.post("/v1/chat/completions", json=chat),
            lambda: client.post("/v1/chat/completions", json={**chat, "stream": True}),
            lambda: client.post("/generate", json={"input_text": "c"}),
        ],
    )
    assert [sorted(texts) for texts in model.passes] == [["first"], ["a", "b", "b", "c"]]
    assert probabilities(classified) == probabilities(classify(client, "a"))
    alone = client.post("/v1/chat/completions", json=chat).json()
    assert chatted.json()["smallworks"] == alone["smallworks"]
    assert alone["choices"][0]["message"]["content"] in streamed.text
    assert (
        generated.json()["probabilities"]
        == client.post("/generate", json={"input_text": "c"}).json()["probabilities"]
    )
    assert 'smallworks_pass_requests_sum{bundle="tickets"} 4.0' in client.get("/metrics").text


def test_a_row_that_breaks_the_pass_fails_alone(gate: tuple[httpx2.Client, Gate]) -> None:
    client, _ = gate
    texts = ["a", "poison", "b"]
    said = behind_one(gate, [lambda text=text: classify(client, text) for text in texts])
    assert [answer.status_code for answer in said] == [200, 400, 200]
    assert said[1].json()["error"]["code"] == "request_error"
    assert probabilities(said[0]) == probabilities(classify(client, "a"))


def test_who_hangs_up_in_line_is_not_part_of_the_pass(gate: tuple[httpx2.Client, Gate]) -> None:
    client, model = gate

    def gone() -> bool:
        with httpx2.Client(base_url=client.base_url, timeout=0.2) as impatient:
            try:
                return classify(impatient, "gone") is None
            except httpx2.ReadTimeout:
                return True

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(classify, client, "first")
        assert model.begun.wait(30)
        stays = pool.submit(classify, client, "stays")
        assert pool.submit(gone).result()
        waiting(client, 1)
        model.go.set()
        assert (first.result().status_code, stays.result().status_code) == (200, 200)
    assert model.passes == [["first"], ["stays"]]


def test_who_hangs_up_in_the_pass_leaves_the_others_their_answers(gate: tuple[httpx2.Client, Gate]) -> None:
    client, model = gate
    model.go.set()
    assert classify(client, "warm").status_code == 200
    model.go.clear()
    model.begun.clear()
    with ThreadPoolExecutor(2) as pool, httpx2.Client(base_url=client.base_url, timeout=0.3) as impatient:
        held = pool.submit(classify, impatient, "impatient")
        assert model.begun.wait(30)
        stays = pool.submit(classify, client, "stays")
        with pytest.raises(httpx2.ReadTimeout):
            held.result()
        model.go.set()
        assert stays.result().status_code == 200


def test_an_engine_that_hangs_costs_each_its_own_deadline_and_no_more(
    gate: tuple[httpx2.Client, Gate],
) -> None:
    client, model = gate

    def late(seconds: str) -> httpx2.Response:
        headers = {"x-request-deadline": seconds}
        return client.post("/v1/classify", json={"input": "x"}, headers=headers)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(late, ["0.2", "0.3"]))
    assert [answer.status_code for answer in answers] == [504, 504]
    assert client.get("/healthz").status_code == 200
    model.go.set()
    assert classify(client, "again").status_code == 200


def test_a_pass_is_bounded_by_rows(gate: tuple[httpx2.Client, Gate]) -> None:
    client, model = gate
    half = MOST_ROWS // 2 + 1

    def many(letter: str) -> httpx2.Response:
        return client.post("/v1/classify", json={"input": [f"{letter}{n}" for n in range(half)]})

    said = behind_one(gate, [lambda letter=letter: many(letter) for letter in "ab"])
    assert [len(answer.json()["data"]) for answer in said] == [half, half]
    assert [len(texts) for texts in model.passes] == [1, half, half]


def test_a_request_larger_than_a_pass_is_answered_by_itself(gate: tuple[httpx2.Client, Gate]) -> None:
    client, model = gate
    model.go.set()
    said = client.post("/v1/classify", json={"input": [f"row {n}" for n in range(MOST_ROWS + 5)]})
    assert len(said.json()["data"]) == MOST_ROWS + 5
    assert [len(texts) for texts in model.passes] == [MOST_ROWS + 5]
