"""Smaller forms of a tuned model on one table: each frozen, measured on the same rows, and judged together.

An adapter is merged into 16 or 32 bits first, quantising comes last, and the verdict after it. Frozen forms
and finished measurements are kept, so that a run that was broken off goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from smallworks import child, compress, files
from smallworks.bundle import Bundle, open_bundle
from smallworks.bundle.manifest import ADAPTED, BESIDE, GENAI, K_QUANTS, LLMCOMPRESSOR
from smallworks.compress import kquants, llmcompressor
from smallworks.errors import UserError
from smallworks.evaluate import drift, records
from smallworks.evaluate.compare import compare
from smallworks.evaluate.drift import Divergence
from smallworks.evaluate.together import non_inferior_together
from smallworks.evaluate.worker import write_examples
from smallworks.recipes import examine, weights
from smallworks.recipes.choose import MARGIN
from smallworks.recipes.formats import BITS, BNB_KINDS, LLM_KINDS, PLAIN, check_bundle, check_formats
from smallworks.recipes.measure import disk_bytes
from smallworks.recipes.samples import samples
from smallworks.recipes.steps import Steps
from smallworks.seams import Progress, silent
from smallworks.types import LOSS, RECALL, Comparison, Estimate, Example, Parity, Record, Verdict

WORK, RECORDS, FIRST = ".smallworks", "records.jsonl", "first.jsonl"
"""The folder of work in progress, beside the bundle, and files in it."""
PROBED = 100
"""The most rows whose first tokens are compared."""
Over = Literal["labels", "first tokens"]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One line of the table; the first is the bundle itself, with nothing to compare.

    `prefill` and `decode` are tokens a second. `change` is this form against the bundle on the same rows,
    `flipped` the share of rows answered differently, `divergence` that of labels or first tokens. The last
    two are the shares handed over of the rows in scope and out of it, where the bundle tells them apart.
    """

    format: str
    bundle: Path
    bytes: int
    peak_memory_bytes: int
    prefill: float
    decode: float | None
    metric: Estimate
    change: Comparison | None = None
    flipped: Estimate | None = None
    divergence: Divergence | None = None
    verdict: Verdict | None = None
    parity: Parity | None = None
    in_scope_loss: Estimate | None = None
    out_of_scope_recall: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """`over` says of what the divergence is."""

    metric: str
    margin: float
    over: Over
    forms: tuple[Form, ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What measuring one bundle left in its step's folder; distributions are of labels or of first tokens."""

    bundle: Bundle
    folder: Path
    figures: dict[str, Any]
    records: tuple[Record, ...]

    @property
    def distributions(self) -> list[list[float]]:
        labels = drift.label_distributions(self.records)
        return labels or [row["probabilities"] for row in files.read_jsonl(self.folder / FIRST)]


def quantize(
    where: Path,
    formats: Sequence[str],
    *,
    task: Path | None = None,
    margin: float = MARGIN,
    install: bool = False,
    progress: Progress = silent,
) -> Quantized:
    """Freeze and measure each format beside the bundle. Raises UserError for what cannot be, before any work.

    `task` is a task folder or a data file; by default the task two folders above the bundle. `install` makes
    the environment of gptq, awq and w8a8 where there is none.
    """
    check_formats(formats, install=install)
    if not 0 <= margin < 1:
        raise UserError(f"--margin {margin:g} is not 0 to 1.", fix="Write 2 points as --margin 0.02.")
    bundle = open_bundle(where)
    check_bundle(bundle, formats)
    asked, examples, _ = examine.labelled_rows(bundle, task)
    rows = samples(bundle, task) if set(formats) & set(LLMCOMPRESSOR) else []
    kind, targets = examine.asked(bundle.path, rows=task)
    if install:
        llmcompressor.install(progress)
    work = bundle.path.parent / WORK
    with files.lock(work, "quantising"):
        smaller = frozen(bundle, formats, work / "scratch", progress, rows)
        measure = Measuring(task, examples, asked.refusal, Steps(work / "steps", progress), progress)
        reference = measure(bundle)
        measured = [measure(form, reference) for form in smaller]
    changes = [compare(reference.records, m.records, targets.metric, kind=kind) for m in measured]
    verdicts = non_inferior_together(changes, margin, a="the bundle", names=formats)
    forms = [_form("as it is", reference, targets.metric)]
    for format, form, change, verdict in zip(formats, measured, changes, verdicts, strict=True):
        forms.append(
            replace(
                _form(format, form, targets.metric),
                change=change,
                flipped=drift.flipped(reference.records, form.records),
                divergence=drift.divergence(reference.distributions, form.distributions),
                verdict=verdict,
            )
        )
    over: Over = "labels" if bundle.manifest.prompt.choices else "first tokens"
    return Quantized(metric=targets.metric, margin=margin, over=over, forms=tuple(forms))


def frozen(
    bundle: Bundle,
    formats: Sequence[str],
    scratch: Path,
    progress: Progress,
    rows: Sequence[Sequence[int]] = (),
) -> list[Bundle]:
    """A bundle for each format, beside the one they are made of; those of an earlier run are kept.

    `rows` of token ids are what some forms are fitted on; those fitted on others are made again.
    """
    digest = files.hash_value([list(row) for row in rows])
    fitted = {format: digest if format in LLMCOMPRESSOR else None for format in formats}
    found = {format: weights.quantized_before(bundle, format, fitted[format]) for format in formats}
    todo = [format for format in formats if found[format] is None]
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        merged = any(format not in ADAPTED for format in todo)
        whole = weights.whole(bundle, scratch, progress) if merged else scratch
        for format in todo:
            make = partial(_beside, bundle) if format in ADAPTED else partial(_made, whole, rows)
            made = make(scratch, format, progress)
            draft = scratch / f"draft-{format}"
            found[format] = weights.freeze_quantized(bundle, made, format, draft, fitted[format])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return [made for made in found.values() if made]


def _made(whole: Path, rows: Sequence[Sequence[int]], scratch: Path, format: str, progress: Progress) -> Path:
    """Whole weights in this format: a file, or a folder."""
    if format in LLM_KINDS:
        return llmcompressor.convert(whole, scratch / format, LLM_KINDS[format], rows, progress)
    if format in BITS:
        return compress.to_openvino(whole, scratch / format, BITS[format], progress)
    if format in BNB_KINDS:
        return compress.to_bitsandbytes(whole, scratch / format, BNB_KINDS[format], progress)
    if format in GENAI:
        return compress.to_genai(whole, scratch / format, progress)
    return _gguf(whole, scratch, format, progress)


def _beside(bundle: Bundle, scratch: Path, format: str, progress: Progress) -> Path:
    """A folder with the base as a GGUF, which other bundles may share, and the adapter as another."""
    base, out = weights.base_of(bundle), scratch / format
    assert bundle.manifest.adapter, "checked before any work"
    compress.convert_adapter(base, bundle.file(bundle.manifest.adapter), out / weights.ADAPTER)
    made = _gguf(base, scratch / "base", format.removeprefix(BESIDE), progress)
    files.link_or_copy(weights.shared(made), out / weights.GGUF)
    return out


def _gguf(whole: Path, scratch: Path, format: str, progress: Progress) -> Path:
    """Whole weights in one step; K-quants from those in 16 bits, which are made once."""
    out = scratch / f"{format}.gguf"
    if format in K_QUANTS:
        return kquants.convert(_gguf(whole, scratch, "f16", progress), out, format)
    if not out.is_file():
        compress.quantize(whole, out, next(kind for kind in PLAIN if kind == format), progress)
    return out


@dataclass(frozen=True)
class Measuring:
    """Evaluates and probes a bundle, once per bundle and rows."""

    task: Path | None
    examples: Sequence[Example]
    refusal: str
    steps: Steps
    progress: Progress

    def __call__(self, bundle: Bundle, reference: Measured | None = None) -> Measured:
        rows = [[e.id, e.inputs, e.output, e.group] for e in self.examples]
        reads = {"bundle": bundle.id, "rows": files.hash_value(rows), "refusal": self.refusal}
        step = f"measure-{bundle.manifest.candidate}"
        figures = self.steps.run(step, reads, lambda folder: self._measure(bundle, reference, folder))
        folder = self.steps.folder_of(step, reads)
        done = tuple(records.read(folder / RECORDS))
        return Measured(bundle=bundle, folder=folder, figures=figures, records=done)

    def _measure(self, bundle: Bundle, reference: Measured | None, folder: Path) -> dict[str, Any]:
        seen = examine.evaluate(bundle, self.task, out=folder / RECORDS, progress=self.progress)
        write_examples(folder / "rows.jsonl", self.examples[:PROBED])
        written = bundle.manifest.prompt.choices is None
        request = {
            "bundle": bundle.path,
            "rows": folder / "rows.jsonl",
            "first": folder / FIRST if written else None,
            "of": reference.folder / FIRST if written and reference else None,
        }
        speeds = child.run("smallworks.evaluate.probe", request, progress=self.progress)
        return {"scorecard": seen.scorecard, "parity": seen.parity, **speeds}


def _form(format: str, measured: Measured, metric: str) -> Form:
    card, parity = measured.figures["scorecard"], measured.figures["parity"]
    found = {name: Estimate(**raw) for name, raw in card["metrics"].items()}
    return Form(
        format=format,
        bundle=measured.bundle.path,
        bytes=disk_bytes(measured.bundle),
        peak_memory_bytes=card["peak_memory_bytes"],
        prefill=measured.figures["prefill"],
        decode=measured.figures["decode"],
        metric=found[metric],
        parity=Parity(**parity) if parity else None,
        in_scope_loss=found.get(LOSS),
        out_of_scope_recall=found.get(RECALL),
    )
