"""[traces] of serve.toml: where they go, how many, how long, and whether what was said is among them."""

from __future__ import annotations

from pydantic import Field

from smallworks import settings
from smallworks.errors import UserError
from smallworks.server.section import EnvName, FilePath, Section
from smallworks.server.traces.store import Store


class Traces(Section):
    """`content` is off unless said: without it a trace holds ids, names and numbers alone."""

    store: FilePath | None = Field(default=None, examples=["traces.sqlite"])
    url_env: EnvName | None = Field(default=None, examples=["TRACES_DATABASE"])
    sample: float = Field(default=1.0, gt=0, le=1)
    content: bool = False
    days: float = Field(default=30, gt=0)
    rows: int = Field(default=1_000_000, ge=1)
    queue: int = Field(default=10_000, ge=1, le=1_000_000)

    def opened(self) -> Store:
        """Connects to nothing yet. Raises UserError where it is not said where to, or said twice."""
        from smallworks.server.traces.postgres import PostgresTraces
        from smallworks.server.traces.sqlite import SqliteTraces

        if (self.store is None) == (self.url_env is None):
            raise UserError(
                f"[traces] names {'no' if self.store is None else 'more than one'} place to keep them.",
                fix='Write store = "traces.sqlite", or the variable of one: url_env = "TRACES_DATABASE".',
            )
        return SqliteTraces(self.store) if self.store else PostgresTraces(settings.secret(self.url_env or ""))

    def check(self) -> str:
        store = self.opened()
        try:
            count = store.count()
        finally:
            store.close()
        what = "with what was said" if self.content else "without what was said"
        return (
            f"{store.where}: {count:,} rows; {100 * self.sample:g} % of requests, {what}, {self.days:g} days"
        )
