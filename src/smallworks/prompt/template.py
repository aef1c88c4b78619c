"""Chat templates: messages to text in a sandbox, byte for byte as transformers' own renderer does it.

Knows nothing of tokens or tasks. The environment mirrors `transformers.utils.chat_template_utils`
(5.23): the same whitespace rules, extensions, filters and globals, so that a model sees in serving
exactly the text that it saw in training, wherever that took place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from smallworks.errors import ModelError
from smallworks.files import read_json
from smallworks.types import Message

MAX_CHARACTERS = 8_000_000
"""Most characters that a template may write: a bound on a hostile loop, far above any context window."""

# What code inside a template can raise besides Jinja's own errors: wrong types, keys, ranges, depth.
_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class Template:
    """A compiled chat template with the special tokens that it may name.

    `special` maps 'bos_token', 'eos_token', … to their texts. `now` freezes `strftime_now`, for a
    template that writes the date; None reads the clock, as transformers does.
    """

    def __init__(self, source: str, *, special: Mapping[str, str], now: datetime | None = None) -> None:
        self.source = source
        self.special = dict(special)
        try:
            self._compiled = _environment(now).from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise ModelError(
                f"The chat template does not compile: {error}",
                fix="Mend chat_template.jinja in the model's folder.",
            ) from error

    @classmethod
    def load(cls, folder: Path) -> Template:
        """The template of a model's folder. Raises ModelError where it has none."""
        config = _config(folder / "tokenizer_config.json")
        source = _source(folder, config)
        if source is None:
            raise ModelError(
                f"No chat template in '{folder}': neither chat_template.jinja nor 'chat_template' in "
                "tokenizer_config.json.",
                fix="Take the instruct version of the model, or put its chat_template.jinja into the folder.",
            )
        return cls(source, special=special_tokens(folder))

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The text of the conversation; message contents are written as they are."""
        values: dict[str, Any] = {
            **self.special,
            **variables,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "tools": None if tools is None else [dict(tool) for tool in tools],
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._written(values)
        except _FAILURES as error:
            raise ModelError(
                f"The chat template refused the messages: {error}",
                fix="Check the order of the roles, or the model's chat_template.jinja.",
            ) from error

    def _written(self, values: Mapping[str, Any]) -> str:
        pieces, size = [], 0
        for piece in self._compiled.generate(values):
            size += len(piece)
            if size > MAX_CHARACTERS:
                raise ModelError(
                    f"The chat template wrote more than {MAX_CHARACTERS:,} characters.",
                    fix="Shorten the messages, or mend a loop in the model's chat_template.jinja.",
                )
            pieces.append(piece)
        return "".join(pieces)


def special_tokens(folder: Path) -> dict[str, str]:
    """Named special tokens ('eos_token' → '<|im_end|>') from the folder's two files that hold them.

    tokenizer_config.json speaks alone once it lists its added tokens; before that, the older
    special_tokens_map.json overrules it, as in transformers.
    """
    config = _config(folder / "tokenizer_config.json")
    named = dict(config)
    if "added_tokens_decoder" not in config:
        named.update(_config(folder / "special_tokens_map.json"))
    texts = {key: _text(value) for key, value in named.items() if key.endswith("_token")}
    return {key: text for key, text in texts.items() if text is not None}


def _text(value: Any) -> str | None:
    """A token is written as its text or as {"content": text, …}; flags such as add_bos_token are neither."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise ModelError(f"'{path}' does not hold a JSON object.", fix="Fetch the file again.")
    return value


def _source(folder: Path, config: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {entry["name"]: entry["template"] for entry in found}
        if "default" not in named:
            raise ModelError(
                f"'{folder}' has several chat templates ({', '.join(sorted(named))}), none called 'default'.",
                fix="Put the right one into chat_template.jinja in that folder.",
            )
        found = named["default"]
    return found if isinstance(found, str) else None


# --- The environment ----------------------------------------------------------------------------


def _environment(now: datetime | None) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )

    def strftime_now(form: str) -> str:
        return (now or datetime.now()).strftime(form)

    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=strftime_now, dict=_Dict(), namespace=_Namespace
    )
    return environment


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's words; it writes its body unchanged."""

    tags = {"generation"}  # noqa: RUF012 (Jinja declares it so)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # A call block, not the bare body: variables set inside must stay inside, as in transformers.
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Macro) -> str:
        return caller()


class _Dict:
    """`dict` without its class attributes, which lead out of the sandbox."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace that takes no underscored names, which lead out of the sandbox."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # No named parameter, so that a template may keep a variable called `self`.
        self, values = args[0], dict(*args[1:], **kwargs)
        for name in values:
            _refuse_underscore(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)


def _refuse_underscore(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no underscored attribute, but got '{name}'")


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML characters.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
