"""A build of an extraction: the linear candidate stands on the table, in a bundle, and is served."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from smallworks import taskfile
from smallworks.bundle import open_bundle
from smallworks.engines import opening
from smallworks.recipes.build import Options, build
from smallworks.server import background, create_app
from smallworks.types import Table

pytest.importorskip("sklearn")
pytest.importorskip("pycrfsuite")

CITIES = ("Paris", "New York", "Rome", "Oslo", "Cape Town", "Lima", "Bern", "La Paz")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "seats": {"type": "integer"}, "urgent": {"type": "boolean"}},
    "required": ["city", "urgent"],
    "additionalProperties": False,
}
TOML = """
[task]
name = "trips"
kind = "extract"
instruction = "What is asked for?"
schema = "schema.json"
[data]
train = "train.csv"
test = "test.csv"
"""


@pytest.fixture(scope="module")
def trips(
    tmp_path_factory: pytest.TempPathFactory, here: Callable[[], AbstractContextManager[None]]
) -> tuple[Path, Table]:
    folder = tmp_path_factory.mktemp("trips")
    (folder / "task.toml").write_text(TOML)
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    for name, cities in (("train", CITIES[:6]), ("test", CITIES[6:])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file)
            written.writerow(("input", "output"))
            for city in cities:
                for seats in range(1, 9):
                    said = {"city": city, "seats": seats, "urgent": seats % 2 == 0}
                    text = f"book {seats} seats to {city}{', as soon as you can' * said['urgent']}"
                    written.writerow((text, json.dumps(said)))
    with here():
        return folder, build(taskfile.load_task(folder), Options(only=("majority", "linear")))


def test_it_stands_on_the_table_with_valid_json(trips: tuple[Path, Table]) -> None:
    majority, linear = trips[1].rows
    assert majority.skipped == "labels only; this task is of kind 'extract'"
    assert linear.engine == "linear" and linear.metrics["json_valid"].value == 1.0
    assert linear.metric and linear.metric.value > 0.8 and trips[1].chosen == linear.bundle


def test_the_bundle_says_how_each_field_was_learned(trips: tuple[Path, Table]) -> None:
    manifest = open_bundle(trips[1].rows[1].bundle).manifest  # type: ignore[arg-type]
    assert manifest.lineage["tagged"] == ["city", "seats"] and manifest.lineage["chosen"] == ["urgent"]
    assert manifest.prompt.schema == SCHEMA and manifest.sampling.schema == SCHEMA


def test_it_is_served_and_its_tokens_have_probabilities(trips: tuple[Path, Table]) -> None:
    from openai import OpenAI

    bundle = opening.open_bundle(trips[1].rows[1].bundle)  # type: ignore[arg-type]
    with bundle, background(create_app({"trips": bundle}, default="trips")) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        words = "book 7 seats to Madrid, as soon as you can"
        done = client.chat.completions.create(
            model="trips", messages=[{"role": "user", "content": words}], logprobs=True
        ).choices[0]
        assert json.loads(done.message.content or "") == {"city": "Madrid", "seats": 7, "urgent": True}
        assert done.logprobs and done.logprobs.content
        assert "".join(token.token for token in done.logprobs.content) == done.message.content
