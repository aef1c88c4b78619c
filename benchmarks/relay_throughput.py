"""The server relays as many requests a second as a gateway in Rust, and many times those of the usual ones.

Measured: 64 connections to each gateway in turn, alone on one core, in front of the same mock upstream; the
client and the mock share another core. Ours has a key, its limits, metrics and a guard policy on.
Against: LiteLLM's proxy (master key, one worker), Portkey's open gateway (no keys), and TensorZero's gateway
as embedded in its Python package (no keys, no observability). A peer that cannot be installed or started is
named under `missing`. Not covered: several cores, TLS, streams, TensorZero's own container.
"""

from __future__ import annotations

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.gateways import PEERS, arena, bare, smallworks
from benchmarks.relay_load import flood
from benchmarks.timing import median

UNIT = "requests/s"
GOAL = "≥ 1x TensorZero, ≥ 25x LiteLLM, ≥ 3x Portkey"
LEAST = {"tensorzero": 1.0, "litellm": 25.0, "portkey": 3.0}
ROUNDS = 3
SECONDS = 3.0
"""Of each gateway in each round."""
WARM_SECONDS = 5.0


def measure(say: Say) -> Finding:
    with arena(say, {"smallworks": smallworks, "bare": bare, **PEERS}) as (running, missing):
        for name, ask in list(running.items()):
            try:
                flood(ask, seconds=WARM_SECONDS)
            except RuntimeError as error:
                missing[name] = str(error)
                del running[name]
        rates: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(ROUNDS):
            for name, ask in running.items():
                rates[name].append(flood(ask, seconds=SECONDS))
    if "smallworks" not in rates:
        raise RuntimeError(missing["smallworks"])
    middle = {name: round(median(each), 1) for name, each in rates.items()}
    ratios = {name: round(middle["smallworks"] / middle[name], 2) for name in LEAST if name in middle}
    say(f"requests/s {middle}; ours against {ratios}")
    if not ratios:
        raise Skipped(f"no peer could be run: {missing}")
    nearest = min(ratios, key=lambda name: ratios[name] / LEAST[name])
    return Finding(
        value=middle["smallworks"],
        holds=all(ratio >= LEAST[name] for name, ratio in ratios.items()),
        against={"name": nearest, "requests_per_second": middle[nearest], "ratio": ratios[nearest]},
        details={"requests_per_second": middle, "ratios": ratios, "rates": rates, "missing": missing},
    )
