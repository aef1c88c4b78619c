"""Traces in PostgreSQL, for more than one replica: the table `traces` in the schema `smallworks`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from smallworks.errors import UpstreamError
from smallworks.postgresql import Address
from smallworks.server.traces.trace import COLUMNS, TABLE, Trace

if TYPE_CHECKING:
    import psycopg

SCHEMA = "smallworks"
PATIENCE_SECONDS = 5
"""How long a connection or a statement may take."""


class PostgresTraces:
    def __init__(self, url: str, *, schema: str = SCHEMA) -> None:
        """Connects to nothing yet. Raises MissingExtra, or UserError for an address that cannot be read."""
        self._address, self._schema = Address(url), schema
        self._psycopg, self.where = self._address.psycopg, self._address.where
        self._table = f"{schema}.traces"
        self._open: psycopg.Connection | None = None

    def write(self, traces: Sequence[Trace]) -> None:
        places = ", ".join(["%s"] * len(COLUMNS))
        insert = f"INSERT INTO {self._table} ({', '.join(COLUMNS)}) VALUES ({places})"
        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(insert.encode(), [_storable(trace) for trace in traces])
        except self._psycopg.Error:
            self.close()
            raise

    def trim(self, *, before: float, rows: int, most: int) -> int:
        old = f"at < %s OR number <= (SELECT max(number) FROM {self._table}) - %s"
        some = f"SELECT number FROM {self._table} WHERE {old} LIMIT %s"
        delete = f"DELETE FROM {self._table} WHERE number IN ({some})"
        return self._connected().execute(delete.encode(), (before, rows, most)).rowcount

    def read(
        self, *, since: float = 0.0, bundle: str | None = None, last: int | None = None
    ) -> Iterator[Trace]:
        where = "at >= %s AND (%s::text IS NULL OR bundle = %s)"
        newest = f"SELECT * FROM {self._table} WHERE {where} ORDER BY number DESC LIMIT %s"
        query = f"SELECT {', '.join(COLUMNS)} FROM ({newest}) AS newest ORDER BY number"
        for row in self._connected().execute(query.encode(), (since, bundle, bundle, last)):
            yield Trace.read(row)

    def count(self) -> int:
        """Raises UpstreamError for a server that cannot be reached."""
        try:
            found = self._connected().execute(f"SELECT count(*) FROM {self._table}".encode()).fetchone()
        except self._psycopg.Error as error:
            raise UpstreamError(
                f"{self.where} cannot be used: {type(error).__name__}.", fix="Start it, or mend the address."
            ) from error
        return int(found[0]) if found else 0

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def _connected(self) -> psycopg.Connection:
        if self._open is not None and not self._open.closed:
            return self._open
        connection = self._address.connected("smallworks traces", PATIENCE_SECONDS)
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(7305846004)")  # replicas that start at once
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}".encode())
                table = TABLE.format(table=self._table, serial="BIGSERIAL PRIMARY KEY")
                connection.execute(table.encode())
                index = f"CREATE INDEX IF NOT EXISTS traces_at ON {self._table} (at)"
                connection.execute(index.encode())
        except BaseException:
            connection.close()
            raise
        self._open = connection
        return connection


def _storable(trace: Trace) -> list[object]:
    """PostgreSQL has no null character in texts."""
    return [
        value.replace("\0", "\ufffd").replace("\\u0000", "\\ufffd") if isinstance(value, str) else value
        for value in trace.row()
    ]
