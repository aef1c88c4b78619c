"""Which fields are tagged, chosen or left out; what is fitted is what CRFsuite fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smallworks import files
from smallworks.engines.fields import Fields, load
from smallworks.engines.words import features, words
from smallworks.errors import DataError
from smallworks.seams import silent
from smallworks.tune import fields, tagger
from smallworks.types import Prompt, Sampling

CITIES = ("Paris", "New York", "Rome", "Oslo", "Cape Town", "Lima")


def row(city: str, verb: str, seats: int) -> tuple[str, dict[str, Any]]:
    said = {"city": city, "seats": seats, "urgent": bool(seats % 2)}
    text = f"{verb} {seats} seats to {city}{', soon' if seats % 2 else ''}"
    return text, {**said, **({"verb": verb.upper()} if seats > 3 else {})}


ROWS = [row(city, verb, seats) for city in CITIES for verb in ("book", "get me") for seats in (2, 3, 4, 5)]


def test_values_that_stand_in_the_text_are_tagged_and_few_others_are_chosen() -> None:
    found = fields.survey(ROWS, {})
    assert found.spans == {"city": "string", "seats": "integer"}
    assert found.chosen == {"urgent": ["false", "true"], "verb": ["", '"BOOK"', '"GET ME"']}


def test_an_enum_is_chosen_and_what_is_too_various_is_left_out() -> None:
    schema = {"properties": {"city": {"enum": list(CITIES)}}}
    rows = [(text, {**said, "id": f"x{i}", "at": {"lat": i}}) for i, (text, said) in enumerate(ROWS * 2)]
    found = fields.survey(rows, schema)
    assert "city" in found.chosen and set(found.left_out) == {"id", "at"}
    assert "0 of 96 values stand in their text" in found.left_out["id"]


def test_long_values_take_their_place_before_short_ones() -> None:
    found, tags = fields._tagged(
        "York in New York", {"a": "York", "b": "New York"}, {"a": "string", "b": "string"}
    )
    assert [word.text for word in found] == ["York", "in", "New", "York"]
    assert tags == ["B-a", "O", "B-b", "I-b"]


@pytest.mark.parametrize("text, value", [("for 1,200 people", 1200), ("it is 3.50 now", 3.5), ("7 of us", 7)])
def test_numbers_are_found_as_a_text_writes_them(text: str, value: float) -> None:
    assert next(fields._places(text, words(text), value), None)


def test_the_arrays_tag_as_crfsuite_does(tmp_path: Path) -> None:
    pycrfsuite = pytest.importorskip("pycrfsuite")
    rows = [fields._tagged(text, said, {"city": "string"}) for text, said in ROWS]
    fitted = tagger.fit_tagger(rows)
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params(
        {"c1": tagger.C1, "c2": tagger.C2, "max_iterations": 100, "feature.possible_transitions": True}
    )
    for found, tags in rows:
        trainer.append(features(found), tags)
    trainer.train(str(tmp_path / "own.crfsuite"))
    own = pycrfsuite.Tagger()
    own.open(str(tmp_path / "own.crfsuite"))
    for text in ("book 9 seats to Cape Town", "get me to Oslo, soon"):
        found = words(text)
        scores = fitted.scores(found)
        tags = [fitted.tags[i] for i in fitted.best(scores)]
        assert tags == own.tag(features(found))
        sure = fitted.marginals(scores)
        for i, tag in enumerate(tags):
            assert sure[i, fitted.tags.index(tag)] == pytest.approx(own.marginal(tag, i), abs=0.05)
    own.close()


def test_what_is_fitted_says_the_fields_of_new_texts(tmp_path: Path) -> None:
    files.write_jsonl(tmp_path / "rows.jsonl", [[text, json.dumps(said)] for text, said in ROWS])
    asked = {"rows": tmp_path / "rows.jsonl", "out": tmp_path / "head", "seed": 0}
    told = fields.main({**asked, "schema": {"required": ["city"]}}, silent)
    assert told == {"tagged": ["city", "seats"], "chosen": ["urgent", "verb"], "left_out": {}}
    model = Fields(load(tmp_path / "head"))
    done = model.generate(Prompt(text="get me 5 seats to Madrid, soon"), Sampling())
    assert json.loads(done.text) == {"city": "Madrid", "seats": 5, "urgent": True, "verb": "GET ME"}


def test_rows_of_which_nothing_can_be_learned_say_why() -> None:
    rows = [(f"text {i}", {"id": f"id-{i}"}) for i in range(60)]
    with pytest.raises(DataError, match="0 of 60 values stand"):
        fields.fit_fields(rows, {})


def test_names_of_fields_may_hold_any_sign() -> None:
    rows = [(text, {"to --> \n: ": said["city"]}) for text, said in ROWS]
    head, _ = fields.fit_fields(rows, {})
    assert head.answer("book 2 seats to Bern")[0]["to --> \n: "][0] == "Bern"


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.0, "1,234,567"), (10**400, "1" + "0" * 400), (7.0, "7.00")]
)
def test_whole_numbers_are_found_whatever_they_are(value: float, text: str) -> None:
    assert next(fields._places(text, words(text), value), None)


def test_an_output_that_is_no_object_is_shown(tmp_path: Path) -> None:
    files.write_jsonl(tmp_path / "rows.jsonl", [["x", "[1]"]])
    with pytest.raises(DataError, match="is no JSON object"):
        fields.main({"rows": tmp_path / "rows.jsonl", "schema": {}, "seed": 0, "out": tmp_path}, silent)
