"""The keys of a server: made, listed, changed, rotated, revoked, recognised, and who did what to them when.

A key is 256 random bits behind an id. The database holds its SHA-256 and never the key. A slow, salted hash
protects passwords, which can be guessed from a dictionary; there is none of random bits, and 150 ms of
argon2 in every request would only help an attacker to keep the server busy. The id is hashed along, so
that no two rows can hold the same hash. A rotated key goes on under the account of the first, so that
limits and budgets are not doubled. Knows no HTTP.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import platform
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self

from smallworks import settings
from smallworks.errors import DiskError, UserError, nearest
from smallworks.server.database import Clash, Database, PostgresDatabase, Query, SqliteDatabase
from smallworks.server.limits.ledger import Gone

SCOPES = ("answers", "metrics")
"""What a key may open: everything that answers, or /metrics."""
WRITTEN = re.compile(r"sw-([0-9a-f]{8})-[\w-]{43}")
FRESH_SECONDS = 1.0
"""How long a revoked key may still be taken for a live one: the database is looked at so often."""
STALE_SECONDS = 5.0
"""How long a server that cannot look goes by what it knew."""
TOLD = "INSERT INTO history (at, who, what, key, name, detail) VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a key may do. An empty `models` is all of them; a limit that is None is none. Times are Unix.

    `account` is what limits and spending are counted by. `replaced` is when another key took its place.
    """

    id: str
    name: str
    account: str = ""
    scopes: tuple[str, ...] = ("answers",)
    models: tuple[str, ...] = ()
    created: int = 0
    expires: int | None = None
    replaced: int | None = None
    revoked: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    at_once: int | None = None
    monthly_tokens: int | None = None
    monthly_micros: int | None = None
    hash: bytes = field(default=b"", repr=False)

    def may_use(self, names: Iterable[str]) -> bool:
        return not self.models or not set(self.models).isdisjoint(names)

    def expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What somebody did to a key."""

    at: int
    who: str
    what: str
    key: str
    name: str
    detail: str


COLUMNS = tuple(column.name for column in fields(Key))


class Keys:
    """Safe to share between threads, and the database between processes. Close it, or use it as a context."""

    def __init__(self, database: Database, *, stale: float | None = STALE_SECONDS) -> None:
        self.database = database
        self._lock = Lock()
        self._keys: dict[str, Key] = {}
        self._seen, self._looked = -1, -FRESH_SECONDS
        self._stale = stale
        self._end = Event()
        self._looking = False

    def add(self, name: str, **allowed: Any) -> tuple[Key, str]:
        """A new key, and its text, which is told this once. `allowed` are fields of Key.

        Raises UserError when a live key has that name.
        """
        key, text = _made(name, **allowed)
        try:
            self._write("add", key, _detail(key), _inserted(key))
        except Clash as error:
            raise UserError(
                f"There is a key named '{name}' already.",
                fix=f"Choose another name, or first: smallworks keys revoke {name}",
            ) from error
        return key, text

    def all(self) -> list[Key]:
        """Every key that ever was, the oldest first. Raises Gone."""
        rows = self.database.read(
            f"SELECT {', '.join(COLUMNS)} FROM keys ORDER BY created, {self.database.order}"
        )
        return [_key(row) for row in rows]

    def change(self, name: str, **allowed: Any) -> Key:
        """Other limits, scopes or models for a live key, from the next second on. Raises UserError."""
        found = self._found(name)[-1]
        changed = Key(**{**vars(found), **allowed})
        columns = ", ".join(f"{column} = ?" for column in allowed)
        row = _stored(changed)
        values = [row[column] for column in allowed]
        told = ", ".join(f"{what} {getattr(found, what)} → {value}" for what, value in allowed.items())
        self._write("change", found, told, (f"UPDATE keys SET {columns} WHERE id = ?", [*values, found.id]))
        return changed

    def rotate(self, name: str, overlap: float) -> tuple[Key, str]:
        """A new key in the place of the live one of that name, which ends after `overlap` seconds.

        Both count on one account until then. Raises UserError where there is none.
        """
        old = self._found(name)[-1]
        now = int(time.time())
        ends = min(now + int(overlap), old.expires or now + int(overlap))
        kept = {column: getattr(old, column) for column in COLUMNS}
        for column in ("id", "name", "hash", "created"):
            del kept[column]
        new, text = _made(old.name, **{**kept, "account": old.account})
        end: Query = ("UPDATE keys SET replaced = ?, expires = ? WHERE id = ?", (now, ends, old.id))
        self._write("rotate", new, f"in place of {old.id}, which ends {_when(ends)}", end, _inserted(new))
        return new, text

    def revoke(self, name: str) -> Key:
        """End the live keys of that name, or the one of that id, for good. Raises UserError for none."""
        now, found = int(time.time()), self._found(name)
        ends: list[Query] = [("UPDATE keys SET revoked = ? WHERE id = ?", (now, key.id)) for key in found]
        self._write("revoke", found[-1], " ".join(key.id for key in found), *ends)
        return found[-1]

    def history(self) -> list[Deed]:
        """What was done, the oldest first. Raises Gone."""
        rows = self.database.read("SELECT at, who, what, key, name, detail FROM history ORDER BY number")
        return [
            Deed(at=row[0], who=row[1], what=row[2], key=row[3], name=row[4], detail=row[5]) for row in rows
        ]

    def recognise(self, text: str) -> Key | None:
        """The live key of this text, expired or not; compared in constant time, a stranger's id too.

        Raises Gone when the database cannot be read.
        """
        found = WRITTEN.fullmatch(text)
        key = self._live().get(found[1]) if found else None
        same = hmac.compare_digest(_hash(text), key.hash if key else bytes(32))
        return key if same else None

    def look_ahead(self) -> None:
        """From now on a thread looks at the database, and `recognise` waits for nothing. Raises Gone."""
        self._look()
        self._looking = True
        Thread(target=self._look_on, name="keys", daemon=True).start()

    def close(self) -> None:
        self._end.set()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _live(self) -> dict[str, Key]:
        """Keys that are not revoked, read again where somebody changed one."""
        age = time.monotonic() - self._looked
        if not self._looking and age >= FRESH_SECONDS:
            self._look()
        elif self._looking and self._stale is not None and age > self._stale:
            raise Gone("the keys could not be read of late")
        return self._keys

    def _look(self) -> None:
        number = self.database.read("SELECT max(number) FROM history")[0][0] or 0
        with self._lock:
            if number != self._seen:
                self._keys = {key.id: key for key in self._unrevoked()}
            self._seen, self._looked = number, time.monotonic()

    def _look_on(self) -> None:
        while not self._end.wait(FRESH_SECONDS):
            try:
                self._look()
            except Gone:
                continue

    def _unrevoked(self) -> list[Key]:
        return [key for key in self.all() if key.revoked is None]

    def _found(self, name: str) -> list[Key]:
        """The live keys of that name, the newest last, or the one of that id."""
        now = time.time()
        live = [key for key in self._unrevoked() if not (key.replaced and key.expired(now))]
        found = [key for key in live if key.name == name] or [key for key in live if key.id == name]
        if not found:
            names = ", ".join(dict.fromkeys(key.name for key in live)) or "none"
            raise UserError(f"There is no live key '{name}'.", fix=f"Live keys: {names}.")
        return sorted(found, key=lambda key: key.replaced is None)

    def _write(self, what: str, key: Key, detail: str, *queries: Query) -> None:
        """With who did it, as far as this machine knows."""
        who = f"{_user()}@{platform.node()}"
        told: Query = (TOLD, (int(time.time()), who, what, key.id, key.name, detail))
        try:
            with self.database.transaction() as send:
                send([*queries, told])
        except Gone as error:
            raise DiskError(
                f"Could not write {error}.", fix="Free space or wait for whoever holds it, and run it again."
            ) from error
        if self._looking:
            with suppress(Gone):  # it is written; the thread will see it
                self._look()
        else:
            self._seen, self._looked = -1, -FRESH_SECONDS


class KeyFile(Keys):
    """In an SQLite file."""

    def __init__(self, path: Path, *, create: bool = False, stale: float | None = STALE_SECONDS) -> None:
        """Raises UserError for a file that is not there (unless `create`), or not ours."""
        super().__init__(SqliteDatabase(path, create=create), stale=stale)
        self.path = path


def open_keys(file: Path | None, variable: str | None, *, patient: bool = False) -> Keys:
    """Those of the file, or of the PostgreSQL whose address is in the variable.

    A `patient` server goes by the keys that it knew for as long as the database is gone. Raises UserError
    for a file or a database that is not there.
    """
    stale = None if patient else STALE_SECONDS
    if variable is None:
        assert file is not None, "one of the two is named"
        keys: Keys = KeyFile(file, stale=stale)
    else:
        keys = Keys(PostgresDatabase(settings.secret(variable)), stale=stale)
    try:
        keys.look_ahead()
    except Gone as error:
        keys.close()
        what = f"the address in {variable}" if variable else "that nobody holds the file"
        raise UserError(f"The keys cannot be read: {error}.", fix=f"Check {what}.") from error
    return keys


def check_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes without repeats. Raises UserError for one that is none."""
    for scope in scopes:
        if scope not in SCOPES:
            raise UserError(f"'{scope}' is no scope.", fix=nearest(scope, SCOPES))
    return tuple(dict.fromkeys(scopes))


def _made(name: str, **allowed: Any) -> tuple[Key, str]:
    key_id = secrets.token_hex(4)
    text = f"sw-{key_id}-{secrets.token_urlsafe(32)}"
    told = {"account": key_id, "created": int(time.time()), **allowed}
    return Key(id=key_id, name=name, hash=_hash(text), **told), text


def _inserted(key: Key) -> Query:
    row = _stored(key)
    places = ", ".join("?" for _ in COLUMNS)
    return f"INSERT INTO keys ({', '.join(COLUMNS)}) VALUES ({places})", [row[column] for column in COLUMNS]


def _stored(key: Key) -> dict[str, Any]:
    """As its row says it."""
    return {**vars(key), "scopes": json.dumps(key.scopes), "models": json.dumps(key.models)}


def _key(row: Sequence[Any]) -> Key:
    values = dict(zip(COLUMNS, row, strict=True))
    scopes, models = tuple(json.loads(values.pop("scopes"))), tuple(json.loads(values.pop("models")))
    return Key(**{**values, "hash": bytes(values["hash"])}, scopes=scopes, models=models)


def _detail(key: Key) -> str:
    """What a new key may do, for the history."""
    limits = {name: value for name, value in vars(key).items() if "_" in name and value is not None}
    return ", ".join([*key.scopes, *key.models, *(f"{name} {value}" for name, value in limits.items())])


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _when(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
