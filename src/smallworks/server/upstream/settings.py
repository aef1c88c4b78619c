"""[[upstream]] of serve.toml: the names that clients ask for, and the servers that answer to them.

Keys of servers come from the environment alone; an address that carries one is refused.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from smallworks.errors import UserError
from smallworks.server.section import EnvName, FilePath, Section
from smallworks.settings import secret

EVERY = "*"
"""Stands for every model that the servers list."""
PLAIN = frozenset("!#$%&'()*+,-./:;=?@_~")


def _is_plain(text: str) -> bool:
    return all(c.isascii() and (c.isalnum() or c in PLAIN) for c in text)


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not _is_plain(url.replace("[", "").replace("]", "")):
        raise ValueError("an http or https address is needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("only host, port and path belong in it; the key's variable is named by key_env")
    return url.rstrip("/")


def _path(path: str) -> str:
    if not path.startswith("/") or not _is_plain(path):
        raise ValueError("it is a path on the server, beginning with /")
    return path


Seconds = Annotated[float, Field(gt=0, le=86400)]


class Server(Section):
    """One [[upstream.server]]."""

    url: Annotated[str, AfterValidator(_url)] = Field(examples=["http://127.0.0.1:8001/v1"])
    model: str | None = Field(None, examples=["Qwen/Qwen3-8B"])
    """What the model is called there; the name that was asked for where it is left out."""
    weight: float = Field(1.0, gt=0, le=1000)
    key_env: EnvName | None = Field(None, examples=["OPENAI_API_KEY"])
    ca: FilePath | None = Field(None, examples=["ca.pem"])
    """Certificates to trust beside the system's, for https."""
    connect: Seconds = 5.0
    """Seconds to wait for a connection."""
    silence: Seconds = 120.0
    """Seconds to wait for the next byte of a stream, or of a whole answer that has begun to come."""
    health: Annotated[str, AfterValidator(_path)] | None = Field(None, examples=["/health"])
    """A path on the server that answers 2xx while it is well; its list of models where left out."""

    @property
    def name(self) -> str:
        """For metrics and logs: where it is, and no secret."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def check(self) -> str:
        if self.key_env:
            key = secret(self.key_env)
            if not key.isascii() or not key.isprintable() or " " in key:
                raise UserError(
                    f"The key in '{self.key_env}' holds a character that no header may carry.",
                    fix=f"Set it again, without spaces and line ends: export {self.key_env}=…",
                )
        if self.ca is not None:
            _check_ca(self.ca)
        return self.name


class Upstream(Section):
    """One [[upstream]]: every server answers to all its names alike."""

    models: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, examples=[["flagship"]])
    """Names that clients ask for, or "*"."""
    server: tuple[Server, ...] = Field(min_length=1)
    at_once: int = Field(256, ge=1, le=10_000)
    """Answers under way at all servers together; further requests wait in line."""
    retries: int = Field(2, ge=0, le=10)
    """Further attempts, as long as no byte of an answer has gone to the client."""
    longest_wait: float = Field(5.0, ge=0, le=600)
    """Seconds that a request may wait for a server that asked for a pause."""
    prefix: int = Field(2048, ge=0)
    """Characters of the prompt's beginning that are known by the server which read them last; 0 for none."""
    max_tokens: int = Field(4096, ge=1)
    """Tokens set aside for an answer where the request names no limit."""
    failures: int = Field(5, ge=1)
    """In a row, after which a server is left alone."""
    rest: Seconds = 5.0
    """Seconds that it is left alone at first."""
    check_every: Seconds = 10.0
    """Seconds between two looks at a server's health."""
    max_answer: int = Field(2**26, ge=1024)
    """Bytes of an answer; a larger one is given up."""

    @field_validator("models")
    @classmethod
    def _distinct(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models) or (EVERY in models and len(models) > 1):
            raise ValueError('each name once, or "*" alone')
        return models

    def check(self) -> str:
        servers = ", ".join(server.check() for server in self.server)
        return f"{', '.join(self.models)} at {servers}"


def _check_ca(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"'{path}' cannot be used as certificates to trust: {error.strerror or error}.",
            fix="Name a PEM file.",
        ) from error
