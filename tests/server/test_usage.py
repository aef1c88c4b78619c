"""Usage of a stream: asked for only by a true `true`, and what is no object is the host's to refuse."""

from __future__ import annotations

from typing import Any

import pytest

from smallworks.server.usage import wants_usage, with_usage, without_usage


@pytest.mark.parametrize(
    "options", [None, {}, {"include_usage": 1}, {"include_usage": "yes"}, "include_usage"]
)
def test_only_true_asks_for_it(options: Any) -> None:
    assert not wants_usage({"stream_options": options})
    assert wants_usage({"stream_options": {"include_usage": True}})


def test_options_that_are_no_object_are_left_to_be_refused() -> None:
    assert with_usage({"stream_options": "all"}) == {"stream_options": "all"}
    assert with_usage({"stream_options": None}) == {"stream_options": {"include_usage": True}}


def test_an_event_without_choices_stays_where_it_tells_more_than_usage() -> None:
    first: dict[str, Any] = {"choices": [], "usage": None, "prompt_filter_results": [1]}
    assert without_usage(first) == {"choices": [], "prompt_filter_results": [1]}
