"""A text that grows comes out as the whole text does, however it is cut; what blocks is never shown."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.guard import GuardBlocked, Guards, Passage, Text
from smallworks.guard.policy import parse

POLICY = r"""
[[rule]]
name = "unseen"
unicode = "unseen"

[[rule]]
name = "keys"
regex = ['sk-[a-z0-9]{3,6}', '(?i)token:\s*\w+', 'a+b']
action = "mask"
restore = true

[[rule]]
name = "lines"
regex = '(?m)^secret.*$'
action = "replace"
with = "[line]"

[[rule]]
name = "edges"
regex = ['\bkey\b', '^\pL\d', 'end$']
action = "replace"
with = "#"

[[rule]]
name = "words"
words = ["bad boy", "bad", "heron's nest", "café", "Straße", "naïve café"]
action = "replace"
with = "[word]"

[[rule]]
name = "personal"
personal = "all"
restore = true
"""
FRAGMENTS = [
    "bad", " ", "boy", "  \n", "heron's nest", "café", "CAFÉ", "naïve ", "Straße", "sk-", "ab12", "aaa",
    "b", "token:", "secret", "\n", "x", "key", "end", ".", ",", "<", "EMAIL_1>", "<KEYS_1>", "<PERSONAL_1>",
    "\u200b", "\u202e", "❤\ufe0f", "\u200d", "🔥", "é", "ann@x.org", "a.b", "@", "c.example",
    "4111 1111 1111 1111", "4111", " 1111", "+1 (555) 123-4567", "call ", "555 ", "1234", "12", "(", ") ",
    "-", "905-674-3793x12", "ext. 3", "office", "GB82 WEST 1234 5698 7654 32", "GB82", " WEST",
    "192.168.10.4", "version ", "1.2.3.4", "fe80::1ff:fe23:4567:890a", "536-22-8712", "AB 12 34 56 C",
    "2 55 08 14 168 025 38", "12345678Z", "order ", "2024-01-02", "=", "%", ":", "/7",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)
INTO = "my key sk-abc1, ann@x.org and <KEYS_7>, token: hush"


@pytest.fixture(scope="module")
def guards() -> Guards:
    return Guards(parse(POLICY, Path()))


def entered(guards: Guards) -> Passage:
    """A passage that has masked something on the way in."""
    passage = guards.passage()
    passage.enter([Text(text=INTO)], len)
    return passage


def in_pieces(passage: Passage, text: str, cuts: list[int]) -> str:
    growing = passage.growing()
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [growing.push(text[a:b]) for a, b in pairwise(places)]
    return "".join([*pieces, growing.end()])


@settings(max_examples=100)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 120), max_size=20), every=st.booleans())
def test_a_stream_comes_to_the_same_as_the_whole_answer(
    guards: Guards, text: str, cuts: list[int], every: bool
) -> None:
    whole, streamed = entered(guards), entered(guards)
    cuts = list(range(len(text))) if every else cuts
    assert in_pieces(streamed, text, cuts) == whole.leave(text)
    assert streamed.findings() == whole.findings()


@given(text=st.text("ab 1.@-<>E_", max_size=40), cuts=st.lists(st.integers(0, 40), max_size=10))
def test_any_text_comes_to_the_same_in_pieces(guards: Guards, text: str, cuts: list[int]) -> None:
    assert in_pieces(entered(guards), text, cuts) == entered(guards).leave(text)


@given(
    pattern=st.recursive(
        st.sampled_from(["a", "b", "[ab]", "c", ".", r"\b", "a?", r"\s"]),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=4).map("".join),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
            st.tuples(inner, st.sampled_from(["+", "*", "{1,3}", "?", "+?", "*?"])).map(
                lambda p: f"(?:{p[0]}){p[1]}"
            ),
        ),
        max_leaves=8,
    ),
    text=st.text("abc \n", max_size=24),
    cuts=st.lists(st.integers(0, 24), max_size=8),
)
def test_any_pattern_comes_to_the_same_in_pieces(pattern: str, text: str, cuts: list[int]) -> None:
    guards = Guards(
        parse(f"[[rule]]\nname='p'\nregex='''x?c{pattern}'''\naction='replace'\nwith='#'", Path())
    )
    assert in_pieces(guards.passage(), text, cuts) == guards.passage().leave(text)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 120), max_size=20))
def test_what_is_blocked_in_the_whole_is_blocked_in_pieces_and_not_shown(text: str, cuts: list[int]) -> None:
    policy = "[[rule]]\nname='w'\nwords=['bad boy','café']\n[[rule]]\nname='r'\nregex='sk-[a-z0-9]{3,6}'"
    guards = Guards(parse(policy, Path()))
    growing, shown, blocked = guards.passage().growing(), "", False
    try:
        for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 999], strict=True):
            shown += growing.push(text[a:b])
        shown += growing.end()
    except GuardBlocked:
        blocked = True
    try:
        guards.passage().leave(text)
        assert not blocked and shown == text
    except GuardBlocked:
        assert blocked
    assert "café" not in shown.split() and text.startswith(shown)


def test_a_pseudonym_in_two_pieces_is_restored_and_prose_is_not_held_back(guards: Guards) -> None:
    passage = entered(guards)
    growing = passage.growing()
    said = [growing.push(piece) for piece in ("Hello ", "there <EMA", "IL_1", "> you ", "see. ")]
    assert said == ["Hello ", "there ", "", "ann@x.org you ", "see. "]


def test_a_pseudonym_of_the_clients_own_is_neither_given_nor_restored(guards: Guards) -> None:
    passage = guards.passage()
    (masked,) = passage.enter([Text(text="<EMAIL_1> is not ann@x.org")], len)
    assert masked == "<EMAIL_1> is not <EMAIL_2>"
    assert passage.leave("<EMAIL_1>, <EMAIL_2>, <EMAIL_3>") == "<EMAIL_1>, ann@x.org, <EMAIL_3>"


def test_what_the_model_brings_up_by_itself_is_masked_and_not_restored(guards: Guards) -> None:
    passage = entered(guards)
    assert passage.leave("<EMAIL_1> or bob@y.com, <EMAIL_2>.") == "ann@x.org or <EMAIL_2>, <EMAIL_2>."


def test_an_original_in_an_answer_that_is_json_keeps_it_json(guards: Guards) -> None:
    policy = "[[rule]]\nname='quotes'\nregex='\"[^\"]{1,40}\"'\naction='mask'\nrestore=true\nwhere='in'"
    passage = Guards(parse(policy, Path())).passage()
    passage.enter([Text(text='he said "so" and left')], len)
    assert passage.leave('{"said": "<QUOTES_1>"}', escaped=True) == '{"said": "\\"so\\""}'


def test_a_long_hold_back_is_not_looked_at_again_for_every_letter(guards: Guards) -> None:
    """A rule without a longest match may hold back the rest of the answer."""
    held = Guards(parse("[[rule]]\nname='all'\nregex='(?s)BEGIN.*'\naction='replace'\nwith='…'", Path()))
    growing = held.passage().growing()
    shown = [growing.push("word ") for _ in range(3)] + [growing.push("BEGIN ")]
    shown += [growing.push("x" * 7) for _ in range(4000)]
    assert "".join([*shown, growing.end()]) == "word word word …"
