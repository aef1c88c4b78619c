"""Limits counted in SQLite or PostgreSQL: read and locked in one go, decided here, written in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smallworks.server.database import Database, Query, Rows
from smallworks.server.limits.ledger import (
    LEASE_SECONDS,
    Book,
    Bucket,
    Entry,
    Granted,
    Hold,
    Knock,
    Note,
    Outcome,
    Renew,
    Settle,
    Usage,
    month_of,
)

COUNTED = "SELECT account, requests, requests_at, tokens, tokens_at FROM counts WHERE account IN ({values})"
SETTLED = "DELETE FROM holds WHERE id IN ({values}) RETURNING id, month, tokens, micros"
LAPSED = "DELETE FROM holds WHERE until <= {clock} AND account IN ({values})"
RUNNING = "SELECT account, count(*) FROM holds WHERE account IN ({values}) GROUP BY account"
SPENT = "SELECT key, month, tokens, micros FROM spent WHERE key IN ({values})"
OPENED = "INSERT INTO counts (account) {values} ORDER BY value ON CONFLICT DO NOTHING"
LEVELS = "UPDATE counts SET requests = ?, requests_at = ?, tokens = ?, tokens_at = ? WHERE account = ?"
HELD = "INSERT INTO holds (id, account, month, tokens, micros, until) VALUES (?, ?, ?, ?, ?, ?)"
RENEWED = "UPDATE holds SET until = {clock} + ? WHERE id IN ({values})"
CHARGED = (
    "INSERT INTO spent (key, month, tokens, micros, answers) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (key, month) DO UPDATE SET tokens = spent.tokens + excluded.tokens, "
    "micros = spent.micros + excluded.micros, answers = spent.answers + excluded.answers"
)
USAGE = "SELECT key, month, tokens, micros, answers FROM spent ORDER BY key, month"
Bought = dict[tuple[str, str], list[int]]
"""Tokens, micro-dollars and answers to add, by account and month."""


class Tables:
    """A Store. What one transaction has locked and read, no other server changes until it is written."""

    def __init__(self, database: Database, *, lease: float = LEASE_SECONDS) -> None:
        self._database, self._lease = database, lease
        self._known: set[str] = set()

    def run(self, entries: Sequence[Entry]) -> list[Outcome]:
        counted = {entry.account for entry in entries if isinstance(entry, Knock | Hold | Settle)}
        with self._database.transaction() as send:
            batch = _read(send(self._reading(entries, counted)))
            outcomes = [batch.decide(entry) for entry in entries]
            send(self._writing(batch, [e.id for e in entries if isinstance(e, Renew)]))
        self._known.update(counted)
        return outcomes

    def usage(self) -> list[Usage]:
        rows = self._database.read(USAGE)
        return [
            Usage(account=account, month=month, tokens=tokens, micros=micros, answers=answers)
            for account, month, tokens, micros, answers in rows
        ]

    def interrupt(self) -> None:
        self._database.interrupt()

    def close(self) -> None:
        self._database.close()

    def _reading(self, entries: Sequence[Entry], counted: Iterable[str]) -> list[Query]:
        """Rows are locked in the order of accounts, so that no two servers wait for each other."""
        accounts = self._database.listed(sorted(counted))
        settled = self._database.listed([e.id for e in entries if isinstance(e, Settle)])
        queries: list[Query] = [(f"SELECT {self._database.clock}", ())]
        if not self._known.issuperset(counted):
            queries.append((self._text(OPENED), (accounts,)))
        return [
            *queries,
            (self._text(COUNTED) + " ORDER BY account" + self._database.lock, (accounts,)),
            (self._text(SETTLED), (settled,)),
            (self._text(LAPSED), (accounts,)),
            (self._text(RUNNING), (accounts,)),
            (self._text(SPENT), (accounts,)),
        ]

    def _writing(self, batch: Batch, renewed: Sequence[str]) -> list[Query]:
        queries: list[Query] = [
            (LEVELS, (*_level(book.requests), *_level(book.tokens), account))
            for account, book in sorted(batch.books.items())
            if book.requests or book.tokens
        ]
        until = batch.now + self._lease
        queries += [
            (HELD, (hold.id, hold.account, batch.month, hold.tokens, hold.micros, until))
            for hold in batch.held
        ]
        queries += [(CHARGED, (*which, *more)) for which, more in sorted(batch.bought.items())]
        if renewed:
            queries.append((self._text(RENEWED), (self._lease, self._database.listed(renewed))))
        return queries

    def _text(self, statement: str) -> str:
        return statement.format(values=self._database.values, clock=self._database.clock)


class Batch:
    """What was read for several entries, and what they come to."""

    def __init__(self, now: float, books: dict[str, Book], settled: dict[str, tuple[str, int, int]]) -> None:
        self.now, self.month, self.books = now, month_of(now), books
        self.held: list[Hold] = []
        self.bought: Bought = {}
        self._settled = settled

    def decide(self, entry: Entry) -> Outcome:
        match entry:
            case Knock():
                book = self.books[entry.account]
                return book.knock(entry.limits) or book.granted(entry.limits)
            case Hold():
                book = self.books[entry.account]
                if refused := book.hold(entry.limits, entry.tokens, entry.micros):
                    return refused
                self.held.append(entry)
                self._buy(entry.account, self.month, entry.tokens, entry.micros, 0)
                return book.granted(entry.limits)
            case Settle():
                return self._settle(entry)
            case Note():
                self._buy(entry.account, self.month, entry.tokens, entry.micros, entry.answers)
        return Granted()

    def _settle(self, entry: Settle) -> Outcome:
        book = self.books[entry.account]
        if entry.id in self._settled:
            month, held, reserved = self._settled.pop(entry.id)
            book.give_back(entry.limits, held - entry.tokens)
            self._buy(entry.account, month, entry.tokens - held, entry.micros - reserved, entry.answers)
        return book.granted(entry.limits)

    def _buy(self, account: str, month: str, *more: int) -> None:
        """To be written, and to be seen by what is decided next."""
        if month == self.month and (book := self.books.get(account)):
            book.spent = [book.spent[0] + more[0], book.spent[1] + more[1]]
        had = self.bought.get((account, month), [0, 0, 0])
        self.bought[account, month] = [a + b for a, b in zip(had, more, strict=True)]


def _read(found: list[Rows]) -> Batch:
    levels, settled, _, running, spent = found[-5:]
    now = float(found[0][0][0])
    at_once = {row[0]: row[1] for row in running}
    this_month = {key: [tokens, micros] for key, month, tokens, micros in spent if month == month_of(now)}
    books = {
        account: Book(
            now,
            _bucket(requests, requests_at),
            _bucket(tokens, tokens_at),
            at_once.get(account, 0),
            this_month.get(account, [0, 0]),
        )
        for account, requests, requests_at, tokens, tokens_at in levels
    }
    return Batch(now, books, {row[0]: row[1:] for row in settled})


def _bucket(level: float | None, at: float | None) -> Bucket | None:
    """Its size is known once an entry asks."""
    return None if level is None or at is None else Bucket(0, level, at)


def _level(bucket: Bucket | None) -> tuple[float | None, float | None]:
    return (bucket.level, bucket.at) if bucket else (None, None)
