"""Public benchmarks (GSM8K, MMLU, HumanEval …) through EleutherAI's lm-eval, against our server or another.

lm-eval runs in a process, in an environment of its own if need be: it is no dependency of ours. Its tasks,
prompts and metrics are its own; what is ours is the server, the intervals, and that no code of a model is run
unasked. Knows lm-eval's command line and the files that it writes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smallworks import files, settings
from smallworks.bundle import open_bundle
from smallworks.errors import ChildError, UserError
from smallworks.evaluate.intervals import LEVEL, quantile, wilson
from smallworks.evaluate.wire import Wire, home
from smallworks.recipes.bench import first_model
from smallworks.recipes.served import served
from smallworks.seams import Progress, silent
from smallworks.types import Estimate

RUNS_CODE = ("humaneval", "mbpp", "cruxeval", "apps", "bigcodebench", "longproc")
"""Beginnings of tasks that run what the model writes. lm-eval refuses others that it marks as unsafe."""
SYSTEM = "You are a helpful assistant."
"""What makes a request to a bundle a free conversation, instead of an input of the bundle's own task."""
SETUP = 'python -m venv lm-eval && lm-eval/bin/pip install "lm-eval[api]"'
PROGRAM = """
import os, sys
options, sys.argv = sys.argv[1:3], ["lm-eval", *sys.argv[3:]]
key = os.environ[options[0]] if options[0] else None
os.environ.pop("OPENAI_API_KEY", None)
if key:
    os.environ["OPENAI_API_KEY"] = key
if options[1]:
    os.environ["HF_ALLOW_CODE_EVAL"] = "1"
from lm_eval.__main__ import cli_evaluate
cli_evaluate()
"""
"""Keys and permissions are set inside: on a command line every user of the machine could read them.

lm-eval sends OPENAI_API_KEY to whatever server it asks, so that one which is not meant for it is taken away.
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """`python` is the interpreter that has lm-eval. `include` is a folder of further task files."""

    python: Path = Path(sys.executable)
    limit: int | None = None
    fewshot: int | None = None
    include: Path | None = None
    system: str | None = None
    model: str | None = None
    key_env: str | None = None
    at_once: int = 4
    run_code: bool = False
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one task. Its interval: Wilson's where rows score 0 or 1, else from lm-eval's error."""

    task: str
    metric: str
    filter: str
    estimate: Estimate
    higher_is_better: bool
    fewshot: int | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """What lm-eval measured; `out` holds its own files, each row's prompt and answer among them."""

    target: str
    model: str
    lm_eval: str
    scores: tuple[Score, ...]
    out: Path | None


def measure(
    target: str,
    tasks: Sequence[str],
    options: Options = Options(),
    *,
    out: Path | None = None,
    progress: Progress = silent,
) -> Results:
    """Run lm-eval's tasks on a bundle or a server. Raises UserError for what cannot or should not be run."""
    _check(tasks, options)
    remote = target.startswith(("http://", "https://"))
    bundle = None if remote else open_bundle(Path(target))
    if bundle and (bundle.manifest.prompt.style != "chat" or bundle.manifest.prompt.choices):
        raise UserError(
            f"'{target}' labels text and holds no conversation.",
            fix="Public benchmarks are for bundles that write; measure this one with smallworks evaluate.",
        )
    key = settings.secret(options.key_env) if options.key_env else None
    _find(options.python)
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(TemporaryDirectory(prefix="smallworks-")))
        progress("serve the bundle", 0, 0, "")
        at = stack.enter_context(served(bundle.path)) if bundle else home(target)
        model = options.model or first_model(Wire(at, key=key)) or ""
        progress("serve the bundle", 1, 1, "done")
        system = options.system or (SYSTEM if bundle else None)
        _run(_command(at, model, tasks, options, folder, system), progress)
        version, scores = read(folder)
        return Results(target=target, model=model, lm_eval=version, scores=scores, out=out)


def read(folder: Path) -> tuple[str, tuple[Score, ...]]:
    """lm-eval's version and every metric of its newest results below the folder."""
    found = _results(folder)
    return str(found.get("lm_eval_version", "")), _scores(found, folder)


def _check(tasks: Sequence[str], options: Options) -> None:
    if not tasks:
        raise UserError("No task is named: --tasks ''.", fix="Try --tasks gsm8k")
    code = next((name for name in tasks if name.startswith(RUNS_CODE)), None)
    if code and not options.run_code:
        raise UserError(
            f"'{code}' runs the code that the model writes, on this machine and with your rights.",
            fix="Run it in a container or a machine you can throw away, and say so: --run-code",
        )
    if options.include and not options.include.is_dir():
        raise UserError(f"No folder of tasks at '{options.include}'.", fix="Check --include.")


def _find(python: Path) -> None:
    """Raises UserError where that interpreter has no lm-eval."""
    ask = "import importlib.util, sys; sys.exit(importlib.util.find_spec('lm_eval') is None)"
    try:
        found = subprocess.run([str(python), "-c", ask], capture_output=True).returncode == 0
    except OSError:
        found = False
    if not found:
        raise UserError(
            f"'{python}' has no lm-eval.",
            fix=f"Give it an environment of its own: {SETUP}. Then add --python lm-eval/bin/python",
        )


def _command(
    at: str, model: str, tasks: Sequence[str], options: Options, folder: Path, system: str | None
) -> list[str]:
    url = f"{at}/v1/chat/completions"
    _one_value("address", url)
    _one_value("model", model)
    where = f"base_url={url},model={model},num_concurrent={options.at_once},max_retries=3"
    words = [str(options.python), "-c", PROGRAM, options.key_env or "", "1" if options.run_code else ""]
    words += ["run", "--model", "local-chat-completions", "--model_args", where, "--apply_chat_template"]
    words += ["--tasks", ",".join(tasks), "--output_path", str(folder), "--log_samples"]
    words += ["--seed", str(options.seed)]
    for name, value in (
        ("--limit", options.limit),
        ("--num_fewshot", options.fewshot),
        ("--include_path", options.include),
        ("--system_instruction", system),
    ):
        words += [name, str(value)] if value is not None else []
    return [*words, "--confirm_run_unsafe_code"] if options.run_code else words


def _one_value(what: str, text: str) -> None:
    """Raises UserError for what lm-eval would read as further arguments, code of a stranger among them."""
    if "," in text or "=" in text:
        raise UserError(
            f"The {what} '{text}' holds a comma or an equals sign, which lm-eval reads as further arguments.",
            fix="Name another one with --model." if what == "model" else "Give an address without them.",
        )


def _run(command: Sequence[str], progress: Progress) -> None:
    progress("lm-eval", 0, 0, "")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        progress("lm-eval", 1, 1, "done")
        return
    said = done.stderr.strip()
    last = said.rpartition("\n")[2][:400]
    if "oglikelihood" in last or "prompt logprobs" in last:
        raise UserError(
            f"lm-eval wants log-probabilities of given texts, which chat servers do not tell: {last}",
            fix="Choose the generative form of the task, as mmlu_generative for mmlu.",
        )
    if "marked as unsafe" in last:
        raise UserError(f"{last}.", fix="Run it in a machine you can throw away, and say so: --run-code")
    raise ChildError(
        f"lm-eval ended with exit code {done.returncode}: {last}", fix="See its own documentation."
    )


def _results(folder: Path) -> dict[str, Any]:
    """The newest results file below the folder."""
    written = sorted(folder.rglob("results_*.json"), key=lambda path: path.stat().st_mtime)
    if not written:
        raise ChildError(f"lm-eval wrote no results into '{folder}'.", fix="Run it again.")
    found: dict[str, Any] = files.read_json(written[-1])
    return {**found, "stamp": written[-1].stem.removeprefix("results_")}


def _scores(found: Mapping[str, Any], folder: Path) -> tuple[Score, ...]:
    samples = _samples(folder, str(found["stamp"]))
    scores = []
    for task, values in found["results"].items():
        counted = found.get("n-samples", {}).get(task, {}).get("effective") or values.get("sample_len") or 0
        for name, value in values.items():
            metric, _, chosen = name.partition(",")
            if not chosen or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}_stderr,{chosen}")
            rows = samples.get((task, chosen, metric), [])
            scores.append(
                Score(
                    task=task,
                    metric=metric,
                    filter=chosen,
                    estimate=_estimate(float(value), error, rows, int(counted)),
                    higher_is_better=found.get("higher_is_better", {}).get(task, {}).get(metric) is not False,
                    fewshot=found.get("n-shot", {}).get(task),
                )
            )
    return tuple(scores)


def _samples(folder: Path, stamp: str) -> dict[tuple[str, str, str], list[float]]:
    """What each row scored, by task, filter and metric."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for path in folder.rglob(f"samples_*_{stamp}.jsonl"):
        task = path.stem.removeprefix("samples_").removesuffix(f"_{stamp}")
        for row in files.read_jsonl(path):
            for metric in row.get("metrics", ()):
                if isinstance(row.get(metric), int | float):
                    found[task, row.get("filter", "none"), metric].append(float(row[metric]))
    return found


def _estimate(value: float, error: object, rows: Sequence[float], counted: int) -> Estimate:
    """Wilson's interval where the rows score 0 or 1 and their mean is the value; else the normal one."""
    plain = rows and set(rows) <= {0.0, 1.0} and abs(sum(rows) / len(rows) - value) < 1e-9
    if plain:
        return wilson(sum(rows), len(rows))
    if not isinstance(error, int | float):
        return Estimate(value=value, low=float("-inf"), high=float("inf"), n=counted)
    half = quantile(LEVEL) * float(error)
    return Estimate(value=value, low=value - half, high=value + half, n=counted)


def document(found: Results) -> dict[str, Any]:
    """As JSON; an interval that nothing tells is null."""
    scores = []
    for score in found.scores:
        e = score.estimate
        known = e.low > float("-inf")
        ends = {"low": e.low if known else None, "high": e.high if known else None}
        scores.append({**vars(score), "estimate": {"value": e.value, **ends, "n": e.n, "level": e.level}})
    return json.loads(json.dumps({**vars(found), "scores": scores}, default=str))  # type: ignore[no-any-return]
