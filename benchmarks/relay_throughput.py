"""The server relays as many requests a second as a gateway in Rust, and many times those of the usual ones.

Measured: 64 connections to each gateway in turn, alone on one core, in front of the same mock upstream; the
client and the mock share another. Metrics are always on at ours. Required are:
- ours with nothing else on ≥ 1x TensorZero with nothing on;
- ours with a key and its limits in Redis ≥ 1x TensorZero with limits in Redis (it has no key: its Python
  package, the one thing of it in the registries, has no layer for them);
- ours with a key, limits in the process and 20 guard rules ≥ 25x LiteLLM's proxy (master key, one worker) and
  ≥ 3x Portkey's open gateway (nothing on).
Told and not required: ours with everything against TensorZero with nothing, which has no guards to turn on.
A peer that cannot be installed or started, or has no Redis, is named under `missing`. Not covered: several
cores, TLS, streams, TensorZero's own container.
"""

from __future__ import annotations

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.gateways import LIMITED, PEERS, arena, bare, smallworks
from benchmarks.relay_load import flood
from benchmarks.timing import median

UNIT = "requests/s"
GOAL = "≥ 1x TensorZero set up alike, ≥ 25x LiteLLM, ≥ 3x Portkey"
NOTHING, LIMITS = "smallworks, nothing on", "smallworks, limits in Redis"
LEAST = {
    (NOTHING, "tensorzero"): 1.0,
    (LIMITS, "tensorzero, limits in Redis"): 1.0,
    ("smallworks", "litellm"): 25.0,
    ("smallworks", "portkey"): 3.0,
}
"""Ours and the peer → how many times its requests are required."""
TOLD = ("smallworks", "tensorzero")
ROUNDS = 3
SECONDS = 3.0
"""Of each gateway in each round."""
WARM_SECONDS = 5.0


def measure(say: Say) -> Finding:
    with arena(say, {"smallworks": smallworks, **LIMITED, "bare": bare, **PEERS}) as (running, missing):
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
    ratios = {
        pair: round(middle[pair[0]] / middle[pair[1]], 2)
        for pair in (*LEAST, TOLD)
        if pair[0] in middle and pair[1] in middle
    }
    told = {f"{ours} / {peer}": ratio for (ours, peer), ratio in ratios.items()}
    say(f"requests/s {middle}; {told}")
    required = [pair for pair in LEAST if pair in ratios]
    if not required:
        raise Skipped(f"no peer could be run: {missing}")
    nearest = min(required, key=lambda pair: ratios[pair] / LEAST[pair])
    return Finding(
        value=middle[nearest[0]],
        holds=all(ratios[pair] >= LEAST[pair] for pair in required),
        against={"name": nearest[1], "requests_per_second": middle[nearest[1]], "ratio": ratios[nearest]},
        details={"requests_per_second": middle, "ratios": told, "rates": rates, "missing": missing},
    )
