"""Whose turn it is at a bundle: threads that take up waiting work key by key, not first come, first served.

The next to be served is the key that has been served least since it came, counted in tokens; a newcomer
starts level with whoever is served now (start-time fair queueing). A key with 200 requests in line thus
delays another key's first by one of them. Work without a key is one party. Work that can be done together is
taken up together, in that order. Knows no request and no engine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")
Turn = tuple[Future[Any], Callable[[], Any]]


class Together(Protocol):
    """How several pieces of waiting work are done as one."""

    def joins(self, taken: Sequence[Any], other: Any) -> bool:
        """Whether `other` may be done along with those."""
        ...

    def run(self, works: Sequence[Any]) -> Sequence[Any]:
        """The result of each in order, or the Exception that it failed with."""
        ...


class Turns:
    """`places` threads. Safe to share between threads."""

    def __init__(self, places: int, name: str, together: Together | None = None) -> None:
        self._pool = ThreadPoolExecutor(places, name)
        self._places, self._running = places, 0
        self._together = together
        self._lock = Lock()
        self._waiting: dict[Hashable, OrderedDict[Future[Any], tuple[int, Callable[[], Any]]]] = {}
        self._served: dict[Hashable, int] = {}
        self._now = 0

    def submit(self, who: Hashable, cost: int, work: Callable[[], Result]) -> Future[Result]:
        """Its result when its turn has come and gone; cancelled before, it costs `who` nothing."""
        future: Future[Result] = Future()
        with self._lock:
            if who not in self._waiting:
                self._waiting[who] = OrderedDict()
                self._served[who] = max(self._now, self._served.get(who, 0))
            self._waiting[who][future] = (max(1, cost), work)
            free = self._running < self._places
            self._running += free
        future.add_done_callback(partial(self._forget, who))
        if free:
            self._pool.submit(self._run)
        return future

    def shutdown(self) -> None:
        """Cancel what waits; what is under way goes on."""
        with self._lock:
            waiting = [future for queue in self._waiting.values() for future in queue]
        for future in waiting:
            future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        """In a thread, as long as anything waits."""
        while turns := self._take():
            self._do(turns)

    def _do(self, turns: list[Turn]) -> None:
        works = [work for _, work in turns]
        try:
            if self._together and len(works) > 1:
                results = self._together.run(works)
            else:
                results = [work() for work in works]
        except BaseException as error:  # handed to whoever waits for it
            results = [error for _ in works]
        for (future, _), result in zip(turns, results, strict=True):
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _take(self) -> list[Turn]:
        """The work whose turn it is, and what joins it; none where all that waited was cancelled."""
        turns: list[Turn] = []
        with self._lock:
            while self._waiting:
                who = min(self._waiting, key=self._served.__getitem__)
                future, (cost, work) = next(iter(self._waiting[who].items()))
                if turns and not (self._together and self._together.joins([w for _, w in turns], work)):
                    break
                self._drop(who, future)
                if future.set_running_or_notify_cancel():
                    self._now = self._served[who]
                    self._served[who] += cost
                    turns.append((future, work))
            if not self._waiting:  # nobody is behind anybody
                self._served.clear()
                self._now = 0
            if not turns:
                self._running -= 1
        return turns

    def _forget(self, who: Hashable, future: Future[Any]) -> None:
        """What was cancelled in line, and all that it holds, goes at once."""
        if future.cancelled():
            with self._lock:
                if future in self._waiting.get(who, ()):
                    self._drop(who, future)

    def _drop(self, who: Hashable, future: Future[Any]) -> None:
        del self._waiting[who][future]
        if not self._waiting[who]:
            del self._waiting[who]
