"""The keys of a server in one SQLite file: made, listed, revoked, recognised, and what each has spent.

A key is 256 random bits behind an id. The file holds its SHA-256 and never the key. A slow, salted hash
protects passwords, which can be guessed from a dictionary; there is none of random bits, and 150 ms of
argon2 in every request would only help an attacker to keep the server busy. The id is hashed along, so
that no two rows can hold the same hash. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from smallworks.errors import UserError, nearest
from smallworks.files import unwritable

SCOPES = ("answers", "metrics")
"""What a key may open: everything that answers, or /metrics."""
VERSION = 1
SCHEMA = """
CREATE TABLE keys (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL, scopes TEXT NOT NULL, models TEXT NOT NULL,
  created INTEGER NOT NULL, expires INTEGER, revoked INTEGER,
  requests_per_minute INTEGER, tokens_per_minute INTEGER, at_once INTEGER, monthly_tokens INTEGER
);
CREATE UNIQUE INDEX one_key_of_a_name ON keys (name) WHERE revoked IS NULL;
CREATE TABLE spent (
  key TEXT NOT NULL REFERENCES keys (id), month TEXT NOT NULL, tokens INTEGER NOT NULL,
  PRIMARY KEY (key, month)
) WITHOUT ROWID;
"""
RESERVE = """
INSERT INTO spent (key, month, tokens) SELECT :key, :month, :tokens WHERE :tokens <= :most
ON CONFLICT (key, month) DO UPDATE SET tokens = tokens + :tokens WHERE tokens + :tokens <= :most
"""
GIVE_BACK = "UPDATE spent SET tokens = tokens - :tokens WHERE key = :key AND month = :month"
WRITTEN = re.compile(r"sw-([0-9a-f]{8})-[\w-]{43}")
FRESH_SECONDS = 1.0
"""How long a revoked key may still be taken for a live one: the file is looked at so often."""
PATIENCE_SECONDS = 2.0
"""How long a write waits for another process that holds the file."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a key may do. An empty `models` is all of them; a limit that is None is none. Times are Unix."""

    id: str
    name: str
    scopes: tuple[str, ...] = ("answers",)
    models: tuple[str, ...] = ()
    created: int = 0
    expires: int | None = None
    revoked: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    at_once: int | None = None
    monthly_tokens: int | None = None
    hash: bytes = field(default=b"", repr=False)

    def may_use(self, names: Iterable[str]) -> bool:
        return not self.models or not set(self.models).isdisjoint(names)

    def expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires


class KeyFile:
    """Safe to share between threads, and the file between processes. Close it, or use it as a context."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Raises UserError for a file that is not there (unless `create`), or not ours."""
        if not create and not path.is_file():
            raise UserError(
                f"No key file at '{path}'.", fix=f"Make one: smallworks keys add NAME --file {path}"
            )
        self.path = path
        self._lock = Lock()
        self._keys: dict[str, Key] = {}
        self._seen, self._looked = -1, -FRESH_SECONDS
        self._file = _open(path)

    def add(self, name: str, **allowed: Any) -> tuple[Key, str]:
        """A new key, and its text, which is told this once. `allowed` are fields of Key.

        Raises UserError when a live key has that name.
        """
        key_id = secrets.token_hex(4)
        text = f"sw-{key_id}-{secrets.token_urlsafe(32)}"
        key = Key(id=key_id, name=name, created=int(time.time()), hash=_hash(text), **allowed)
        row = {**vars(key), "scopes": json.dumps(key.scopes), "models": json.dumps(key.models)}
        columns = ", ".join(row)
        values = ", ".join(f":{column}" for column in row)
        with self._writing():
            try:
                self._file.execute(f"INSERT INTO keys ({columns}) VALUES ({values})", row)
            except sqlite3.IntegrityError as error:
                raise UserError(
                    f"There is a key named '{name}' already.",
                    fix=f"Choose another name, or first: smallworks keys revoke {name}",
                ) from error
        return key, text

    def all(self) -> list[Key]:
        """Every key that ever was, the oldest first."""
        rows = self._file.execute("SELECT * FROM keys ORDER BY created, rowid")
        return [_key(row) for row in rows]

    def revoke(self, name: str) -> Key:
        """End the live key of that name (or id) for good. Raises UserError where there is none."""
        live = [key for key in self.all() if key.revoked is None]
        found = next((key for key in live if name in (key.name, key.id)), None)
        if found is None:
            names = ", ".join(key.name for key in live) or "none"
            raise UserError(f"There is no live key '{name}'.", fix=f"Live keys: {names}.")
        with self._writing():
            self._file.execute("UPDATE keys SET revoked = ? WHERE id = ?", (int(time.time()), found.id))
        return found

    def recognise(self, text: str) -> Key | None:
        """The live key of this text, expired or not; compared in constant time, a stranger's id too.

        Raises sqlite3.Error when the file cannot be read.
        """
        found = WRITTEN.fullmatch(text)
        key = self._live().get(found[1]) if found else None
        same = hmac.compare_digest(_hash(text), key.hash if key else bytes(32))
        return key if same else None

    def reserve(self, key: Key, month: str, tokens: int) -> bool:
        """Charge `tokens` to the month's budget beforehand; False where they are not left.

        One statement, so that any number of threads and processes cannot overspend. Whoever dies before
        `give_back` has paid in full. Raises sqlite3.Error when the file cannot be written.
        """
        row = {"key": key.id, "month": month, "tokens": tokens, "most": key.monthly_tokens}
        with self._lock:
            return self._file.execute(RESERVE, row).rowcount == 1

    def give_back(self, key: Key, month: str, tokens: int) -> None:
        """What of a reservation was not used. Raises sqlite3.Error when the file cannot be written."""
        with self._lock:
            self._file.execute(GIVE_BACK, {"key": key.id, "month": month, "tokens": tokens})

    def spent(self, key: Key, month: str) -> int:
        """Tokens of the month, those reserved for answers under way among them."""
        with self._lock:
            row = self._file.execute(
                "SELECT tokens FROM spent WHERE key = ? AND month = ?", (key.id, month)
            ).fetchone()
        return row["tokens"] if row else 0

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> KeyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _live(self) -> dict[str, Key]:
        """Keys that are not revoked, read again where another process changed the file."""
        now = time.monotonic()
        if now - self._looked >= FRESH_SECONDS:
            with self._lock:
                version = self._file.execute("PRAGMA data_version").fetchone()[0]
                if version != self._seen:
                    self._keys = {key.id: key for key in self.all() if key.revoked is None}
                self._seen, self._looked = version, now
        return self._keys

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.OperationalError as error:
            raise unwritable(self.path, OSError(0, str(error))) from error
        self._seen, self._looked = -1, -FRESH_SECONDS


def this_month() -> str:
    """The month that a budget counts by, in UTC: '2026-11'."""
    return time.strftime("%Y-%m", time.gmtime())


def check_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes without repeats. Raises UserError for one that is none."""
    for scope in scopes:
        if scope not in SCOPES:
            raise UserError(f"'{scope}' is no scope.", fix=nearest(scope, SCOPES))
    return tuple(dict.fromkeys(scopes))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _key(row: sqlite3.Row) -> Key:
    values = dict(row)
    scopes, models = tuple(json.loads(values.pop("scopes"))), tuple(json.loads(values.pop("models")))
    return Key(scopes=scopes, models=models, **values)


def _open(path: Path) -> sqlite3.Connection:
    """The file with its tables, readable by its owner alone; made where there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise unwritable(path, error) from error
    file = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=PATIENCE_SECONDS)
    file.row_factory = sqlite3.Row
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        _prepare(file, path)
    except sqlite3.Error as error:
        file.close()
        raise UserError(
            f"'{path}' cannot be used as a key file: {error}.", fix="Name another one, or restore it."
        ) from error
    return file


def _prepare(file: sqlite3.Connection, path: Path) -> None:
    file.execute("BEGIN IMMEDIATE")
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and file.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.DatabaseError("it holds the tables of another program")
    if version == 0:
        for statement in SCHEMA.split(";"):
            file.execute(statement)
        file.execute(f"PRAGMA user_version = {VERSION}")
    file.execute("COMMIT")
    if version > VERSION:
        file.close()
        raise UserError(
            f"'{path}' was written by a newer Smallworks (its version is {version}, ours {VERSION}).",
            fix="Update Smallworks, or name another key file.",
        )
