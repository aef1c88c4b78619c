"""The training configuration as frozen values read from one TOML file; knows nothing about torch."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    max_positions: int
    rope_theta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    text_tokens: int
    text_length: int
    table_share: float
    chat_tokens: int
    chat_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    final_fraction: float
    clip: float
    chat_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    seed: int
    shape: Shape
    batch: Batch
    optimizer: Optimizer


class ConfigError(ValueError):
    """The TOML file names a key that does not exist, or misses one."""


def read(path: Path) -> Config:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    parts: dict[str, Any] = {
        name: _build(kind, table.pop(name, {}), f"{path} [{name}]") for name, kind in _PARTS.items()
    }
    return _build(Config, {**table, **parts}, str(path))


_PARTS: dict[str, type] = {"shape": Shape, "batch": Batch, "optimizer": Optimizer}


def _build(kind: type[T], table: dict[str, Any], where: str) -> T:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown, missing = set(table) - known, known - set(table)
    if unknown or missing:
        faults = f"unknown keys {sorted(unknown)}, missing keys {sorted(missing)}"
        raise ConfigError(f"{where}: {faults}. The keys are {sorted(known)}.")
    return kind(**table)
