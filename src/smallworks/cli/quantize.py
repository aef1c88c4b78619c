"""`smallworks quantize`: smaller forms of a bundle, frozen beside it and measured against it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.table import Table as Grid
from rich.text import Text

from smallworks.bundle.manifest import LLMCOMPRESSOR
from smallworks.cli import talk
from smallworks.cli.table import COLOURS, WIDE
from smallworks.recipes import figures
from smallworks.recipes.choose import MARGIN
from smallworks.recipes.quantize import Form, Quantized
from smallworks.recipes.quantize import quantize as make
from smallworks.recipes.samples import ROWS


def quantize(
    bundle: Path,
    /,
    *,
    to: str = "f16,q8_0,q4_0",
    task: Path | None = None,
    margin: float = MARGIN,
    install: bool = False,
    json: bool = False,
) -> None:
    """Freeze smaller forms beside a bundle and measure each against it on the same rows.

    Parameters
    ----------
    bundle
        The folder of a language model bundle that is not quantised yet.
    to
        Formats, comma-separated: f16, bf16, q8_0, q4_0; q4_k_m, … where llama-quantize is on the PATH;
        adapter-q8_0, … to keep a LoRA adapter beside its base;
        openvino-int8, openvino-int4, onnx-int4, bnb-8bit, bnb-4bit where their extra is installed;
        gptq, awq, w8a8 with llmcompressor in an environment of its own.
    task
        A task folder or a data file to measure on (default: the task beside the bundle).
    margin
        How much worse than the bundle a form may be, 0 to 1.
    install
        Make the environment that gptq, awq and w8a8 take, where there is none: 1.5 GB, from a package index.
    json
        One JSON document on stdout.
    """
    formats = [name.strip() for name in to.split(",") if name.strip()]
    if calibrated := [name for name in formats if name in LLMCOMPRESSOR]:
        talk.remark(
            f"[dim]{', '.join(calibrated)}: calibrated on up to {ROWS} training rows, minutes on a CPU.[/]"
        )
    with talk.progress() as progress:
        done = make(bundle, formats, task=task, margin=margin, install=install, progress=progress)
    if json:
        talk.print_json(asdict(done))
        return
    show(done)


def show(done: Quantized) -> None:
    """The table, then a sentence and the bundle of every form; a narrow terminal gets fewer columns."""
    costs = ("peak MB", "prefill/s", "decode/s")
    names = ("format", "MB", *costs, done.metric, "change", "flips", "KL mean", "KL p99", "verdict")
    shown = [
        i for i, name in enumerate(names) if talk.out.width >= WIDE or name not in (*costs, *names[-3:-1])
    ]
    grid = Grid(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for i in shown:
        grid.add_column(
            names[i], justify="left" if names[i] in ("format", "verdict") else "right", no_wrap=True
        )
    for form in done.forms:
        cells = _cells(form)
        grid.add_row(*(cells[i] for i in shown))
    talk.out.print(grid)
    talk.say(
        f"\nprefill and decode in tokens/s; KL in nats, of {done.over}; change and verdict against the "
        f"bundle, margin {done.margin:g}",
        style="dim",
    )
    for form in done.forms:
        if form.verdict:
            talk.say(f"{form.format}  {form.verdict.reason}")
        for found, whose in ((form.out_of_scope_recall, "out of scope"), (form.in_scope_loss, "in scope")):
            if found:
                talk.say(f"{form.format}  {figures.handed_over(found, whose)}")
        if form.verdict:
            talk.say(f"{'':{len(form.format)}}  {form.bundle}")


def _cells(form: Form) -> list[str | Text]:
    cells: list[str | Text] = [
        form.format,
        figures.megabytes(form.bytes),
        figures.megabytes(form.peak_memory_bytes),
        figures.number(form.prefill),
        figures.number(form.decode),
        figures.share(form.metric.value),
    ]
    if not (form.change and form.flipped and form.divergence and form.verdict):
        return [*cells, *[figures.NONE] * 5]
    d = form.change.difference
    outcome = form.verdict.outcome
    return [
        *cells,
        f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]",
        f"{form.flipped.value:.1%}",
        _nats(form.divergence.mean),
        _nats(form.divergence.p99),
        Text(outcome, style=COLOURS.get(outcome, "")),
    ]


def _nats(value: float) -> str:
    return "<1e-6" if value < 1e-6 else f"{value:.2g}"
