"""The tables of keys and of what they have spent, from the first version on. Text alone, for two databases.

It is written as SQLite reads it; `for_postgres` says it in PostgreSQL's words. A file of an older version is
brought up by the steps that it lacks. Never change a step that was released: add one.
"""

from __future__ import annotations

STEPS = (
    """
CREATE TABLE keys (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL, scopes TEXT NOT NULL, models TEXT NOT NULL,
  created INTEGER NOT NULL, expires INTEGER, revoked INTEGER,
  requests_per_minute INTEGER, tokens_per_minute INTEGER, at_once INTEGER, monthly_tokens INTEGER
);
CREATE UNIQUE INDEX one_key_of_a_name ON keys (name) WHERE revoked IS NULL;
CREATE TABLE spent (
  key TEXT NOT NULL, month TEXT NOT NULL, tokens INTEGER NOT NULL,
  PRIMARY KEY (key, month)
) WITHOUT ROWID
""",
    """
ALTER TABLE keys ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN replaced INTEGER;
ALTER TABLE keys ADD COLUMN monthly_micros INTEGER;
UPDATE keys SET account = id;
DROP INDEX one_key_of_a_name;
CREATE UNIQUE INDEX one_key_of_a_name ON keys (name) WHERE revoked IS NULL AND replaced IS NULL;
ALTER TABLE spent ADD COLUMN micros INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spent ADD COLUMN answers INTEGER NOT NULL DEFAULT 0;
CREATE TABLE counts (
  account TEXT PRIMARY KEY, requests REAL, requests_at REAL, tokens REAL, tokens_at REAL
);
CREATE TABLE holds (
  id TEXT PRIMARY KEY, account TEXT NOT NULL, month TEXT NOT NULL, tokens INTEGER NOT NULL,
  micros INTEGER NOT NULL, until REAL NOT NULL
);
CREATE INDEX holds_of_an_account ON holds (account);
CREATE TABLE history (
  number INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
  key TEXT NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL
)
""",
)
"""One text a version."""
VERSION = len(STEPS)


def statements(version: int) -> list[str]:
    """What brings a file of `version` to ours, in order."""
    return [statement.strip() for step in STEPS[version:] for statement in step.split(";")]


def for_postgres(statement: str) -> str:
    said = statement.replace("number INTEGER PRIMARY KEY", "number BIGSERIAL PRIMARY KEY")
    for ours, theirs in (
        ("BLOB", "BYTEA"),
        ("INTEGER", "BIGINT"),
        ("REAL", "DOUBLE PRECISION"),
        (" WITHOUT ROWID", ""),
    ):
        said = said.replace(ours, theirs)
    return said
