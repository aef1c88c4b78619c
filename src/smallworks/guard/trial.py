"""A policy tried on texts before it is served: which rules fire, what is changed, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from smallworks.errors import GuardBlocked
from smallworks.guard.guards import Guards, Passage, Text
from smallworks.guard.rule import Found, Policy, Side


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one text. `text` is what it has become, None where `blocked` names the rule that stopped it."""

    number: int
    text: str | None
    blocked: str | None
    found: tuple[Found, ...]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Median microseconds for a text, and for a thousand characters of them all."""

    name: str
    text: float
    thousand: float


def tried(guards: Guards, texts: Iterable[str], side: Side, *, untrusted: bool = False) -> Iterator[Outcome]:
    """Each text as a request, or an answer, of its own."""
    for number, text in enumerate(texts, start=1):
        passage = guards.passage()
        try:
            shown = _passed(passage, text, side, untrusted=untrusted)
        except GuardBlocked as error:
            blocked = error.rule
            found = (*passage.findings(), Found(rule=blocked, action="block", side=side))
            yield Outcome(number=number, text=None, blocked=blocked, found=found)
        else:
            yield Outcome(number=number, text=shown, blocked=None, found=tuple(passage.findings()))


def costs(policy: Policy, texts: Sequence[str], side: Side, *, untrusted: bool = False) -> Iterator[Cost]:
    """Of the whole policy, then of each rule of that side alone."""
    yield _cost("all rules", policy, texts, side, untrusted)
    for rule in policy.rules:
        if rule.on(side):
            alone = Policy(rules=(rule,), untrusted=policy.untrusted)
            yield _cost(rule.name, alone, texts, side, untrusted)


def tokens(text: str) -> int:
    """About as many as it has: no model is asked here."""
    return len(text.encode()) // 4 + 1


def _cost(name: str, policy: Policy, texts: Sequence[str], side: Side, untrusted: bool) -> Cost:
    with Guards(policy) as guards:
        taken = []
        for _ in range(2):  # the first time is to warm up
            taken = [_seconds(guards, text, side, untrusted) for text in texts]
    characters = max(1, sum(map(len, texts)))
    return Cost(name=name, text=1e6 * median(taken), thousand=1e9 * sum(taken) / characters)


def _seconds(guards: Guards, text: str, side: Side, untrusted: bool) -> float:
    start = time.perf_counter()
    with suppress(GuardBlocked):
        _passed(guards.passage(), text, side, untrusted=untrusted)
    return time.perf_counter() - start


def _passed(passage: Passage, text: str, side: Side, *, untrusted: bool) -> str:
    if side == "in":
        (shown,) = passage.enter([Text(text=text, untrusted=untrusted)], tokens)
    else:
        shown = passage.leave(text)
    for classifier, future in passage.judge(side, [text]):
        try:
            answers = future.result(classifier.looks.seconds)
        except (Exception, TimeoutError):
            answers = None
        passage.judged(classifier, side, answers)
    return shown
