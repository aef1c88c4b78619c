"""A stream comes through the server nearly as soon as the upstream sends it.

Measured: a mock upstream that sends 20 chunks, usage and [DONE] in one burst; 300 streams one after another,
in turns with the mock asked directly; what is added at the median to the first byte of the answer and to its
last. Ours has a key, its limits, metrics and a guard policy on, and parses every event.
Against: a bare ASGI relay that passes bytes on. Not covered: many streams at once, chunks far apart, TLS.
"""

from __future__ import annotations

from benchmarks.claim import Finding, Say
from benchmarks.gateways import arena, bare, smallworks
from benchmarks.relay_load import Line
from benchmarks.timing import median

UNIT = "ms"
GOAL = "≤ 1 ms added to the first chunk, ≤ 1 ms to a burst of 20"
MOST = 1.0
STREAMS = 300


def measure(say: Say) -> Finding:
    with arena(say, {"smallworks": smallworks, "bare": bare}) as (running, missing):
        lines = {name: Line(ask, stream=True) for name, ask in running.items()}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
        for turn in range(STREAMS + 50):
            for name, line in lines.items():
                found = line.once()
                if turn >= 50:
                    taken[name].append(found)
        for line in lines.values():
            line.close()
    if "smallworks" not in taken:
        raise RuntimeError(missing["smallworks"])
    p50 = {
        name: tuple(round(median(each), 3) for each in zip(*ms, strict=True)) for name, ms in taken.items()
    }
    first, last = (
        {name: round(ms[i] - p50["direct"][i], 3) for name, ms in p50.items() if name != "direct"}
        for i in (0, 1)
    )
    say(f"added to the first chunk {first}, to the last {last}")
    worst = max(first["smallworks"], last["smallworks"])
    return Finding(
        value=worst,
        holds=worst <= MOST,
        against={
            "name": "bare ASGI relay, same client",
            "first_ms": first.get("bare"),
            "last_ms": last.get("bare"),
        },
        details={
            "added_first": first,
            "added_last": last,
            "p50": p50,
            "streams": STREAMS,
            "missing": missing,
        },
    )
