"""`smallworks guard`: a policy checked, and tried on texts, before it is served."""

from __future__ import annotations

import json as js
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.guard import Guards, Policy, Rule
from smallworks.guard import load as load_policy
from smallworks.guard.trial import Cost, Outcome, costs, tried

COST_TEXTS = 1000
"""Texts that are timed at most."""


def guard(
    policy: Path,
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    where: Literal["in", "out"] = "in",
    untrusted: bool = False,
    show: bool = False,
    cost: bool = False,
    json: bool = False,
) -> int:
    """Check a policy file; with a file of texts, say which of its rules fire on them.

    Parameters
    ----------
    policy
        The policy file (TOML).
    file
        Texts, one a line; lines of JSON count as the text in them, or as their field 'text' or 'input'.
        '-' reads stdin.
    where
        Take the texts for requests (in) or for answers (out).
    untrusted
        Take them for an untrusted field, so that rules on injection look at them.
    show
        Print each text as it has become.
    cost
        Time the policy, and each rule alone, on the texts.
    json
        One JSON document on stdout.
    """
    read = load_policy(policy)
    with Guards(read) as guards:
        texts = _texts(file) if file else []
        outcomes = list(tried(guards, texts, where, untrusted=untrusted))
        longest = {**guards.outward.longest, **guards.inward.longest}
    timed = list(costs(read, texts[:COST_TEXTS], where, untrusted=untrusted)) if cost and texts else []
    if cost and not texts:
        raise UserError("There is nothing to time the policy on.", fix="Name a file of texts.")
    if json:
        talk.print_json(_document(read, outcomes, timed, longest))
        return 0
    talk.out.print(_rules(read, outcomes, longest))
    if file:
        blocked = sum(outcome.blocked is not None for outcome in outcomes)
        talk.say(f"{len(texts):,} texts, {blocked:,} blocked.")
    for outcome in outcomes if show else ():
        talk.say(f"{outcome.number}: {outcome.text if outcome.blocked is None else _blocked(outcome)}")
    if timed:
        talk.out.print(_costs(timed))
    return 0


def _texts(file: Path) -> list[str]:
    if str(file) == "-":
        lines = sys.stdin.read().splitlines()
    else:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise UserError(f"'{file}' cannot be read: {error}.", fix="Check the path.") from error
    return [_text(line) for line in lines if line.strip()]


def _text(line: str) -> str:
    if not line.startswith(("{", '"')):
        return line
    try:
        said = js.loads(line)
    except ValueError:
        return line
    if isinstance(said, dict):
        said = said.get("text", said.get("input"))
    return said if isinstance(said, str) else line


def _rules(policy: Policy, outcomes: Sequence[Outcome], longest: dict[str, float]) -> Table:
    texts, finds = _counts(outcomes)
    table = Table(box=None)
    for heading in ("rule", "looks for", "where", "action", "held back"):
        table.add_column(heading)
    for heading in ("texts", "finds") if outcomes else ():
        table.add_column(heading, justify="right")
    for rule in policy.rules:
        counted = [f"{texts[rule.name]:,}", f"{finds[rule.name]:,}"] if outcomes else []
        sort = type(rule.looks).__name__.lower()
        table.add_row(rule.name, sort, rule.where, rule.action, _held(rule, longest), *counted)
    return table


def _held(rule: Rule, longest: dict[str, float]) -> str:
    """The most characters of a streamed answer that the rule may hold back."""
    if not rule.on("out"):
        return ""
    most = longest.get(rule.name, 0)
    return "to its end" if most == float("inf") else f"up to {most:,.0f}" if most else ""


def _counts(outcomes: Sequence[Outcome]) -> tuple[Counter[str], Counter[str]]:
    texts: Counter[str] = Counter()
    finds: Counter[str] = Counter()
    for outcome in outcomes:
        texts.update({found.rule for found in outcome.found})
        for found in outcome.found:
            finds[found.rule] += found.count
    return texts, finds


def _costs(timed: Sequence[Cost]) -> Table:
    table = Table(box=None)
    table.add_column("cost of")
    table.add_column("µs a text", justify="right")
    table.add_column("µs a 1,000 characters", justify="right")
    for one in timed:
        table.add_row(one.name, f"{one.text:,.1f}", f"{one.thousand:,.1f}")
    return table


def _blocked(outcome: Outcome) -> str:
    return f"[blocked by '{outcome.blocked}']"


def _document(
    policy: Policy, outcomes: Sequence[Outcome], timed: Sequence[Cost], longest: dict[str, float]
) -> dict[str, Any]:
    texts, finds = _counts(outcomes)
    rules = [
        {
            "rule": rule.name,
            "looks_for": type(rule.looks).__name__.lower(),
            "where": rule.where,
            "action": rule.action,
            "held_back": _held(rule, longest),
            "texts": texts[rule.name],
            "finds": finds[rule.name],
        }
        for rule in policy.rules
    ]
    return {
        "rules": rules,
        "texts": [asdict(outcome) for outcome in outcomes],
        "costs": [asdict(one) for one in timed],
    }
