"""The [limits], [prices] and [flagships] sections of serve.toml, and the limiter that they come to."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from smallworks import settings
from smallworks.errors import UserError
from smallworks.server.allowance import Limiter
from smallworks.server.database import PostgresDatabase, SqliteDatabase
from smallworks.server.keys import Keys
from smallworks.server.limits.clerk import Clerk, Watch
from smallworks.server.limits.ledger import Gone, Store
from smallworks.server.limits.redis import PREFIX, RedisLimits
from smallworks.server.limits.tables import Tables
from smallworks.server.prices import MOST, Flagship, Price
from smallworks.server.section import EnvName, Section

EXAMPLES = ["redis://10.0.0.5:6379/0", "postgresql://sw@10.0.0.5/sw", "sqlite:///var/lib/sw/limits.sqlite"]


class LimitsConfig(Section):
    """Where limits are counted. Without a store: minutes in each server, months in the key file."""

    store: str | None = Field(default=None, examples=EXAMPLES[:1])
    store_env: EnvName | None = None
    """The variable that holds the address, where it has a password."""
    when_gone: Literal["closed", "open"] = "closed"
    patience: float = Field(default=1.0, gt=0, le=30)
    """Seconds that the store may take to answer."""
    prefix: str = Field(default=PREFIX, pattern=r"^[\w:.-]{1,64}$", examples=[PREFIX])
    """What the names of all keys in Redis begin with."""

    def address(self) -> str | None:
        """Raises UserError for a password in the file, or a variable that is not set."""
        if self.store_env is not None:
            return settings.secret(self.store_env)
        if self.store is not None and urlsplit(self.store).password:
            raise UserError(
                "The address in [limits] store holds a password.",
                fix="Put the whole address into a variable, and its name into store_env.",
            )
        return self.store

    def opened(self) -> Store | None:
        """The shared store, connected to nothing yet; None where there is none."""
        address = self.address()
        return open_store(address, patience=self.patience, prefix=self.prefix) if address else None

    def check(self) -> str:
        store = self.opened()
        if store is None:
            return "minutes in this server, months in the key file"
        try:
            store.run([])
        except Gone as error:
            raise UserError(
                f"The store of limits cannot be reached: {error}.", fix="Check its address."
            ) from error
        finally:
            store.close()
        return f"shared by all servers, {self.when_gone} when it is gone"


class PriceSection(Section):
    """Dollars per million tokens."""

    input: float = Field(default=0.0, ge=0, le=MOST)
    output: float = Field(default=0.0, ge=0, le=MOST)

    @property
    def price(self) -> Price:
        return Price.of(self.input, self.output)


class FlagshipSection(PriceSection):
    """Dollars per million tokens of the model that a bundle replaces.

    `per_1000` is dollars for a thousand answers, for bundles that count no tokens.
    """

    per_1000: float = Field(default=0.0, ge=0, le=MOST)

    @property
    def flagship(self) -> Flagship:
        return Flagship(self.price, round(1000 * self.per_1000))


def open_store(address: str, *, patience: float = 1.0, prefix: str = PREFIX) -> Store:
    """Raises UserError for an address of no store. It may hold a password: tell it nobody."""
    scheme, _, rest = address.partition("://")
    if scheme in ("redis", "rediss"):
        return RedisLimits(address, patience=patience, prefix=prefix)
    if scheme in ("postgresql", "postgres"):
        return Tables(PostgresDatabase(address, patience=patience))
    if scheme == "sqlite" and rest:
        return Tables(SqliteDatabase(Path(rest)))
    raise UserError(
        f"A store of limits cannot begin with '{scheme if rest else address[:20]}'.",
        fix=f"Write one such as {EXAMPLES[0]}, {EXAMPLES[1]} or {EXAMPLES[2]}.",
    )


def open_limiter(config: LimitsConfig, keys: Keys | None, watch: Watch) -> Limiter:
    """Who counts for one application; nobody beyond this process where no keys are asked for."""
    if keys is None:
        return Limiter()
    store = config.opened()
    clerk = Clerk(store or Tables(keys.database.again()), watch=watch, patience=config.patience)
    return Limiter(clerk, shared=store is not None, when_gone=config.when_gone)
