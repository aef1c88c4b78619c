"""One request through the guards of a server: in, and its answer out, whole or streamed.

Acts on JSON alone, so that a bundle, a server behind this one and the cache are guarded alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from smallworks.guard import Found, GuardBlocked, Guards, Passage, Text
from smallworks.server.guards import texts
from smallworks.server.guards.events import Guarded
from smallworks.server.histogram import Histogram, Times
from smallworks.server.hosts import Events, Form, Host, Said
from smallworks.server.reply import Figures, to_bytes, to_object
from smallworks.server.visit import Visit

LARGE = 10_000
"""Characters above which texts are looked at in a thread, so that other requests go on meanwhile."""
SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
JSON_FORMATS = ("json_object", "json_schema")


class Guarding:
    """The guards of one application. They stay the caller's to close."""

    def __init__(self, guards: Guards, registry: CollectorRegistry) -> None:
        self.guards = guards
        self._found = Counter(
            "smallworks_guard",
            "What guards did, by rule; missed is where a classifier gave no answer.",
            ("bundle", "rule", "action", "where"),
            registry=registry,
        )
        self._seconds = Histogram(
            "smallworks_guard_seconds",
            "In guards, by request and side.",
            ("bundle", "where"),
            buckets=SECONDS,
            registry=registry,
        )
        self._timers: dict[tuple[str, str], Times] = {}

    async def enter(self, visit: Visit, form: Form, host: Host, said: Said) -> Passing:
        """The request as it may be asked, changed in place. Raises GuardBlocked and BadField."""
        passing = Passing(self, visit, json=host.json or _wants_json(said))
        start = time.perf_counter()
        try:
            await passing.enter(form, host, said)
        finally:
            self.took(visit, "in", time.perf_counter() - start)
        return passing

    def note(self, visit: Visit, found: Sequence[Found]) -> None:
        for one in found:
            self._found.labels(visit.bundle, one.rule, one.action, one.side).inc(one.count)
        visit.findings += tuple(one.rule for one in found if one.rule not in visit.findings)

    def blocked(self, visit: Visit, error: GuardBlocked) -> None:
        self.note(visit, [Found(rule=error.rule, action="block", side="in" if error.side == "in" else "out")])

    def missed(self, visit: Visit, missed: Sequence[tuple[str, str]]) -> None:
        for rule, side in missed:
            self._found.labels(visit.bundle, rule, "missed", side).inc()

    def took(self, visit: Visit, where: str, seconds: float) -> None:
        which = visit.bundle, where
        if which not in self._timers:
            self._timers[which] = self._seconds.labels(*which)
        self._timers[which].observe(seconds)


class Passing:
    """One request on its way. `noted` is what has been counted of its findings."""

    def __init__(self, guarding: Guarding, visit: Visit, *, json: bool) -> None:
        self._guarding, self._visit = guarding, visit
        self.passage: Passage = guarding.guards.passage()
        self.json = json
        """Whether the answer is JSON as a text."""
        self._noted = 0
        self._missed = 0

    async def enter(self, form: Form, host: Host, said: Said) -> None:
        guards = self._guarding.guards
        body = self._visit.body
        if 0 < len(body) <= LARGE and not texts.has_names(said) and guards.clears(body):
            texts.refuse_tokens(said)
            return
        slots = texts.asked(said, form, guards.policy.untrusted)
        asked = [Text(text=slot.text, place=slot.name, untrusted=slot.untrusted) for slot in slots]
        asked += [Text(text=names, place=field, fixed=True) for field, names in texts.names(said)]
        try:
            entered = await self._worked(
                sum(len(one.text) for one in asked), self.passage.enter, asked, _counter(host)
            )
            for slot, before, text in zip(slots, asked, entered, strict=False):
                if text != before.text:
                    slot.put(text)
            await self.judge("in", entered)
        except GuardBlocked as blocked:
            self._guarding.blocked(self._visit, blocked)
            raise
        self.note()

    async def leave(self, told: Said | bytes) -> Said | bytes:
        """The whole answer as it may be shown. Raises GuardBlocked."""
        if not self.passage.watches_answers or isinstance(told, Figures):
            return self._named(told)
        start = time.perf_counter()
        try:
            answer = await self._left(to_object(told))
        except GuardBlocked as blocked:
            self._guarding.blocked(self._visit, blocked)
            self.forget_content()
            raise
        finally:
            self._guarding.took(self._visit, "out", time.perf_counter() - start)
        self.note()
        self.mask_content()
        return self._named(answer)

    def stream(self, events: Events) -> Events:
        return Guarded(events, self) if self.passage.watches_answers or self._visit.findings else events

    async def judge(self, side: Any, said: Sequence[str]) -> None:
        """What the classifiers of that side say. Raises GuardBlocked."""
        for classifier, future in list(self.passage.judge(side, said)):
            try:
                answers = await asyncio.wait_for(asyncio.wrap_future(future), classifier.looks.seconds)
            except asyncio.CancelledError:
                raise
            except Exception:  # whatever it fails on: the rule says what that means
                answers = None
            self.passage.judged(classifier, side, answers)

    def note(self) -> None:
        """Count what was found since the last time."""
        found, missed = self.passage.findings(), self.passage.missed
        if len(found) > self._noted:
            self._guarding.note(self._visit, found[self._noted :])
            self._noted = len(found)
        if len(missed) > self._missed:
            self._guarding.missed(self._visit, missed[self._missed :])
            self._missed = len(missed)

    def ended(self, seconds: float, blocked: GuardBlocked | None) -> None:
        """A stream is over."""
        self._guarding.took(self._visit, "out", seconds)
        self.note()
        if blocked:
            self._guarding.blocked(self._visit, blocked)
            self.forget_content()
        else:
            self.mask_content()

    @property
    def found(self) -> list[str]:
        """The rules that found something in the request or the answer, so far."""
        return list(dict.fromkeys(one.rule for one in self.passage.findings()))

    def mask_content(self) -> None:
        """What traces keep of the answer is what left the model, masked, and nothing restored."""
        content = self._visit.content
        if content and content.get("outputs"):
            content["outputs"] = tuple(self.passage.masked(text) for text in content["outputs"])

    def forget_content(self) -> None:
        if self._visit.content and "outputs" in self._visit.content:
            self._visit.content["outputs"] = ()

    async def _left(self, answer: Said) -> Said:
        """Never as the bytes it came in: by a key that is there twice they may say what it does not."""
        slots = texts.told(answer)
        before = [slot.text for slot in slots]
        await self.judge("out", before)
        shown = await self._worked(sum(map(len, before)), self._shown, slots)
        again = texts.said_again(answer)
        if shown == before and not again:
            return dict(answer)
        answer = texts.copied(answer)
        for slot, text in zip(texts.told(answer), shown, strict=True):
            slot.put(text)
        if shown != before:
            texts.forget_logprobs(answer)
        self.restore(texts.said_again(answer) if again else ())
        return answer

    def restore(self, again: Iterable[texts.Slot]) -> None:
        """What an answer says again of its request is no answer to be judged."""
        for slot in again:
            slot.put(self.passage.restored(slot.text))

    def _shown(self, slots: Sequence[texts.Slot]) -> list[str]:
        return [self.passage.leave(slot.text, escaped=self.json or slot.key == "arguments") for slot in slots]

    async def _worked(self, size: int, work: Callable[..., list[str]], *what: Any) -> list[str]:
        return await asyncio.to_thread(work, *what) if size > LARGE else work(*what)

    def _named(self, told: Said | bytes) -> Said | bytes:
        """With the rules that found something, where any did."""
        if not self.found:
            return told
        if isinstance(told, Figures):
            return told.body[:-1] + b',"smallworks":%b}' % to_bytes({"guards": self.found})
        answer = to_object(told)
        return {**answer, "smallworks": {**(answer.get("smallworks") or {}), "guards": self.found}}


def _counter(host: Host) -> Callable[[str], int]:
    """Tokens as the host's own engine counts them; a quarter of the bytes where none counts here."""

    def count(text: str) -> int:
        return host.count(text) or len(text.encode()) // 4 + 1

    return count


def _wants_json(said: Said) -> bool:
    wanted = said.get("response_format")
    if not isinstance(wanted, dict) and isinstance(said.get("text"), dict):
        wanted = said["text"].get("format")
    return isinstance(wanted, dict) and wanted.get("type") in JSON_FORMATS
