"""A machine and needs that tests begin from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smallworks.engines.speed import Speed
from smallworks.select import Catalogue, Machine, Needs, load

ROW = """\
[[model]]
name = "Mine"
hub = "me/mine"
kind = "decoder"
type = "llama"
parameters = 134_515_008
licence = "mit"
languages = ["en"]
context = 2048
released = "2026-01"
shape = { layers = 30, hidden = 576, heads = 9, kv_heads = 3, intermediate = 1536, vocab = 49152 }
"""


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load()


@pytest.fixture(scope="session")
def laptop() -> Machine:
    """Two cores as they were measured when quiet, and 8 GB free."""
    return Machine(name="a laptop", memory=8 * 10**9, speed=Speed(bandwidth=2e10, flops=1.5e11, threads=2))


@pytest.fixture(scope="session")
def needs_of() -> Callable[..., Needs]:
    def make(**changes: Any) -> Needs:
        usual: dict[str, Any] = {"kind": "classify", "rows": 300, "labels": 30, "tokens_out": 0}
        return Needs(**{**usual, **changes})

    return make


@pytest.fixture(scope="session")
def row() -> str:
    return ROW
