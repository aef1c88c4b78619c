"""The [cache] section of serve.toml: where answers are kept, how many, how long, and whose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from smallworks import settings
from smallworks.errors import UserError
from smallworks.seams import Embedder
from smallworks.server.embedding import opened
from smallworks.server.section import EnvName, FilePath, Section

MIB = 2**20


class Semantic(Section):
    """[cache.semantic]: hits by likeness, for the models that it names and no others."""

    models: tuple[str, ...] = Field(min_length=1, examples=[["faq"]])
    embedder: str = Field(examples=["sentence-transformers/all-MiniLM-L6-v2"])
    threshold: float = Field(default=0.95, ge=0.5, le=1, examples=[0.95])
    recheck: float = Field(default=0.02, ge=0, le=1, examples=[0.02])
    """Share of near hits that the host answers all the same, to see whether it agrees."""
    entries: int = Field(default=10_000, ge=1, le=1_000_000)


class CacheConfig(Section):
    """`shared` lets one key's answers serve another's requests; `sampled` keeps answers that were drawn."""

    store: Literal["memory", "sqlite", "redis"] = "memory"
    path: FilePath | None = Field(default=None, examples=["cache.sqlite"])
    url_env: EnvName | None = Field(default=None, examples=["REDIS_URL"])
    entries: int = Field(default=10_000, ge=1)
    megabytes: int = Field(default=64, ge=1, le=1_000_000)
    """In memory; and in the file of `sqlite`, ten times as much of both. Redis has its own bound."""
    ttl: float = Field(default=3600.0, gt=0, le=366 * 86400)
    sampled: bool = False
    shared: bool = False
    semantic: Semantic | None = None

    @model_validator(mode="after")
    def _has_its_place(self) -> CacheConfig:
        if self.store == "sqlite" and self.path is None:
            raise ValueError("a store of sqlite wants its file: path = …")
        if self.store == "redis" and self.url_env is None:
            raise ValueError("a store of redis wants the variable with its URL: url_env = …")
        return self

    @property
    def bytes(self) -> int:
        return self.megabytes * MIB

    def url(self) -> str:
        """Raises UserError when the variable is not set."""
        assert self.url_env is not None
        return settings.secret(self.url_env)

    def embedder(self) -> Embedder | None:
        """The one that [cache.semantic] names, opened. Raises ModelError."""
        return opened(self.semantic.embedder) if self.semantic else None

    def check(self) -> str:
        if self.store == "redis":
            self.url()
        if self.path is not None and not _writable(self.path):
            raise UserError(f"'{self.path}' cannot be written.", fix="Name a file in a folder of yours.")
        near = f", by likeness for {', '.join(self.semantic.models)}" if self.semantic else ""
        return f"{self.store}, {self.entries:,} answers, {self.ttl:g} s{near}"


def _writable(path: Path) -> bool:
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    return os.access(there, os.W_OK)
