"""The engine room: which bundles answer, in which threads, and how an abandoned answer ends.

Each bundle has threads for as many answers as its engine gives at once; further requests wait in a line
that is bounded. The event loop never runs an engine. A client that hangs up, or a deadline that passes,
sets the answer's cancel event; whoever still waits then never reaches the engine. Knows nothing of HTTP
beyond `receive`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from threading import Event, Lock

from starlette.requests import Request

from smallworks.engines.cascade import Cascade
from smallworks.engines.llamacpp import SLOTS
from smallworks.engines.predictor import Predictor
from smallworks.seams import Model
from smallworks.server.ask import Asks, Piece, Work
from smallworks.server.demand import OnDemand, Unloaded
from smallworks.server.described import Described
from smallworks.server.failures import ClientGone, ModelNotFound
from smallworks.server.hosts import Events, Form, Host, Said, check_names
from smallworks.server.line import Line
from smallworks.server.measure import Measure
from smallworks.server.memory import MemoryBudget
from smallworks.server.meters import BundleMeters, Meters
from smallworks.server.passes import Labelling, Passes, rows_of
from smallworks.server.prices import FREE, Price, listed, replaced
from smallworks.server.rules import Rules
from smallworks.server.shapes import checked
from smallworks.server.streaming import Worded
from smallworks.server.ticket import Ticket
from smallworks.server.turns import Turns
from smallworks.server.visit import Visit
from smallworks.server.waiting import outcome
from smallworks.server.wording import StreamWording
from smallworks.types import Answer

WORKERS = {"linear": 2, "onnx": 2, "llamacpp": SLOTS, "transformers": 1, "http": 64, "fake": 64}
"""Answers at once by engine; a stranger's engine gets OTHER."""
OTHER = 4
PASSES = {**WORKERS, "llamacpp": 2, "openvino": 1, "ortgenai": 1}
"""The same of a bundle that labels, whose places are passes: llama.cpp's second one fills the slots that the
last rows of the first leave empty; engines over logits score one batch at a time."""
APART = frozenset({"http"})
"""Engines whose answers wait for another machine, each by itself: a pass would wait for its slowest."""


Bundled = Predictor | Unloaded
"""A bundle that is loaded, or will be when it is asked for."""


class Served(Described):
    """One bundle in the room, a Host under all its names: its threads, the line before them, its meters."""

    def __init__(self, names: tuple[str, ...], predictor: Predictor, rules: Rules, meters: Meters) -> None:
        places = _places(predictor)
        super().__init__(names, predictor.manifest)
        self.predictor = predictor
        self.line = Line(names[0], places, rules)
        self._meters = _metered(names, predictor, self.line, meters)
        together = None if _engine(predictor) in APART else Passes(self._meters)
        self.turns = Turns(places, predictor.manifest.engine, together)
        self._forget = partial(meters.forget, names[0], self.line)
        self.price = self._meters.price
        self._measure = Measure(predictor)

    def count(self, text: str) -> int | None:
        return self.predictor.model.count(text) or None

    async def admit(self, visit: Visit, work: Work) -> Ticket:
        """Raises Busy, or what the visitor's allowance raises."""
        most, allowance = work.most(self._measure), visit.allowance
        holding = await allowance.hold(most, self._meters.tariff.dearest) if allowance else None
        return Ticket(self.line, self._meters, holding, most, visit)

    async def reply(self, request: Request, form: Form, name: str, said: Said) -> Said:
        body = checked(form.shape, said)
        answers = await self.run(request, form.ask(body, self.predictor))
        return form.wording(body, name).reply(answers)

    async def stream(self, request: Request, form: Form, name: str, said: Said) -> Events:
        body = checked(form.shape, said)
        asks = form.ask(body, self.predictor)
        wording = form.wording(body, name)
        assert isinstance(asks, Asks) and isinstance(wording, StreamWording), "only forms that stream do"
        if self.predictor.whole:  # a label has no pieces, and may share a pass; nor has what a cascade writes
            return await Worded.begin(Whole(await self.run(request, asks)), wording)
        ticket = await self.admit(request.scope["visit"], asks)
        return await Worded.begin(Pieces(request, self, asks, ticket), wording)

    async def run(self, request: Request, work: Work) -> list[Answer]:
        """The answers. Raises ClientGone when the client hung up first, DeadlineExceeded when time is up."""
        visit: Visit = request.scope["visit"]
        ticket, cancel = await self.admit(visit, work), Event()
        future = self.turns.submit(visit.key, ticket.tokens, self._job(work, ticket, cancel))
        future.add_done_callback(ticket.close)
        answer = asyncio.wrap_future(future)
        try:
            return await outcome(answer, visit, request.receive, began=lambda: ticket.began)
        finally:
            cancel.set()

    def _job(self, work: Work, ticket: Ticket, cancel: Event) -> Callable[[], list[Answer]]:
        if rows := rows_of(work, self.predictor):
            return Labelling(rows=rows, predictor=self.predictor, ticket=ticket, cancel=cancel)
        return partial(_work, work, ticket, cancel)

    def inside(self) -> int:
        """Requests in line or at the engine."""
        return self.line.inside()

    def forget(self) -> None:
        """Nobody finds it any more."""
        self._forget()

    def close(self) -> None:
        self.turns.shutdown()


class Room:
    def __init__(
        self,
        bundles: Mapping[str, Bundled],
        default: str,
        *,
        rules: Rules,
        meters: Meters,
        budget: int | None = None,
    ) -> None:
        self.default = default
        self._rules, self._meters = rules, meters
        self._memory = MemoryBudget(budget, meters)
        self.hosts: dict[str, Host] = {}
        self.changing = Lock()
        """Held by whoever replaces `hosts`: the thread that looks at releases, or an upstream's list."""
        self.serve(bundles)

    def serve(self, bundles: Mapping[str, Bundled]) -> list[Served | OnDemand]:
        """These from the next request on, the servers behind this one beside them as before.

        Gives back those that are found no more, for the caller to close once their visits are over. Raises
        UserError for a name that one of the others has.
        """
        with self.changing:
            gone = self._replaced(bundles)
        for host in gone:
            host.forget()
        return gone

    def _replaced(self, bundles: Mapping[str, Bundled]) -> list[Served | OnDemand]:
        before = self.hosts
        own = [host for host in before.values() if isinstance(host, Served | OnDemand)]
        others = {name: host for name, host in before.items() if host not in own}
        check_names(bundles, others)
        here = {id(host.predictor): host for host in own}
        found: dict[int, Served | OnDemand] = {}
        for predictor in bundles.values():
            names = tuple(name for name, other in bundles.items() if other is predictor)
            host = here.get(id(predictor)) or self._host(names, predictor)
            host.names = names
            found[id(predictor)] = host
        self.hosts = {**{name: found[id(p)] for name, p in bundles.items()}, **others}
        return [host for key, host in here.items() if key not in found]

    def _host(self, names: tuple[str, ...], bundle: Bundled) -> Served | OnDemand:
        def make(predictor: Predictor) -> Served:
            return Served(names, predictor, self._rules, self._meters)

        if not isinstance(bundle, Unloaded):
            return make(bundle)
        return OnDemand(names, bundle, make, memory=self._memory, rules=self._rules, meters=self._meters)

    def find(self, visit: Visit, name: str | None) -> tuple[str, Host]:
        """The host of that name, the default where none is given; noted on the visit.

        Raises ModelNotFound, for one that the visitor's key may not use as well.
        """
        name = name or self.default
        host = self.hosts.get(name)
        if host is None or not visit.may_use(host.names):
            allowed = self.open_to(visit)
            raise ModelNotFound(
                f"There is no model '{name}' here.", fix=f"Available: {', '.join(allowed) or 'none'}."
            )
        visit.bundle = host.names[0]
        return name, host

    def price(self, name: str) -> Price:
        """What the tokens of a host cost; nothing for one that is not there any more."""
        return self.hosts[name].price if name in self.hosts else FREE

    def open_to(self, visit: Visit) -> Mapping[str, Host]:
        """The hosts that the visitor may use, by every name."""
        if visit.allowance is None:
            return self.hosts
        return {name: host for name, host in self.hosts.items() if visit.may_use(host.names)}

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()


def _metered(names: tuple[str, ...], predictor: Predictor, line: Line, meters: Meters) -> BundleMeters:
    """Nothing is saved by a bundle that asks a server whose price nobody told."""
    model, lineage = predictor.model, predictor.manifest.lineage
    prices = _paid(model)
    usual = listed(lineage)
    unknown = FREE in prices.values() or (predictor.manifest.remote and usual == FREE)
    known = meters.price(names, FREE) is not FREE or not unknown
    flagship = meters.replaces(names, replaced(lineage)) if known else None
    return meters.bundle(names[0], line, usual, names, flagship=flagship, stages=prices)


def _paid(model: Model) -> dict[str, Price]:
    """The prices of a cascade's stages that ask a server, by their names in `Answer.spent`."""
    if not isinstance(model, Cascade):
        return {}
    prices: dict[str, Price] = {}
    for name, stage in zip(model.names, model.stages, strict=True):
        if stage.manifest.remote:
            prices[name] = listed(stage.manifest.lineage)
        prices |= {f"{name}/{inner}": price for inner, price in _paid(stage.model).items()}
    return prices


def _places(predictor: Predictor) -> int:
    """Answers, or passes, at once."""
    return (WORKERS if predictor.choices is None else PASSES).get(_engine(predictor), OTHER)


def _engine(predictor: Predictor) -> str:
    """The engine's name; of a cascade that of its last stage."""
    model = predictor.model
    return _engine(model.stages[-1]) if isinstance(model, Cascade) else predictor.manifest.engine


def _work(work: Work, ticket: Ticket, cancel: Event) -> list[Answer]:
    ticket.begin()
    answers = []
    for answer in work.answers(cancel):
        ticket.answered(answer)
        answers.append(answer)
    return answers


class Whole:
    """Answers that are there, as a stream of one piece each. Implements streaming.Source."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._pieces = [Piece(index=at, text=a.text, answer=a) for at, a in enumerate(answers)]

    async def take(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def close(self) -> None:
        return None


class Pieces:
    """What a stream yields in a thread, taken on the event loop. Close it in every case."""

    def __init__(self, request: Request, served: Served, asks: Asks, ticket: Ticket) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._cancel = Event()
        self._ended = False
        self._visit: Visit = request.scope["visit"]
        self._ticket = ticket
        self._future = served.turns.submit(self._visit.key, ticket.tokens, partial(self._produce, asks))
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
