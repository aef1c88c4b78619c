"""An SQLite file, or PostgreSQL, behind the same few methods: queries sent together in one transaction.

Statements are written once, with `?` for values. What the two say differently is an attribute: the clock,
a list of values, a lock on rows. Knows no keys and no limits, only their schema.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

from smallworks.errors import UserError
from smallworks.files import unwritable
from smallworks.postgresql import Address
from smallworks.server import schema
from smallworks.server.limits.ledger import Gone

if TYPE_CHECKING:
    import psycopg

Query = tuple[str, Sequence[Any]]
Rows = list[tuple[Any, ...]]
Send = Callable[[Sequence[Query]], list[Rows]]
PATIENCE_SECONDS = 2.0
"""How long a write waits for whoever holds the file or the row, and a connection for its server."""
SCHEMA = "smallworks"
"""Where the tables stand in PostgreSQL, unless the address says `options=-c search_path=…`."""
ALONE = 7_305_846_003
"""The advisory lock that two servers, which start at once, bring the schema up under."""


class Clash(Exception):
    """What was to be written is there already."""


class Database(Protocol):
    """Safe to share between threads. Everything raises Gone when it cannot be reached or written."""

    where: str
    """Its address, without a password."""
    clock: str
    values: str
    """A list of texts as the rows of one column, `value`; sent with `listed`."""
    lock: str
    order: str
    """The column by which rows of one second come in order."""

    def transaction(self) -> AbstractContextManager[Send]:
        """Sends queries and gives the rows of each; all of it holds, or none. Raises Clash too."""
        ...

    def read(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """The rows of one query, without waiting for whoever writes."""
        ...

    def listed(self, texts: Sequence[str]) -> Any: ...

    def again(self) -> Database:
        """The same on a connection of its own."""
        ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class SqliteDatabase:
    """The file with its tables, readable by its owner alone; made where there is none."""

    clock = "unixclock()"
    values = "SELECT value FROM json_each(?)"
    lock = ""
    order = "rowid"

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Raises UserError for a file that is not there (unless `create`), or not ours."""
        if not create and not path.is_file():
            raise UserError(
                f"No key file at '{path}'.", fix=f"Make one: smallworks keys add NAME --file {path}"
            )
        self.where = str(path)
        self._lock = RLock()
        self._file = _connected(path)
        try:
            self._bring_up()
        except BaseException:
            self._file.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Send]:
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                yield self._send
                self._file.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                self._undo()
                raise Clash(str(error)) from error
            except sqlite3.Error as error:
                self._undo()
                raise Gone(f"'{self.where}': {error}") from error
            except BaseException:
                self._undo()
                raise

    def read(self, text: str, values: Sequence[Any] = ()) -> Rows:
        with self._lock:
            try:
                return self._file.execute(text, values).fetchall()
            except sqlite3.Error as error:
                raise Gone(f"'{self.where}': {error}") from error

    def listed(self, texts: Sequence[str]) -> str:
        return json.dumps(list(texts))

    def again(self) -> SqliteDatabase:
        return SqliteDatabase(Path(self.where))

    def interrupt(self) -> None:
        """Waiting for another process has its own end."""

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _send(self, queries: Sequence[Query]) -> list[Rows]:
        return [self._file.execute(text, values).fetchall() for text, values in queries]

    def _undo(self) -> None:
        with suppress(sqlite3.Error):
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")

    def _bring_up(self) -> None:
        try:
            self._file.execute("BEGIN IMMEDIATE")
            version = self._file.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and self._file.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise sqlite3.DatabaseError("it holds the tables of another program")
            _check_version(self.where, version)
            for statement in schema.statements(version):
                self._file.execute(statement)
            self._file.execute(f"PRAGMA user_version = {schema.VERSION}")
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(self.where, error) from error


class PostgresDatabase:
    """One connection, made when it is first needed and again when it broke."""

    clock = "extract(epoch FROM clock_timestamp())::float8"
    values = "SELECT value FROM unnest(?::text[]) AS listed(value)"
    lock = " FOR UPDATE"
    order = "id"

    def __init__(self, url: str, *, patience: float = PATIENCE_SECONDS) -> None:
        """Connects to nothing yet. Raises MissingExtra, or UserError for an address that cannot be read."""
        self._address, self._url, self._patience = Address(url), url, patience
        self._psycopg, self.where = self._address.psycopg, self._address.where
        self._lock = RLock()
        self._open: psycopg.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Send]:
        """Queries sent together cost one round trip, and beginning and ending cost none."""
        with self._lock:
            try:
                if self._open is None:
                    self._open = self._connected()
                with self._open.pipeline(), self._open.transaction():
                    yield self._send
            except self._psycopg.IntegrityError as error:
                raise Clash(str(error)) from error
            except self._psycopg.Error as error:
                self._hang_up()
                raise Gone(f"{self.where}: {type(error).__name__}") from error

    def read(self, text: str, values: Sequence[Any] = ()) -> Rows:
        with self.transaction() as send:
            return send([(text, values)])[0]

    def listed(self, texts: Sequence[str]) -> list[str]:
        return list(texts)

    def again(self) -> PostgresDatabase:
        return PostgresDatabase(self._url, patience=self._patience)

    def interrupt(self) -> None:
        """Cut the connection: whoever reads from it learns at once that it is gone."""
        import os
        import socket

        connection = self._open
        with suppress(OSError, self._psycopg.Error):
            if connection is not None:
                with socket.socket(fileno=os.dup(connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._hang_up()

    def _send(self, queries: Sequence[Query]) -> list[Rows]:
        assert self._open is not None
        sent = [self._open.execute(_asked(text), list(values)) for text, values in queries]
        given = ["SELECT" in text[:6] or "RETURNING" in text for text, _ in queries]
        return [each.fetchall() if rows else [] for each, rows in zip(sent, given, strict=True)]

    def _hang_up(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def _connected(self) -> psycopg.Connection:
        """Connected, its schema brought up, and nothing on it able to wait for long."""
        connection = self._address.connected("smallworks", self._patience)
        try:
            _bring_up(connection, self.where)
        except BaseException:
            connection.close()
            raise
        return connection


def _asked(text: str) -> bytes:
    return text.replace("?", "%s").encode()


def _bring_up(connection: psycopg.Connection, where: str) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (ALONE,))
        path = connection.execute("SHOW search_path").fetchone()
        if path and path[0] == '"$user", public':
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}".encode())
            connection.execute(f"SET search_path = {SCHEMA}".encode())
        connection.execute("CREATE TABLE IF NOT EXISTS version (number BIGINT NOT NULL)")
        found = connection.execute("SELECT max(number) FROM version").fetchone()
        version = (found[0] if found else 0) or 0
        _check_version(where, version)
        for statement in schema.statements(version):
            connection.execute(schema.for_postgres(statement).encode())
        if version < schema.VERSION:
            connection.execute("INSERT INTO version VALUES (%s)", (schema.VERSION,))


def _connected(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise unwritable(path, error) from error
    file = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=PATIENCE_SECONDS)
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.create_function("unixclock", 0, time.time)
    except sqlite3.Error as error:
        file.close()
        raise _unusable(str(path), error) from error
    return file


def _unusable(where: str, error: Exception) -> UserError:
    return UserError(
        f"'{where}' cannot be used as a key file: {error}.", fix="Name another one, or restore it."
    )


def _check_version(where: str, version: int) -> None:
    if version > schema.VERSION:
        raise UserError(
            f"'{where}' was written by a newer Smallworks (its version is {version}, ours {schema.VERSION}).",
            fix="Update Smallworks, or name another key file.",
        )
