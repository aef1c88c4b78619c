"""The breaker with a clock of its own."""

from __future__ import annotations

from smallworks.server.upstream.breaker import LONGEST, Breaker


def opened(failures: int = 3, seconds: float = 5.0) -> Breaker:
    breaker = Breaker(failures=failures, seconds=seconds)
    for _ in range(failures):
        breaker.failed(0.0, probe=breaker.begin(0.0))
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(failures=2, seconds=5.0)
    for _ in range(3):
        breaker.failed(0.0, probe=breaker.begin(0.0))
        breaker.succeeded()
    assert breaker.state(0.0) == "closed"
    assert opened().state(4.9) == "open"
    assert not opened().allows(4.9)


def test_one_probe_at_a_time_goes_through_and_decides() -> None:
    breaker = opened()
    assert breaker.state(5.0) == "half-open"
    assert breaker.allows(5.0)
    assert breaker.begin(5.0)
    assert not breaker.allows(5.0)
    breaker.succeeded()
    assert breaker.state(5.0) == "closed"


def test_a_probe_that_fails_doubles_the_rest_up_to_a_limit() -> None:
    breaker, now, rests = opened(), 5.0, []
    for _ in range(8):
        breaker.failed(now, probe=breaker.begin(now))
        rests.append(breaker.wait(now))
        now += rests[-1]
    assert rests[:3] == [10.0, 20.0, 40.0]
    assert rests[-1] == 5.0 * LONGEST


def test_a_probe_that_nobody_waited_for_lets_the_next_one_go() -> None:
    breaker = opened()
    assert breaker.begin(5.0)
    assert breaker.wait(5.0) > 0
    breaker.abandoned()
    assert breaker.allows(5.0)


def test_late_failures_of_requests_begun_before_do_not_prolong_it() -> None:
    breaker = opened()
    breaker.failed(4.0, probe=False)
    assert breaker.allows(5.0)


def test_a_server_seen_well_may_be_probed_now() -> None:
    breaker = opened()
    breaker.hurry(1.0)
    assert breaker.allows(1.0)
