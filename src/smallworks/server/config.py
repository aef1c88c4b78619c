"""serve.toml as one frozen value: what is served, where, to whom, and a section for each slice of the server.

Paths in the file are relative to it; secrets stand in it only as names of environment variables. Options of
the command line win over it. Knows no route and opens nothing.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from smallworks.errors import UserError, nearest
from smallworks.server.cache.config import CacheConfig
from smallworks.server.guards import GuardsConfig
from smallworks.server.limits.section import FlagshipSection, LimitsConfig, PriceSection
from smallworks.server.log import Log
from smallworks.server.memory import RoomConfig
from smallworks.server.otel import Otel
from smallworks.server.rules import Rules
from smallworks.server.section import EnvName, FilePath, Section
from smallworks.server.tls import Tls
from smallworks.server.traces import Traces
from smallworks.server.upstream.settings import Upstream


def _found(word: str, folder: str | None) -> str:
    """A bundle's folder beside the file, or the word as it stands: a release, or a path of the caller's."""
    beside = Path(folder or "") / Path(word).expanduser()
    return str(beside) if beside.exists() else word


class BundleEntry(Section):
    """One [[bundle]]: a folder, or the name of a release, with options of its own."""

    path: str = Field(min_length=1, examples=["bundles/tickets"])

    @field_validator("path")
    @classmethod
    def _beside(cls, path: str, info: ValidationInfo) -> str:
        return _found(path, (info.context or {}).get("folder"))


class Config(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    keys: FilePath | None = Field(default=None, examples=["keys.sqlite"])
    keys_env: EnvName | None = None
    """The variable that holds the address of a PostgreSQL with the keys, which servers then share."""
    open: bool = False
    plain: bool = False
    """Clear text to other machines is meant: a proxy ends TLS, or the network is the operator's own."""
    queue: int = Field(default=Rules.waiting, ge=0)
    queue_tokens: int = Field(default=Rules.tokens, ge=1)
    deadline: float = Field(default=Rules.deadline, gt=0)
    releases: FilePath | None = Field(default=None, examples=["releases.sqlite"])
    bundles: tuple[str, ...] = Field(default=(), examples=[["bundles/tickets"]])
    bundle: tuple[BundleEntry, ...] = ()
    embedders: tuple[str, ...] = Field(default=(), examples=[["sentence-transformers/all-MiniLM-L6-v2"]])
    """Sentence-embedding models for /v1/embeddings: folders, or hub ids."""
    upstream: tuple[Upstream, ...] = ()
    tls: Tls | None = None
    room: RoomConfig | None = None
    limits: LimitsConfig = LimitsConfig.usual()
    prices: dict[str, PriceSection] = Field(default_factory=dict)
    """By the name of a bundle or an upstream."""
    flagships: dict[str, FlagshipSection] = Field(default_factory=dict)
    """What each bundle replaces, by its name; `default` for all others."""
    log: Log = Log.usual()
    guards: GuardsConfig | None = None
    cache: CacheConfig | None = None
    traces: Traces | None = None
    otel: Otel | None = None

    @field_validator("bundles", "embedders")
    @classmethod
    def _beside(cls, bundles: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(_found(each, (info.context or {}).get("folder")) for each in bundles)

    @property
    def entries(self) -> tuple[BundleEntry, ...]:
        """All that is served, the default first."""
        named = (BundleEntry.model_construct(path=_found(path, None)) for path in self.bundles)
        return (*named, *self.bundle)

    @property
    def asks(self) -> bool:
        """Whether keys are asked for."""
        return bool(self.keys or self.keys_env)

    @property
    def rules(self) -> Rules:
        return Rules(waiting=self.queue, tokens=self.queue_tokens, deadline=self.deadline)

    def sections(self) -> Iterator[tuple[str, Section]]:
        """Every section that is there, with its name."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Section) and not isinstance(one, BundleEntry):
                    yield name, one


def load(path: Path | None, options: Mapping[str, Any] | None = None) -> Config:
    """The file, or all defaults without one; `options` that are not None win. Raises UserError."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    try:
        config = _read(path) if path else Config.usual()
    except ValidationError as error:
        raise _explained(error, str(path)) from None
    return config.model_copy(update=given)


def _read(path: Path) -> Config:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.", fix="Check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"'{path}': byte {error.start + 1} is not UTF-8.", fix="Save the file as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            f"'{path}' is not valid TOML: {str(error).rstrip('.')}.",
            fix="Mend that line; texts stand in quotes.",
        ) from error
    # By way of JSON, where strictness takes a list for a tuple and a text for a path.
    whole = json.dumps(document, default=str)
    return Config.model_validate_json(whole, context={"folder": str(path.absolute().parent)})


def _explained(error: ValidationError, source: str) -> UserError:
    """The first thing that is wrong, misspelt before missing keys, as a sentence with the fix."""
    wrong = error.errors(include_url=False, include_context=False)
    first = next((one for one in wrong if one["type"] == "extra_forbidden"), wrong[0])
    *above, key = [part for part in first["loc"] if isinstance(part, str)] or ["config"]
    model = _section_of(above)
    place = f"'{source}': [{'.'.join(above)}]" if above else f"'{source}':"
    if first["type"] == "extra_forbidden":
        kind = "section" if isinstance(first["input"], dict | list) and not above else "key"
        return UserError(
            f"{place} has an unknown {kind} '{key}'.".replace(": has", ": there is"), fix=_near(key, model)
        )
    if first["type"] == "missing":
        return UserError(f"{place} lacks the key '{key}'.", fix=_example(key, model))
    # What stands where the name of a variable belongs may well be the secret itself.
    shown = "" if key.endswith("_env") else f" = {_written(first['input'])}"
    return UserError(f"{place} {key}{shown} cannot be: {first['msg'].lower()}.", fix=_example(key, model))


def _section_of(above: list[str]) -> type[Section]:
    """The class whose key is wrong, found by the names above it; those of a table of tables are skipped."""
    model: type[Section] = Config
    for name in above:
        if field := model.model_fields.get(name):
            model = next(_classes(field.annotation), model)
    return model


def _classes(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _classes(part)


def _near(key: str, model: type[Section]) -> str:
    if model is not Config and key in Config.model_fields:
        return "It stands at the top of the file, before every section."
    return nearest(key, model.model_fields)


def _example(key: str, model: type[Section]) -> str:
    """A line that would be right: the field's example, else its default."""
    field = model.model_fields.get(key)
    if field is None:
        return "Mend it."
    value = field.examples[0] if field.examples else field.default
    if isinstance(value, str | int | float | bool | list):
        return f"Write, for example: {key} = {_written(value)}"
    if any(_classes(field.annotation)):
        return f"Write [{key}] on a line of its own, and its keys below."
    return "Mend it."


def _written(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
