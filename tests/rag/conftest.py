"""A folder of small documents in every format, written by the libraries that people write them with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smallworks import rag

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
def index(folder: Path, tmp_path: Path) -> Iterator[rag.Index]:
    rag.index(folder, tmp_path / "documents.sqlite")
    with rag.Index(tmp_path / "documents.sqlite") as opened:
        yield opened
