"""What a level of load came to: answers a second, percentiles with intervals, first tokens, errors by cause.

A request that failed fast was not served, and its time says nothing; one that timed out or could not be sent
waited at least so long, and its time counts. Knows shots; knows no wire and no page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smallworks.evaluate.latency import Percentile, in_order, percentile
from smallworks.evaluate.load import UNSENT, Load, Run, Shot

SHARES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
WAITED = ("timeout", UNSENT)
"""Causes whose requests waited as long as they are timed, or longer."""
BEHIND = 0.95
"""A server that answers less than this share of what arrives is past its capacity."""
LATE_MS = 5.0
BUSY = 0.8
"""Share of one core above which the load tool itself may be what is slow."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level, measured. Times are milliseconds from when a request was due; None where nothing tells.

    `first` is the time to the first token and `each` the time of each further one, where answers streamed.
    `per_second` counts answers that came within the measured time. `late` is the p99 by which requests left
    later than somebody was free to send them, and `busy` the share of a core that this tool took: both tell
    whether it was the tool that was slow. `waited` is how many of the timed requests had no answer.
    """

    name: str
    clients: int
    rate: float
    requests: int
    answered: int
    waited: int
    errors: Mapping[str, int]
    seconds: float
    per_second: float
    latency: Mapping[str, Percentile] | None
    first: Mapping[str, Percentile] | None
    each: Mapping[str, Percentile] | None
    slowest: float | None
    tokens_out_per_second: float
    tokens_in: float
    tokens_out: float
    late: float | None
    busy: float
    joules: float | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What one has to know to read the figures."""
        said = []
        if self.rate and not self.requests:
            said.append("no request was due in the measured time: give more --seconds or a higher --rate")
        if self.rate and self.per_second < BEHIND * self.requests / max(self.seconds, 1e-9):
            said.append("past its capacity: the line grows as long as this lasts")
        if self.waited:
            said.append(f"{self.waited:,} had no answer in time and count as long as they waited")
        if self.busy > BUSY or (self.late or 0.0) > LATE_MS:
            said.append("this load tool was short of time itself: its figures are too high")
        return tuple(said)


def level(load: Load, run: Run, *, joules: float | None = None) -> Level:
    """The figures of one level."""
    shots, seconds = run.shots, max(run.end - run.start, 1e-9)
    good = [shot for shot in shots if not shot.reply.cause]
    timed = [shot for shot in shots if not shot.reply.cause or shot.reply.cause in WAITED]
    within = [shot for shot in good if shot.ended <= run.end]
    causes = Counter(shot.reply.cause for shot in shots if shot.reply.cause)
    return Level(
        name=load.name,
        clients=load.clients,
        rate=load.rate,
        requests=len(shots),
        answered=len(good),
        waited=len(timed) - len(good),
        errors=dict(causes.most_common()),
        seconds=seconds,
        per_second=len(within) / seconds,
        latency=_percentiles([(shot.ended - shot.due) * 1e3 for shot in timed]),
        first=_percentiles([(s.reply.first - s.due) * 1e3 for s in good if s.reply.first is not None]),
        each=_percentiles([ms for shot in good if (ms := _each(shot)) is not None]),
        slowest=max(((shot.ended - shot.due) * 1e3 for shot in timed), default=None),
        tokens_out_per_second=sum(shot.reply.tokens_out for shot in within) / seconds,
        tokens_in=_mean([shot.reply.tokens_in for shot in good]),
        tokens_out=_mean([shot.reply.tokens_out for shot in good]),
        late=percentile([(s.sent - s.free) * 1e3 for s in shots], 0.99) if shots else None,
        busy=run.busy,
        joules=joules,
    )


def _percentiles(ms: Sequence[float]) -> Mapping[str, Percentile] | None:
    return {name: in_order(ms, q) for name, q in SHARES.items()} if ms else None


def _each(shot: Shot) -> float | None:
    """Milliseconds a token after the first."""
    first, tokens = shot.reply.first, shot.reply.tokens_out
    return (shot.ended - first) * 1e3 / (tokens - 1) if first is not None and tokens > 1 else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
