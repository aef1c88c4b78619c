"""Codes are single tokens after the generation prompt, distinct and in a fixed order."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.errors import ModelError
from smallworks.prompt import Template, TextTokenizer, choose
from smallworks.types import Choices, Message


def labels(count: int) -> list[str]:
    return [f"label {number}" for number in range(count)]


def check(choices: Choices, tokenizer: TextTokenizer, template: Template) -> None:
    for text in ("x", "A longer question, 世界?"):
        prompt = template.render([Message(role="user", content=text)])
        before = tokenizer.encode(prompt)
        for code, id in zip(choices.codes, choices.ids, strict=True):
            assert tokenizer.encode(prompt + code) == [*before, id]
            assert tokenizer.decode([id]) == code
    assert len(set(choices.ids)) == len(choices.labels) == len(choices.codes)


def test_capitals_come_first(tokenizer: TextTokenizer, template: Template) -> None:
    choices = choose(labels(60), tokenizer, template)
    assert "".join(choices.codes).startswith("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg")
    check(choices, tokenizer, template)


@pytest.mark.parametrize("model", ["tok-smollm2", "tok-qwen2.5", "tok-phi-3-mini"])
def test_real_tokenizers_have_500_codes(shared: Path, model: str) -> None:
    tokenizer, template = TextTokenizer.load(shared / model), Template.load(shared / model)
    choices = choose(labels(500), tokenizer, template)
    check(choices, tokenizer, template)


def test_the_choice_is_the_same_every_time(tokenizer: TextTokenizer, template: Template) -> None:
    assert choose(labels(60), tokenizer, template) == choose(labels(60), tokenizer, template)


def test_a_code_that_merges_with_the_prompt_is_passed_over(
    tokenizer: TextTokenizer, merging: tuple[Template, str]
) -> None:
    template, following = merging
    codes = choose(labels(50), tokenizer, template).codes
    assert "A" in codes and following not in codes


def test_too_many_labels_are_counted(tokenizer: TextTokenizer, template: Template) -> None:
    with pytest.raises(ModelError, match=r"900 labels.* only \d+ single-token codes"):
        choose(labels(900), tokenizer, template)
