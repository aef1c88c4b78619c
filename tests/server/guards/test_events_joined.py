"""Chunks that come together are looked at as one, and nothing that they say is lost."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.guards.events import _joined

more = st.fixed_dictionaries(
    {},
    optional={
        "finish_reason": st.sampled_from([None, "stop"]),
        "logprobs": st.sampled_from([None, {"content": [1]}]),
        "token_ids": st.sampled_from([None, [5]]),
    },
)
delta: Any = st.one_of(
    st.fixed_dictionaries({"content": st.text(max_size=3)}),
    st.sampled_from([{}, {"role": "assistant", "content": "a"}, {"content": None}]),
)
choice = st.tuples(st.integers(0, 1), delta, more).map(lambda of: {"index": of[0], "delta": of[1], **of[2]})
usage = st.sampled_from([None, {"total_tokens": 1}])
chunk: Any = st.fixed_dictionaries(
    {"choices": st.lists(choice, max_size=2)},
    optional={"usage": usage},
)


def said(events: list[dict[str, Any]]) -> tuple[dict[int, str], list[Any]]:
    """The text of each choice, and all else that chunks say, in order."""
    texts: dict[int, str] = {}
    others: list[Any] = []
    for event in events:
        others += [event["usage"]] if event.get("usage") else []
        for one in event["choices"]:
            texts[one["index"]] = texts.get(one["index"], "") + (one["delta"].get("content") or "")
            rest = {key: value for key, value in one.items() if value and key not in ("index", "delta")}
            others += (
                [(one["index"], rest, one["delta"].get("role"))] if rest or len(one["delta"]) > 1 else []
            )
    return {index: text for index, text in texts.items() if text}, others


@given(st.lists(chunk, max_size=8))
def test_joining_loses_and_changes_nothing(batch: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(batch)
    joined = list(_joined(batch))
    assert said(joined) == said(before)
    assert batch == before


def test_a_burst_of_text_comes_as_one_chunk() -> None:
    burst = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in ("a ", "b ", "c")]
    assert list(_joined(burst)) == [{"choices": [{"index": 0, "delta": {"content": "a b c"}}]}]
