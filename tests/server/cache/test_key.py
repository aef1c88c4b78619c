"""Requests are the same when nothing that the answer depends on differs; else they never share a key."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.cache.key import FREE, key_of

SAID = {"messages": [{"role": "user", "content": "It crashes."}], "temperature": 0}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(min_size=1).filter(lambda name: name not in FREE), VALUES, max_size=5)


def key(said: Any = SAID, **other: str) -> bytes:
    return key_of(**{"identity": "a", "form": "/x", "name": "m", "tenant": "t", **other}, said=said)


@pytest.mark.parametrize("part", ["identity", "form", "name", "tenant"])
def test_hosts_routes_models_and_tenants_never_share(part: str) -> None:
    assert key(**{part: "other"}) != key()


@pytest.mark.parametrize("field", sorted(FREE))
def test_what_cannot_change_the_answer_is_left_out(field: str) -> None:
    assert key({**SAID, field: "anything"}) == key()


@pytest.mark.parametrize("field", ["user", "metadata", "safety_identifier", "prompt_cache_key"])
def test_what_an_answer_of_responses_says_again_counts_there(field: str) -> None:
    mine, yours = ({**SAID, field: who} for who in ("mine", "yours"))
    assert key(mine, form="/responses") != key(yours, form="/responses")
    assert key({**SAID, "stream": True}, form="/responses") == key(form="/responses")


def test_parts_cannot_run_into_one_another() -> None:
    assert key(name='m","t', tenant="") != key(name="m", tenant='t",""')
    assert key(name="mt", tenant="") != key(name="m", tenant="t")


@given(BODIES)
def test_the_order_of_fields_is_nothing(said: dict[str, Any]) -> None:
    assert key(dict(reversed(said.items()))) == key(said)


@given(BODIES)
def test_a_body_sent_again_is_the_same(said: dict[str, Any]) -> None:
    assert key(json.loads(json.dumps(said))) == key(said)


@given(BODIES, BODIES)
def test_bodies_that_differ_in_json_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (key(one) == key(other)) == same


@given(BODIES, st.text(min_size=1).filter(lambda name: name not in FREE), VALUES)
def test_an_unknown_field_counts(said: dict[str, Any], name: str, value: Any) -> None:
    changed = {**copy.deepcopy(said), name: [value, "changed"]}
    assert key(changed) != key(said) or said.get(name) == changed[name]


def test_numbers_and_truth_values_are_told_apart() -> None:
    assert len({key({"n": value}) for value in (1, True, "1", None, [1])}) == 5


def test_half_a_surrogate_pair_has_a_key() -> None:
    assert key({"prompt": "\ud800"}) != key({"prompt": "\ud801"})
