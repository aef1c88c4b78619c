"""Chat templates render byte for byte as transformers does, in a sandbox, with errors that can be mended."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.errors import ModelError
from smallworks.prompt import Template, template
from smallworks.types import Message, Role

TURNS = (
    Message(role="user", content="Hello"),
    Message(role="assistant", content="Grüße, 世界 🦙"),
    Message(role="user", content="<b>&amp;</b> {{ no }} {% template %}  \n\n trailing "),
)
WITH_SYSTEM = (Message(role="system", content="Be brief."), *TURNS)
TOOLS = [{"type": "function", "function": {"name": "grüße", "parameters": {"b": 1, "a": "<x>"}}}]


def reference(rendered: Template, messages: tuple[Message, ...], **options: object) -> str:
    """What transformers' own code writes."""
    from transformers.utils.chat_template_utils import render_jinja_template

    turns = [{"role": m.role, "content": m.content} for m in messages]
    texts, _ = render_jinja_template([turns], chat_template=rendered.source, **rendered.special, **options)
    return str(texts[0])


@pytest.mark.parametrize("model", ["tok-smollm2", "tok-qwen2.5", "tok-phi-3-mini"])
@pytest.mark.parametrize("messages", [TURNS[:1], TURNS, WITH_SYSTEM], ids=["one", "three", "system"])
@pytest.mark.parametrize("prompt", [True, False])
def test_real_templates_render_as_transformers_does(
    shared: Path, model: str, messages: tuple[Message, ...], prompt: bool
) -> None:
    ours = Template.load(shared / model)
    assert ours.render(messages, add_generation_prompt=prompt) == reference(
        ours, messages, add_generation_prompt=prompt
    )


def test_apply_chat_template_of_a_loaded_tokenizer_agrees(shared: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(shared / "tok-phi-3-mini")
    turns = [{"role": m.role, "content": m.content} for m in WITH_SYSTEM]
    ours = Template.load(shared / "tok-phi-3-mini")
    for prompt in (True, False):
        expected = theirs.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
        assert ours.render(WITH_SYSTEM, add_generation_prompt=prompt) == expected


def test_tools_render_as_transformers_does(shared: Path) -> None:
    ours = Template.load(shared / "tok-qwen2.5")
    text = ours.render(TURNS, tools=TOOLS)
    assert text == reference(ours, TURNS, tools=TOOLS, add_generation_prompt=True)
    assert '"a": "<x>"' in text


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_content_renders_as_transformers_does(template: Template, contents: list[str]) -> None:
    roles: tuple[Role, Role] = ("user", "assistant")
    messages = tuple(Message(role=roles[i % 2], content=text) for i, text in enumerate(contents))
    assert template.render(messages) == reference(template, messages, add_generation_prompt=True)


@pytest.mark.parametrize(
    "source",
    [
        "  {% for m in messages %}\n {% if loop.first %}{% continue %}{% endif %}\n{{ m }}\n  {% endfor %}\n",
        "{% for m in messages %}{% generation %}{% set x = 1 %}{{ m }}{% endgeneration %}{{ x }}{% endfor %}",
        "{{ {'b': '<é>', 'a': [1, none]} | tojson }}{{ {'b': 1} | tojson(indent=2) }}",
        "{% set ns = namespace(self=0, n=1) %}{% set ns.n = 2 %}{{ ns.n }}{{ dict(a=1) }}{{ missing }}\n",
        "{%- if tools is none %} no tools {%- endif %}{{ bos_token }}{{ documents }}",
    ],
    ids=["blocks", "generation", "tojson", "namespace", "defaults"],
)
def test_every_feature_of_the_environment_matches(source: str) -> None:
    ours = Template(source, special={"bos_token": "<s>"})
    assert ours.render(TURNS) == reference(ours, TURNS, add_generation_prompt=True)


def test_the_clock_can_be_frozen() -> None:
    dated = Template("{{ strftime_now('%d %b %Y') }}", special={}, now=datetime(2026, 11, 20))
    assert dated.render(TURNS) == "20 Nov 2026"


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
        "{{ messages[7].content.text }}",
        "{{ 'a' + 1 }}",
        "{% for i in range(10000000) %}x{% endfor %}",
    ],
)
def test_a_template_that_fails_or_breaks_out_is_a_model_error(source: str) -> None:
    with pytest.raises(ModelError) as caught:
        Template(source, special={}).render(TURNS)
    assert caught.value.fix


def test_a_template_that_does_not_compile_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="does not compile"):
        Template("{% if %}", special={})


def test_the_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "MAX_CHARACTERS", 100)
    with pytest.raises(ModelError, match="more than 100 characters"):
        Template("{% for i in range(99) %}xxxx{% endfor %}", special={}).render(TURNS)


def test_the_default_of_several_named_templates_is_taken(tmp_path: Path) -> None:
    named = [{"name": "rag", "template": "rag"}, {"name": "default", "template": "{{ eos_token }}"}]
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": named, "eos_token": {"content": "E"}})
    )
    assert Template.load(tmp_path).render(TURNS) == "E"


def test_no_default_among_named_templates_is_a_model_error(tmp_path: Path) -> None:
    named = [{"name": "rag", "template": "rag"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    with pytest.raises(ModelError, match="rag"):
        Template.load(tmp_path)


def test_a_folder_without_a_template_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"No chat template.*instruct"):
        Template.load(tmp_path)


def test_the_older_special_tokens_map_is_read(tmp_path: Path) -> None:
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": {"content": "<s>"}, "eos_token": "</s>"})
    )
    assert template.special_tokens(tmp_path) == {"bos_token": "<s>", "eos_token": "</s>"}
