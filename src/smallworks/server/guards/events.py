"""A streamed answer through the guards: each text that grows is let out as far as it is sure.

A text is told apart by its place: choice, field, tool call. Its end is where its choice ends; what was held
back goes out with that. Log-probabilities say words again, and stay only where a text passes as it came.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from smallworks.guard import GuardBlocked
from smallworks.guard.scan import Outward
from smallworks.server.guards import texts
from smallworks.server.hosts import Events, Said

if TYPE_CHECKING:
    from smallworks.server.guards.passing import Passing

Place = tuple[Any, ...]
STRUCTURE = frozenset({"index", "type"})
WHOLE = frozenset({"name"})
"""Keys of a choice whose texts come at once and do not grow: a client acts on the name of a function."""
HEAD = frozenset({
    "id", "object", "created", "model", "system_fingerprint", "service_tier", "choices", "usage",
})  # fmt: skip
"""What a chunk says that only goes on with a text."""


class Guarded:
    """Implements hosts.Events. Raises GuardBlocked from `take`; what was held back is then never shown."""

    def __init__(self, events: Events, passing: Passing) -> None:
        self._events, self._passing = events, passing
        self._lanes: dict[Place, Outward] = {}
        self._last: dict[Place, Said] = {}
        self._seconds = 0.0
        self._ended = False
        self._blocked: GuardBlocked | None = None
        self._number: int | None = None
        self._waits = bool(passing.passage.judges("out"))

    async def take(self) -> list[Said]:
        shown: list[Said] = []
        while not shown and not self._ended:
            batch = await self._all() if self._waits else await self._events.take()
            start = time.perf_counter()
            try:
                for event in _joined(batch):
                    shown += self._passed(event)
                if not batch:
                    self._ended = True
                    shown += self._rest(())
            except GuardBlocked as blocked:
                self._blocked, self._ended = blocked, True
                if not shown:
                    raise
            finally:
                self._seconds += time.perf_counter() - start
        if not shown and self._blocked:
            raise self._blocked
        return [self._numbered(event) for event in shown]

    def close(self) -> None:
        self._events.close()
        if self._passing:
            self._passing.ended(self._seconds, self._blocked)

    async def _all(self) -> list[Said]:
        """Every event, once a classifier has judged the texts that they come to."""
        self._waits = False
        events: list[Said] = []
        while batch := await self._events.take():
            events += batch
        whole: dict[Place, str] = {}
        for event in events:
            for place, slot in _growing(event):
                whole[place] = whole.get(place, "") + slot.text
        try:
            await self._passing.judge("out", list(whole.values()))
        except GuardBlocked as blocked:
            self._blocked, self._ended = blocked, True
            raise
        return events

    def _passed(self, event: Said) -> Iterator[Said]:
        if isinstance(event.get("choices"), list):
            yield from self._chunk(event)
        elif isinstance(event.get("delta"), str):
            yield from self._delta(event)
        else:
            yield from self._whole(event)

    def _chunk(self, event: Said) -> Iterator[Said]:
        """A chunk of chat or text completions."""
        self._repeat(event, texts.told(event, but="choices"))
        spoke = quiet = False
        for choice in filter(_is_choice, event["choices"]):
            spoke = quiet = True
            passed = self._grown(choice)
            if choice.get("finish_reason"):
                ended = [place for place in self._lanes if place[0] == choice["index"]]
                for place in ended:
                    _add(choice, place[1:], self._lanes.pop(place).end())
                self._name(event)
            if not passed and choice.get("logprobs"):
                choice["logprobs"] = None
            quiet = quiet and _is_empty(choice) and not passed
        if not (spoke and quiet and event.keys() <= HEAD) or event.get("usage"):
            yield event

    def _grown(self, choice: Said) -> bool:
        """Whether every text of the choice passed as it came."""
        passed = True
        for place, slot in _of_choice(choice):
            text = slot.text
            if slot.key in WHOLE:
                shown = self._passing.passage.leave(text)
            else:
                shown = self._lane(place, slot.key).push(text)
            slot.put(shown)
            passed = passed and shown == text
        return passed

    def _delta(self, event: Said) -> Iterator[Said]:
        """A piece of one text of a response."""
        place = _of_delta(event)
        shown = self._lane(place, "arguments" if "arguments" in str(event.get("type")) else "").push(
            event["delta"]
        )
        if shown != event["delta"]:
            texts.forget_logprobs(event)
        self._last[place] = {**event, "delta": "", **({"logprobs": []} if "logprobs" in event else {})}
        if shown:
            yield {**event, "delta": shown}

    def _whole(self, event: Said) -> Iterator[Said]:
        """An event that tells whole texts, after what was held back of those that end with it."""
        kind = str(event.get("type", ""))
        if kind.startswith("response.") and kind.endswith((".done", ".completed", ".incomplete", ".failed")):
            yield from self._rest(_ends_with(event, kind))
        self._repeat(event, texts.told(event))
        self._passing.restore(texts.said_again(event))
        yield event

    def _repeat(self, event: Said, slots: Iterable[texts.Slot]) -> None:
        """Texts that do not grow, as they were shown where they were told before."""
        for slot in slots:
            escaped = self._passing.json or slot.key == "arguments"
            shown = self._passing.passage.repeated(slot.text, escaped=escaped)
            if shown != slot.text:
                slot.put(shown)
                texts.forget_logprobs(event)

    def _rest(self, of: Place) -> Iterator[Said]:
        """What was held back of the texts whose places begin with `of`."""
        for place in [place for place in self._lanes if place[: len(of)] == of]:
            text = self._lanes.pop(place).end()
            last = self._last.pop(place, None)
            if not text:
                continue
            if last is not None:
                yield {**last, "delta": text}
            else:
                choice: Said = {"index": place[0], "finish_reason": None}
                _add(choice, place[1:], text)
                yield {"object": "chat.completion.chunk", "choices": [choice]}

    def _lane(self, place: Place, key: Any) -> Outward:
        if place not in self._lanes:
            escaped = self._passing.json or key == "arguments"
            self._lanes[place] = self._passing.passage.growing(escaped=escaped)
        return self._lanes[place]

    def _name(self, event: Said) -> None:
        if found := self._passing.found:
            event["smallworks"] = {**(event.get("smallworks") or {}), "guards": found}

    def _numbered(self, event: Said) -> Said:
        """Events of a response count on, though some were held back and others put in."""
        if isinstance(event.get("sequence_number"), int):
            self._number = event["sequence_number"] if self._number is None else self._number + 1
            event["sequence_number"] = self._number
        return event


def _joined(batch: Sequence[Said]) -> Iterator[Said]:
    """Copies of the events; chunks in a row that only go on with one text come as one."""
    said = [_goes_on(event) for event in batch]
    run = ""
    for event, going_on, following in zip(batch, said, [*said[1:], None], strict=False):
        if going_on is None:
            yield texts.copied(event)
            continue
        index, text = going_on
        run += text
        if following is None or following[0] != index:
            yield {**event, "choices": [{**event["choices"][0], "delta": {"content": run}}]}
            run = ""


def _goes_on(event: Said) -> tuple[int, str] | None:
    """The choice and the text of a chunk of chat that says nothing else."""
    choices = event.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or event.get("usage") or not event.keys() <= HEAD:
        return None
    choice = choices[0]
    delta = choice.get("delta") if _is_choice(choice) else None
    text = delta.get("content") if isinstance(delta, dict) and len(delta) == 1 else None
    if not isinstance(text, str):
        return None
    for key, value in choice.items():
        if value and key != "index" and key != "delta":
            return None
    return choice["index"], text


def _growing(event: Said) -> Iterator[tuple[Place, texts.Slot]]:
    if isinstance(event.get("choices"), list):
        for choice in filter(_is_choice, event["choices"]):
            yield from _of_choice(choice)
    elif isinstance(event.get("delta"), str):
        yield _of_delta(event), texts.Slot(event, "delta", ("delta",))


def _of_choice(choice: Said) -> Iterator[tuple[Place, texts.Slot]]:
    for key in list(choice):
        if key not in texts.NOT_TOLD:
            for slot in texts.walk(choice, key, skip=texts.NOT_TOLD):
                yield (choice["index"], *slot.place), slot


def _of_delta(event: Said) -> Place:
    which = ("output_index", "item_id", "content_index", "summary_index")
    kind = str(event.get("type", "")).removesuffix(".delta")
    return (*(event.get(name) for name in which), kind)


def _ends_with(event: Said, kind: str) -> Place:
    """The beginning of the places of the texts that an event ends: one item's, or all."""
    return () if "output_index" not in event else (event["output_index"],)


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("index"), int)


def _is_empty(value: Any) -> bool:
    """Whether a choice says nothing: no text, no role, no end."""
    if isinstance(value, dict):
        return all(key in STRUCTURE or _is_empty(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_empty, value))
    return not value


def _add(choice: Said, place: Place, text: str) -> None:
    """Put a text behind what stands at its place, which is made where it is not there."""
    if not text:
        return
    holder: Any = choice
    for key, following in pairwise(place):
        if isinstance(holder, list):
            found = next((one for one in holder if one.get("index") == key), None)
            if found is None:
                found = {"index": key}
                holder.append(found)
            holder = found
        else:
            if not holder.get(key):
                holder[key] = [] if isinstance(following, int) else {}
            holder = holder[key]
    holder[place[-1]] = (holder.get(place[-1]) or "") + text
