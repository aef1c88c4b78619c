"""The server adds little to what an upstream takes: a key, its limits, metrics and guards on.

Measured: `smallworks serve` in front of a mock upstream, on one core; the mock and the client share another.
500 requests to /v1/chat/completions one after another over a kept-alive loopback connection, in turns
with the mock asked directly; what is added at the median. Against: a bare ASGI relay with the same HTTP
client, which does nothing else. Not covered: TLS, an upstream elsewhere, requests at once (relay_throughput).
"""

from __future__ import annotations

from benchmarks.claim import Finding, Say
from benchmarks.gateways import arena, bare, smallworks
from benchmarks.relay_load import Line
from benchmarks.timing import in_turns, median

UNIT = "ms"
GOAL = "≤ 0.5 ms added p50"
MOST = 0.5
REQUESTS = 500


def measure(say: Say) -> Finding:
    with arena(say, {"smallworks": smallworks, "bare": bare}) as (running, missing):
        lines = {name: Line(ask) for name, ask in running.items()}
        subjects = {name: (lambda _, line=line: line.once()) for name, line in lines.items()}
        in_turns(subjects, range(100))  # until everything has been seen once
        taken = in_turns(subjects, range(REQUESTS))
        for line in lines.values():
            line.close()
    if "smallworks" not in taken:
        raise RuntimeError(missing["smallworks"])
    p50 = {name: round(median(ms), 3) for name, ms in taken.items()}
    added = {name: round(ms - p50["direct"], 3) for name, ms in p50.items() if name != "direct"}
    say(f"p50 {p50}, added {added}")
    against = {"name": "bare ASGI relay, same client", "ms": added.get("bare")}
    if added.get("bare"):
        against["ratio"] = round(added["smallworks"] / added["bare"], 2)
    return Finding(
        value=added["smallworks"],
        holds=added["smallworks"] <= MOST,
        against=against,
        details={"p50": p50, "added": added, "requests": REQUESTS, "missing": missing},
    )
