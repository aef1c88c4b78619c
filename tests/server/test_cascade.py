"""A cascade behind the API: every answer says which stage gave it, and the meters count by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from smallworks.bundle.manifest import Remote, Sureness
from smallworks.engines.cascade import assemble
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.server import background, create_app
from smallworks.server.keys import KeyFile
from smallworks.server.limits.tables import Tables
from smallworks.server.measure import MARGIN, Measure
from smallworks.server.room import WORKERS, _places

SURE = {
    "It crashes.": {"bug": 0.9, "feature": 0.05, "question": 0.05},
    "Hm.": {"bug": 0.4, "feature": 0.3, "question": 0.3},
}
KNOWS = {"Hm.": {"bug": 0.1, "feature": 0.1, "question": 0.8}}


@pytest.fixture(scope="module")
def cascade(labelling: Callable[..., Predictor]) -> Predictor:
    stages = [labelling(Fake(scores=SURE)), labelling(Fake(scores=KNOWS))]
    return labelling(assemble(stages, ["cheap", "dear"], [0.8]), task="tickets", engine="cascade")


@pytest.fixture(scope="module")
def client(cascade: Predictor) -> Iterator[httpx2.Client]:
    with (
        background(create_app({"tickets": cascade}, default="tickets")) as url,
        httpx2.Client(base_url=url, timeout=20) as made,
    ):
        yield made


def test_a_batch_says_of_each_item_who_answered(client: httpx2.Client) -> None:
    data = client.post("/v1/classify", json={"input": ["It crashes.", "Hm."]}).json()["data"]
    assert [(item["label"], item["stage"]) for item in data] == [("bug", "cheap"), ("question", "dear")]


def test_a_chat_says_it_beside_the_probabilities(client: httpx2.Client) -> None:
    body = {"model": "tickets", "messages": [{"role": "user", "content": "Hm."}]}
    said = client.post("/v1/chat/completions", json=body).json()
    assert said["choices"][0]["message"]["content"] == "question"
    assert said["smallworks"]["stage"] == "dear"


def test_the_meters_count_by_stage(client: httpx2.Client) -> None:
    client.post("/v1/classify", json={"input": "It crashes."})
    lines = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("smallworks_stages_total")
    ]
    assert any('stage="cheap"' in line and float(line.split()[-1]) >= 1 for line in lines)


def test_it_has_the_places_of_its_last_stage(cascade: Predictor) -> None:
    assert _places(cascade) == WORKERS["fake"]


def test_every_stage_that_reads_tokens_is_counted(
    cascade: Predictor, labelling: Callable[..., Predictor]
) -> None:
    text = "It crashes."
    alone, both = Measure(labelling(Fake(scores=SURE))), Measure(cascade)
    assert both.tokens([text], 1) >= alone.tokens([text], 1) + len(text) + MARGIN


def test_a_cascade_that_writes_says_so_where_tools_are_asked_of_it(writing: Callable[..., Predictor]) -> None:
    made = assemble([writing(), writing()], ["cheap", "dear"], [1.0], sureness=[Sureness(signal="none")])
    tool = {"type": "function", "function": {"name": "now"}}
    body = {"messages": [{"role": "user", "content": "Hm."}], "tools": [tool]}
    with background(create_app({"two": writing(made, engine="cascade")}, default="two")) as url:
        reply = httpx2.post(f"{url}/v1/chat/completions", json=body)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "tools"
    said = reply.json()["error"]["message"]
    assert "is a cascade" in said and "calls no tools" in said and "label" not in said


def test_a_keys_budget_pays_for_the_stage_that_asks_a_server(
    labelling: Callable[..., Predictor], tmp_path: Path
) -> None:
    lineage = {"input_price": 1000.0, "output_price": 1000.0}
    remote = Remote(url="http://127.0.0.1:1/v1", model="big")
    stages = [labelling(Fake(scores=SURE)), labelling(Fake(scores=KNOWS), remote=remote, lineage=lineage)]
    bundle = labelling(assemble(stages, ["cheap", "dear"], [0.8]), engine="cascade")
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys:
        _, text = keys.add("one", monthly_micros=1_000_000)
        headers = {"authorization": f"Bearer {text}"}
        with background(create_app({"tickets": bundle}, default="tickets", keys=keys)) as url:
            for said in ("It crashes.", "Hm."):
                reply = httpx2.post(f"{url}/v1/classify", json={"input": said}, headers=headers)
                assert reply.status_code == 200
            more = httpx2.post(f"{url}/v1/classify", json={"input": "x" * 5000}, headers=headers)
        assert (more.status_code, more.json()["error"]["code"]) == (429, "insufficient_quota")
        (used,) = Tables(keys.database).usage()
    dear = stages[1]
    assert used.micros == 1000 * dear.answer("Hm.").tokens_in, "the cheap stage costs nothing"
