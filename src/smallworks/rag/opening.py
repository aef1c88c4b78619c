"""Which store an index is in, told by its name: a file here, or an address of PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from smallworks.errors import UserError
from smallworks.rag.store import Store

if TYPE_CHECKING:
    from smallworks.rag.shared_store import SharedStore

AnyStore: TypeAlias = "Store | SharedStore"
SHARED = ("postgresql://", "postgres://")


def is_shared(where: Path | str) -> bool:
    """Raises UserError for another form of address: it would become a file, with a password in its name."""
    if not isinstance(where, str):
        return False
    low = where.casefold()
    if low.startswith(SHARED):
        return True
    if "://" in low or re.search(r"password\s*=", low):
        raise UserError(
            "This place of an index is neither a file nor an address as it is written here.",
            fix="Name a file, or postgresql://USER@HOST/DATABASE?schema=NAME.",
        )
    return False


def told(where: Path | str) -> str:
    """Its name for people: an address without its password."""
    if not is_shared(where):
        return str(where)
    from smallworks.rag.shared_store import told

    return told(str(where))


def open_store(where: Path | str, *, create: bool = False, frozen: bool = False) -> AnyStore:
    """Raises DataError for an index that is not there, unless `create`."""
    if not is_shared(where):
        return Store(Path(where), create=create, frozen=frozen)
    from smallworks.rag.shared_store import SharedStore

    return SharedStore(str(where), create=create)
