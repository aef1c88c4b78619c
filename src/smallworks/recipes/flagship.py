"""The flagship on the table: its recorded answers scored like any candidate, or its server asked live.

Recorded answers have no latency and no bundle: they are the bar to compare with, not something to serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallworks import files, settings
from smallworks.bundle import Bundle, Manifest, Remote
from smallworks.bundle.manifest import to_json
from smallworks.errors import DataError
from smallworks.evaluate import records
from smallworks.evaluate.metrics import summarise
from smallworks.evaluate.run import run
from smallworks.prompt.render import messages
from smallworks.recipes.workshop import Workshop
from smallworks.types import Answer, Example, Flagship, PromptSpec, Row, Task

CHARACTERS_PER_TOKEN = 4.0
"""For recorded answers without usage; a customary estimate for English, and the note on the row says so."""


def recorded_row(shop: Workshop, flagship: Flagship) -> Row:
    """The row of recorded answers: JSONL of {"input" or "id", "output"} that covers every test row."""
    assert flagship.answers is not None
    answers = read_answers(flagship.answers)
    said = [_answer(shop, example, answers, flagship.answers) for example in shop.splits.test]
    lookup = dict(zip((e.id for e in shop.splits.test), said, strict=True))
    done = run(
        shop.splits.test,
        lambda batch: [lookup[e.id] for e in batch],
        kind=shop.task.kind,
        labels=shop.splits.labels,
        schema=shop.task.schema,
        refusal=shop.task.refusal,
        documents=shop.task.data.documents is not None,
    )
    path = shop.steps.folder / f"flagship-{shop.data_key[:12]}.jsonl"
    records.write(path, done)
    metrics = summarise(done, shop.task.kind)
    cost = sum(price(flagship, r.tokens_in, r.tokens_out) for r in done) * 1000 / len(done)
    return Row(
        name="flagship",
        kind="flagship",
        engine=f"recorded: {flagship.name}",
        metric=metrics[shop.task.targets.metric],
        metrics=metrics,
        cost_per_1000=cost,
        records=path,
        notes=("recorded answers; tokens estimated from characters where not recorded",),
    )


def price(flagship: Flagship, tokens_in: float, tokens_out: float) -> float:
    """Dollars of one request."""
    return (tokens_in * flagship.input_price + tokens_out * flagship.output_price) / 1e6


def instead(
    task: Task, flagship: Flagship, labels: tuple[str, ...], rows: Sequence[Example]
) -> dict[str, Any]:
    """For the lineage of what replaces it: its prices, and what a thousand answers to such rows cost there.

    The latter, by the length of the texts, is for bundles that count no tokens.
    """
    spec = _asked(task, labels)
    characters_in = sum(len(m.content) for e in rows for m in messages(spec, e.text))
    tokens_in, tokens_out = (
        n / CHARACTERS_PER_TOKEN / max(1, len(rows))
        for n in (characters_in, sum(len(e.output) for e in rows))
    )
    return {
        "flagship": flagship.name,
        "flagship_input_price": flagship.input_price,
        "flagship_output_price": flagship.output_price,
        "flagship_per_1000": round(1000 * price(flagship, tokens_in, max(1.0, tokens_out)), 6),
    }


def _asked(task: Task, labels: tuple[str, ...]) -> PromptSpec:
    """How the flagship is asked."""
    return PromptSpec(
        style="chat",
        kind=task.kind,
        instruction=task.instruction,
        choices=remote_choices(labels),
        schema=task.schema,
    )


def make_flagship(shop: Workshop, flagship: Flagship) -> Bundle:
    """The live server as a bundle, so that it can be measured, compared and served like the others."""
    assert flagship.url is not None
    settings.approve_upstream(flagship.url)
    spec = _asked(shop.task, shop.splits.labels)
    manifest = Manifest(
        task=shop.task.name,
        kind=shop.task.kind,
        candidate="flagship",
        engine="http",
        prompt=spec,
        inputs=shop.inputs,
        columns=shop.task.data.columns,
        remote=Remote(url=flagship.url, model=flagship.name, key_env=flagship.key_env),
        lineage={
            "data": shop.data_key,
            "input_price": flagship.input_price,
            "output_price": flagship.output_price,
        },
    )
    reads = {"manifest": to_json(manifest)}
    return shop.frozen("freeze-flagship", reads, lambda folder: _freeze(shop, manifest, folder))


def remote_choices(labels: tuple[str, ...]) -> Any:
    """Codes for a server whose tokenizer is not ours: A, B, … then two letters, and no token ids."""
    from smallworks.types import Choices

    letters = [chr(65 + i) for i in range(26)]
    codes = letters + [a + b for a in letters for b in letters]
    return Choices(labels=labels, codes=tuple(codes[: len(labels)])) if labels else None


def read_answers(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Recorded answers by example id and by input text. Raises DataError for a file or line that is none."""
    if not path.is_file():
        raise DataError(f"No recorded answers at '{path}'.", fix="Check [flagship] answers in task.toml.")
    found: dict[str, Mapping[str, Any]] = {}
    for number, row in enumerate(files.read_jsonl(path), 1):
        key = row.get("id", row.get("input")) if isinstance(row, dict) else None
        if key is None or "output" not in row:
            raise DataError(
                f"'{path}' line {number} has no 'output' with an 'id' or 'input'.",
                fix='Each line is {"input": "…", "output": "…"}; "tokens_in" and "tokens_out" are optional.',
            )
        found[str(key)] = row
    return found


def _freeze(shop: Workshop, manifest: Manifest, folder: Path) -> dict[str, Any]:
    from smallworks.bundle import freeze

    draft = folder / "draft"
    draft.mkdir(parents=True, exist_ok=True)
    return {"bundle": freeze(draft, manifest, into=shop.bundles).name}


def _answer(shop: Workshop, example: Example, answers: Mapping[str, Mapping[str, Any]], path: Path) -> Answer:
    row = answers.get(example.id) or answers.get(example.text)
    if row is None:
        raise DataError(
            f"'{path}' has no answer for test row {example.row} (id '{example.id}').",
            fix="Record the flagship's answer for every test row, by id or by input text.",
        )
    spec = _asked(shop.task, shop.splits.labels)
    prompt = sum(len(m.content) for m in messages(spec, example.text))
    return Answer(
        text=str(row["output"]),
        tokens_in=int(row.get("tokens_in", prompt / CHARACTERS_PER_TOKEN)),
        tokens_out=int(row.get("tokens_out", max(1, len(str(row["output"])) / CHARACTERS_PER_TOKEN))),
        ms=float(row.get("ms", 0.0)),
    )
