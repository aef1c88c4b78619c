"""Tune an adapter or a whole model: checks and estimates here, training in a child that may be killed."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from smallworks import child, files, settings
from smallworks.errors import UserError
from smallworks.seams import Progress, silent
from smallworks.tune import checkpoints
from smallworks.tune import options as values
from smallworks.tune.estimate import checkpointed, estimate, refuse_if_too_large
from smallworks.tune.options import Rehearsal, TuneRequest, TuneResult
from smallworks.tune.preflight import preflight

VALIDATED = "validated"
"""The name under which the child tells a validation: the step, and the loss that decides as its note."""
Validated = Callable[[int, float], None]


def fit(
    request: TuneRequest, progress: Progress = silent, *, validated: Validated | None = None
) -> TuneResult:
    """The tuned weights of this request. The same request in the same folder goes on where it stopped.

    `validated` hears the step and the loss of every validation, and may raise to end the tuning.

    Raises DataError or ModelError before any time is spent, ChildError when the training dies; then
    the same call resumes from the last checkpoint and ends with the same bytes.
    """
    key = request.key()
    if (done := finished(request, key)) is not None:
        return done
    check_board(request.tensorboard)
    checked = preflight(request)
    request = _fitting(checked.request)
    expected = estimate(request)
    rate = values.learning_rate(request)
    _prepare(request, key)
    start = time.perf_counter()
    measured = _train(request, rate, _split(progress, validated))
    result = {
        **measured,
        "key": key,
        "weights": request.options.part,
        "sha256": files.hash_file(_tensors(request)),
        "learning_rate": rate,
        "supervised_tokens": checked.supervised_tokens,
        "seconds": time.perf_counter() - start,
        "estimate": asdict(expected),
        "threads": request.options.threads,
        "gradient_checkpointing": request.options.gradient_checkpointing,
    }
    files.write_json(request.out / "result.json", result)
    for part in ("checkpoints", "train.jsonl", "validation.jsonl"):
        _remove(request, part)
    return values.from_json(result, out=request.out)


def finished(request: TuneRequest, key: str | None = None) -> TuneResult | None:
    """The result of an earlier run of this very request, with its weights intact; None otherwise."""
    path = request.out / "result.json"
    if not path.is_file():
        return None
    raw = files.read_json(path)
    if raw.get("key") != (key or request.key()):
        return None
    result = values.from_json(raw, out=request.out)
    weights = _tensors(request)
    return result if weights.is_file() and files.hash_file(weights) == result.sha256 else None


def rehearse(request: TuneRequest, *, steps: int = 10, progress: Progress = silent) -> Rehearsal:
    """The speed of the first steps of this request, truly trained and thrown away.

    Takes the start of a training process beside the steps. Raises what `fit` raises.
    """
    request = _fitting(preflight(request).request)
    count = steps * request.options.batch_size * request.options.accumulation
    spread = request.train[:: max(1, len(request.train) // count)][:count]
    few = replace(request.options, epochs=1, patience=0)
    with TemporaryDirectory(prefix="smallworks-") as scratch:
        short = replace(request, out=Path(scratch), train=spread, validation=(), options=few)
        write_rows(short)
        measured = _train(short, values.learning_rate(request), _split(progress, None), rehearsal=True)
    return Rehearsal(tokens_per_second=measured["tokens_per_second"], precision=measured["precision"])


def _split(progress: Progress, validated: Validated | None) -> Progress:
    def relay(step: str, done: float, total: float, note: str) -> None:
        if step != VALIDATED:
            progress(step, done, total, note)
        elif validated:
            validated(int(done), float(note))

    return relay


def _fitting(request: TuneRequest) -> TuneRequest:
    """The request as it fits into what is free. Raises ModelError where it does not.

    Raises UserError in one of several processes that were started together, each of which would tune the
    same, and for a batch that its processes cannot share evenly.
    """
    if (count := settings.ranks()) > 1:
        raise UserError(
            f"WORLD_SIZE is {count}: a distributed launcher started {count} processes, and each would tune "
            "the same candidate.",
            fix=f"Start smallworks without accelerate launch or torchrun, and give --processes {count}.",
        )
    batch, processes = request.options.batch_size, request.options.processes
    if processes < 1 or batch % processes:
        even = ", ".join(str(number) for number in range(1, batch + 1) if batch % number == 0)
        raise UserError(
            f"Batches of {batch} rows cannot be shared by {processes} processes.",
            fix=f"Give --processes as one of: {even}.",
        )
    free = psutil.virtual_memory().available // processes
    request = checkpointed(request, free=free)
    refuse_if_too_large(request, free=free)
    return request


def _train(request: TuneRequest, rate: float, progress: Progress, *, rehearsal: bool = False) -> Any:
    asked, log = in_child(request, rate, rehearsal=rehearsal), request.out / "log.txt"
    if (count := request.options.processes) > 1:
        with TemporaryDirectory(prefix="smallworks-") as folder:
            asked["meeting"] = str(Path(folder) / "meeting")
            return child.run_ranks("smallworks.tune.worker", asked, count, progress=progress, log=log)
    return child.run("smallworks.tune.worker", asked, progress=progress, log=log)


def check_board(folder: Path | None) -> None:
    """Raises UserError where TensorBoard is asked for and is not installed."""
    if folder and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            f"'{folder}' is to hold losses for TensorBoard, which is not installed.",
            fix="Run: pip install tensorboard",
        )


def in_child(request: TuneRequest, rate: float, *, rehearsal: bool = False) -> dict[str, Any]:
    """What the worker is asked; the rows lie beside it on the disk."""
    return {
        "base": str(request.base.resolve()),
        "out": str(request.out.resolve()),
        "options": asdict(request.options),
        "learning_rate": rate,
        "rehearsal": rehearsal,
        "tensorboard": str(request.tensorboard.resolve()) if request.tensorboard else None,
        "meeting": None,
    }


def _tensors(request: TuneRequest) -> Path:
    part = request.options.part
    return request.out / part / values.WEIGHTS[part]


def _prepare(request: TuneRequest, key: str) -> None:
    """The rows on disk for the child. Checkpoints of another request are thrown away."""
    out = request.out
    out.mkdir(parents=True, exist_ok=True)
    stamp = out / "key.txt"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8").strip() != key:
        for part in ("checkpoints", "adapter", "model", "result.json", "log.txt"):
            _remove(request, part)
    files.write_text(stamp, key + "\n")
    checkpoints.last(out / "checkpoints")  # halves are deleted here, by one process
    write_rows(request)


def write_rows(request: TuneRequest) -> None:
    """The rows as the worker reads them."""
    for name, rows in (("train", request.train), ("validation", request.validation)):
        files.write_jsonl(request.out / f"{name}.jsonl", map(values.raw, rows))


def _remove(request: TuneRequest, part: str) -> None:
    path = request.out / part
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
