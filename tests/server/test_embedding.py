"""/v1/embeddings through the stock client, over an embedder without weights."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2
import numpy as np
import openai as sdk
import pytest
from openai import OpenAI

from smallworks.engines.predictor import Predictor
from smallworks.errors import UserError
from smallworks.guard import Guards
from smallworks.guard.policy import parse
from smallworks.server import background, create_app, embedding
from smallworks.server.cache import CacheConfig
from smallworks.server.embedding import called
from smallworks.server.prices import Price
from smallworks.server.reply import to_bytes


class Words:
    """A unit vector by the text's checksum; a token is a word."""

    dimension = 4
    max_tokens = 5
    identity = "words"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=4) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture(scope="module")
def client(labelling: Callable[..., Predictor]) -> Iterator[OpenAI]:
    app = create_app({"tickets": labelling()}, default="tickets", embedders={"words": Words()})
    with (
        background(app) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize("form", ["float", "base64"])
def test_each_text_has_its_vector_in_either_form(client: OpenAI, form: str) -> None:
    texts = ["the sea", "a b c"]
    # The client itself asks for base64 where nothing is said, and reads it back.
    options = {"encoding_format": form} if form == "float" else {}
    reply = client.embeddings.create(model="words", input=texts, **options)
    assert [item.index for item in reply.data] == [0, 1]
    assert np.allclose([item.embedding for item in reply.data], Words().embed(texts), atol=1e-6)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens == 5


def test_one_text_is_a_list_of_one(client: OpenAI) -> None:
    assert len(client.embeddings.create(model="words", input="x", dimensions=4).data) == 1


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"input": "a b c d e f"}, "input.0"),
        ({"input": ["x", ""]}, "input.1"),
        ({"input": "x", "dimensions": 3}, "dimensions"),
        ({"input": []}, "input"),
        ({"input": "x", "model": "tickets"}, "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused(client: OpenAI, options: dict[str, object], param: str) -> None:
    with pytest.raises(sdk.BadRequestError) as refusal:
        client.embeddings.create(**{"model": "words", **options})
    assert refusal.value.param == param


def test_an_embedder_writes_nothing_and_is_listed(client: OpenAI) -> None:
    with pytest.raises(sdk.BadRequestError, match="/v1/embeddings"):
        client.chat.completions.create(model="words", messages=[{"role": "user", "content": "x"}])
    assert client.models.retrieve("words").smallworks == {"task": None, "kind": "embed", "dimensions": 4}


def test_a_model_goes_by_the_last_part_of_its_name() -> None:
    assert called("owner/all-MiniLM@abc") == called("/models/all-MiniLM/") == "all-MiniLM"


def test_a_cache_that_outlives_the_server_gives_no_vectors_of_another_model(
    labelling: Callable[..., Predictor], tmp_path: Path
) -> None:
    cache = CacheConfig(store="sqlite", path=tmp_path / "cache.sqlite")
    found = []
    for identity in ("words", "words", "retrained"):
        words = Words()
        words.identity = identity
        app = create_app({"t": labelling()}, default="t", embedders={"words": words}, cache=cache)
        with background(app) as url:
            reply = httpx2.post(f"{url}/v1/embeddings", json={"model": "words", "input": "x"})
        found.append(reply.headers["x-smallworks-cache"])
    assert found == ["miss", "hit", "miss"]


def test_an_answer_is_written_row_by_row_beside_the_event_loop(
    labelling: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = list[str]()

    def noted(value: object) -> bytes:
        threads.append(threading.current_thread().name)
        return to_bytes(value)

    monkeypatch.setattr(embedding, "to_bytes", noted)
    guards = Guards(parse('[[rule]]\nname = "mail"\npersonal = ["EMAIL"]\naction = "mask"', "policy"))
    app = create_app({"t": labelling()}, default="t", embedders={"words": Words()}, guards=guards)
    with background(app) as url:
        body = {"model": "words", "input": ["a", "ada@example.com"]}
        said = httpx2.post(f"{url}/v1/embeddings", json=body).json()
    assert len(threads) == 3 and all(name.startswith("embed") for name in threads)
    assert said["smallworks"]["guards"] == ["mail"]
    assert [len(row["embedding"]) for row in said["data"]] == [4, 4]


def test_a_name_that_is_taken_is_refused(labelling: Callable[..., Predictor]) -> None:
    with pytest.raises(UserError, match="Two models are called 'tickets'"):
        create_app({"tickets": labelling()}, default="tickets", embedders={"tickets": Words()})


def test_its_price_is_that_of_its_name(labelling: Callable[..., Predictor]) -> None:
    prices = {"words": Price(input=1)}
    app = create_app({"t": labelling()}, default="t", embedders={"words": Words()}, prices=prices)
    assert app.state.room.price("words") == prices["words"]
