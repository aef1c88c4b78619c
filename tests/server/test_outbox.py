"""The queue before something slow: nobody waits for it, and whatever is lost is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Event

import pytest

from smallworks.server import outbox
from smallworks.server.outbox import Outbox


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAUSE_SECONDS", 0.01)


def make(write: object, size: int = 100) -> tuple[Outbox[int], Counter[str]]:
    lost: Counter[str] = Counter()
    made = Outbox("test", write, size=size, lost=lambda n, why: lost.update({why: n}), rest=0.001)  # type: ignore[arg-type]
    return made, lost


def test_all_is_written_in_order_by_the_end() -> None:
    written: list[int] = []
    box, lost = make(written.extend, size=10_000)
    for number in range(2000):
        box.put(number)
    box.close()
    assert written == list(range(2000)) and not lost


def test_what_does_not_fit_is_counted_and_nobody_waits() -> None:
    begun, go, written = Event(), Event(), list[int]()

    def write(batch: Sequence[int]) -> None:
        begun.set()
        assert go.wait(60)
        written.extend(batch)

    box, lost = make(write, size=10)
    box.put(0)
    assert begun.wait(60)
    for number in range(1, 31):
        box.put(number)
    assert lost == {"full": 20}
    go.set()
    box.close()
    assert written == list(range(11))


def test_a_failure_loses_its_batch_alone_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    failed, written = Event(), list[int]()
    broken = True

    def write(batch: Sequence[int]) -> None:
        if broken:
            failed.set()
            raise OSError("the prompt was: my secret")
        written.extend(batch)

    box, lost = make(write)
    for number in range(3):
        box.put(number)
        assert failed.wait(60)
        failed.clear()
    broken = False
    box.put(3)
    box.close()
    assert lost["failed"] >= 1 and written[-1:] == [3] and lost["failed"] + len(written) == 4
    assert caplog.text.count("cannot be written") == 1 and "can be written again" in caplog.text
    assert "secret" not in caplog.text


def test_what_cannot_be_written_by_the_end_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LAST_SECONDS", 0.05)
    begun, go = Event(), Event()

    def write(batch: Sequence[int]) -> None:
        begun.set()
        go.wait(60)

    box, lost = make(write)
    box.put(0)
    assert begun.wait(60)
    box.put(1)
    box.close()
    go.set()
    assert lost == {"full": 1}


def test_a_full_batch_that_failed_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BATCH", 1)
    monkeypatch.setattr(outbox, "PAUSE_SECONDS", 60)
    failed, again = Event(), Event()

    def write(batch: Sequence[int]) -> None:
        (again if failed.is_set() else failed).set()
        raise OSError

    box, lost = make(write)
    for number in range(3):
        box.put(number)
    assert failed.wait(60)
    assert not again.wait(0.05)
    box.close()
    assert lost == {"failed": 3}
