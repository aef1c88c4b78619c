"""Which store an index is in, told by its name: a file here, or an address of PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from smallworks.rag.store import Store

if TYPE_CHECKING:
    from smallworks.rag.shared_store import SharedStore

AnyStore: TypeAlias = "Store | SharedStore"
SHARED = ("postgresql://", "postgres://")


def is_shared(where: Path | str) -> bool:
    return isinstance(where, str) and where.startswith(SHARED)


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
