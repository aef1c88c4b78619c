"""The file of releases: every move of every name, in SQLite; a name's last move is where it points.

Nothing is ever overwritten: a rollback is a move too. It points where the name pointed before, so that two
rollbacks go two steps back. Bundles below the file's folder are kept relative to it, so that the folder can
be copied to another machine. Knows no server.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smallworks.bundle import open_bundle
from smallworks.errors import BundleError, UserError, nearest
from smallworks.files import unwritable

NAME = re.compile(r"[A-Za-z][\w-]{0,63}")
VERSION = 1
SCHEMA = """
CREATE TABLE moves (
  number INTEGER PRIMARY KEY, release TEXT NOT NULL, path TEXT NOT NULL, bundle TEXT NOT NULL,
  at INTEGER NOT NULL, kind TEXT NOT NULL, before INTEGER REFERENCES moves (number)
);
CREATE INDEX moves_of_a_release ON moves (release, number);
"""
PATIENCE_SECONDS = 5.0
"""How long a command waits for another one that writes."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A release was made to point at a bundle. `before` is the move that it can be rolled back to."""

    number: int
    release: str
    path: Path
    bundle: str
    """The id that the bundle had then, and must have still."""
    at: int
    kind: str
    before: int | None


class Releases:
    """Safe to share between processes. Each call opens the file anew; nothing is held between calls."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Raises UserError for a file that is not there (unless `create`), or not ours."""
        self.path = path.expanduser().absolute()
        if not create and not self.path.is_file():
            raise UserError(
                f"No release file at '{path}'.",
                fix=f"Make one: smallworks release promote NAME BUNDLE --file {path}",
            )
        if create:
            self._prepare()

    def promote(self, release: str, bundle: str | Path) -> Move:
        """Point `release` at a bundle, every byte of which is checked first."""
        if not NAME.fullmatch(release):
            raise UserError(
                f"'{release}' cannot name a release.", fix="Use letters, digits, - and _: production"
            )
        opened = open_bundle(bundle)
        with self._open(write=True) as file:
            last = self._last(file, release)
            before = last.number if last else None
            return self._move(file, release, opened.path.resolve(), opened.id, "promote", before)

    def rollback(self, release: str) -> Move:
        """Point it where it pointed before. Raises UserError where there is nothing before."""
        with self._open() as file:
            back = self._before(file, release)
        self._check(back)  # may read gigabytes: others may move releases meanwhile
        with self._open(write=True) as file:
            if self._before(file, release) != back:
                raise UserError(
                    f"'{release}' was moved by somebody else just now.", fix="Look: smallworks release list"
                )
            return self._move(file, release, back.path, back.bundle, "rollback", back.before)

    def current(self, release: str) -> Move:
        """Where it points. Raises UserError for a name that was never promoted."""
        with self._open() as file:
            return self._known(file, release)

    def history(self, release: str | None = None) -> list[Move]:
        """Every move, of one release or of all, the newest first."""
        with self._open() as file:
            rows = file.execute(
                "SELECT * FROM moves WHERE :name IS NULL OR release = :name ORDER BY number DESC",
                {"name": release},
            ).fetchall()
        return [self._read(row) for row in rows]

    def bundle(self, release: str) -> Path:
        """The folder that it points at. Raises BundleError where another bundle stands there by now."""
        move = self.current(release)
        self._check(move)
        return move.path

    def _check(self, move: Move) -> None:
        found = open_bundle(move.path)
        if found.id != move.bundle:
            raise BundleError(
                f"'{move.release}' points at the bundle {move.bundle[:12]}, "
                f"but in '{move.path}' there is {found.id[:12]}.",
                fix=f"Put it back, or: smallworks release promote {move.release} {move.path}",
            )

    def _known(self, file: sqlite3.Connection, release: str) -> Move:
        last = self._last(file, release)
        if last is None:
            names = [row["release"] for row in file.execute("SELECT DISTINCT release FROM moves")]
            fix = nearest(release, names) if names else f"smallworks release promote {release} BUNDLE"
            raise UserError(f"There is no release '{release}' in '{self.path}'.", fix=fix)
        return last

    def _before(self, file: sqlite3.Connection, release: str) -> Move:
        before = self._known(file, release).before
        row = file.execute("SELECT * FROM moves WHERE number = ?", (before,)).fetchone()
        if row is None:
            raise UserError(
                f"'{release}' has pointed at no other bundle before.",
                fix=f"Point it at one: smallworks release promote {release} BUNDLE",
            )
        return self._read(row)

    def _last(self, file: sqlite3.Connection, release: str) -> Move | None:
        row = file.execute(
            "SELECT * FROM moves WHERE release = ? ORDER BY number DESC LIMIT 1", (release,)
        ).fetchone()
        return None if row is None else self._read(row)

    def _move(
        self, file: sqlite3.Connection, release: str, path: Path, bundle: str, kind: str, before: int | None
    ) -> Move:
        folder = self.path.parent.resolve()
        kept = os.path.relpath(path, folder) if path.is_relative_to(folder) else str(path)
        cursor = file.execute(
            "INSERT INTO moves (release, path, bundle, at, kind, before) VALUES (?, ?, ?, ?, ?, ?)",
            (release, kept, bundle, int(time.time()), kind, before),
        )
        row = file.execute("SELECT * FROM moves WHERE number = ?", (cursor.lastrowid,)).fetchone()
        return self._read(row)

    def _read(self, row: sqlite3.Row) -> Move:
        return Move(**{**dict(row), "path": self.path.parent / row["path"]})

    @contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """The file in one transaction that sees and writes all or nothing."""
        address = f"{self.path.as_uri()}?mode={'rwc' if write else 'ro'}"
        file = sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE_SECONDS)
        file.row_factory = sqlite3.Row
        try:
            file.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield file
            file.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise unwritable(self.path, OSError(0, str(error))) from error
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"'{self.path}' cannot be used as a release file: {error}.",
                fix="Name another one, or restore it.",
            ) from error
        finally:
            file.close()

    def _prepare(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error
        with self._open(write=True) as file:
            version = file.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and file.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise sqlite3.DatabaseError("it holds the tables of another program")
            if version > VERSION:
                raise sqlite3.DatabaseError(f"a newer Smallworks wrote it (version {version})")
            if version == 0:
                for statement in SCHEMA.split(";"):
                    file.execute(statement)
                file.execute(f"PRAGMA user_version = {VERSION}")
