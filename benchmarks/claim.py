"""What a benchmark finds, and the one JSON object it ends with. Knows no claim.

A claim is a module here with a docstring (its first line is what it shows, the rest says what is measured,
against whom, and what is not covered), a `GOAL`, a `UNIT`, and `measure(say) -> Finding`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from benchmarks import machine

Say = Callable[[str], None]

NAMES = (
    "startup",
    "serve_overhead",
    "relay_overhead",
    "relay_streaming",
    "relay_throughput",
    "cache_hit",
    "semantic_cache",
    "limits_cost",
    "budget_race",
    "serve_decode",
    "serve_classify",
    "shared_base",
    "soak",
    "serve_start",
    "guard_cost",
    "bad_input",
    "malformed",
    "structured_output",
    "clients",
    "personal_data",
    "compare_rows",
    "rerun",
    "banking77_linear",
    "banking77_fused",
    "cascade",
    "out_of_scope",
    "label_scoring",
    "parity",
    "starter_draft",
    "starter_light",
    "starter_labels",
    "starter_grounded",
    "helpdesk",
    "starter_slots",
    "starter_tuned",
    "forms_speed",
    "quantised",
    "resume",
    "demo_time",
    "cleaning",
    "data_streams",
    "estimates",
    "distillation",
    "tuning_throughput",
    "retrieval",
    "shared_index",
    "injected_documents",
    "suite",
)
"""Every claim, the quick ones first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`value` in the claim's unit; `against` is the named peer measured in the same run."""

    value: float
    holds: bool
    against: Mapping[str, Any] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Skipped(Exception):
    """The claim cannot be measured here; the message says what is missing."""


def document(name: str, module: ModuleType, say: Say) -> dict[str, Any]:
    """Measure one claim. One that cannot be measured here has `holds` null and the reason in `skipped`."""
    head = {
        "name": name,
        "value": None,
        "unit": module.UNIT,
        "goal": module.GOAL,
        "holds": None,
        "against": None,
    }
    facts = machine.facts()
    try:
        finding: Finding = module.measure(say)
    except Skipped as reason:
        return {**head, "skipped": str(reason), "machine": facts}
    return {
        **head,
        "value": finding.value,
        "holds": finding.holds,
        "against": finding.against,
        "details": finding.details,
        "machine": facts,
    }
