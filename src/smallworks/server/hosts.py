"""Who can answer: what a bundle in the room and a server behind this one have in common; a route's form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request

from smallworks.engines.predictor import Predictor
from smallworks.errors import UserError
from smallworks.server.ask import Work
from smallworks.server.prices import Price
from smallworks.server.shapes import Shape
from smallworks.server.wording import Wording

Said = dict[str, Any]
"""The JSON object of a request, an answer or an event."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How one route speaks: its `path` after /v1, what a body may say, and what becomes of it at a bundle."""

    path: str
    shape: type[Shape]
    ask: Callable[[Any, Predictor], Work]
    wording: Callable[[Any, str], Wording]
    streams: bool = False


class Events(Protocol):
    """A streamed answer as JSON objects, taken as they come. Close it in every case."""

    async def take(self) -> list[Said]:
        """All events that are ready, at least one; none at the end. Raises what failed."""
        ...

    def close(self) -> None: ...


def check_names(names: Iterable[str], taken: Container[str] = ()) -> None:
    """Raises UserError for a name that is taken, or given twice."""
    for name, count in Counter(iter(names)).items():  # a mapping would be taken for counts
        if count > 1 or name in taken:
            raise UserError(
                f"Two models are called '{name}'.",
                fix="Rename a bundle's or an embedder's folder, or name an upstream otherwise in `models`.",
            )


class Host(Protocol):
    """Answers requests of every form that it knows, under all its `names`; the first is its own."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def identity(self) -> str:
        """What its answers rest on beside the request and the name: a bundle's content hash, say."""
        ...

    @property
    def price(self) -> Price:
        """What its tokens cost."""
        ...

    @property
    def json(self) -> bool:
        """Whether its answers are JSON though nobody asked for it."""
        ...

    def describe(self) -> Said:
        """What /v1/models says of it beside its name."""
        ...

    def count(self, text: str) -> int | None:
        """Tokens of a text as its own engine counts them; None where none does here."""
        ...

    def temperature(self, said: Said) -> float | None:
        """That of the answer to `said`: 0 where nothing is drawn, None where it is not known here."""
        ...

    async def reply(self, request: Request, form: Form, name: str, said: Said) -> Said:
        """The whole answer to `said`, which asked for it by `name`."""
        ...

    async def stream(self, request: Request, form: Form, name: str, said: Said) -> Events:
        """The answer's events, once the first is there. Raises what failed until then."""
        ...

    def close(self) -> None: ...
