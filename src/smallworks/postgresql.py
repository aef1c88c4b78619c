"""Where a PostgreSQL is, and a connection to it on which nothing can wait for long. Knows no table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smallworks.errors import MissingExtra, UserError

if TYPE_CHECKING:
    import psycopg

PLAIN = re.compile(
    r"\w+://([^@:/?]*(:[^@/]*)?@)?[^@/?]*"  # user, password, hosts and ports
    r"(/[^@?]*(\?.*)?|\?[^@]*)?",  # database, settings
    re.DOTALL,
)
"""An address in which libpq takes no part of a password for a host, a user or a database."""


class Address:
    """`where` is the address without its secrets."""

    def __init__(self, url: str) -> None:
        """Connects to nothing. Raises MissingExtra, or UserError for an address that cannot be read."""
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra("psycopg", extra="postgres", wanted_for="PostgreSQL") from error
        try:
            parts = psycopg.conninfo.conninfo_to_dict(url)
        except (psycopg.ProgrammingError, ValueError):
            raise unreadable() from None
        ports = str(parts.get("port") or "").replace(",", "")
        if url.startswith(("postgresql://", "postgres://")) and not PLAIN.fullmatch(url):
            raise unreadable()
        if ports and not ports.isdecimal():
            raise unreadable()
        self.parts = parts
        self.where = f"postgresql://{parts.get('host', 'localhost')}/{parts.get('dbname', '')}"
        self.psycopg, self._url = psycopg, url

    def connected(self, name: str, patience: float) -> psycopg.Connection:
        """`patience` is the seconds that connecting, a statement or a silent network may take."""
        connection = self.psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=max(2, round(patience)),
            application_name=name,
            keepalives_idle=5,
            tcp_user_timeout=int(1000 * patience),
        )
        try:
            connection.execute(f"SET statement_timeout = {int(1000 * patience)}".encode())
        except BaseException:
            connection.close()
            raise
        return connection


def unreadable() -> UserError:
    """Shows nothing of the address: any of it may be a password."""
    return UserError(
        "The address of PostgreSQL cannot be read.",
        fix="Write postgresql://USER:PASSWORD@HOST/DATABASE; in a password write @ as %40, / as %2F.",
    )
