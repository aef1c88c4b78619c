"""`smallworks recommend`: which base model to start from, and whether a small model is right at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table as Grid

import smallworks as sw
from smallworks.cli import talk
from smallworks.errors import UserError, nearest
from smallworks.recipes.recommend import Recommendation, Wishes
from smallworks.recipes.recommend import recommend as recommended
from smallworks.select import Fit, Ruled, Use, described

USES: tuple[Use, ...] = ("commercial", "redistribute")
SAID = {
    "flagship": "use the flagship",
    "linear": "a linear or encoder model will do",
    "encoder": "an encoder with a linear head will do",
    "language model": "a small language model",
}


def recommend(  # the parameters are the command's options
    task: str,
    /,
    *,
    licence: str = "",
    languages: str = "",
    context: int | None = None,
    latency: float | None = None,
    private: bool = False,
    volume: float | None = None,
    budget: float | None = None,
    gpu: str | None = None,
    ram: str | None = None,
    device: str | None = None,
    machine: Path | None = None,
    catalogue: Path | None = None,
    top: int = 5,
    all: bool = False,
    json: bool = False,
) -> None:
    """Which base model to start from on this machine or another, and whether a small model is right at all.

    Parameters
    ----------
    task
        The task's folder or task.toml.
    licence
        What the licence must allow: commercial, redistribute, or both with a comma.
    languages
        Codes that the model's makers must name, such as en,de; code for program text.
    context
        Tokens of prompt and answer that must fit (default: what the rows need).
    latency
        Most milliseconds a request (default: the task's p95_ms).
    private
        The data may not leave your machines: the flagship is no choice.
    volume
        Requests a day.
    budget
        Most dollars a month for the machine.
    gpu
        Memory of a GPU to run on, such as "8 GB", instead of this machine.
    ram
        Memory of a computer to run on, such as 4GB.
    device
        A kind of machine to run on: phone, laptop or board.
    machine
        A file of what `smallworks doctor --json` printed on the machine to run on.
    catalogue
        A TOML file with rows of your own, beside catalogue.toml in the task's folder.
    top
        How many of each list to show.
    all
        Show all, and every model that is out with its reasons.
    json
        One JSON document on stdout.
    """
    if top < 1:
        raise UserError(f"--top {top} shows none.", fix="Give 1 or more, or --all.")
    wishes = Wishes(
        use=_uses(licence),
        languages=tuple(code for code in _parts(languages)),
        context=context,
        latency_ms=latency,
        private=private,
        volume=volume,
        budget=budget,
        catalogue=catalogue,
    )
    place = described(gpu=gpu, ram=ram, device=device, machine=machine)
    with talk.progress() as progress:
        found = recommended(sw.load_task(task), wishes, machine=place, progress=progress)
    if json:
        talk.print_json(_document(found))
    else:
        _show(found, None if all else top)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _uses(text: str) -> tuple[Use, ...]:
    for word in _parts(text):
        if word not in USES:
            raise UserError(f"--licence '{word}' is not known.", fix=nearest(word, USES))
    return tuple(use for use in USES if use in _parts(text))


def _show(found: Recommendation, top: int | None) -> None:
    advice = found.ranking.advice
    talk.say(f"advice   {SAID[advice.route]}", style="bold")
    for reason in (*advice.reasons, *advice.warnings):
        talk.say(f"  {reason}")
    where = f"{found.machine.name}: {found.machine.memory / 1e9:.1f} GB free"
    if found.machine.speed:
        measured = found.machine.speed
        where += f", {measured.bandwidth / 1e9:.0f} GB/s, {measured.flops / 1e9:.0f} GFLOP/s"
    talk.say(f"\nlanguage models to start from ({where})" if found.ranking.bases else f"\n({where})")
    _grid(found.ranking.bases[:top])
    if found.needs.kind == "classify" and found.ranking.encoders:
        talk.say("\nencoders, for the fused candidate")
        _grid(found.ranking.encoders[:top])
    _out(found, everything=top is None)
    for remark in found.remarks:
        talk.remark(f"[dim]note    {remark}[/dim]")
    talk.remark(f"[dim]next    {found.next}[/dim]")


def _grid(fits: Sequence[Fit]) -> None:
    if not fits:
        return
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("model", no_wrap=True)
    writes = fits[0].entry.kind == "decoder"
    for name in ("parameters", "as", "memory GB", *(["tokens/s"] * writes), "ms a request"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("licence", no_wrap=True)
    for fit in fits:
        grid.add_row(fit.entry.hub, *_cells(fit), fit.entry.licence)
    talk.out.print(grid)
    for fit in fits:
        talk.say(f"  {fit.entry.name}: {'; '.join(fit.reasons)}")


def _cells(fit: Fit) -> tuple[str, ...]:
    pace = "–" if fit.tokens_per_second is None else f"{fit.tokens_per_second:,.0f}"
    return (
        f"{fit.entry.parameters / 1e6:,.0f} M",
        fit.form,
        f"{fit.memory / 1e9:.1f}",
        *([pace] if fit.entry.kind == "decoder" else []),
        "–" if fit.request_ms is None else f"{fit.request_ms:,.0f}",
    )


def _out(found: Recommendation, *, everything: bool) -> None:
    """What is out: every model with its reasons, or how many for which reason."""
    ruled = found.ranking.out
    if not ruled:
        return
    talk.say(f"\nruled out: {len(ruled)} of {found.models} models")
    if everything:
        for one in ruled:
            talk.say(f"  {one.entry.hub}: {'; '.join(one.reasons)}")
        return
    counts = Counter(reason.partition(":")[0] for one in ruled for reason in one.reasons)
    for word, count in counts.most_common():
        example = next((one, r) for one in ruled for r in one.reasons if r.startswith(f"{word}:"))
        talk.say(f"  {count:>3} {example[1]} ({example[0].entry.name})")


def _document(found: Recommendation) -> dict[str, Any]:
    return {
        "advice": asdict(found.ranking.advice),
        "needs": asdict(found.needs),
        "machine": asdict(found.machine),
        "bases": [_fit(fit) for fit in found.ranking.bases],
        "encoders": [_fit(fit) for fit in found.ranking.encoders],
        "ruled_out": [_ruled(one) for one in found.ranking.out],
        "remarks": found.remarks,
        "next": found.next,
    }


def _fit(fit: Fit) -> dict[str, Any]:
    return {**asdict(fit), "ref": fit.entry.ref}


def _ruled(one: Ruled) -> dict[str, Any]:
    return {"name": one.entry.name, "hub": one.entry.hub, "reasons": one.reasons}
