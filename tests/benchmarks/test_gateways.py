"""A gateway that cannot run here is named with the reason, and ends no other one."""

from __future__ import annotations

import sys

import pytest
from benchmarks.gateways import redis


def test_without_a_client_of_redis_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(RuntimeError, match=r"smallworks\[redis\]"), redis("none:*"):
        pass
