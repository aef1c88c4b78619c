"""The engine room: which bundles answer, in which threads, and how an abandoned answer ends.

Each bundle has threads for as many answers as its engine gives at once; further requests wait in a line
that is bounded. The event loop never runs an engine. A client that hangs up, or a deadline that passes,
sets the answer's cancel event; whoever still waits then never reaches the engine. Knows nothing of HTTP
beyond `receive`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

from starlette.requests import Request

from smallworks.engines.cascade import Cascade
from smallworks.engines.predictor import Predictor
from smallworks.server.ask import Asks, Piece, Work
from smallworks.server.failures import ClientGone, ModelNotFound
from smallworks.server.line import Line
from smallworks.server.measure import Measure
from smallworks.server.meters import Meters
from smallworks.server.rules import Rules
from smallworks.server.ticket import Ticket
from smallworks.server.visit import Visit
from smallworks.types import Answer

WORKERS = {"linear": 2, "onnx": 2, "llamacpp": 4, "transformers": 1, "http": 64, "fake": 64}
"""Answers at once by engine; a stranger's engine gets OTHER."""
OTHER = 4


class Served:
    """One bundle in the room, under all its names: its threads, the line before them, its meters."""

    def __init__(self, names: tuple[str, ...], predictor: Predictor, rules: Rules, meters: Meters) -> None:
        places = _places(predictor)
        self.names, self.predictor = names, predictor
        self.pool = ThreadPoolExecutor(places, predictor.manifest.engine)
        self.line = Line(names[0], places, rules)
        self._meters = meters.bundle(names[0], self.line)
        self._measure = Measure(predictor)

    def admit(self, visit: Visit, work: Work) -> Ticket:
        """Raises Busy, or what the visitor's allowance raises."""
        return Ticket(self.line, self._meters, visit.allowance, work.most(self._measure))


class Room:
    def __init__(
        self, bundles: Mapping[str, Predictor], default: str, *, rules: Rules, meters: Meters
    ) -> None:
        self.default = default
        distinct = {id(predictor): predictor for predictor in bundles.values()}
        served = {
            key: Served(tuple(n for n, p in bundles.items() if p is predictor), predictor, rules, meters)
            for key, predictor in distinct.items()
        }
        self.bundles = {name: served[id(predictor)] for name, predictor in bundles.items()}

    def find(self, visit: Visit, name: str | None) -> tuple[str, Served]:
        """The bundle of that name, the default where none is given; noted on the visit.

        Raises ModelNotFound, for one that the visitor's key may not use as well.
        """
        name = name or self.default
        allowed = self.open_to(visit)
        if name not in allowed:
            raise ModelNotFound(
                f"There is no model '{name}' here.", fix=f"Available: {', '.join(allowed) or 'none'}."
            )
        visit.bundle = allowed[name].names[0]
        return name, allowed[name]

    def open_to(self, visit: Visit) -> Mapping[str, Served]:
        """The bundles that the visitor may use, by every name."""
        if visit.allowance is None:
            return self.bundles
        return {name: served for name, served in self.bundles.items() if visit.may_use(served.names)}

    async def run(self, request: Request, served: Served, work: Work) -> list[Answer]:
        """The answers. Raises ClientGone when the client hung up first, DeadlineExceeded when time is up."""
        visit: Visit = request.scope["visit"]
        ticket, cancel = served.admit(visit, work), Event()
        future = served.pool.submit(_work, work, ticket, cancel)
        future.add_done_callback(ticket.close)
        done = asyncio.wrap_future(future)
        # The body has been read, so that nothing but a disconnect can come.
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait((done, gone), timeout=visit.left(), return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return done.result()
            raise ClientGone if gone.done() else visit.late(ticket.began)
        finally:
            cancel.set()
            done.cancel()
            gone.cancel()

    def stream(self, request: Request, served: Served, asks: Asks) -> Pieces:
        return Pieces(request, served, asks)

    def close(self) -> None:
        for served in self.bundles.values():
            served.pool.shutdown(wait=False, cancel_futures=True)


def _places(predictor: Predictor) -> int:
    """Answers at once: those of the engine; of a cascade those of its last stage."""
    if isinstance(predictor.model, Cascade):
        return _places(predictor.model.stages[-1])
    return WORKERS.get(predictor.manifest.engine, OTHER)


def _work(work: Work, ticket: Ticket, cancel: Event) -> list[Answer]:
    ticket.begin()
    answers = []
    for answer in work.answers(cancel):
        ticket.answered(answer)
        answers.append(answer)
    return answers


class Pieces:
    """What a stream yields in a thread, taken on the event loop. Close it in every case."""

    def __init__(self, request: Request, served: Served, asks: Asks) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._cancel = Event()
        self._ended = False
        self._visit: Visit = request.scope["visit"]
        self._ticket = served.admit(self._visit, asks)
        self._future = served.pool.submit(self._produce, asks)
        self._future.add_done_callback(self._ticket.close)
        self._watch = self._loop.create_task(self._wait_gone(request))
        self._alarm = self._loop.call_later(self._visit.left(), self._late)

    async def take(self) -> list[Piece]:
        """All pieces that are ready, at least one; none at the end. Raises what the answers raised."""
        pieces: list[Piece] = []
        while not self._ended and not (pieces and self._queue.empty()):
            item = await self._queue.get()
            if isinstance(item, Exception):
                if pieces:
                    self._queue.put_nowait(item)
                    break
                self._ended = True
                raise item
            if item is None:
                self._ended = True
            else:
                pieces.append(item)
        return pieces

    def close(self) -> None:
        self._cancel.set()
        self._future.cancel()
        self._watch.cancel()
        self._alarm.cancel()

    def _produce(self, asks: Asks) -> None:
        self._ticket.begin()
        said: list[Piece] = []
        try:
            with closing(asks.pieces(self._cancel)) as pieces:
                for piece in pieces:
                    self._ticket.piece()
                    said.append(piece)
                    if piece.answer:
                        self._ticket.answered(piece.answer)
                    if self._cancel.is_set():
                        break
                    self._put(piece)
            self._put(None)
        except Exception as error:  # raised again on the event loop
            self._put(error)
        finally:
            if said and not said[-1].answer:
                self._ticket.answered(asks.broken_off(said))

    def _put(self, item: Piece | Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    def _late(self) -> None:
        self._cancel.set()
        self._queue.put_nowait(self._visit.late(self._ticket.began))

    async def _wait_gone(self, request: Request) -> None:
        await request.receive()
        self._cancel.set()
        self._queue.put_nowait(ClientGone())
