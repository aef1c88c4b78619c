"""A cascade as a bundle: whole stage bundles in folders inside of it, thresholds, golden rows.

Copying the stages in keeps it immutable and whole: it is checked, moved and served like any other bundle.
Knows nothing of how the thresholds were chosen.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.bundle import Bundle, Manifest, Stage, freeze
from smallworks.bundle.golden import TOLERANCES, Golden, write
from smallworks.bundle.manifest import Gate, Scope, Sureness
from smallworks.engines import difficulty, verbatim
from smallworks.engines.difficulty import Difficulty
from smallworks.errors import BundleError
from smallworks.route.calibrate import Routing
from smallworks.route.mixes import Mix
from smallworks.seams import Progress, silent
from smallworks.types import Choices, PromptSpec, Sampling

STAGES, GATE = "stages", "gate"
NEVER = Sureness(signal="none")
Step = Bundle | tuple[Bundle, Bundle]
"""What answers or hands over as one: a bundle, or two that must agree."""
GOLDEN_ROWS = 24


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The stages that a cascade is made of, cheap to dear, the confidence from which each but the last
    answers, and what tells it; None: the probability of the label. `gate`: what tells before any is
    asked, and from when on the early ones are."""

    stages: tuple[Bundle, ...]
    thresholds: tuple[float, ...]
    sureness: tuple[Sureness | None, ...] = ()
    gate: tuple[Difficulty, float] | None = None


def plan_of(
    stages: Sequence[Step],
    mix: Mix,
    sureness: Sequence[Sureness | None] = (),
    gate: tuple[Difficulty, float] | None = None,
) -> Plan | None:
    """The stages that take part in a mix; those behind one that always answers are left out.

    A step of two bundles is asked for agreement: the first never answers alone. One that answers from 0 on
    still hands over what it keeps back. None where a single stage remains: it needs no cascade.
    """
    kept, thresholds, hows = list[Bundle](), list[float](), list[Sureness | None]()
    told = (*(sureness or [None] * len(mix.thresholds)), None)
    steps = zip(stages, (*mix.thresholds, 0.0), told, strict=True)
    for place, (step, threshold, how) in enumerate(steps, 1):
        if threshold is None:
            continue
        *unheard, bundle = step if isinstance(step, tuple) else (step,)
        ends = gate is None and threshold <= 0.0 and not any(mix.shares[place:])
        if ends or place == len(stages):
            kept.append(bundle)
            break
        kept += [*unheard, bundle]
        thresholds += [1.0] * len(unheard) + [threshold]
        hows += [NEVER] * len(unheard) + [how]
    if len(kept) < 2:
        return None
    told = tuple(hows) if any(hows) else ()
    return Plan(stages=tuple(kept), thresholds=tuple(thresholds), sureness=told, gate=gate)


def freeze_cascade(
    plan: Plan,
    *,
    candidate: str,
    into: Path,
    scratch: Path,
    golden: Sequence[Mapping[str, str]],
    lineage: Mapping[str, Any],
    progress: Progress = silent,
) -> Bundle:
    """Copy the stages in, replay golden rows on the whole, freeze. `scratch` is emptied before and after.

    Rows that a server answers, which is paid by the token, are no golden rows.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    draft = scratch / "draft"
    try:
        manifest = _manifest(plan, candidate, lineage)
        for stage, bundle in zip(manifest.stages, plan.stages, strict=True):
            for file in (path for path in bundle.path.rglob("*") if path.is_file()):
                files.link_or_copy(file, draft / stage.path / file.relative_to(bundle.path))
        if plan.gate:
            difficulty.write(draft / GATE, plan.gate[0])
        provisional = freeze(draft, manifest, into=scratch / "provisional")
        said = child.run(
            "smallworks.evaluate.settle",
            {
                "bundle": provisional.path,
                "calibrate": False,
                "scope": None,
                "golden": list(golden),
                "paid": [s.name for s, b in zip(manifest.stages, plan.stages, strict=True) if is_remote(b)],
            },
            progress=progress,
        )
        write(draft, [Golden(**{**row, "ids": tuple(row["ids"])}) for row in said["golden"]])
        return freeze(draft, manifest, into=into)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def names_of(stages: Sequence[Bundle]) -> tuple[str, ...]:
    """The candidates' names; two of one name are told apart by the beginning of their ids."""
    names = [bundle.manifest.candidate for bundle in stages]
    twice = {name for name, count in Counter(names).items() if count > 1}
    return tuple(f"{n}-{b.id[:6]}" if n in twice else n for n, b in zip(names, stages, strict=True))


def check_stages(stages: Sequence[Bundle]) -> None:
    """Raises BundleError for bundles that cannot be stages of one cascade."""
    first = stages[0]
    for bundle in stages:
        if _asked_of(bundle) != _asked_of(first):
            raise BundleError(
                f"'{bundle.name}' has another kind, other labels or inputs, or another schema than "
                f"'{first.name}'.",
                fix="Make a cascade of bundles of one task.",
            )
    if len({bundle.id for bundle in stages}) < len(stages):
        raise BundleError(f"'{first.name}' or another is named twice.", fix="Name every bundle once.")


def _asked_of(bundle: Bundle) -> tuple[Any, ...]:
    """What all stages of a cascade have in common."""
    manifest, labels = bundle.manifest, labels_of(bundle)
    schema = verbatim.unmarked(manifest.prompt.schema) if manifest.prompt.schema else None
    return manifest.kind, labels or manifest.task, schema, manifest.inputs


def labels_of(bundle: Bundle) -> frozenset[str]:
    choices = bundle.manifest.prompt.choices
    return frozenset(choices.labels) if choices else frozenset()


def is_remote(bundle: Bundle) -> bool:
    """Whether a server elsewhere answers for it, or for a stage of it."""
    return bundle.manifest.remote is not None or any(is_remote(stage) for stage in inner(bundle))


def inner(bundle: Bundle) -> tuple[Bundle, ...]:
    """The stage bundles inside of a cascade; none for any other bundle."""
    from smallworks.bundle.manifest import from_json

    def stage(one: Stage) -> Bundle:
        path = bundle.file(one.path)
        manifest = from_json(files.read_json(path / "bundle.json"), where=str(path))
        return Bundle(path=path, id=one.id, manifest=manifest)  # type: ignore[arg-type]

    return tuple(stage(one) for one in bundle.manifest.stages)


def scope_of(bundle: Bundle) -> Scope | None:
    """From when on it keeps a label back, or the first of its stages that does."""
    found = (scope_of(stage) for stage in inner(bundle))
    return bundle.manifest.scope or next(filter(None, found), None)


def mark_of(bundle: Bundle) -> str | None:
    """What rows out of scope are marked with, as it or a stage of it has it."""
    least = bundle.manifest.scope
    own = least.label if least else bundle.manifest.out_of_scope
    return own or next(filter(None, map(mark_of, inner(bundle))), None)


def promise_of(found: Routing, mix: Mix) -> dict[str, Any]:
    """What a card says of the promise, for the lineage."""
    if mix.promised:
        said = str(found.promise)
    else:
        needed = f"; about {found.rows_needed:,} rows would show it" if found.rows_needed else ""
        said = f"none: {found.promise} is not shown{needed}"
    return {"promise": said, "calibration_rows": found.rows}


def _manifest(plan: Plan, candidate: str, lineage: Mapping[str, Any]) -> Manifest:
    first, last = plan.stages[0].manifest, plan.stages[-1].manifest
    labels = first.prompt.choices
    instruction = next(
        (b.manifest.prompt.instruction for b in plan.stages if b.manifest.prompt.instruction), ""
    )
    stages = tuple(
        Stage(name=name, path=f"{STAGES}/{number}", id=bundle.id)
        for number, (name, bundle) in enumerate(zip(names_of(plan.stages), plan.stages, strict=True), 1)
    )
    precisions = [b.manifest.quantization for b in plan.stages if b.manifest.quantization]
    longest = max(bundle.manifest.sampling.max_tokens for bundle in plan.stages)
    return Manifest(
        task=first.task,
        kind=first.kind,
        candidate=candidate,
        engine="cascade",
        prompt=PromptSpec(
            style="raw",
            kind=first.kind,
            instruction=instruction,
            choices=Choices(labels=labels.labels) if labels else None,
            schema=first.prompt.schema,
        ),
        sampling=Sampling()
        if labels
        else replace(last.sampling, max_tokens=longest, stop_ids=(), schema=None),
        inputs=first.inputs,
        columns=first.columns,
        quantization=max(precisions, key=lambda kind: TOLERANCES[kind].probability, default=None),
        thresholds=dict(zip((stage.path for stage in stages), plan.thresholds, strict=False)),
        sureness={s.path: how for s, how in zip(stages, plan.sureness, strict=False) if how},
        gate=Gate(path=GATE, at=plan.gate[1]) if plan.gate else None,
        stages=stages,
        lineage={**lineage, "hands_over": " → ".join(stage.name for stage in stages)},
    )
