"""Tune a LoRA adapter: checks and estimates here, training in a child that may be killed and resumed."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict

from smallworks import child, files
from smallworks.engines import shape
from smallworks.seams import Progress, silent
from smallworks.tune import options as values
from smallworks.tune.estimate import estimate, refuse_if_too_large
from smallworks.tune.options import TuneRequest, TuneResult
from smallworks.tune.preflight import preflight


def fit(request: TuneRequest, progress: Progress = silent) -> TuneResult:
    """The adapter of this request. The same request in the same folder goes on where it stopped.

    Raises DataError or ModelError before any time is spent, ChildError when the training dies; then
    the same call resumes from the last checkpoint and ends with the same bytes.
    """
    import psutil

    key = request.key()
    if (done := finished(request, key)) is not None:
        return done
    checked = preflight(request)
    request = checked.request
    refuse_if_too_large(request, free=psutil.virtual_memory().available)
    expected = estimate(request)
    rate = _rate(request)
    _prepare(request, key)
    start = time.perf_counter()
    measured = child.run(
        "smallworks.tune.worker",
        {
            "base": str(request.base.resolve()),
            "out": str(request.out.resolve()),
            "options": asdict(request.options),
            "learning_rate": rate,
        },
        progress=progress,
        log=request.out / "log.txt",
    )
    result = {
        **measured,
        "key": key,
        "adapter": "adapter",
        "adapter_sha256": files.hash_file(request.out / "adapter" / "adapter_model.safetensors"),
        "learning_rate": rate,
        "supervised_tokens": checked.supervised_tokens,
        "seconds": time.perf_counter() - start,
        "estimate": asdict(expected),
        "threads": request.options.threads,
    }
    files.write_json(request.out / "result.json", result)
    for part in ("checkpoints", "train.jsonl", "validation.jsonl"):
        _remove(request, part)
    return values.from_json(result, out=request.out)


def finished(request: TuneRequest, key: str | None = None) -> TuneResult | None:
    """The result of an earlier run of this very request, with its adapter intact; None otherwise."""
    path = request.out / "result.json"
    if not path.is_file():
        return None
    result = values.from_json(files.read_json(path), out=request.out)
    weights = result.adapter / "adapter_model.safetensors"
    whole = weights.is_file() and files.hash_file(weights) == result.adapter_sha256
    return result if whole and result.key == (key or request.key()) else None


def _rate(request: TuneRequest) -> float:
    if request.options.learning_rate is not None:
        return request.options.learning_rate
    facts = shape.read(request.base)
    return values.rate(architecture=facts.architecture, hidden=facts.hidden)


def _prepare(request: TuneRequest, key: str) -> None:
    """The rows on disk for the child. Checkpoints of another request are thrown away."""
    out = request.out
    out.mkdir(parents=True, exist_ok=True)
    stamp = out / "key.txt"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8").strip() != key:
        for part in ("checkpoints", "adapter", "result.json", "log.txt"):
            _remove(request, part)
    files.write_text(stamp, key + "\n")
    for name, rows in (("train", request.train), ("validation", request.validation)):
        files.write_jsonl(out / f"{name}.jsonl", map(asdict, rows))


def _remove(request: TuneRequest, part: str) -> None:
    path = request.out / part
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
