"""The server holds no more memory after many minutes of load than after a few, and fails nobody.

Measured: `smallworks serve` of two bundles over the starter (q8_0), one that labels and one that streams 24
tokens; in rounds, for `--minutes` (3 unless told): its capacity, by 8 clients that ask again once answered,
for 5 seconds, then 70 % of it as arrivals at random for 50. (A round of its own capacity, because other
work on the machine changes it.) Resident memory of the server every second; its slope after the first
quarter, by regression over means of 10 seconds, with a 95 % interval. `unsent` are requests that the client
could not send in time, as where the machine became slower in a round. No peer: the limit is absolute.
Not covered: larger models, keys, upstreams, days.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS
from benchmarks.served import Process, running
from benchmarks.served_llama import WORDS
from smallworks.evaluate import load as loads
from smallworks.evaluate.load import Load, Reply
from smallworks.evaluate.wire import Wire

UNIT = "MB a minute"
GOAL = "≤ 1 MB a minute after warm-up, no error"
MOST = 1.0
MINUTES = "SMALLWORKS_SOAK_MINUTES"
CLIENTS, SHARE, BLOCK = 8, 0.7, 10
CAPACITY_SECONDS, ROUND_SECONDS = 5.0, 50.0
LABELS = ("bug", "feature", "question")
TEXTS = (
    "The export crashes.",
    "Please add a dark mode.",
    "How do I change my password?",
    "It is slow today.",
)


def measure(say: Say) -> Finding:
    minutes = float(os.environ.get(MINUTES, "3"))
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        home = Path(scratch)
        labelling, writing = _bundles(home)
        command = [*SMALLWORKS, "serve", str(labelling), str(writing), "--port", "0"]
        with running(command, home) as server, Watch(server) as watch:
            ask = _ask(Wire("http://{}:{}".format(*server.address)), labelling.name, writing.name)
            rounds = list(_rounds(minutes, ask, say))
    shots = [shot for _, ran in rounds for shot in ran.shots]
    causes = Counter(shot.reply.cause for shot in shots if shot.reply.cause)
    unsent = causes.pop(loads.UNSENT, 0)
    kept = watch.samples[len(watch.samples) // 4 :]
    slope, margin = regression(kept)
    say(
        f"{len(shots) - unsent:,} requests, failures {dict(causes)}, {unsent} too late to be sent; "
        f"{slope:.3f} ± {margin:.3f} MB a minute"
    )
    late = sorted(shot.ended - shot.due for shot in shots)
    return Finding(
        value=round(slope, 3),
        holds=slope <= MOST and not causes,
        details={
            "interval": [round(slope - margin, 3), round(slope + margin, 3)],
            "minutes": minutes,
            "requests": len(shots) - unsent,
            "unsent": unsent,
            "failures": dict(causes),
            "capacity": [round(capacity, 1) for capacity, _ in rounds],
            "p50_ms": round(1000 * late[len(late) // 2], 1),
            "p99_ms": round(1000 * late[int(0.99 * len(late))], 1),
            "rss_mb": [round(kept[0][1], 1), round(kept[-1][1], 1)],
        },
    )


def _rounds(minutes: float, ask: loads.Ask, say: Say) -> Iterator[tuple[float, loads.Run]]:
    """Each round's capacity, and what came of its share of it."""
    until = time.monotonic() + 60 * minutes
    while (left := until - time.monotonic()) > 0:
        capacity = _rate(loads.run(Load(clients=CLIENTS, seconds=CAPACITY_SECONDS, warmup=1), ask))
        load = Load(rate=SHARE * capacity, seconds=min(ROUND_SECONDS, max(5.0, left)), warmup=0)
        ran = loads.run(load, ask)
        say(f"{left / 60:.1f} minutes left, capacity {capacity:.1f} a second, {len(ran.shots)} requests")
        yield capacity, ran


def regression(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """MB a minute of (seconds, MB), and half of its 95 % interval; neighbouring samples go together."""
    blocks: dict[int, list[tuple[float, float]]] = {}
    for at, value in samples:
        blocks.setdefault(int((at - samples[0][0]) // BLOCK), []).append((at, value))
    points = [(statistics.mean(a for a, _ in b), statistics.mean(v for _, v in b)) for b in blocks.values()]
    if len(points) < 4:
        raise RuntimeError(f"{len(points)} means of {BLOCK} seconds are too few for a slope: soak for longer")
    times, values = zip(*points, strict=True)
    line = statistics.linear_regression(times, values)
    left = sum((v - line.intercept - line.slope * t) ** 2 for t, v in points)
    spread = sum((t - statistics.mean(times)) ** 2 for t in times)
    error = (left / (len(points) - 2) / spread) ** 0.5
    return 60 * line.slope, 60 * 2 * error


class Watch:
    """Samples the memory of a server every second, in a thread."""

    def __init__(self, server: Process) -> None:
        self.samples: list[tuple[float, float]] = []
        self._server, self._ended = server, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            self.samples.append((time.perf_counter(), self._server.resident() / 1e6))


def _rate(ran: loads.Run) -> float:
    answered = [shot for shot in ran.shots if not shot.reply.cause]
    if not answered:
        raise RuntimeError("nothing was answered while the capacity was measured")
    return len(answered) / (ran.end - ran.start)


def _ask(wire: Wire, labelling: str, writing: str) -> loads.Ask:
    import json

    def body(**said: object) -> bytes:
        return json.dumps(said).encode()

    def ask(number: int) -> Reply:
        text = f"{TEXTS[number % len(TEXTS)]} ({number})"
        messages = [{"role": "user", "content": text}]
        if number % 2:
            return wire.ask("/v1/chat/completions", body(model=labelling, messages=messages), stream=False)
        said = body(model=writing, messages=messages, stream=True, max_tokens=24)
        return wire.ask("/v1/chat/completions", said, stream=True)

    return ask


def _bundles(folder: Path) -> tuple[Path, Path]:
    """The starter as one bundle that labels and one that writes."""
    from smallworks import compress, files, starter
    from smallworks.bundle import Manifest, freeze
    from smallworks.engines.base import resolve, words_of
    from smallworks.prompt.codes import choose
    from smallworks.types import PromptSpec, Sampling

    words, draft = words_of(resolve(None)), folder / "draft"
    for name in WORDS:
        files.link_or_copy(starter.MODEL / name, draft / "tokenizer" / name)
    compress.quantize(starter.MODEL, draft / "model.gguf", "q8_0")
    choices = choose(LABELS, words.tokenizer, words.template)
    ask = "Name the kind of the ticket."
    spec = PromptSpec(style="chat", kind="classify", instruction=ask, choices=choices)
    free = PromptSpec(style="chat", kind="generate", instruction="Answer the customer.")
    labelling = Manifest(
        task="tickets", kind="classify", candidate="soak", engine="llamacpp", prompt=spec, model="model.gguf"
    )
    writing = Manifest(
        task="answers", kind="generate", candidate="soak", engine="llamacpp", prompt=free, model="model.gguf",
        sampling=Sampling(max_tokens=24),
    )  # fmt: skip
    return freeze(draft, labelling, into=folder).path, freeze(draft, writing, into=folder).path
