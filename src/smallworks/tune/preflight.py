"""What would make a tuning worthless, found before a minute is spent on it. Pure but for the base's headers.

Each refusal is a failure that users of other trainers met with a healthy-looking loss: an empty loss
mask, a stop token that is never learned, padding that masks it, answers cut off, a leaked validation.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smallworks.engines import shape
from smallworks.errors import DataError, MissingExtra, ModelError
from smallworks.prompt import TextTokenizer, TrainingRow
from smallworks.tune.options import QUANTIZED, TuneOptions, TuneRequest

MOST_TOO_LONG = 0.05
"""Share of rows over the length limit above which a tuning is refused; below it they are left out."""


NF4_BLOCK, CPU_BLOCK = 64, 32
"""Weights that share a scale in nf4; outputs that bitsandbytes computes together on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What the checks counted. `request` has the rows that are too long left out."""

    request: TuneRequest
    supervised_tokens: int
    tokens: int
    longest: int
    too_long: int


def preflight(request: TuneRequest) -> Preflight:
    """Raises DataError or ModelError, with the fix, for a run that cannot end well."""
    if not request.train:
        raise DataError("There are no training rows.", fix="Give at least one row.")
    options, facts = request.options, shape.read(request.base)
    _quantizable(request.base, options)
    _padding(request.base, options, facts.vocab)
    for name, rows in (("training", request.train), ("validation", request.validation)):
        _supervision(name, rows)
        _ending(name, rows, options)
        _vocabulary(name, rows, facts.vocab, request.base)
        _shares(name, rows, options)
    limit = min(options.max_length, facts.context or options.max_length)
    train = _fitting("training", request.train, limit)
    validation = _fitting("validation", request.validation, limit)
    _overlap(train, validation)
    return Preflight(
        request=replace(request, train=train, validation=validation),
        supervised_tokens=sum(sum(row.supervised) for row in train),
        tokens=sum(len(row.ids) for row in train),
        longest=max(len(row.ids) for row in train),
        too_long=len(request.train) + len(request.validation) - len(train) - len(validation),
    )


def _quantizable(base: Path, options: TuneOptions) -> None:
    """Whether bitsandbytes is there and can hold this base: a row of weights is whole blocks in nf4."""
    bits = QUANTIZED.get(options.method)
    if bits is None:
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("bitsandbytes", extra="quant", wanted_for=f"Tuning with --method {options.method}")
    for name, (outputs, inputs) in shape.linears(base).items():
        if bits == "nf4" and (inputs % NF4_BLOCK or outputs % CPU_BLOCK):
            raise ModelError(
                f"'{name}' of '{base}' takes {inputs} numbers and gives {outputs}; nf4 wants multiples of "
                f"{NF4_BLOCK} and {CPU_BLOCK}.",
                fix="Take --method qlora-int8, or lora: a base this narrow needs no quantising.",
            )


def _padding(base: Path, options: TuneOptions, vocab: int) -> None:
    if options.pad_id != options.end_id and 0 <= options.pad_id < vocab:
        return
    added = TextTokenizer.load(base).added
    others = [token.content for id, token in sorted(added.items()) if token.special and id != options.end_id]
    mend = f"e.g. '{others[-1]}'" if others else "one that is not the end-of-turn token"
    why = (
        f"The padding token (id {options.pad_id}) is also the end-of-turn token: masking the padding would "
        "mask the end of every answer, and the model would never learn to stop."
        if options.pad_id == options.end_id
        else f"The padding token (id {options.pad_id}) is not one of the model's {vocab} tokens."
    )
    raise ModelError(why, fix=f"Set another pad_token in '{base / 'tokenizer_config.json'}', {mend}.")


def _supervision(name: str, rows: Sequence[TrainingRow]) -> None:
    empty = [number for number, row in enumerate(rows, 1) if not any(row.supervised)]
    if not empty:
        return
    share = f"all {len(rows)}" if len(empty) == len(rows) else f"{len(empty)} of {len(rows)}"
    raise DataError(
        f"No token is supervised in {share} {name} rows (first: row {empty[0]}): they would teach nothing.",
        fix="Give each row an answer; if it has one, the mask covers it by mistake.",
    )


def _ending(name: str, rows: Sequence[TrainingRow], options: TuneOptions) -> None:
    """The last supervised token must be the end of the turn, and nothing after it."""
    for number, row in enumerate(rows, 1):
        last = len(row.supervised) - 1 - row.supervised[::-1].index(True)
        if row.ids[last] == options.end_id:
            continue
        where = "is outside the loss" if options.end_id in row.ids[last:] else "is missing"
        raise DataError(
            f"The end-of-turn token (id {options.end_id}) {where} in {name} row {number}: the model would "
            "not learn to stop.",
            fix="Supervise the token that ends the answer; check the chat template's end of turn.",
        )


def _vocabulary(name: str, rows: Sequence[TrainingRow], vocab: int, base: Path) -> None:
    top = max((max(row.ids) for row in rows), default=0)
    if vocab and top >= vocab:
        raise ModelError(
            f"The {name} rows hold token id {top}; the model at '{base}' knows {vocab}.",
            fix="Render the rows with the tokenizer of this base.",
        )


def _shares(name: str, rows: Sequence[TrainingRow], options: TuneOptions) -> None:
    """Shares are one for each code, sum to 1, and stand where the row has the code of a label."""
    for number, row in enumerate(rows, 1):
        if not row.shares:
            continue
        label = row.ids[row.supervised.index(True)]
        sums = math.isclose(sum(row.shares), 1.0, abs_tol=1e-4) and min(row.shares) >= 0
        if len(row.shares) != len(options.codes) or not sums or label not in options.codes:
            raise DataError(
                f"The shares of {name} row {number} are no probabilities of the {len(options.codes)} labels: "
                f"{len(row.shares)} numbers that sum to {sum(row.shares):.4g}, for token id {label}.",
                fix="Give a probability for each label, in their order, or leave the shares out.",
            )


def _fitting(name: str, rows: tuple[TrainingRow, ...], limit: int) -> tuple[TrainingRow, ...]:
    kept = tuple(row for row in rows if len(row.ids) <= limit)
    lost = len(rows) - len(kept)
    if rows and (lost / len(rows) > MOST_TOO_LONG or not kept):
        raise DataError(
            f"{lost} of {len(rows)} {name} rows ({lost / len(rows):.0%}) are longer than {limit} tokens; "
            f"the longest has {max(len(row.ids) for row in rows):,}.",
            fix="Shorten the inputs, raise max_length, or choose a base with a longer context.",
        )
    return kept


def _overlap(train: Sequence[TrainingRow], validation: Sequence[TrainingRow]) -> None:
    seen = {row.ids for row in train}
    shared = [number for number, row in enumerate(validation, 1) if row.ids in seen]
    if shared:
        raise DataError(
            f"{len(shared)} of {len(validation)} validation rows are also training rows "
            f"(first: row {shared[0]}): the validation loss would flatter.",
            fix="Split the data again, or remove the duplicates.",
        )
