"""What a build will measure, what it cannot here and why, and about how long that takes.

Knows the names of all candidates; knows nothing of how they are made.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from smallworks.data import Splits
from smallworks.engines.base import BaseModel
from smallworks.errors import UserError, install, nearest
from smallworks.tune.options import Method, enough_epochs, usual
from smallworks.types import Task

BASELINES = ("majority", "linear", "fused")
REFERENCES = ("lm-zero", "lm-few", "lm-lora", "lm-full")
QUANTIZATIONS = ("q8_0", "q4_0")
RETRIEVAL, READS, SYNTHETIC = "retrieval", "+retrieval", "+synthetic"
"""The best passage alone; what is added to the name of a candidate that reads the best ones, and of one that
learns from synthetic rows too."""
CLOSED = ("lm-zero", "flagship")
"""Where a task has documents, these are also asked without them: what the model knows by itself."""
CASCADES = ("cascade-fused", "cascade-lm", "cascade-flagship")
"""Made last, of candidates that are on the table then; each is named for its last stage."""
CANDIDATES = (
    *BASELINES,
    RETRIEVAL,
    *(name for ref in REFERENCES for name in (ref, *(f"{ref}-{q}" for q in QUANTIZATIONS))),
    "flagship",
    *CASCADES,
)
TUNED: dict[str, Method] = {"lm-lora": "lora", "lm-full": "full"}
"""The candidates that are tuned, and how a build tunes them."""
TWINS = ("linear", "lm-lora")
"""Candidates that are made a second time with the synthetic rows where a task has some: NAME+synthetic."""
SHOWN = (
    *CANDIDATES,
    *(name + READS for name in CANDIDATES if name.startswith("lm-") or name == "flagship"),
    *(name + SYNTHETIC for name in TWINS),
)
"""Every name that a table may show."""
MOST_TUNED_WHOLE = 200_000_000
"""Parameters of the largest base that is tuned whole: weights, gradients and two moments in float32 take 16
bytes each (3.2 GB), a checkpoint 12, and every bundle carries all the weights. Above, LoRA learns as much.
"""
TUNING_BYTES = {"lm-lora": 8.0, "lm-full": 16.0}
"""Memory of a tuning for each parameter of the base; only for the estimate."""
FLOPS_PER_SECOND = 60e9
"""What two modest cores sustain in f32 on small matrices; only for the estimate, which says 'about'."""
CHILD_SECONDS = {"linear": 1.5, "onnx": 3.0, "transformers": 9.0, "llamacpp": 2.0, "http": 2.0}
CHILD_BYTES = {"linear": 80e6, "onnx": 200e6, "transformers": 550e6, "llamacpp": 200e6, "http": 60e6}
CHILD_SECONDS["cascade"], CHILD_BYTES["cascade"] = 3.0, 200e6
CHILD_SECONDS["retrieval"], CHILD_BYTES["retrieval"] = 2.0, 80e6


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One candidate of the plan. `skipped` is the reason why it cannot run here, or None."""

    name: str
    family: str
    engine: str
    seconds: float = 0.0
    memory_bytes: float = 0.0
    skipped: str | None = None


def plan(
    task: Task,
    splits: Splits,
    base: BaseModel | None,
    *,
    embedder: str | None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> tuple[Planned, ...]:
    """Every candidate asked for, with its reason where it is skipped. Raises UserError for unknown names.

    Where the task has synthetic rows, TWINS come a second time, trained on these too. Where it has documents,
    language models read the passages found in them; those in CLOSED come without them first.
    """
    planned, asked = list[Planned](), shown(only, skip)
    for name in select(only, skip):
        if name == RETRIEVAL and task.kind != "answer" and name not in only:
            continue
        one = _planned(name, task, splits, base, embedder)
        reads = _reads(name, task)
        if not reads or name in CLOSED:
            planned.append(one)
        if reads:
            planned.append(replace(one, name=name + READS))
        elif splits.synthetic and name in TWINS:
            planned.append(replace(one, name=name + SYNTHETIC))
    planned = [one for one in planned if one.name in asked]
    if not planned:
        fix = f"Leave one of: {', '.join(CANDIDATES)}."
        if any("+" in pattern for pattern in only):
            fix = "NAME+retrieval needs [data] documents in task.toml, NAME+synthetic [data] synthetic."
        raise UserError("Every candidate is skipped.", fix=fix)
    return tuple(planned)


def _reads(name: str, task: Task) -> bool:
    """Whether a candidate is made to read passages: recorded answers cannot be asked again."""
    if task.data.documents is None:
        return False
    return name.startswith("lm-") or (name == "flagship" and bool(task.flagship and task.flagship.url))


def select(only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    """The candidates of which a form is asked for (see `shown`), as CANDIDATES names them."""
    left = {_plain(name) for name in shown(only, skip)}
    return tuple(name for name in CANDIDATES if name in left)


def shown(only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    """Names of SHOWN that match `only` (default all) and not `skip`; both take patterns such as 'lm-*'.

    'lm-zero' also means 'lm-zero+retrieval'; that means itself alone.
    """
    for pattern in (*only, *skip):
        if not any(fnmatchcase(name, pattern) for name in SHOWN):
            known = SHOWN if "+" in pattern else CANDIDATES
            raise UserError(f"There is no candidate '{pattern}'.", fix=nearest(pattern, known))
    asked = [name for name in SHOWN if not only or _matches(name, only)]
    left = tuple(name for name in asked if not _matches(name, skip))
    if not left:
        names = dict.fromkeys(map(_plain, asked))
        raise UserError("Every candidate is skipped.", fix=f"Leave one of: {', '.join(names)}.")
    return left


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(one, pattern) for one in (name, _plain(name)) for pattern in patterns)


def _plain(name: str) -> str:
    """The candidate whatever it reads or learns from besides: 'lm-zero+retrieval' → 'lm-zero'."""
    return name.partition("+")[0]


def reasons(
    names: Sequence[str], task: Task, base: BaseModel | None, embedder: str | None
) -> dict[str, str | None]:
    """Why each candidate cannot run here now, or None: an extra that is installed later changes a build."""
    return {name: _reason(name, task, base, embedder) for name in names}


def family(name: str) -> str:
    """The way of doing the task, whatever the weights' format: 'lm-lora-q4_0+retrieval' → 'lm-lora'."""
    name = _plain(name)
    if name in CASCADES:
        return "cascade"
    return next((ref for ref in REFERENCES if name == ref or name.startswith(f"{ref}-")), name)


def engine(name: str, base: BaseModel | None) -> str:
    if name in ("majority", "linear"):
        return "linear"
    if name == "fused":
        return "onnx"
    if name == "flagship":
        return "http"
    if name in CASCADES:
        return "cascade"
    if name == RETRIEVAL:
        return "retrieval"
    return "transformers" if name in REFERENCES and not (base and base.is_gguf) else "llamacpp"


def _planned(name: str, task: Task, splits: Splits, base: BaseModel | None, embedder: str | None) -> Planned:
    reason = _reason(name, task, base, embedder)
    kind = engine(name, base)
    if reason:
        return Planned(name=name, family=family(name), engine=kind, skipped=reason)
    return Planned(
        name=name,
        family=family(name),
        engine=kind,
        seconds=_seconds(name, kind, splits, base, task.build.epochs),
        memory_bytes=CHILD_BYTES[kind] + TUNING_BYTES.get(name, 4.0) * (base.parameters if base else 0),
    )


def _reason(name: str, task: Task, base: BaseModel | None, embedder: str | None) -> str | None:
    """Why the candidate cannot run here, with what would change that; None when it can."""
    if name == "linear" and task.kind == "extract":
        lacking = [name for name in ("sklearn", "pycrfsuite") if not _has(name)]
        return f"needs {', '.join(lacking)}: {install('eval')}" if lacking else None
    if name in (*BASELINES, *CASCADES[:-1]) and task.kind != "classify":
        return f"labels only; this task is of kind '{task.kind}'"
    if name == RETRIEVAL:
        return None if task.data.documents else "no [data] documents in task.toml"
    if name in ("linear", "fused") and not _has("sklearn"):
        return f"needs scikit-learn: {install('eval')}"
    if name in CASCADES:
        last = {"cascade-fused": "fused", "cascade-lm": "lm-lora", "cascade-flagship": "flagship"}[name]
        return f"needs {last} on the table" if _reason(last, task, base, embedder) else None
    if name == "fused":
        return _fused_reason(embedder)
    if name == "flagship":
        flagship = task.flagship
        recorded = flagship is not None and (flagship.answers or flagship.url)
        return None if recorded else "no [flagship] with answers or url in task.toml"
    if name.startswith("lm-"):
        return _language_reason(name, base)
    return None


def _fused_reason(embedder: str | None) -> str | None:
    if not embedder:
        return "no embedding model: name one with --embedder PATH, [build] embedder, or SMALLWORKS_EMBEDDER"
    if not _has("onnxruntime"):
        return f"needs onnxruntime: {install('eval')}"
    return None if _has("torch") else f"converting the encoder needs torch: {install('train')}"


def _language_reason(name: str, base: BaseModel | None) -> str | None:
    if base is None:
        return "no base model"
    if base.is_gguf:
        if name in ("lm-zero", "lm-few"):
            return None
        return "the base is a GGUF file: tuning and quantising start from a folder in safetensors"
    if not (_has("torch") and _has("transformers")):
        return f"needs torch: {install('train')}"
    if family(name) in TUNED and not (_has("trl") and _has("peft")):
        return f"needs TRL and PEFT: {install('train')}"
    if family(name) == "lm-full" and base.parameters > MOST_TUNED_WHOLE:
        size, most = base.parameters / 1e6, MOST_TUNED_WHOLE / 1e6
        return f"the base has {size:,.0f} million parameters; up to {most:.0f} million are tuned whole"
    return None


def _seconds(name: str, kind: str, splits: Splits, base: BaseModel | None, epochs: float | None) -> float:
    """About: start-up of the child processes, plus 2 FLOPs a parameter and token read (6 when training)."""
    rows = len(splits.test) + 100 + 100
    if kind == "retrieval":
        return 2 * CHILD_SECONDS[kind] + rows * 0.004
    if kind in ("linear", "onnx"):
        fit = 0.0 if name == "majority" else 2e-6 * len(splits.train) * len(splits.labels) * 8
        return 2 * CHILD_SECONDS[kind] + fit + rows * (0.0003 if kind == "linear" else 0.004)
    if kind == "cascade":
        return 2 * CHILD_SECONDS[kind] + rows * 0.004
    if kind == "http":
        return CHILD_SECONDS[kind] + len(splits.test) * 0.5
    parameters = base.parameters if base else 0
    mean = sum(len(e.text) + len(e.output) for e in splits.train[:200]) / max(1, len(splits.train[:200]))
    tokens = 60 + mean / 3.0 * (5 if "few" in name else 1)
    flops = 2 * parameters * tokens * rows
    if name in TUNED:
        count = len(splits.train)
        batches = math.ceil(count / usual(TUNED[name], count)["batch_size"])
        flops += 6 * parameters * tokens * count * (epochs or enough_epochs(batches))
    fixed = 2 * CHILD_SECONDS[kind] + (25 if name in TUNED else 0)
    return fixed + flops / FLOPS_PER_SECOND + rows * 0.004


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
