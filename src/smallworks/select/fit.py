"""One base model against one task and one machine: what it takes, how fast it is, what rules it out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from smallworks.engines import footprint, speed
from smallworks.engines.footprint import Format
from smallworks.engines.transformers import resolve
from smallworks.select.catalogue import Catalogue, Entry, Licence
from smallworks.select.machine import Machine
from smallworks.select.needs import DAYS, Needs

DECODER_FORMATS: tuple[Format, ...] = ("q8_0", "q4_0")
ENCODER_FORMATS: tuple[Format, ...] = ("int8",)
TUNED_BATCH = 8
RANK = 16
EPOCHS = 3
TUNED_SHARE = 0.5
"""Operations a second of a tuning over those of a plain matrix product."""
MOST_TUNING = 12 * 3600.0
"""Seconds of a tuning that are still called possible here."""
BUSY = 0.5
"""Of a day, how much the machine may be busy answering: requests come in crowds."""
DAY = 86_400
Method = Literal["lora", "qlora"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A base in the widest format that fits. Times are None where the machine's speed is not known.

    `tuning` is how it can be tuned on the machine, None for not at all, with the bytes and seconds it takes.
    `whole` says that Smallworks makes every form of it: tuned, merged, quantised.
    """

    entry: Entry
    licence: Licence
    form: Format
    memory: int
    tokens_per_second: float | None = None
    prefill_per_second: float | None = None
    request_ms: float | None = None
    month: float | None = None
    tuning: Method | None = None
    tuning_memory: int | None = None
    tuning_seconds: float | None = None
    whole: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ruled:
    """A base that is out, with every reason."""

    entry: Entry
    reasons: tuple[str, ...]


def judge(
    entry: Entry, needs: Needs, machine: Machine, catalogue: Catalogue, *, convertible: Sequence[str]
) -> Fit | Ruled:
    """The base as it would run there, or why it cannot."""
    licence = catalogue.licence(entry)
    fits = [fit_of(entry, form, needs, machine, licence, convertible) for form in _formats(entry)]
    # The widest format that meets all; else the reasons of the smallest.
    ruled: tuple[str, ...] = ()
    for fit in fits:
        ruled = (*_refused(entry, licence, needs), *_too_much(fit, needs, machine))
        if not ruled:
            return fit
    return Ruled(entry=entry, reasons=ruled)


def _formats(entry: Entry) -> tuple[Format, ...]:
    return ENCODER_FORMATS if entry.kind == "encoder" else DECODER_FORMATS


def fit_of(
    entry: Entry, form: Format, needs: Needs, machine: Machine, licence: Licence, convertible: Sequence[str]
) -> Fit:
    """What the base takes in this format, whether or not that is there."""
    shape, encoder = entry.shape, entry.kind == "encoder"
    tokens = min(needs.longest, entry.context)
    takes = (
        footprint.encoding(shape, form, tokens=tokens)
        if encoder
        else footprint.serving(shape, form, context=tokens)
    )
    decode = prefill = request = month = None
    if machine.speed:
        read = max(1, int(needs.tokens_in))
        if encoder:
            request = speed.encode(shape, machine.speed, tokens=min(read, entry.context))
        else:
            prefill = speed.prefill(shape, form, machine.speed, tokens=read, active=entry.used)
            decode = speed.decode(shape, form, machine.speed, context=tokens, active=entry.used)
            request = needs.tokens_in / prefill + needs.tokens_out / decode
        month = needs.volume * DAYS * request / 3600 * needs.hour if needs.volume else None
    tuning, memory, seconds = _tuning(entry, needs, machine)
    return Fit(
        entry=entry,
        licence=licence,
        form=form,
        memory=takes.needed,
        tokens_per_second=decode,
        prefill_per_second=prefill,
        request_ms=None if request is None else 1000 * request,
        month=month,
        tuning=tuning,
        tuning_memory=memory,
        tuning_seconds=seconds,
        whole=tuning is not None and entry.type in convertible,
    )


def _tuning(entry: Entry, needs: Needs, machine: Machine) -> tuple[Method | None, int | None, float | None]:
    """LoRA where it fits, else QLoRA, else nothing; an encoder is not tuned, only read."""
    if entry.kind == "encoder" or not machine.trains:
        return None, None, None
    shape = entry.shape
    seconds = None
    if machine.speed:
        body = entry.used - shape.vocab * shape.hidden
        tokens = (needs.tokens_in + needs.tokens_out) * needs.rows * EPOCHS
        seconds = 4 * body * tokens / (TUNED_SHARE * machine.speed.flops)
        if seconds > MOST_TUNING:
            return None, None, seconds
    width = 4 if resolve("auto", parameters=shape.parameters) == "float32" else 2
    batch = TUNED_BATCH * int(needs.tokens_in + needs.tokens_out)
    lora = footprint.training(shape, rank=RANK, tokens=batch, width=width, checkpointing=True).total
    if lora <= machine.memory:
        return "lora", lora, seconds
    qlora = footprint.training(
        shape, rank=RANK, tokens=batch // TUNED_BATCH, bits="nf4", checkpointing=True
    ).total
    if qlora <= machine.memory:
        return "qlora", qlora, seconds
    return None, qlora, seconds


def _refused(entry: Entry, licence: Licence, needs: Needs) -> Iterator[str]:
    """What its licence, languages and context do not allow."""
    allowed = {"commercial": licence.commercial, "redistribute": licence.redistribute}
    for use in needs.use:
        if allowed[use] == "no" or (use == "redistribute" and licence.commercial == "no"):
            yield f"licence: {licence.name} does not allow it ({licence.terms})"
            break
    lacking = [code for code in needs.languages if code not in (*entry.languages, *(["code"] * entry.code))]
    if lacking:
        yield f"languages: its makers do not name {', '.join(lacking)}"
    # An encoder reads the beginning of a longer text, which often tells the label.
    needed = needs.tokens_in if entry.kind == "encoder" else needs.longest
    if entry.context < needed:
        yield f"context: {entry.context:,} tokens, {needed:,.0f} are needed"
    if entry.kind == "encoder" and needs.kind != "classify":
        yield "encoder: it reads and does not write"


def _too_much(fit: Fit, needs: Needs, machine: Machine) -> Iterator[str]:
    """What the machine, the clock and the purse do not allow."""
    if fit.memory > machine.memory:
        yield f"memory: {fit.memory / 1e9:.1f} GB as {fit.form}, {machine.memory / 1e9:.1f} GB are free"
    if fit.request_ms is None:
        return
    if needs.latency_ms is not None and fit.request_ms > needs.latency_ms:
        yield f"latency: about {fit.request_ms:,.0f} ms a request, {needs.latency_ms:,.0f} ms are allowed"
    if needs.volume and needs.volume * fit.request_ms / 1000 > BUSY * DAY:
        hours = needs.volume * fit.request_ms / 1000 / 3600
        yield f"volume: {hours:,.0f} hours of answering a day on this machine"
    if needs.budget is not None and fit.month is not None and fit.month > needs.budget:
        yield f"budget: ${fit.month:,.2f} a month, ${needs.budget:,.2f} are allowed"
