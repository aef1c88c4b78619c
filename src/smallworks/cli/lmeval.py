"""`smallworks lmeval`: public benchmarks through lm-eval, against a bundle or a server."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table as Grid

from smallworks.cli import talk
from smallworks.recipes.lmeval import Options, Score, document, measure


def lmeval(
    target: str,
    /,
    *,
    tasks: str,
    python: Path = Path(sys.executable),
    limit: int | None = None,
    fewshot: int | None = None,
    include: Path | None = None,
    system: str | None = None,
    model: str | None = None,
    key_env: str | None = None,
    at_once: int = 4,
    run_code: bool = False,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """GSM8K, MMLU, HumanEval and the other tasks of EleutherAI's lm-eval, with intervals.

    Parameters
    ----------
    target
        A bundle's folder, which is served for the run, or the URL of an OpenAI-shaped server.
    tasks
        lm-eval's names, comma-separated; only those that have answers written, not scored.
    python
        The interpreter that has lm-eval (default: the one that runs this).
    limit
        Rows of each task (default: all).
    fewshot
        Examples in each prompt (default: the task's own number).
    include
        A folder of further task files (YAML).
    system
        The system message (default: none for a URL, "You are a helpful assistant." for a bundle).
    model
        Servers: the model to name (default: the first that the server lists).
    key_env
        Servers: the environment variable that holds the key.
    at_once
        Requests under way at the same time.
    run_code
        Let tasks run the code that the model writes, with your rights on this machine.
    seed
        lm-eval's seed.
    out
        Keep lm-eval's own files here, each row's prompt and answer among them.
    json
        One JSON document on stdout.
    """
    options = Options(
        python=python,
        limit=limit,
        fewshot=fewshot,
        include=include,
        system=system,
        model=model,
        key_env=key_env,
        at_once=at_once,
        run_code=run_code,
        seed=seed,
    )
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    with talk.progress() as progress:
        found = measure(target, names, options, out=out, progress=progress)
    if json:
        talk.print_json(document(found))
        return
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(("task", "metric", "filter", "shots", "value", "95 % interval", "rows")):
        grid.add_column(name, justify="left" if at < 3 else "right")
    for score in found.scores:
        grid.add_row(*_cells(score))
    talk.out.print(grid)
    talk.say(f"lm-eval {found.lm_eval}, model {found.model}", style="dim")


def _cells(score: Score) -> tuple[str, ...]:
    e = score.estimate
    interval = f"{e.low:.4f}–{e.high:.4f}" if e.low > float("-inf") else "–"
    shots = "–" if score.fewshot is None else str(score.fewshot)
    metric = score.metric if score.higher_is_better else f"{score.metric} (lower is better)"
    return score.task, metric, score.filter, shots, f"{e.value:.4f}", interval, f"{e.n:,}"
