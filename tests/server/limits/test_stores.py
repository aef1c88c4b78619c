"""One protocol, four stores: the same decisions everywhere, exact whoever shares them, on their own clock."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallworks.server.limits.ledger import (
    LEASE_SECONDS,
    Entry,
    Granted,
    Hold,
    Knock,
    Limits,
    Note,
    Outcome,
    Refused,
    Renew,
    Settle,
    Store,
)

STORES = ("memory", "sqlite", "redis", "postgres")
Open = Callable[..., Store]
FEW = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def account() -> str:
    return f"key {secrets.token_hex(6)}"


def hold(key: str, name: str, tokens: int, micros: int = 0, /, **limits: int) -> Hold:
    return Hold(key, Limits(**limits), f"{key}/{name}", tokens, micros)


def settle(of: Hold, tokens: int, micros: int = 0) -> Settle:
    return Settle(of.account, of.limits, of.id, tokens, micros)


def one(store: Store, entry: Entry) -> Outcome:
    return store.run([entry])[0]


def spent(store: Store, key: str) -> tuple[int, int, int]:
    """Tokens, micro-dollars and answers of all months."""
    rows = [used for used in store.usage() if used.account == key]
    return sum(u.tokens for u in rows), sum(u.micros for u in rows), sum(u.answers for u in rows)


limits = st.builds(
    Limits,
    requests=st.sampled_from([None, 2, 60]),
    tokens=st.sampled_from([None, 60, 600]),
    at_once=st.sampled_from([None, 1, 3]),
    monthly_tokens=st.sampled_from([None, 500]),
    monthly_micros=st.sampled_from([None, 300]),
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["knock", "hold", "settle", "renew", "note", "wait"]),
        st.integers(0, 4),
        st.integers(0, 200),
    ),
    min_size=5,
    max_size=25,
)


def entry_of(what: str, key: str, allowed: Limits, number: int, amount: int) -> Entry:
    name = f"{key}/{number}"
    return {
        "knock": Knock(key, allowed),
        "hold": Hold(key, allowed, name, amount, amount // 2),
        "settle": Settle(key, allowed, name, amount, amount // 5),
        "renew": Renew(key, name),
        "note": Note(key, amount, amount, 1),
    }[what]


def same(a: Outcome, b: Outcome) -> bool:
    if isinstance(a, Refused) and isinstance(b, Refused):
        close = a.seconds == pytest.approx(b.seconds, abs=1e-3)
        return (a.which, a.left) == (b.which, b.left) and close
    if isinstance(a, Granted) and isinstance(b, Granted):
        return all(
            (x is None) == (y is None) and (x is None or x == pytest.approx(y, abs=1e-3))
            for x, y in ((a.requests, b.requests), (a.tokens, b.tokens))
        )
    return False


@pytest.mark.parametrize("name", STORES[1:])
def test_every_store_decides_as_memory_does(name: str, open_store: Open, clock: Any) -> None:
    store, oracle = open_store(name), open_store("memory")

    @FEW
    @given(limits, steps)
    def agree(allowed: Limits, taken: list[tuple[str, int, int]]) -> None:
        key, held = account(), set()
        for what, number, amount in taken:
            if what == "wait":
                clock.forward(amount / 4)
                continue
            if what == "hold" and number in held:
                continue  # a name is given once
            held |= {number} if what == "hold" else set()
            entry = entry_of(what, key, allowed, number, amount)
            expected, found = one(oracle, entry), one(store, entry)
            assert same(expected, found), (entry, expected, found)
        assert spent(store, key) == spent(oracle, key)

    agree()


@pytest.mark.parametrize("name", STORES)
def test_what_was_held_and_not_used_comes_back_once(name: str, open_store: Open) -> None:
    store, key = open_store(name), account()
    first = hold(key, "a", 80, 800, monthly_tokens=100, monthly_micros=1000, tokens=1000)
    assert isinstance(one(store, first), Granted)
    over = hold(key, "b", 21, monthly_tokens=100)
    assert one(store, over) == Refused("monthly_tokens", pytest.approx(0, abs=32 * 24 * 3600), 20)
    assert isinstance(one(store, hold(key, "c", 1, 201, monthly_micros=1000)), Refused)
    for _ in range(2):
        left = one(store, settle(first, 30, 300))
        assert isinstance(left, Granted) and left.tokens == 970
    assert spent(store, key) == (30, 300, 1)
    too_much = hold(key, "d", 70, monthly_tokens=100)
    assert isinstance(one(store, too_much), Granted)
    one(store, settle(too_much, 5000))  # an engine that takes more than it was given
    assert spent(store, key) == (5030, 300, 2)
    assert isinstance(one(store, hold(key, "e", 1, monthly_tokens=100)), Refused)


@pytest.mark.parametrize("name", STORES)
def test_a_server_that_dies_gives_its_places_back_and_not_its_tokens(
    name: str, open_store: Open, clock: Any
) -> None:
    store, key = open_store(name), account()
    dead, alive = (hold(key, each, 40, at_once=2, monthly_tokens=100) for each in "ab")
    assert all(isinstance(each, Granted) for each in store.run([dead, alive]))
    third = hold(key, "c", 10, at_once=2, monthly_tokens=100)
    assert isinstance(one(store, third), Refused)
    clock.forward(LEASE_SECONDS - 1)
    one(store, Renew(key, alive.id))
    assert isinstance(one(store, third), Refused)
    clock.forward(2)
    assert isinstance(one(store, third), Granted)
    assert spent(store, key)[0] == 90
    one(store, settle(dead, 1))  # it was not dead after all: charged in full all the same
    one(store, settle(alive, 1))
    assert spent(store, key)[0] == 51


@pytest.mark.parametrize("name", STORES)
def test_the_month_is_that_of_the_stores_clock(name: str, open_store: Open, clock: Any) -> None:
    store, key = open_store(name), account()
    clock.forward(1_798_761_599 - clock.now)  # 2026-12-31T23:59:59Z
    last = hold(key, "a", 90, monthly_tokens=100)
    assert isinstance(one(store, last), Granted)
    refused = one(store, hold(key, "b", 90, monthly_tokens=100))
    assert isinstance(refused, Refused) and refused.seconds == pytest.approx(1, abs=0.01)
    clock.forward(1)
    assert isinstance(one(store, hold(key, "c", 90, monthly_tokens=100)), Granted)
    one(store, settle(last, 10))
    rows = {used.month: used.tokens for used in store.usage() if used.account == key}
    assert rows == {"2026-12": 10, "2027-01": 90}


@pytest.mark.parametrize("name", STORES[1:])
def test_two_servers_cannot_overspend_together(name: str, open_store: Open) -> None:
    servers = [open_store(name, timed=False), open_store(name, timed=False)]
    key = account()

    def spend(number: int) -> int:
        """One answer that holds 30 and uses 20; what it used, 0 where it was refused."""
        entry = hold(key, str(number), 30, monthly_tokens=1000, tokens=10**6)
        store = servers[number % 2]
        if isinstance(one(store, entry), Refused):
            return 0
        one(store, settle(entry, 20))
        return 20

    with ThreadPoolExecutor(2) as pool:
        halves = pool.map(lambda half: sum(spend(n) for n in range(half, 80, 2)), range(2))
        used = sum(halves)
    assert spent(servers[0], key)[0] == spent(servers[1], key)[0] == used
    assert 970 < used <= 1000


@pytest.mark.parametrize("name", STORES)
def test_a_batch_is_decided_in_its_order(name: str, open_store: Open) -> None:
    store, key, other = open_store(name), account(), account()
    first = hold(key, "a", 60, monthly_tokens=100)
    entries = [first, hold(key, "b", 60, monthly_tokens=100), hold(other, "a", 60, monthly_tokens=100)]
    assert [type(each) for each in store.run(entries)] == [Granted, Refused, Granted]
    again = [settle(first, 1), hold(key, "c", 60, monthly_tokens=100), Note(other, 5, 7, 1)]
    assert [type(each) for each in store.run(again)] == [Granted, Granted, Granted]
    assert (spent(store, key), spent(store, other)) == ((61, 0, 1), (65, 7, 1))


@pytest.mark.parametrize("name", STORES)
def test_other_limits_on_the_same_account_go_by_what_is_left(name: str, open_store: Open) -> None:
    store, key = open_store(name), account()
    assert one(store, Knock(key, Limits(requests=10))) == Granted(9)
    assert one(store, Knock(key, Limits(requests=2))) == Granted(1)
    assert one(store, Knock(key, Limits())) == Granted(None)
    assert one(store, Knock(key, Limits(requests=2))) == Granted(0)
