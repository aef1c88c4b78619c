"""Requests under load: clients who ask again once answered (closed loop), or arrivals at a rate (open loop).

In an open loop a request is due whether or not the ones before it are answered, as with real users, and its
time counts from when it was due. A load tool that waits for a slow answer, and only then starts its next
clock, leaves out the requests that would have waited too ("coordinated omission"; Tene 2013). Knows a
function that puts one request and a clock; knows no wire and no statistics.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from smallworks.errors import UserError
from smallworks.seams import Progress, silent

Arrivals = Literal["poisson", "fixed"]
UNSENT = "unsent"
"""The cause of a request that was due and could not be sent before the level ended."""
MOST_THREADS = 1024
TICK = 0.25


@dataclass(frozen=True, kw_only=True)
class Load:
    """One level: so many `clients`, or else `rate` arrivals a second with up to `at_once` under way.

    It lasts `warmup` and then `seconds`, or until `most` requests have been measured. Open loops may then
    catch up for `grace` seconds.
    """

    clients: int = 0
    rate: float = 0.0
    arrivals: Arrivals = "poisson"
    seconds: float = 10.0
    warmup: float = 2.0
    most: int = 100_000
    at_once: int = 256
    grace: float = 5.0

    def __post_init__(self) -> None:
        if (self.clients > 0) == (self.rate > 0):
            raise UserError(
                f"A load of {self.clients} clients and {self.rate:g} a second is none.",
                fix="Give a positive number of one of them.",
            )
        if max(self.clients, self.at_once) > MOST_THREADS:
            raise UserError(
                f"{max(self.clients, self.at_once):,} at once is more than one machine's {MOST_THREADS:,}.",
                fix="Load the server from several machines at once.",
            )
        for name, count in (("requests", self.most), ("requests at once", self.at_once)):
            if count < 1:
                raise UserError(f"A load of {count:,} {name} is none.", fix="Give 1 or more.")
        for name, value, least in (("seconds", self.seconds, 0.05), ("warm-up", self.warmup, 0.0)):
            if not least <= value <= 86_400:
                raise UserError(f"{value:g} {name} is out of range.", fix=f"Give {least:g} to 86400.")

    @property
    def open(self) -> bool:
        return self.rate > 0

    @property
    def name(self) -> str:
        if self.open:
            return f"{self.rate:g}/s"
        return f"{self.clients} client{'' if self.clients == 1 else 's'}"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came of one request. `cause` is empty for an answer; `first` is when its first token came."""

    cause: str = ""
    first: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One measured request, in seconds of `time.perf_counter`; `free` is when somebody could send it."""

    due: float
    free: float
    sent: float
    ended: float
    reply: Reply


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that came of a level, in the order it was due. `start` and `end` are those of the measured time.

    `busy` is the share of one core that this process took meanwhile.
    """

    start: float
    end: float
    shots: tuple[Shot, ...]
    busy: float


Ask = Callable[[int], Reply]
"""Puts the request of this number; returns once it is answered or has failed, and raises for neither."""


def run(load: Load, ask: Ask, *, seed: int = 0, progress: Progress = silent) -> Run:
    """Put one level of load, warm-up first. The requests of the warm-up are sent and not returned."""
    cpu, wall = time.process_time(), time.perf_counter()
    loop = _Open(load, ask, seed) if load.open else _Closed(load, ask)
    try:
        loop.begin()
        while loop.alive():
            done = min(time.perf_counter(), loop.end) - loop.begun
            progress(f"load {load.name}", done, load.warmup + load.seconds, f"{len(loop.shots):,} answered")
            loop.join(TICK)
    finally:
        loop.stopped.set()
    loop.join(None)
    if loop.failed:
        raise loop.failed[0]
    shots = sorted(loop.shots, key=lambda shot: shot.due)
    end = shots[-1].due if len(shots) >= load.most else loop.end
    progress(f"load {load.name}", 1, 1, "done")
    busy = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return Run(start=loop.start, end=end, shots=tuple(shots), busy=busy)


@dataclass
class _Loop:
    """What both loops share: the threads, the clock, and the place where shots are kept."""

    load: Load
    ask: Ask
    begun: float = 0.0
    shots: list[Shot] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    asked: int = 0
    measured: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def start(self) -> float:
        return self.begun + self.load.warmup

    @property
    def end(self) -> float:
        return self.start + self.load.seconds

    def begin(self) -> None:
        raise NotImplementedError

    def work(self) -> None:
        raise NotImplementedError

    def alive(self) -> bool:
        return any(thread.is_alive() for thread in list(self.threads))

    def join(self, seconds: float | None) -> None:
        """Wait for the threads, all of them or for a while."""
        until = None if seconds is None else time.perf_counter() + seconds
        for thread in list(self.threads):
            thread.join(None if until is None else max(0.0, until - time.perf_counter()))

    def hire(self) -> None:
        thread = threading.Thread(target=self._guarded, name="load", daemon=True)
        thread.start()
        self.threads.append(thread)  # now: one that has not begun cannot be joined

    def _guarded(self) -> None:
        try:
            self.work()
        except BaseException as error:  # told by `run`, in the thread that asked
            self.failed.append(error)
            self.stopped.set()

    def number(self, due: float) -> int | None:
        """The number of the next request; None when enough were measured."""
        with self.lock:
            if due >= self.start:
                if self.measured >= self.load.most:
                    return None
                self.measured += 1
            self.asked += 1
            return self.asked - 1

    def put(self, due: float, free: float, number: int) -> None:
        sent = time.perf_counter()
        reply = self.ask(number)
        self.keep(Shot(due=due, free=free, sent=sent, ended=time.perf_counter(), reply=reply))

    def keep(self, shot: Shot) -> None:
        if shot.due >= self.start:
            self.shots.append(shot)


class _Closed(_Loop):
    """So many clients, each of which asks again as soon as it is answered."""

    def begin(self) -> None:
        self.begun = time.perf_counter()
        for _ in range(self.load.clients):
            self.hire()

    def work(self) -> None:
        while not self.stopped.is_set() and (now := time.perf_counter()) < self.end:
            number = self.number(now)
            if number is None:
                return
            self.put(now, now, number)


class _Open(_Loop):
    """Arrivals by plan. One free thread waits for the next; it hires another where nobody else is free."""

    def __init__(self, load: Load, ask: Ask, seed: int) -> None:
        super().__init__(load, ask)
        self._plan: Iterator[float] = plan(load, seed)
        self._turn = threading.Lock()
        self._idle = 0

    def begin(self) -> None:
        self.begun = time.perf_counter()
        self.hire()

    def work(self) -> None:
        while (taken := self._next()) is not None:
            self.put(*taken)

    def _next(self) -> tuple[float, float, int] | None:
        """When the next request was due, since when somebody was free for it, and its number."""
        with self.lock:
            self._idle += 1
        with self._turn:
            taken = self._wait()
            with self.lock:
                self._idle -= 1
                short = self._idle == 0 and len(self.threads) < self.load.at_once
            if taken is not None and short:
                self.hire()
            return taken

    def _wait(self) -> tuple[float, float, int] | None:
        for after in self._plan:
            due, free = self.begun + after, time.perf_counter()
            if free > self.end + self.load.grace:
                if not self._give_up(due, free):
                    self._plan = iter(())
                    return None
                continue
            if self.stopped.wait(max(0.0, due - free)) or (number := self.number(due)) is None:
                self._plan = iter(())
                return None
            return due, max(due, free), number
        return None

    def _give_up(self, due: float, now: float) -> bool:
        """Keep a request as unsent; False when enough were measured."""
        if self.number(due) is None:
            return False
        self.keep(Shot(due=due, free=now, sent=now, ended=now, reply=Reply(cause=UNSENT)))
        return True


def plan(load: Load, seed: int) -> Iterator[float]:
    """Seconds from the beginning at which each request is due: evenly, or as independent users come."""
    draw, at, number = random.Random(seed), 0.0, 0
    while at < load.warmup + load.seconds:
        yield at
        number += 1
        at = number / load.rate if load.arrivals == "fixed" else at + draw.expovariate(load.rate)
