"""A bundle with documents behind the API: a question in, the answer out with what it rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from smallworks import rag
from smallworks.bundle.manifest import Manifest, Retrieval
from smallworks.engines.predictor import Predictor
from smallworks.engines.retriever import retriever
from smallworks.prompt import Renderer
from smallworks.rag.store import Store
from smallworks.server import background, create_app
from smallworks.types import REFUSAL, PromptSpec

PLANS = "# Plans\n\n## Pier\n\nPier costs nine dollars a month. It includes five webhooks.\n"
SAID = "It includes five webhooks."
CITED = {"document": "plans.md", "path": "plans.md > Plans > Pier"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "d").mkdir()
    (folder / "d" / "plans.md").write_text(PLANS, encoding="utf-8")
    rag.index(folder / "d", folder / "working.sqlite")
    with Store(folder / "working.sqlite") as store:
        store.freeze(folder / "index.sqlite")
    spec = PromptSpec(style="raw", kind="answer", instruction="Answer from the handbook.")
    how = Retrieval(k=3, by="words", refusal=REFUSAL, shows="sentence")
    manifest = Manifest(
        task="help",
        kind="answer",
        candidate="retrieval",
        engine="retrieval",
        prompt=spec,
        retrieval=how,
        model="index.sqlite",
    )
    model: Path = folder / "index.sqlite"
    predictor = Predictor(manifest=manifest, model=retriever(model, how), renderer=Renderer(spec))
    with (
        background(create_app({"help": predictor}, default="help")) as url,
        httpx2.Client(base_url=url, timeout=20) as made,
    ):
        yield made


def ask(question: str, **more: object) -> dict[str, object]:
    return {"model": "help", "messages": [{"role": "user", "content": question}], **more}


def test_the_answer_says_what_it_rests_on(client: httpx2.Client) -> None:
    said = client.post("/v1/chat/completions", json=ask("How many webhooks does Pier include?")).json()
    assert said["choices"][0]["message"]["content"] == SAID
    assert said["smallworks"] == {"citations": [CITED]}


def test_what_the_documents_lack_is_refused_and_cites_nothing(client: httpx2.Client) -> None:
    said = client.post("/v1/chat/completions", json=ask("Who wrote the anthem?")).json()
    assert said["choices"][0]["message"]["content"] == REFUSAL
    assert said["smallworks"] == {"citations": []}


def test_a_stream_brings_the_same(client: httpx2.Client) -> None:
    body = ask("How many webhooks does Pier include?", stream=True)
    lines = client.post("/v1/chat/completions", json=body).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    words = [event["choices"][0]["delta"].get("content", "") for event in events if event["choices"]]
    assert "".join(words) == SAID
    assert [event["smallworks"] for event in events if "smallworks" in event] == [{"citations": [CITED]}]


def test_it_holds_no_free_conversation(client: httpx2.Client) -> None:
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}]
    body = {"model": "help", "messages": [*turns, {"role": "user", "content": "Sing."}]}
    refused = client.post("/v1/chat/completions", json=body)
    assert refused.status_code == 400 and "answers one text" in refused.text


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("more", "param", "said"),
    [
        ({"response_format": SCHEMA}, "response_format", "in plain text"),
        ({"response_format": {"type": "json_object"}}, "response_format", "Leave 'response_format' out"),
        ({"stop": ["five"]}, "stop", "Leave 'stop' out"),
        ({"n": 2, "temperature": 1.0}, "n", "no draw"),
        ({"max_tokens": 3}, "max_tokens", "4 words do not go into 3 tokens"),
        ({"max_tokens": 3, "stream": True}, "max_tokens", "Raise 'max_tokens'"),
        ({"tools": [TOOL]}, "tools", "gives plain answers from its documents and calls no tools"),
    ],
)
def test_what_a_quoted_answer_cannot_heed_is_refused(
    client: httpx2.Client, more: dict[str, object], param: str, said: str
) -> None:
    refused = client.post("/v1/chat/completions", json=ask("How many webhooks does Pier include?", **more))
    assert refused.status_code == 400 and refused.json()["error"]["param"] == param
    assert said in refused.json()["error"]["message"]


def test_a_limit_that_the_answer_keeps_changes_nothing(client: httpx2.Client) -> None:
    said = client.post(
        "/v1/chat/completions", json=ask("How many webhooks does Pier include?", max_tokens=4)
    ).json()
    assert said["choices"][0]["message"]["content"] == SAID
