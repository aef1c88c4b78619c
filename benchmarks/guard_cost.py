"""Guards cost little, the same for most texts, and no text or pattern makes them slow.

Measured: microseconds to pass a request of 200, 1,000 and 10,000 characters of help-desk prose through the
twenty rules of guard_policy.toml (patterns, word lists, personal data, unseen characters and more), best of
many, in turns with the naive peer; what the policy adds to a served linear bundle, p50 of the CPU time (which
busy neighbours move less than the clock) of 300 requests of 1,000 characters, in turns with the same server
without guards; and the slowest, in seconds of CPU, of texts
of 1 MB made to be slow.
Against: the same patterns and word lists in Python's `re`, one after another, and the personal data finders.
Not covered: classifier bundles, concurrent clients, answers that stream over a network, other prose.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.command import smallworks
from benchmarks.served import chat
from benchmarks.timing import in_turns, medians

UNIT = "× the naive peer's time, 1,000 characters"
GOAL = "≤ 0.5 × naive; adds ≤ 0.2 ms to a served request; 1 MB of anything in ≤ 10 s"
MOST, ADDED_MS, SLOWEST_S = 0.5, 0.2, 10.0
POLICY = Path(__file__).with_name("guard_policy.toml")
SIZES = (200, 1_000, 10_000)
TURNS = 100
REQUESTS = 300
MEGABYTE = 1_000_000
NASTY = (
    "a",
    "a@",
    "1 ",
    "12-",
    "GB82 ",
    "pass: ",
    "eyJa.",
    "\u200b",
    "<EMAIL_1>",
    "stupid ",
    "ab12:",
    "é",
    "::",
)


def measure(say: Say) -> Finding:
    from smallworks.guard import Guards, load

    policy = load(POLICY)
    with Guards(policy) as guards:
        cost = {size: _cost(guards, size) for size in SIZES}
        for size, figure in cost.items():
            say(f"{size:>6,} characters: {figure}")
        slow = {repr(unit): round(_seconds(guards, unit), 2) for unit in NASTY}
    say(f"1 MB of each, s: {slow}")
    served = _served()
    say(f"served linear bundle, p50 of CPU ms: {served}")
    added = served["guarded"] - served["plain"]
    ratio = round(cost[1_000]["ours_us"] / cost[1_000]["naive_us"], 3)
    return Finding(
        value=ratio,
        holds=ratio <= MOST and added <= ADDED_MS and max(slow.values()) <= SLOWEST_S,
        against={"name": "Python's re, rule after rule", "us": cost[1_000]["naive_us"], "ratio": ratio},
        details={
            "by_characters": cost,
            "us_per_kb": cost[10_000]["ours_us"] / 10,
            "megabyte_s": slow,
            "served_p50_ms": served,
            "added_ms": round(added, 3),
        },
    )


def _prose(size: int) -> str:
    from smallworks.starter import HELPDESK

    pages = (path.read_text(encoding="utf-8") for path in sorted(HELPDESK.glob("*.md")))
    return " ".join(pages)[:size]


def _cost(guards: object, size: int) -> dict[str, float]:
    text = _prose(size)
    taken = in_turns({"ours": _ours(guards), "naive": _naive()}, [text] * TURNS)
    ours, naive = (1000 * min(taken[name]) for name in ("ours", "naive"))
    return {"ours_us": round(ours, 1), "naive_us": round(naive, 1), "ratio": round(ours / naive, 3)}


def _ours(guards: object) -> Callable[[str], object]:
    from smallworks.guard import Guards, Text

    assert isinstance(guards, Guards)
    return lambda text: guards.passage().enter([Text(text=text)], len)


def _naive() -> Callable[[str], None]:
    """The patterns, the word lists, the unseen characters and the personal data, one after another."""
    from smallworks.guard import load
    from smallworks.guard.rule import Patterns, Words
    from smallworks.text import personal, unseen

    compiled = []
    for rule in load(POLICY).rules:
        if isinstance(rule.looks, Patterns):
            compiled += [re.compile(pattern) for pattern in rule.looks.patterns]
        elif isinstance(rule.looks, Words):
            words = "|".join(map(re.escape, rule.looks.words))
            compiled.append(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE))

    def look(text: str) -> None:
        text = unseen.Stripper().push(text)
        for pattern in compiled:
            for _ in pattern.finditer(text):
                pass
        personal.looked_at(text, 0)

    return look


def _seconds(guards: object, unit: str) -> float:
    """Of CPU, in and out again, whether or not it is blocked."""
    from smallworks.guard import GuardBlocked, Guards, Text

    assert isinstance(guards, Guards)
    text = unit * (MEGABYTE // len(unit.encode()))
    start = time.process_time()
    passage = guards.passage()
    for step in (lambda: passage.enter([Text(text=text)], len), lambda: passage.leave(text)):
        try:
            step()
        except GuardBlocked:
            continue
    return time.process_time() - start


def _served() -> dict[str, float]:
    """p50 of CPU ms of the same bundle behind two servers in this process, with guards and without."""
    from smallworks.engines.opening import open_bundle
    from smallworks.guard import Guards, load
    from smallworks.server import background, create_app

    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, ExitStack() as stack:
        predictor = stack.enter_context(open_bundle(_linear(Path(scratch))))
        guards = stack.enter_context(Guards(load(POLICY)))
        bundles = {"bench": predictor}
        plain = stack.enter_context(background(create_app(bundles, default="bench")))
        guarded = stack.enter_context(background(create_app(bundles, default="bench", guards=guards)))
        text = _prose(1_000)
        clients = {"plain": chat(_address(plain), text), "guarded": chat(_address(guarded), text)}
        return medians(in_turns(clients, range(REQUESTS), time.process_time))


def _linear(folder: Path) -> Path:
    """The linear candidate of the sample task."""
    from smallworks import starter
    from smallworks.recipes.sample import lay_out

    lay_out(next(iter(starter.TASKS)), folder / "task")
    ran = smallworks("build", folder / "task", "--only", "linear", "--json", folder=folder)
    rows = {row["name"]: row for row in ran.json()["candidates"]}
    return Path(rows["linear"]["bundle"])


def _address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)
