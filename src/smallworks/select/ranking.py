"""Every base of a catalogue in order, best first, with its reasons, and what rules the others out. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from smallworks.select.advice import Advice, advise
from smallworks.select.catalogue import Catalogue, Entry
from smallworks.select.fit import Fit, Ruled, judge
from smallworks.select.machine import Machine
from smallworks.select.needs import Needs
from smallworks.types import Kind

START: dict[Kind, float] = {
    "classify": 0.5e9,
    "extract": 1.5e9,
    "answer": 3e9,
    "summarize": 3e9,
    "generate": 7e9,
}
"""Parameters to start from: a rule of thumb, and only the order depends on it. Larger ones cost more."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """`bases` are language models, `encoders` for `fused` alone, both best first; `out` as they stand."""

    advice: Advice
    bases: tuple[Fit, ...]
    encoders: tuple[Fit, ...]
    out: tuple[Ruled, ...]


def rank(needs: Needs, machine: Machine, catalogue: Catalogue, *, convertible: Sequence[str]) -> Ranking:
    """`convertible` are the model types of which Smallworks makes every form.

    Order of the language models: those that can go the whole way here (tuned, merged, quantised), then those
    that can be tuned, then the rest; models for code last unless code is asked for; then nearness to the size
    to start from, in whole doublings; then the newer one. Encoders: for sentences first, then the smaller.
    """
    judged = [judge(entry, needs, machine, catalogue, convertible=convertible) for entry in catalogue.entries]
    fits = [one for one in judged if isinstance(one, Fit)]
    bases = [one for one in fits if one.entry.kind == "decoder"]
    encoders = [one for one in fits if one.entry.kind == "encoder"]
    bases.sort(key=lambda fit: fit.entry.released, reverse=True)
    bases.sort(key=lambda fit: _order(fit, needs))
    encoders.sort(key=lambda fit: (not fit.entry.embedding, fit.entry.parameters))
    return Ranking(
        advice=advise(needs, fitting=len(bases)),
        bases=tuple(replace(fit, reasons=tuple(_reasons(fit, needs, machine))) for fit in bases),
        encoders=tuple(replace(fit, reasons=tuple(_reasons(fit, needs, machine))) for fit in encoders),
        out=tuple(one for one in judged if isinstance(one, Ruled)),
    )


def _order(fit: Fit, needs: Needs) -> tuple[int, bool, int]:
    reach = 0 if fit.whole else 1 if fit.tuning else 2
    return reach, fit.entry.code and "code" not in needs.languages, distance(fit.entry, needs.kind)


def distance(entry: Entry, kind: Kind) -> int:
    """Doublings between the model's size (a mixture's: what a token uses) and the one to start from."""
    return round(abs(math.log2(entry.used / START[kind])))


def _reasons(fit: Fit, needs: Needs, machine: Machine) -> list[str]:
    """What speaks for it, and what is to be known before it is taken."""
    said = [f"takes {fit.memory / 1e9:.1f} of {machine.memory / 1e9:.1f} GB as {fit.form}"]
    if fit.entry.active:
        said.append(f"a mixture of experts: {fit.entry.active / 1e6:,.0f} M parameters a token")
    if fit.entry.kind == "decoder":
        said.append(_tuned(fit))
    if fit.tuning and not fit.whole:
        said.append("Smallworks does not convert its architecture: fetch a GGUF of it to serve it quantised")
    if fit.month is not None and needs.flagship_month:
        said.append(f"${fit.month:,.2f} a month of machine time; the flagship ${needs.flagship_month:,.2f}")
    if "conditions" in (fit.licence.commercial, fit.licence.redistribute) or fit.licence.commercial == "no":
        said.append(f"{fit.licence.name}: {fit.licence.terms}")
    if fit.entry.gated:
        said.append("gated: accept its terms on the hub first")
    return said


def _tuned(fit: Fit) -> str:
    if fit.tuning is None:
        hours = f": about {fit.tuning_seconds / 3600:,.0f} hours" if fit.tuning_seconds else ""
        return f"not to be tuned on this machine{hours}; zero-shot and few-shot only, or tune it elsewhere"
    time = f" in about {_duration(fit.tuning_seconds)}" if fit.tuning_seconds is not None else ""
    size = (fit.tuning_memory or 0) / 1e9
    return f"{'LoRA' if fit.tuning == 'lora' else 'QLoRA'} tuning takes {size:.1f} GB{time}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"
