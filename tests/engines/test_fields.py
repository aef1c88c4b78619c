"""JSON from tags and classifiers: types, rules, what is required; on disk and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks import files
from smallworks.engines import fields
from smallworks.engines.fields import Fields, FieldsHead, load, save
from smallworks.engines.linear import LinearHead
from smallworks.engines.tagger import Tagger
from smallworks.errors import ModelError, RequestError
from smallworks.types import Choices, Prompt, Sampling


def tagger(**words: str) -> Tagger:
    """Tags each word by its own spelling."""
    tags = ("O", *sorted(set(words.values())))
    return Tagger(
        tags=tags,
        features={f"0:{word}": i for i, word in enumerate(words)},
        begins=np.arange(len(words) + 1),
        columns=np.array([tags.index(tag) for tag in words.values()], np.int16),
        weights=np.full(len(words), 8, np.float32),
        transitions=np.zeros((len(tags), len(tags)), np.float32),
    )


def head(**fields: Any) -> FieldsHead:
    base: dict[str, Any] = {"tagger": None, "spans": {}, "chosen": {}, "usual": {}}
    return FieldsHead(**base | fields)


def said(of: FieldsHead, text: str) -> dict[str, Any]:
    return json.loads(Fields(of).generate(Prompt(text=text), Sampling()).text)  # type: ignore[no-any-return]


def test_spans_become_values_of_their_type() -> None:
    marks = tagger(**{"paris": "B-city", "rome": "B-city", "7": "B-seats", "ham": "B-food", "egg": "B-food"})
    types = {"city": "string", "seats": "integer", "food": "list"}
    found = said(head(tagger=marks, spans=types), "ham, egg for 7 in Paris or Rome")
    assert found == {"city": "Paris", "seats": 7, "food": ["ham", "egg"]}


def test_a_span_that_is_no_number_or_breaks_a_rule_is_left_out() -> None:
    marks = tagger(many="B-seats", paris="B-city")
    rules = {"city": {"type": "string", "maxLength": 3}}
    assert (
        said(head(tagger=marks, spans={"seats": "number", "city": "string"}, rules=rules), "many Paris") == {}
    )


def test_chosen_fields_say_json_or_nothing() -> None:
    def always(*labels: str) -> LinearHead:
        return LinearHead(labels, (), (), np.array([2.0, 0.0]))

    chosen = {"urgent": always("true", "false"), "kind": always("", '"bug"')}
    assert said(head(chosen=chosen), "x") == {"urgent": True}


def test_what_is_required_is_said_as_usual() -> None:
    assert said(head(usual={"city": None, "seats": 2}), "x") == {"city": None, "seats": 2}


def test_tokens_are_the_pieces_of_the_answer_with_their_probabilities() -> None:
    model = Fields(head(tagger=tagger(paris="B-city"), spans={"city": "string"}))
    done = model.generate(Prompt(text="to Paris"), Sampling(logprobs=1))
    assert "".join(token.text for token in done.tokens) == done.text == '{"city":"Paris"}'
    assert len(done.tokens) == 2 and all(token.logprob < 0 for token in done.tokens)
    assert model.generate(Prompt(text="to Paris"), Sampling()).tokens == ()
    (chunk,) = model.stream(Prompt(text=""), Sampling())
    assert chunk.text == "{}"


def test_it_gives_no_labels() -> None:
    with pytest.raises(RequestError, match="gives no labels"):
        Fields(head()).score([Prompt(text="x")], Choices(labels=("a",)))


def test_a_head_comes_back_from_disk(tmp_path: Path) -> None:
    always = LinearHead(("1", "2"), (), (), np.array([0.0, 1.0]))
    whole = head(tagger=tagger(paris="B-city"), spans={"city": "string"}, chosen={"n": always})
    save(whole, tmp_path / "linear")
    assert said(load(tmp_path / "linear"), "to Paris") == said(whole, "to Paris") == {"city": "Paris", "n": 2}


def test_a_head_whose_files_do_not_fit_is_refused(tmp_path: Path) -> None:
    save(head(tagger=tagger(paris="B-city"), spans={"city": "string"}), tmp_path)
    told = files.read_json(tmp_path / "fields.json")
    for wrong in ({"tags": ["O"]}, {"features": []}, {"chosen": ["n"]}):
        files.write_json(tmp_path / "fields.json", {**told, **wrong})
        with pytest.raises(ModelError, match="No readable linear model"):
            load(tmp_path)


def test_whole_numbers_stay_exact_and_commas_part_thousands_alone() -> None:
    marks = tagger(**{"9007199254740993": "B-id", "2": "B-n"})
    model = head(tagger=marks, spans={"id": "integer", "n": "integer"})
    assert said(model, "id 9007199254740993 of 2") == {"id": 9007199254740993, "n": 2}
    assert fields._value("1,234,567", "integer") == 1234567
    assert fields._value("1,5", "number") is None and fields._value("2.5", "integer") is None


def test_what_was_nearly_said_tells_on_the_end() -> None:
    nearly = LinearHead(("", '"bug"'), (), (), np.array([0.2, 0.0]))
    _, rest = head(chosen={"kind": nearly}).answer("x")
    assert rest == pytest.approx(1 / (1 + np.exp(-0.2)))
    unsure = head(chosen={"kind": nearly}, usual={"city": "Rome"}).answer("x")
    assert unsure[0] == {"city": ("Rome", unsure[1])}


@pytest.mark.parametrize("rule", [{"$ref": "http://127.0.0.1:9/x.json"}, {"type": 7}])
def test_a_rule_that_is_none_or_lies_elsewhere_is_refused_on_loading(tmp_path: Path, rule: Any) -> None:
    save(head(tagger=tagger(a="B-a"), spans={"a": "string"}, rules={"a": rule}), tmp_path)
    with pytest.raises(ModelError, match="no JSON schema"):
        load(tmp_path)
