"""A folder of small documents in every format, written by the libraries that people write them with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from smallworks import rag

POSTGRES = os.environ.get("SMALLWORKS_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")

PLANS = """\
---
team: sales
reviewed: 2026-05-01
---
# Plans

Prices are in dollars.

## Pier

Pier costs nine dollars per member and month. It includes five webhooks.

## Marina

| | Marina |
|---|---|
| Price | 17 dollars |
| Trial | 21 days |
"""
PAGE = """\
<html><head><title>Refunds</title><meta name="author" content="Mira"><style>p { color: red }</style></head>
<body><nav>Home | Prices</nav><h1>Refunds</h1><p>Card payments are refunded for <b>120 days</b>.</p>
<p style="display:none">Secret words nobody sees.</p><h2>Transfers</h2><p>Send the money from your bank.</p>
<script>alert("no")</script></body></html>
"""
FAQ = """\
question,answer,team
Can I swap a shift?,Until twelve hours before it starts.,schedule
Who pays?,The owner.,billing
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "documents"
    (home / "guides").mkdir(parents=True)
    (home / "guides" / "plans.md").write_text(PLANS, encoding="utf-8")
    (home / "refunds.html").write_text(PAGE, encoding="utf-8")
    (home / "faq.csv").write_text(FAQ, encoding="utf-8")
    (home / "note.txt").write_text("The lighthouse opens at nine.\n\nBring a lamp.", encoding="utf-8")
    return home


@pytest.fixture
def postgres() -> str:
    """The address of a PostgreSQL."""
    psycopg = pytest.importorskip("psycopg")
    try:
        psycopg.connect(POSTGRES, connect_timeout=2).close()
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL at 127.0.0.1:5432 or SMALLWORKS_TEST_POSTGRES")
    return POSTGRES


@pytest.fixture
def pgvector(postgres: str) -> bool:
    """Whether that PostgreSQL has the extension."""
    import psycopg

    with psycopg.connect(postgres) as base:
        found = base.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
    return found is not None


@pytest.fixture
def shared(postgres: str) -> Iterator[str]:
    """An address in PostgreSQL that holds no index yet."""
    import psycopg

    schema = f"test_{uuid4().hex[:12]}"
    yield f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}"
    with psycopg.connect(postgres, autocommit=True) as base:
        base.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where an index goes, once for each store."""
    if request.param == "sqlite":
        return tmp_path / "documents.sqlite"
    where: str = request.getfixturevalue("shared")
    return where


@pytest.fixture
def out_with_vectors(request: pytest.FixtureRequest, out: Path | str) -> Path | str:
    if isinstance(out, str) and not request.getfixturevalue("pgvector"):
        pytest.skip("this PostgreSQL has no pgvector")
    return out


@pytest.fixture
def index(folder: Path, out: Path | str) -> Iterator[rag.Index]:
    rag.index(folder, out)
    with rag.Index(out) as opened:
        yield opened
