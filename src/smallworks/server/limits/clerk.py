"""The one thread that speaks to a store of limits: what is asked while it works goes in the next batch.

The event loop never waits for a store. A store that fails is tried again after a while, by the thread alone;
until it answers, whoever asks learns at once that it is gone, and what has ended is kept to be settled.
A hold of which nobody knows whether it came through is settled too, at nothing. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Protocol

from smallworks.errors import SmallworksError
from smallworks.server.limits.ledger import (
    LEASE_SECONDS,
    Entry,
    Gone,
    Hold,
    Note,
    Outcome,
    Refused,
    Renew,
    Settle,
    Store,
)

LOG = logging.getLogger("smallworks.server")
BATCH = 256
OWED = 10_000
"""Settlements that are kept while the store is gone; those of further answers stay charged in full."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
"""Seconds until a store that failed is tried again; each failure doubles them."""
IDLE_SECONDS = 1.0
"""How often what was used without a budget is written down."""


class Watch(Protocol):
    """What the clerk tells the meters."""

    def batch(self, seconds: float) -> None: ...

    def gone(self, gone: bool) -> None: ...

    def lost(self, settlements: int) -> None: ...

    def unchecked(self) -> None: ...


@dataclass(slots=True)
class Asked:
    entry: Entry
    answer: asyncio.Future[Outcome]
    loop: asyncio.AbstractEventLoop


class Clerk:
    """Safe to share between threads. `patience` bounds, in seconds, how long an answer may take."""

    def __init__(self, store: Store, *, watch: Watch, patience: float = 1.0) -> None:
        self._store, self._watch, self._patience = store, watch, patience
        self._asked: SimpleQueue[Asked | Settle | None] = SimpleQueue()
        self._owed: list[Entry] = []
        self._running: dict[str, str] = {}
        """Accounts of what is held here, by its id."""
        self._notes: dict[str, list[int]] = {}
        self._lock = Lock()
        self._gone, self._wait, self._again = False, FIRST_WAIT, 0.0
        self._renewed = self._noted = self._began = time.monotonic()
        self._busy = self._closing = False
        self._thread = Thread(target=self._work, name="limits", daemon=True)
        self._thread.start()

    async def ask(self, entry: Entry) -> Outcome:
        """What the store decides. Raises Gone, at the latest when patience is over."""
        if self._gone or self._closing:
            raise Gone("not there just now")
        loop = asyncio.get_running_loop()
        asked = Asked(entry, loop.create_future(), loop)
        self._asked.put(asked)
        alarm = loop.call_later(self._patience, self._late, asked)
        try:
            return await asked.answer
        finally:
            alarm.cancel()

    def settle(self, entry: Settle) -> None:
        """Soon, and once the store is back where it is gone."""
        self._asked.put(entry)

    def note(self, account: str, tokens: int, micros: int) -> None:
        """One answer of an account without a budget; written down within a second or two."""
        with self._lock:
            had = self._notes.setdefault(account, [0, 0, 0])
            had[0] += tokens
            had[1] += micros
            had[2] += 1

    def passed(self) -> None:
        """Somebody was let in without being counted."""
        self._watch.unchecked()

    def retry_after(self) -> float:
        """Seconds until a store that is gone is tried again."""
        return max(1.0, self._again - time.monotonic())

    def close(self, seconds: float = 2.0) -> None:
        """Settle what has ended, if that goes within `seconds`."""
        self._closing = True
        self._asked.put(None)
        self._thread.join(seconds)

    def _late(self, asked: Asked) -> None:
        if not asked.answer.done():
            asked.answer.set_exception(Gone("no answer in time"))
            if self._busy and time.monotonic() - self._began >= self._patience:
                self._store.interrupt()

    def _work(self) -> None:
        while not self._closing or self._owed or not self._asked.empty():
            asked, settled = self._gather()
            if self._gone and time.monotonic() < self._again:
                self._refuse(asked)
                self._owe(settled)
                if self._closing:
                    break
                continue
            self._do(asked, settled)
        self._store.close()

    def _gather(self) -> tuple[list[Asked], list[Settle]]:
        """What was asked meanwhile; after a while nothing, so that chores are done."""
        wait = self._again - time.monotonic() if self._gone else IDLE_SECONDS
        asked: list[Asked] = []
        settled: list[Settle] = []
        try:
            item = self._asked.get(timeout=min(IDLE_SECONDS, max(0.001, wait)))
            while True:
                if isinstance(item, Asked):
                    asked.append(item)
                elif item is not None:
                    settled.append(item)
                if len(asked) + len(settled) >= BATCH:
                    break
                item = self._asked.get_nowait()
        except Empty:
            return asked, settled
        return asked, settled

    def _do(self, asked: list[Asked], settled: list[Settle]) -> None:
        """One batch: what ended first, so that it makes room for what is asked."""
        asked = [each for each in asked if not each.answer.done()]
        before = [*self._owed[:BATCH], *settled]
        notes = self._taken_notes()
        chores: list[Entry] = [*notes, *self._renewals()]
        entries: list[Entry] = [*before, *(each.entry for each in asked), *chores]
        if not entries and not self._gone:
            return
        self._began, self._busy = time.monotonic(), True
        try:
            outcomes = self._store.run(entries)
        except Exception as error:  # whatever it is, the thread must not end of it
            self._failed(error, asked, settled, notes)
            return
        finally:
            self._busy = False
        self._watch.batch(time.monotonic() - self._began)
        self._owed = self._owed[BATCH:]
        self._back()
        for entry in before:
            self._running.pop(getattr(entry, "id", ""), None)
        self._deliver(asked, outcomes[len(before) : len(before) + len(asked)])

    def _deliver(self, asked: Sequence[Asked], outcomes: Sequence[Outcome]) -> None:
        for each, outcome in zip(asked, outcomes, strict=True):
            if isinstance(each.entry, Hold) and not isinstance(outcome, Refused):
                self._running[each.entry.id] = each.entry.account
        loops = {each.loop for each in asked}
        for loop in loops:
            pairs = [pair for pair in zip(asked, outcomes, strict=True) if pair[0].loop is loop]
            self._call(loop, pairs)

    def _call(self, loop: asyncio.AbstractEventLoop, pairs: list[tuple[Asked, Outcome]]) -> None:
        try:
            loop.call_soon_threadsafe(self._hand_over, pairs)
        except RuntimeError:  # that application has ended
            self._drop(pairs)

    def _hand_over(self, pairs: list[tuple[Asked, Outcome]]) -> None:
        for asked, outcome in pairs:
            if asked.answer.done():
                self._drop([(asked, outcome)])
            else:
                asked.answer.set_result(outcome)

    def _drop(self, pairs: list[tuple[Asked, Outcome]]) -> None:
        """Nobody waits for it any more, and nobody will end it."""
        for asked, outcome in pairs:
            if isinstance(asked.entry, Hold) and not isinstance(outcome, Refused):
                self.settle(_undone(asked.entry))

    def _failed(
        self, error: Exception, asked: Sequence[Asked], settled: Sequence[Settle], notes: Sequence[Note]
    ) -> None:
        if not self._gone:
            said = error if isinstance(error, Gone | SmallworksError) else type(error).__name__
            LOG.error("the store of limits is gone: %s", said)
        self._gone = True
        self._again = time.monotonic() + self._wait
        self._wait = min(LONGEST_WAIT, 2 * self._wait)
        self._watch.gone(True)
        self._owe([*settled, *(_undone(each.entry) for each in asked if isinstance(each.entry, Hold))])
        self._refuse(asked)
        with self._lock:  # perhaps they came through: an amount without a budget may be told twice
            for note in notes:
                had = self._notes.setdefault(note.account, [0, 0, 0])
                for at, more in enumerate((note.tokens, note.micros, note.answers)):
                    had[at] += more

    def _back(self) -> None:
        if self._gone:
            LOG.warning("the store of limits is back")
            self._watch.gone(False)
        self._gone, self._wait = False, FIRST_WAIT

    def _owe(self, settled: Sequence[Settle]) -> None:
        room = max(0, OWED - len(self._owed))
        self._owed += settled[:room]
        for lost in settled[room:]:  # charged in full; its lease ends
            self._running.pop(lost.id, None)
        if len(settled) > room:
            self._watch.lost(len(settled) - room)

    def _refuse(self, asked: Sequence[Asked]) -> None:
        for each in asked:
            try:
                each.loop.call_soon_threadsafe(_give_up, each)
            except RuntimeError:  # that application has ended, and nobody waits
                LOG.debug("nobody waits for an answer on limits")

    def _taken_notes(self) -> list[Note]:
        now = time.monotonic()
        if not self._notes or (now - self._noted < IDLE_SECONDS and not self._closing):
            return []
        self._noted = now
        with self._lock:
            notes, self._notes = self._notes, {}
        return [Note(account, *used) for account, used in notes.items()]

    def _renewals(self) -> list[Renew]:
        now = time.monotonic()
        if now - self._renewed < LEASE_SECONDS / 3:
            return []
        self._renewed = now
        return [Renew(account, held) for held, account in self._running.items()]


def _give_up(asked: Asked) -> None:
    if not asked.answer.done():
        asked.answer.set_exception(Gone("not there just now"))


def _undone(hold: Hold) -> Settle:
    return Settle(hold.account, hold.limits, hold.id, 0, 0, answers=0)
