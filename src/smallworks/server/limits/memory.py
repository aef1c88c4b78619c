"""A store of limits in memory, for one process: what every other store is held against in the tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from smallworks.server.limits.ledger import (
    LEASE_SECONDS,
    Book,
    Entry,
    Granted,
    Hold,
    Knock,
    Outcome,
    Renew,
    Settle,
    Usage,
    month_of,
)


@dataclass(slots=True)
class Held:
    month: str
    tokens: int
    micros: int
    until: float


@dataclass(slots=True)
class Account:
    book: Book
    held: dict[str, Held] = field(default_factory=dict)
    spent: dict[str, list[int]] = field(default_factory=dict)
    """Tokens, micro-dollars and answers by month."""


class MemoryLimits:
    """Safe to share between threads. `lease` None: whoever holds is this process, and lives as long."""

    def __init__(self, *, clock: Callable[[], float] = time.time, lease: float | None = None) -> None:
        self._clock, self._lease = clock, lease
        self._lock = Lock()
        self._accounts: dict[str, Account] = {}

    def run(self, entries: Sequence[Entry]) -> list[Outcome]:
        with self._lock:
            now = self._clock()
            return [self._one(entry, now) for entry in entries]

    def usage(self) -> list[Usage]:
        with self._lock:
            return [
                Usage(account=name, month=month, tokens=tokens, micros=micros, answers=answers)
                for name, account in self._accounts.items()
                for month, (tokens, micros, answers) in account.spent.items()
            ]

    def interrupt(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        """Nothing is open."""

    def _one(self, entry: Entry, now: float) -> Outcome:
        account = self._accounts.get(entry.account)
        if account is None:
            account = self._accounts[entry.account] = Account(Book(now))
        match entry:
            case Knock(limits=limits):
                book = self._book(account, now)
                return book.knock(limits) or book.granted(limits)
            case Hold():
                return self._hold(account, entry, now)
            case Settle():
                return self._settle(account, entry, now)
            case Renew():
                if entry.id in account.held:
                    account.held[entry.id].until = now + (self._lease or LEASE_SECONDS)
                return Granted()
        _add(account, month_of(now), entry.tokens, entry.micros, entry.answers)
        return Granted()

    def _book(self, account: Account, now: float) -> Book:
        """As it is now: past leases have ended."""
        if self._lease is not None:
            account.held = {name: held for name, held in account.held.items() if held.until > now}
        book = account.book
        book.now, book.running = now, len(account.held)
        book.spent = account.spent.get(month_of(now), (0, 0))
        return book

    def _hold(self, account: Account, entry: Hold, now: float) -> Outcome:
        book = self._book(account, now)
        if refused := book.hold(entry.limits, entry.tokens, entry.micros):
            return refused
        month, until = month_of(now), now + (self._lease or LEASE_SECONDS)
        account.held[entry.id] = Held(month, entry.tokens, entry.micros, until)
        _add(account, month, entry.tokens, entry.micros, 0)
        return book.granted(entry.limits)

    def _settle(self, account: Account, entry: Settle, now: float) -> Outcome:
        held = account.held.pop(entry.id, None)
        book = self._book(account, now)
        if held is not None:
            tokens, micros = entry.tokens - held.tokens, entry.micros - held.micros
            book.give_back(entry.limits, -tokens)
            _add(account, held.month, tokens, micros, entry.answers)
        return book.granted(entry.limits)


def _add(account: Account, month: str, tokens: int, micros: int, answers: int) -> None:
    spent = account.spent.get(month)
    if spent is None:
        spent = account.spent[month] = [0, 0, 0]
    spent[0] += tokens
    spent[1] += micros
    spent[2] += answers
