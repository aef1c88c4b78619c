"""Traces in one SQLite file, readable by its owner alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from smallworks.errors import UserError
from smallworks.files import unwritable
from smallworks.server.traces.trace import COLUMNS, TABLE, Trace

PATIENCE_SECONDS = 2.0
INSERT = f"INSERT INTO traces ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


class SqliteTraces:
    def __init__(self, path: Path) -> None:
        self.path, self.where = path, str(path)
        self._file: sqlite3.Connection | None = None

    def write(self, traces: Sequence[Trace]) -> None:
        try:
            with self._connected() as file:
                file.executemany(INSERT, [trace.row() for trace in traces])
        except sqlite3.Error:
            self.close()
            raise

    def trim(self, *, before: float, rows: int, most: int) -> int:
        old = "at < ? OR number <= (SELECT max(number) FROM traces) - ?"
        delete = f"DELETE FROM traces WHERE number IN (SELECT number FROM traces WHERE {old} LIMIT ?)"
        with self._connected() as file:
            return file.execute(delete, (before, rows, most)).rowcount

    def read(
        self, *, since: float = 0.0, bundle: str | None = None, last: int | None = None
    ) -> Iterator[Trace]:
        newest = (
            "SELECT * FROM traces WHERE at >= :since AND (:bundle IS NULL OR bundle = :bundle)"
            " ORDER BY number DESC LIMIT :last"
        )
        values = {"since": since, "bundle": bundle, "last": -1 if last is None else last}
        query = f"SELECT {', '.join(COLUMNS)} FROM ({newest}) ORDER BY number"
        for row in self._connected().execute(query, values):
            yield Trace.read(row)

    def count(self) -> int:
        """Raises UserError for a file that cannot be had, or is not ours."""
        try:
            return int(self._connected().execute("SELECT count(*) FROM traces").fetchone()[0])
        except sqlite3.OperationalError as error:
            raise unwritable(self.path, OSError(0, str(error))) from error
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"'{self.path}' cannot hold traces: {error}.", fix="Name another file, or restore it."
            ) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _connected(self) -> sqlite3.Connection:
        """The file, made anew where it was taken away."""
        if self._file is not None and self.path.exists():
            return self._file
        self.close()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
        except OSError as error:
            raise unwritable(self.path, error) from error
        file = sqlite3.connect(self.path, check_same_thread=False, timeout=PATIENCE_SECONDS)
        try:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = NORMAL")
            file.execute(TABLE.format(table="traces", serial="INTEGER PRIMARY KEY AUTOINCREMENT"))
            file.execute("CREATE INDEX IF NOT EXISTS traces_at ON traces (at)")
            file.commit()
        except sqlite3.Error:
            file.close()
            raise
        self._file = file
        return file
