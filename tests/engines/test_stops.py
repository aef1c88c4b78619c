"""Stop strings never leak, however the text is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smallworks.engines.stops import StopScanner


def test_the_beginning_of_a_stop_string_is_held_back() -> None:
    scanner = StopScanner(["</end>"])
    assert scanner.push("hello </e") == "hello "
    assert scanner.push("lse") == "</else"
    assert scanner.push("</") == ""
    assert scanner.flush() == "</"


def test_the_earliest_of_several_stops_counts() -> None:
    scanner = StopScanner(["bb", "abb", ""])
    assert scanner.push("xa") == "x"
    assert scanner.push("bbc") == ""
    assert scanner.found and scanner.push("more") == "" and scanner.flush() == ""


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_any_cutting_gives_the_text_before_the_first_stop(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    scanner, shown, rest = StopScanner(stops), "", text
    while rest and not scanner.found:
        size = data.draw(st.integers(1, len(rest)))
        shown += scanner.push(rest[:size])
        rest = rest[size:]
    shown += scanner.flush()
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert not any(stop in shown for stop in stops)
    assert text.startswith(shown) and (ends or shown == text)
