"""Events cut at any byte, with any of the line ends, are the same events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.upstream import sse
from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.sse import Sse

LINES = st.lists(
    st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=("Cs",))), max_size=3
)


@given(st.lists(LINES.filter(bool), max_size=5), st.sampled_from(["\n", "\r\n"]), st.data())
def test_events_are_the_same_however_they_are_cut(
    events: list[list[str]], end: str, data: st.DataObject
) -> None:
    wire = "".join(
        f": comment{end}" + "".join(f"data: {line}{end}" for line in lines) + end for lines in events
    )
    raw = wire.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    reader, found = Sse(), []
    for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += reader.feed(raw[start:stop])
    assert found == ["\n".join(lines).encode() for lines in events]


def test_names_and_comments_are_passed_over_and_a_missing_space_is_fine() -> None:
    assert Sse().feed(b"event: x\ndata:1\nid: 7\n\n: ping\n\ndata: 2\n\n") == [b"1", b"2"]


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT", 100)
    with pytest.raises(Failed):
        Sse().feed(b"data: " + b"x" * 200)
