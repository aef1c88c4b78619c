"""Which server is asked first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.upstream.balance import OVERLOAD, SLACK, beginning, ranked


@dataclass
class One:
    seed: bytes
    weight: float = 1.0
    outstanding: int = 0


def servers(*weights: float) -> list[One]:
    return [One(seed=b"server %d" % i, weight=weight) for i, weight in enumerate(weights)]


def test_without_a_beginning_the_least_to_do_for_its_weight_is_first() -> None:
    small, large = servers(1, 3)
    small.outstanding, large.outstanding = 100, 200
    assert ranked([small, large], b"", 10)[0] is large
    large.outstanding = 400
    assert ranked([small, large], b"", 10)[0] is small


def test_a_beginning_stays_where_it_is_known_until_that_is_overloaded() -> None:
    each = servers(1, 1, 1)
    home = ranked(each, b"You are", 100)[0]
    for _ in range(5):
        assert ranked(each, b"You are", 100)[0] is home
    home.outstanding = 100 * SLACK
    assert ranked(each, b"You are", 100)[0] is not home


def test_beginnings_are_shared_out_by_weight_and_few_move_when_a_server_leaves() -> None:
    each = servers(1, 1, 2)
    homes = {i: ranked(each, b"prompt %d" % i, 1)[0] for i in range(2000)}
    shares = Counter(one.seed for one in homes.values())
    assert 0.42 < shares[b"server 2"] / 2000 < 0.58
    left = each[:2]
    assert all(ranked(left, b"prompt %d" % i, 1)[0] is home for i, home in homes.items() if home in left)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.integers(0, 10**6)), min_size=1, max_size=6), st.binary())
def test_nobody_is_given_more_than_the_bound_while_another_is_below_it(
    loads: list[tuple[float, int]], text: bytes
) -> None:
    each = [One(b"%d" % i, weight, outstanding) for i, (weight, outstanding) in enumerate(loads)]
    order = ranked(each, text, 10)
    assert sorted(map(id, order)) == sorted(map(id, each))
    first, whole = order[0], sum(one.outstanding for one in each) + 10
    share = whole * first.weight / sum(one.weight for one in each)
    least = min((one.outstanding + 10) / one.weight for one in each)
    within = first.outstanding + 10 <= OVERLOAD * share + SLACK or not first.outstanding
    assert within or (first.outstanding + 10) / first.weight == least


def test_the_beginning_stays_while_a_conversation_grows() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"text": "Hi"}]}]
    first = beginning({"messages": messages}, 100)
    assert first == b"Be kind.\0Hi"
    assert beginning({"messages": [*messages, {"role": "assistant", "content": "Yes"}]}, 100) == first
    assert beginning({"messages": messages}, 4) == b"Be k"
    assert beginning({"messages": messages}, 0) == b""


def test_prompts_of_every_form_have_one_and_odd_ones_none() -> None:
    assert beginning({"prompt": ["ab", "cd"]}, 3) == b"abc"
    assert beginning({"instructions": "x", "input": [{"content": "y"}]}, 9) == b"xy"
    for odd in (
        {},
        {"messages": 7},
        {"messages": [7, None]},
        {"prompt": {"a": 1}},
        {"messages": [{"content": 3}]},
    ):
        assert beginning(odd, 9).strip(b"\0") == b""
