"""Adapters in turns: those of one go together, and nobody waits for ever behind another."""

from __future__ import annotations

from threading import Event, Thread

from smallworks.engines.llamacpp_turns import Turns


class Asker:
    """An answer under way in a thread of its own, until it is let go."""

    def __init__(self, turns: Turns, *scales: float) -> None:
        self.begun, self.gone, self._end = Event(), Event(), Event()
        self._thread = Thread(target=self._run, args=(turns, scales), daemon=True)
        before = len(turns._waiting) + turns._inside
        self._thread.start()
        with turns._changed:
            while not turns._changed.wait_for(lambda: len(turns._waiting) + turns._inside > before, 0.01):
                pass

    def _run(self, turns: Turns, scales: tuple[float, ...]) -> None:
        with turns.turn(scales, self.gone.is_set) as begun:
            if begun:
                self.begun.set()
                assert self._end.wait(10)

    def end(self) -> None:
        self._end.set()
        self.join()

    def give_up(self) -> None:
        self.gone.set()
        self.join()

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_one_adapter_goes_together_and_another_waits_only_for_what_is_under_way() -> None:
    turns = Turns()
    first, second = Asker(turns, 1.0, 0.0), Asker(turns, 1.0, 0.0)
    assert first.begun.wait(10) and second.begun.wait(10)
    other = Asker(turns, 0.0, 1.0)
    late = Asker(turns, 1.0, 0.0)
    another = Asker(turns, 0.0, 1.0)
    first.end()
    assert not (other.begun.is_set() or late.begun.is_set() or another.begun.is_set())
    second.end()
    assert other.begun.wait(10) and another.begun.wait(10), "both waited when its turn came"
    assert not late.begun.is_set()
    other.end()
    another.end()
    assert late.begun.wait(10)
    late.end()
    assert (turns._inside, len(turns._waiting), len(turns._called)) == (0, 0, 0)


def test_who_gives_up_in_line_has_no_turn_and_keeps_nobody_waiting() -> None:
    turns = Turns()
    first = Asker(turns, 1.0, 0.0)
    assert first.begun.wait(10)
    other, late = Asker(turns, 0.0, 1.0), Asker(turns, 1.0, 0.0)
    other.give_up()
    assert not other.begun.is_set() and late.begun.wait(10), "nobody with another adapter waits any more"
    first.end()
    late.end()
    assert (turns._inside, len(turns._waiting), len(turns._called)) == (0, 0, 0)


def test_who_has_given_up_when_the_turn_comes_does_not_take_it() -> None:
    turns = Turns()
    with turns.turn((1.0,), lambda: True) as begun:
        assert not begun and turns._inside == 0
