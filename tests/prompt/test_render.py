"""The exact wording of every prompt: the starter is trained on it."""

from __future__ import annotations

from typing import Any

import pytest

from smallworks.errors import DataError, ModelError
from smallworks.prompt.render import answer_text, messages
from smallworks.types import Choices, PromptSpec

CHOICES = Choices(labels=("bug", "feature"), codes=("A", "B"), ids=(7, 8))
ASK = "Answer with the code of one label."


def classify(**fields: Any) -> PromptSpec:
    base: dict[str, Any] = {
        "style": "chat",
        "kind": "classify",
        "instruction": "Sort it.",
        "choices": CHOICES,
    }
    return PromptSpec(**base | fields)


def said(spec: PromptSpec, text: str = "It broke.") -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in messages(spec, text)]


def test_classify_lists_the_labels_with_their_codes() -> None:
    expected = f"Sort it.\n\nLabels:\nA: bug\nB: feature\n\nText: It broke.\n\n{ASK}"
    assert said(classify()) == [("user", expected)]


def test_classify_without_the_list_names_no_labels() -> None:
    assert said(classify(listed=False)) == [("user", f"Sort it.\n\nText: It broke.\n\n{ASK}")]


def test_shots_are_earlier_turns_and_only_the_first_carries_the_list() -> None:
    assert said(classify(shots=(("No dark mode.", "feature"), ("Crash.", "bug")))) == [
        ("user", f"Sort it.\n\nLabels:\nA: bug\nB: feature\n\nText: No dark mode.\n\n{ASK}"),
        ("assistant", "B"),
        ("user", f"Text: Crash.\n\n{ASK}"),
        ("assistant", "A"),
        ("user", f"Text: It broke.\n\n{ASK}"),
    ]


def test_without_codes_the_label_itself_is_asked_for() -> None:
    spec = classify(choices=Choices(labels=("bug", "feature")))
    expected = "Sort it.\n\nLabels:\n- bug\n- feature\n\nText: It broke.\n\nAnswer with one label."
    assert said(spec) == [("user", expected)] and answer_text(spec, "bug") == "bug"


def test_extract_asks_for_json() -> None:
    spec = PromptSpec(style="chat", kind="extract", instruction="Fill it.")
    assert said(spec) == [("user", "Fill it.\n\nText: It broke.\n\nAnswer with JSON.")]
    assert answer_text(spec, '{"b": 1,\n "a": "é"}') == '{"a":"é","b":1}'


@pytest.mark.parametrize("kind", ["answer", "summarize", "generate"])
def test_other_kinds_are_instruction_and_text(kind: str) -> None:
    spec = PromptSpec(style="chat", kind=kind, instruction="Do it.", shots=(("one", "eins"),))  # type: ignore[arg-type]
    assert said(spec) == [("user", "Do it.\n\none"), ("assistant", "eins"), ("user", "It broke.")]


def test_raw_style_is_the_text_alone() -> None:
    assert said(classify(style="raw")) == [("user", "It broke.")]


def test_an_unknown_label_offers_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'feature'"):
        answer_text(classify(), "featur")


def test_an_expected_output_that_is_not_json_is_shown() -> None:
    with pytest.raises(DataError, match="nope"):
        answer_text(PromptSpec(style="chat", kind="extract"), "nope")


def test_classify_without_labels_is_refused() -> None:
    with pytest.raises(ModelError, match="no labels"):
        messages(classify(choices=None), "x")
