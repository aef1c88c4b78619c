"""Training rows begin with the very ids of the prompt; nothing is cut in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.errors import ModelError, RequestError
from smallworks.prompt import Renderer, Template, TextTokenizer, choose, prompt_hash
from smallworks.types import Message, PromptSpec

ANSWER = PromptSpec(style="chat", kind="answer", instruction="Answer.")


@pytest.fixture(scope="session")
def renderer(tokenizer: TextTokenizer, template: Template) -> Renderer:
    choices = choose(["bug", "feature"], tokenizer, template)
    return Renderer(
        PromptSpec(style="chat", kind="classify", instruction="Sort it.", choices=choices),
        template,
        tokenizer,
    )


@pytest.fixture(scope="session")
def free(tokenizer: TextTokenizer, template: Template) -> Renderer:
    return Renderer(ANSWER, template, tokenizer)


def test_a_prompt_is_text_ids_and_messages(renderer: Renderer, tokenizer: TextTokenizer) -> None:
    prompt = renderer.prompt("It broke.")
    assert prompt.text.startswith("<|im_start|>user\nSort it.") and prompt.text.endswith(
        "<|im_start|>assistant\n"
    )
    assert prompt.ids == tuple(tokenizer.encode(prompt.text))
    assert [m.role for m in prompt.messages] == ["user"]


def test_a_training_row_supervises_the_code_and_the_end_of_turn_alone(renderer: Renderer) -> None:
    prompt, row = renderer.prompt("It broke."), renderer.training("It broke.", "feature")
    code = renderer.spec.choices.ids[1]  # type: ignore[union-attr]
    assert row.ids == (*prompt.ids, code, 2)
    assert row.supervised == (False,) * len(prompt.ids) + (True, True)


@given(st.text(), st.text())
def test_training_and_serving_see_the_same_prompt(free: Renderer, text: str, answer: str) -> None:
    prompt, row = free.prompt(text), free.training(text, answer)
    assert row.ids[: len(prompt.ids)] == prompt.ids
    assert not any(row.supervised[: len(prompt.ids)]) and all(row.supervised[len(prompt.ids) :])
    assert row.ids[-1] == 2 and row.ids[len(prompt.ids) :].count(2) == 1


@pytest.mark.parametrize("model", ["tok-smollm2", "tok-qwen2.5", "tok-phi-3-mini"])
def test_a_training_row_is_the_whole_conversation_of_the_template(shared: Path, model: str) -> None:
    template, tokenizer = Template.load(shared / model), TextTokenizer.load(shared / model)
    row = Renderer(ANSWER, template, tokenizer).training("How?", "Press the 🦙 key, twice.")
    turns = [Message(role="user", content="Answer.\n\nHow?")]
    turns.append(Message(role="assistant", content="Press the 🦙 key, twice."))
    whole = tokenizer.encode(template.render(turns, add_generation_prompt=False))
    assert list(row.ids) == whole[: len(row.ids)]
    assert not tokenizer.decode(whole[len(row.ids) :]).strip()


@pytest.mark.parametrize(
    ("model", "ends"),
    [("tok-smollm2", "<|im_end|>"), ("tok-qwen2.5", "<|im_end|>"), ("tok-phi-3-mini", "<|end|>")],
)
def test_the_end_of_turn_is_the_templates_own(shared: Path, model: str, ends: str) -> None:
    tokenizer = TextTokenizer.load(shared / model)
    renderer = Renderer(ANSWER, Template.load(shared / model), tokenizer)
    assert renderer.end_of_turn == ends
    assert renderer.stop_ids[0] == tokenizer.token_id(ends)


def test_a_prompt_that_would_merge_with_the_answer_keeps_its_ids(
    tokenizer: TextTokenizer, merging: tuple[Template, str]
) -> None:
    template, following = merging
    renderer = Renderer(ANSWER, template, tokenizer)
    prompt, row = renderer.prompt("x"), renderer.training("x", following)
    assert tuple(tokenizer.encode(prompt.text + following)[: len(prompt.ids)]) != prompt.ids
    assert row.ids == (*prompt.ids, *tokenizer.encode(following + "<|im_end|>"))


def test_a_model_without_any_end_is_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(ModelError, match="eos_token"):
        Renderer(ANSWER, Template("{{ messages[0].content }}", special={}), tokenizer).training("x", "y")


def test_a_prompt_over_the_limit_is_refused(renderer: Renderer) -> None:
    size = len(renderer.prompt("It broke.").ids)
    assert renderer.prompt("It broke.", limit=size).ids
    with pytest.raises(RequestError, match=f"takes {size} tokens, and {size - 1} fit"):
        renderer.prompt("It broke.", limit=size - 1)


@given(st.text(max_size=200), st.integers(0, 60))
def test_fit_keeps_the_beginning_and_the_question(renderer: Renderer, text: str, room: int) -> None:
    limit = len(renderer.prompt("").ids) + room
    kept = renderer.fit(text, limit)
    assert text.startswith(kept)
    assert (
        renderer.prompt(kept, limit=limit).messages[0].content.endswith("Answer with the code of one label.")
    )


def test_fit_leaves_a_short_text_whole(renderer: Renderer) -> None:
    assert renderer.fit("It broke.", 500) == "It broke."


def test_an_instruction_that_does_not_fit_is_refused(renderer: Renderer) -> None:
    with pytest.raises(RequestError):
        renderer.fit("It broke.", 5)


def test_the_answer_must_fit_too(renderer: Renderer) -> None:
    prompt = renderer.prompt("It broke.")
    assert renderer.fits(prompt, 10, len(prompt.ids) + 10)
    assert not renderer.fits(prompt, 11, len(prompt.ids) + 10)
    assert renderer.fits(prompt, 10**6, 0)


def test_chat_renders_many_turns(free: Renderer) -> None:
    turns = [Message(role="user", content="Hi"), Message(role="assistant", content="Yes?")]
    prompt = free.chat([*turns, Message(role="user", content="Go")])
    assert prompt.text.count("<|im_start|>") == 4 and prompt.ids


def test_raw_style_needs_no_model() -> None:
    raw = Renderer(PromptSpec(style="raw", kind="classify"))
    assert raw.prompt("It broke.").text == "It broke." and raw.prompt("It broke.").ids == ()
    assert raw.answer_text("bug") == "bug"
    with pytest.raises(RequestError, match="one text"):
        raw.chat([Message(role="user", content="Hi")])


def test_a_remote_engine_gets_messages() -> None:
    prompt = Renderer(ANSWER).prompt("How?")
    assert prompt.messages == (Message(role="user", content="Answer.\n\nHow?"),) and prompt.ids == ()


def test_half_a_model_is_refused(template: Template) -> None:
    with pytest.raises(ModelError, match="belong together"):
        Renderer(ANSWER, template)


def test_the_hash_tells_prompts_apart(free: Renderer) -> None:
    assert prompt_hash(free.prompt("a")) == prompt_hash(free.prompt("a")) != prompt_hash(free.prompt("b"))


def test_the_schema_keeps_the_order_of_trained_answers(tokenizer: TextTokenizer, template: Template) -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    spec = PromptSpec(style="chat", kind="extract", schema=schema)
    assert list((Renderer(spec, template, tokenizer).schema or {})["properties"]) == ["a", "b"]


def test_another_task_on_the_same_model_is_a_renderer_of_its_own(free: Renderer, renderer: Renderer) -> None:
    other = renderer.with_spec(ANSWER)
    assert other.prompt("How?") == free.prompt("How?") != renderer.prompt("How?")
    assert other.stop_ids == (2, 0)


def test_any_tokenizer_of_the_seams_will_do(free: Renderer, tokenizer: TextTokenizer) -> None:
    class Plain:
        size, encode, decode = tokenizer.size, tokenizer.encode, tokenizer.decode

    plain = Renderer(ANSWER, free.template, Plain())
    assert plain.training("How?", "So.") == free.training("How?", "So.")
    assert plain.stop_ids == (2,)
