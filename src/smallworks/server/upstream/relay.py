"""An upstream as a Host: a model name that servers behind this one answer to, taken in turn until one does.

Admitted like a request to a bundle, it goes to the server that balance.py ranks first. What fails there is
asked of another one, as long as the client has been sent nothing. Unknown fields go through both ways.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from starlette.requests import Request

from smallworks.server.failures import BadField
from smallworks.server.hosts import Events, Form, Said
from smallworks.server.line import Line
from smallworks.server.meters import Meters
from smallworks.server.rules import Rules
from smallworks.server.ticket import Ticket
from smallworks.server.upstream import balance
from smallworks.server.upstream import said as words
from smallworks.server.upstream.backend import Attempt, Backend
from smallworks.server.upstream.call import Call
from smallworks.server.upstream.checks import Checks
from smallworks.server.upstream.events import Ending, Incoming, Relayed
from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.meters import UpstreamMeters
from smallworks.server.upstream.settings import EVERY, Upstream
from smallworks.server.upstream.told import nobody, refusal
from smallworks.server.upstream.until import Until

OWN = frozenset({"/generate", "/classify"})
"""Paths that no OpenAI-shaped server has."""
PAUSE = 0.1
"""Seconds before a server that failed is asked again, where there is no other; doubled each time."""
Result = TypeVar("Result")
Opened = tuple[list[Said], Incoming, Attempt]


class Relay:
    """Implements hosts.Host. `start` it in the event loop, `close` it there."""

    json = False

    def __init__(self, section: Upstream, *, rules: Rules, meters: Meters, shared: UpstreamMeters) -> None:
        """Raises UserError for a key variable that is not set, or certificates that cannot be read."""
        own = section.models[0]
        self.names = () if own == EVERY else section.models
        self.backends = [Backend(each, section, shared.server(own, each.name)) for each in section.server]
        self.line = Line(own, section.at_once, rules)
        self._own, self._section = own, section
        self._meters, self._shared = meters.bundle(own, self.line, names=section.models), shared
        self.price = self._meters.price
        self._places = asyncio.Semaphore(section.at_once)
        self._checks: Checks | None = None

    @property
    def lists(self) -> bool:
        """Whether its names are those that the servers list."""
        return self._own == EVERY

    @property
    def identity(self) -> str:
        models = sorted({backend.model or "" for backend in self.backends})
        return f"upstream {self._own} {' '.join(models)}"

    def count(self, text: str) -> int | None:
        return None

    def temperature(self, said: Said) -> float | None:
        return said.get("temperature")

    def start(self, on_models: Callable[[Iterable[str]], None] | None = None) -> None:
        """Begin to look after the servers; `on_models` hears each time what they list."""
        self._checks = Checks(self.backends, self._section.check_every, on_models)
        self._checks.start()

    def describe(self) -> Said:
        return {"engine": "upstream", "servers": len(self.backends)}

    async def reply(self, request: Request, form: Form, name: str, said: Said) -> Said:
        call = self._call(request, form, name, said)
        ticket = await self._admit(call)
        until = Until(request, call.visit)
        try:
            async with self._places:
                ticket.begin()
                until.began = True
                answer = await self._tried(call, self._whole)
            counts = words.usage(answer)
            ticket.answered(call.used(counts, 0 if counts else words.written(answer)))
        except asyncio.CancelledError as cancelled:
            _pay_prompt(call, ticket)
            raise until.reason(cancelled) from None
        finally:
            until.close()
            ticket.close()
        return words.named(answer, name)

    async def stream(self, request: Request, form: Form, name: str, said: Said) -> Events:
        call = self._call(request, form, name, said)
        ticket = await self._admit(call)
        until = Until(request, call.visit)
        try:
            await self._places.acquire()
        except asyncio.CancelledError as cancelled:
            until.close()
            ticket.close()
            raise until.reason(cancelled) from None
        try:
            ticket.begin()
            until.began = True
            return self._relayed(call, until, ticket, await self._tried(call, self._opened))
        except BaseException as error:
            self._places.release()
            until.close()
            if isinstance(error, asyncio.CancelledError):
                _pay_prompt(call, ticket)
            ticket.close()
            raise until.reason(error) if isinstance(error, asyncio.CancelledError) else error from None

    def close(self) -> None:
        if self._checks:
            self._checks.close()
        for backend in self.backends:
            backend.pool.close()

    def _call(self, request: Request, form: Form, name: str, said: Said) -> Call:
        if form.path in OWN:
            raise BadField(
                f"'{name}' is answered by another server, which has no {form.path}.",
                fix="Ask it at /v1/chat/completions.",
                param="model",
            )
        return Call(request, form, name, said, self._section)

    async def _admit(self, call: Call) -> Ticket:
        """Raises Busy, or what the key's allowance raises."""
        allowance = call.visit.allowance
        holding = await allowance.hold(call.tokens, self.price) if allowance else None
        return Ticket(self.line, self._meters, holding, call.tokens, call.visit)

    def _relayed(self, call: Call, until: Until, ticket: Ticket, opened: Opened) -> Relayed:
        first, incoming, attempt = opened

        def on_end(ending: Ending) -> None:
            until.close()
            failed = None if until.why else ending.failed
            attempt.end(failed, abandoned=ending.abandoned or until.why is not None)
            self._places.release()
            ticket.answered(call.used(ending.counts, ending.written))
            ticket.close()

        def worded(failed: Failed) -> Exception:
            return until.why or refusal(failed, call.name, attempt.backend.hidden(failed.words))

        ticket.piece()
        assert attempt.connection is not None
        connection = attempt.connection
        relayed = Relayed(first, incoming, name=call.name, usage=call.usage, on_end=on_end, worded=worded)

        def cut(why: Exception) -> None:
            connection.fail(why)
            relayed.close()  # now: its client may have stopped reading, and nobody take the next event

        until.streaming(cut)
        return relayed

    async def _tried(self, call: Call, once: Callable[[Call, Attempt], Awaitable[Result]]) -> Result:
        """What the first server gives that answers. Raises what the last one failed with."""
        while True:
            backend = self._ready(call) or await self._next(call)
            attempt = Attempt(backend, call.tokens)
            call.attempts += 1
            call.tried.append(backend)
            try:
                return await once(call, attempt)
            except Failed as failed:
                attempt.end(failed)
                call.failed = failed
                if call.counted and failed.cause == "refused" and backend.counts and not call.wanted:
                    # Older servers do not know the field that we added.
                    backend.counts = "stream_options" not in failed.words
                    if not backend.counts:
                        call.attempts -= 1
                        call.tried.remove(backend)
                        continue
                if not failed.elsewhere or call.attempts > self._section.retries:
                    raise refusal(failed, call.name, backend.hidden(failed.words)) from failed
                self._shared.retried(self._own)
            except BaseException:
                attempt.end(abandoned=True)
                raise

    def _ready(self, call: Call) -> Backend | None:
        """The best server that was not tried and may be asked now."""
        now = time.monotonic()
        ready = [one for one in self.backends if one not in call.tried and not one.wait(now)]
        if len(ready) < 2:
            return ready[0] if ready else None
        ready = [one for one in ready if one.healthy] or ready
        return balance.ranked(ready, call.beginning, call.tokens)[0]

    async def _next(self, call: Call) -> Backend:
        """The server to ask where none is ready: the first that may be asked, again or at all."""
        while True:
            now = time.monotonic()
            back_off = PAUSE * 2 ** (call.attempts - 1) if call.attempts else 0.0
            waits = {one: max(one.wait(now), back_off * (one in call.tried)) for one in self.backends}
            best = min(self.backends, key=waits.__getitem__)
            seconds = waits[best]
            call.waited += seconds
            if call.waited > self._section.longest_wait or seconds >= call.visit.left():
                raise self._hopeless(call, seconds)
            await asyncio.sleep(seconds)
            if not best.wait(time.monotonic()):
                return best
            if ready := self._ready(call):
                return ready

    def _hopeless(self, call: Call, seconds: float) -> Exception:
        if call.failed is None:
            return nobody(call.name, seconds)
        failed = call.failed
        failed.seconds = max(failed.seconds, seconds)
        return refusal(failed, call.name, "")

    async def _whole(self, call: Call, attempt: Attempt) -> Said:
        late = call.visit.left() + 1  # the deadline ends it before
        answer = await attempt.whole(call.request(attempt.backend), late)
        attempt.end()
        return answer

    async def _opened(self, call: Call, attempt: Attempt) -> Opened:
        """The stream, once its first events are there."""
        incoming = Incoming(await attempt.stream(call.request(attempt.backend)))
        first = await incoming.take()
        attempt.answers()
        attempt.backend.meters.first.observe(time.monotonic() - attempt.began)
        return first, incoming, attempt


def _pay_prompt(call: Call, ticket: Ticket) -> None:
    """Whoever hangs up pays for the prompt, once a server has been asked."""
    if call.attempts:
        ticket.answered(call.used(None, 0))
