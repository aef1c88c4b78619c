"""`smallworks bench`: latency and throughput of a server under load."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from rich.table import Table as Grid

from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.evaluate.latency import Percentile
from smallworks.evaluate.level import Level
from smallworks.evaluate.load import Arrivals, Load
from smallworks.recipes.bench import Bench, Options, Route
from smallworks.recipes.bench import bench as measure
from smallworks.recipes.bench_page import write_page
from smallworks.recipes.figures import number

CLIENTS = "1,4,16"


def bench(
    target: str,
    /,
    *,
    clients: str = "",
    rate: str = "",
    arrivals: Arrivals = "poisson",
    seconds: float = 10.0,
    warmup: float = 2.0,
    requests: int = 100_000,
    at_once: int = 256,
    stream: bool = False,
    route: Route | None = None,
    model: str | None = None,
    max_tokens: int = 64,
    prompts: Path | None = None,
    key_env: str | None = None,
    timeout: float = 60.0,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Load a server and measure it: percentiles with intervals, answers a second, first tokens, errors.

    Parameters
    ----------
    target
        The URL of an OpenAI-shaped server, or a bundle's folder, which is then served for the run.
    clients
        Closed loop: numbers of clients, comma-separated; each asks again once answered (default: 1,4,16).
    rate
        Open loop: arrivals a second, comma-separated; each is timed from when it was due.
    arrivals
        Open loop: poisson (as independent users come) or fixed (evenly).
    seconds
        Measured time of each level.
    warmup
        Seconds of load before each that are not measured.
    requests
        Most requests measured at each level.
    at_once
        Open loop: most requests under way; further ones wait, and their waiting counts.
    stream
        Ask for streamed answers and time the first token.
    route
        chat or classify (default: chat with --stream, classify for a bundle that labels, else chat).
    model
        The model to name (default: the first that the server lists).
    max_tokens
        Longest answer.
    prompts
        What to ask: a data file or a .txt of one text a line (default: golden rows, or the sample task).
    key_env
        The environment variable that holds the server's key.
    timeout
        Seconds after which a request has failed.
    seed
        Seed of the order of the prompts and of the arrivals.
    out
        Write a page with the picture here (.html).
    json
        One JSON document on stdout.
    """
    if out and out.is_dir():
        raise UserError(f"--out '{out}' is a folder.", fix=f"Name a file: --out {out / 'bench.html'}")
    usual = Load(
        clients=1,
        arrivals=arrivals,
        seconds=seconds,
        warmup=warmup,
        most=requests,
        at_once=at_once,
        grace=min(timeout, max(1.0, seconds / 2)),
    )
    counts = _numbers(clients or ("" if rate else CLIENTS), "--clients")
    loads = [replace(usual, clients=int(count)) for count in counts]
    loads += [replace(usual, clients=0, rate=each) for each in _numbers(rate, "--rate")]
    options = Options(
        route=route,
        stream=stream,
        model=model,
        max_tokens=max_tokens,
        prompts=prompts,
        key_env=key_env,
        timeout=timeout,
        seed=seed,
    )
    with talk.progress() as progress:
        done = measure(target, loads, options, progress=progress)
    if not done.local:
        talk.remark(f"{done.url} is another machine: the network between is in these figures.")
    if json:
        talk.print_json(
            {**asdict(done), "levels": [{**asdict(one), "notes": one.notes} for one in done.levels]}
        )
    else:
        _show(done)
    _keep(done, out, told=not json)
    return 0 if any(one.answered for one in done.levels) else 1


def _keep(done: Bench, out: Path | None, *, told: bool) -> None:
    """The page, last: figures that took minutes are told even where it cannot be written."""
    if out:
        write_page(done, out)
        if told:
            talk.say(f"page: {out}")


def _numbers(text: str, option: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = [0.0]
    if not all(0 < value < 1e6 and (option == "--rate" or value.is_integer()) for value in found):
        raise UserError(
            f"{option} '{text}' is no list of positive numbers.", fix=f"Write it as: {option} 1,4,16"
        )
    return found


def _show(done: Bench) -> None:
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    heads = ["load", "answers/s", "p50 ms", "p95 ms", "p99 ms", "interval of p99", "slowest", "errors"]
    heads += ["first p50", "first p95", "tokens/s"] if done.stream else []
    for at, name in enumerate(heads):
        grid.add_column(name, justify="left" if at == 0 else "right")
    for one in done.levels:
        grid.add_row(*_cells(one, done.stream))
    talk.out.print(grid)
    for one in done.levels:
        for note in one.notes:
            talk.say(f"{one.name}: {note}", style="dim")
        for cause, times in one.errors.items():
            talk.say(f"{one.name}: {times:,} × {cause}", style="dim")
    talk.say(_energy(done), style="dim")
    model = done.model or "not named"
    talk.say(f"{done.prompts:,} different inputs ({done.source}) to {done.route}, model {model}", style="dim")


def _cells(one: Level, stream: bool) -> list[str]:
    found = one.latency or {}
    p99 = found.get("p99")
    cells = [one.name, number(one.per_second), *(_ms(found.get(name)) for name in ("p50", "p95", "p99"))]
    cells += [_interval(p99), number(one.slowest), f"{sum(one.errors.values()):,}"]
    if stream:
        first = one.first or {}
        tokens = number(one.tokens_out_per_second or None)  # a server that counts none has said nothing
        cells += [_ms(first.get("p50")), _ms(first.get("p95")), tokens]
    return cells


def _ms(found: Percentile | None) -> str:
    return number(found.value if found else None)


def _interval(found: Percentile | None) -> str:
    """An open end is one that so few requests cannot tell."""
    if found is None:
        return number(None)
    return f"{number(found.low)}–{number(found.high) if found.high is not None else '?'}"


def _energy(done: Bench) -> str:
    told = [(one, one.joules) for one in done.levels if one.joules is not None and one.answered]
    if not told:
        return f"energy: {done.energy}"
    each = ", ".join(f"{one.name} {joules / one.answered:.3g} J an answer" for one, joules in told)
    return f"energy ({done.energy}, warm-up included): {each}"
