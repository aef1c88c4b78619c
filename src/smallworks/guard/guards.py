"""A policy made ready, and the passage of one request through it: in, and its answer out.

Knows texts and not where they stand in a request. Classifiers judge in threads; whoever asks waits for them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Self

from smallworks.errors import GuardBlocked
from smallworks.guard.classifier import Classifier
from smallworks.guard.classifier import check as check_classifier
from smallworks.guard.policy import load
from smallworks.guard.pseudonyms import Pseudonyms, Restorer
from smallworks.guard.rule import Found, Orders, Policy, Rule, Side, blocked
from smallworks.guard.scan import Outward, Scan, Sieve, check_length
from smallworks.text.instructions import without_orders
from smallworks.text.unseen import is_suspect
from smallworks.types import Answer

SIDES: tuple[Side, ...] = ("in", "out")


class Text(NamedTuple):
    """One text of a request. `place` is where it stands; a `fixed` one, like a name, cannot be changed."""

    text: str
    place: str | None = None
    untrusted: bool = False
    fixed: bool = False


def check(policy: Policy) -> None:
    """Everything that can be told of a policy without loading a model. Raises UserError."""
    for side in SIDES:
        for rule, looks in Sieve(policy.rules, side).labelled:
            check_classifier(rule, looks)


class Guards:
    """Raises UserError for a pattern, a bundle or a label that cannot be. Safe to share; close it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.inward, self.outward = Sieve(policy.rules, "in"), Sieve(policy.rules, "out")
        self._classifiers: dict[str, Classifier] = {}
        try:
            for rule, looks in [*self.inward.labelled, *self.outward.labelled]:
                if rule.name not in self._classifiers:
                    self._classifiers[rule.name] = Classifier(rule, looks)
        except BaseException:
            self.close()
            raise
        self._judges: dict[Side, list[Classifier]] = {
            "in": [self._classifiers[rule.name] for rule, _ in self.inward.labelled],
            "out": [self._classifiers[rule.name] for rule, _ in self.outward.labelled],
        }
        most = [characters for _, characters in self.inward.lengths]
        self._most = min([*most, *(tokens for _, tokens in self.inward.tokens)], default=math.inf)
        self._marks = [f'"{name}"'.encode() for name in policy.untrusted] if self.inward.orders else []

    @classmethod
    def open(cls, path: Path) -> Self:
        return cls(load(path))

    def passage(self) -> Passage:
        return Passage(self)

    def judges(self, side: Side) -> list[Classifier]:
        return self._judges[side]

    def clears(self, body: bytes) -> bool:
        """Whether no rule can find anything in the texts of a request that came as this JSON, in UTF-8.

        Told of most requests in one look, without their texts: in ASCII without escapes each of them stands
        as it is between two quotes. What is not so, or may be found, is for `enter` to look at text by text:
        what stands between the texts may look like a find, and never hides one. A text that is put together
        of several places, as the names in a schema are, is not in the body: such a request is not for here.
        """
        if not body.isascii() or b"\\" in body or b"<" in body:  # '<' begins a pseudonym
            return False
        if len(body) > self._most or self._judges["in"] or any(mark in body for mark in self._marks):
            return False
        sieve = self.inward
        if sieve.finder.anchored or sieve.finder.any_in(body):
            return False
        return not (sieve.unseen and is_suspect(body.decode()))

    def close(self) -> None:
        for classifier in self._classifiers.values():
            classifier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Passage:
    """One request and its answer. `missed` names classifiers that failed and let the text through."""

    def __init__(self, guards: Guards) -> None:
        self._guards = guards
        self._pseudonyms = Pseudonyms()
        self._found: dict[Side, Counter[str]] = {"in": Counter(), "out": Counter()}
        self.missed: list[tuple[str, Side]] = []

    @property
    def watches_answers(self) -> bool:
        """Whether an answer can come out otherwise than it is."""
        return not self._guards.outward.idle or bool(self._pseudonyms.originals)

    def enter(self, texts: Sequence[Text], count: Callable[[str], int]) -> list[str]:
        """The texts as they may be asked; `count` gives a text's tokens. Raises GuardBlocked."""
        sieve, found = self._guards.inward, self._found["in"]
        check_length(sieve, sum(len(one.text) for one in texts), found)
        self._check_tokens(texts, count)
        for one in texts:
            self._pseudonyms.reserve(one.text)
        return [self._entered(sieve, one) for one in self._without_orders(sieve, texts)]

    def leave(self, text: str, *, escaped: bool = False) -> str:
        """A whole text of the answer as it may be shown. Raises GuardBlocked."""
        if not self._pseudonyms.originals and self._guards.outward.passes(text):
            return text
        return self.growing(escaped=escaped).whole(text)

    def growing(self, *, escaped: bool = False) -> Outward:
        """A text of the answer that comes in pieces; `escaped` for one that is JSON itself."""
        return Outward(self._guards.outward, self._pseudonyms, self._found["out"], escaped=escaped)

    def repeated(self, text: str, *, escaped: bool = False) -> str:
        """A whole text that was told before, as it was shown then; nothing is counted again."""
        return self._again(text, Restorer(self._pseudonyms, escaped=escaped))

    def restored(self, text: str) -> str:
        """A text of the request that is said again, as it came where that may be restored."""
        restorer = Restorer(self._pseudonyms, escaped=False)
        return restorer.push(text) + restorer.end()

    def masked(self, text: str) -> str:
        """An answer as records may keep it: masked and not restored; empty where it is blocked."""
        try:
            return self._again(text, None)
        except GuardBlocked:
            return ""

    def judges(self, side: Side) -> list[Classifier]:
        return self._guards.judges(side)

    def judge(self, side: Side, texts: Sequence[str]) -> Iterator[tuple[Classifier, Future[list[Answer]]]]:
        """Every classifier of that side at work on the texts; hand each outcome to `judged`."""
        classifiers = self._guards.judges(side)
        said = [text for text in texts if text.strip()] if classifiers else []
        for classifier in classifiers if said else ():
            yield classifier, classifier.judge(said)

    def judged(self, classifier: Classifier, side: Side, answers: Sequence[Answer] | None) -> None:
        """What a classifier came to; None where it failed or took too long. Raises GuardBlocked."""
        rule, looks = classifier.rule, classifier.looks
        if answers is None:
            if looks.fail == "closed":
                raise blocked(rule, side, "its classifier gave no answer in time")
            self.missed.append((rule.name, side))
        elif (count := classifier.count(answers)) > 0:
            if rule.action == "block":
                raise blocked(rule, side, "its classifier is against it")
            self._found[side][rule.name] += count

    def findings(self) -> list[Found]:
        """What was found and did not block, so far, in the order of the policy."""
        if not (self._found["in"] or self._found["out"]):
            return []
        return [
            Found(rule=rule.name, action=rule.action, side=side, count=counts[rule.name])
            for side, counts in self._found.items()
            if counts
            for rule in self._guards.policy.rules
            if counts[rule.name]
        ]

    def _again(self, text: str, restorer: Restorer | None) -> str:
        if not self._guards.outward.idle:
            text = Scan(self._guards.outward, self._pseudonyms, Counter()).whole(text)
        return restorer.push(text) + restorer.end() if restorer else text

    def _entered(self, sieve: Sieve, one: Text) -> str:
        if sieve.passes(one.text):
            return one.text
        try:
            text = Scan(sieve, self._pseudonyms, self._found["in"]).whole(one.text)
        except GuardBlocked as error:
            error.param = one.place
            raise
        if one.fixed and text != one.text:
            rule = next(rule for rule in self._guards.policy.rules if self._found["in"][rule.name])
            why = "what it would change stands in a name that cannot be changed"
            raise blocked(rule, "in", why, param=one.place)
        return text

    def _check_tokens(self, texts: Sequence[Text], count: Callable[[str], int]) -> None:
        for rule, most in self._guards.inward.tokens:
            # A token stands for at least one byte: a short request need not be counted.
            if sum(len(one.text.encode()) for one in texts) <= most:
                continue
            if sum(count(one.text) for one in texts) > most:
                self._act(rule, f"it has more than {most:,} tokens", None)

    def _without_orders(self, sieve: Sieve, texts: Sequence[Text]) -> list[Text]:
        said = list(texts)
        for rule, looks in sieve.orders:
            self._check_amount(rule, looks, said)
            for at, one in enumerate(said):
                if not one.untrusted:
                    continue
                text, orders = without_orders(one.text)
                if orders:
                    self._act(rule, "an untrusted part of it gives orders to the model", one.place)
                    if rule.action == "mask":
                        said[at] = Text(text=text, place=one.place, fixed=one.fixed)
        return said

    def _check_amount(self, rule: Rule, looks: Orders, texts: Sequence[Text]) -> None:
        if sum(len(one.text) for one in texts if one.untrusted) > looks.characters:
            why = f"its untrusted parts have more than {looks.characters:,} characters"
            raise blocked(rule, "in", f"{why}, too many to look through")

    def _act(self, rule: Rule, why: str, place: str | None) -> None:
        if rule.action == "block":
            raise blocked(rule, "in", why, param=place)
        self._found["in"][rule.name] += 1
