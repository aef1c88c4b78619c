"""Candidates that answer from documents: the best passage as it stands, or a model that reads the best ones.

A reader is a bundle like any other, made on rows whose passages were found as they will be when it is asked;
it travels inside of the candidate's bundle, beside the index. Knows nothing of how passages were chosen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from smallworks import files, rag
from smallworks.bundle import Bundle, Manifest, Stage, freeze
from smallworks.bundle.manifest import Retrieval
from smallworks.compress.encoder import FILES
from smallworks.engines.ground import posed
from smallworks.evaluate.scores import refuses
from smallworks.prompt import Renderer
from smallworks.rag.context import context, shown
from smallworks.recipes.cascade import is_remote
from smallworks.recipes.finding import INDEX, Finding, encoder_of, find, reranker_of
from smallworks.recipes.plan import READS, RETRIEVAL
from smallworks.recipes.workshop import Workshop
from smallworks.types import Example, PromptSpec, Sampling

ENCODER, READER, RERANKER = "encoder", "reader", "reranker"
LONGEST = 1024
"""Tokens of a row that a reader learns from at most: longer ones would be left out of its tuning."""
Make = Callable[[Workshop, str], Bundle]


def make_retrieval(shop: Workshop) -> Bundle:
    """The best passage, or the sentence of it that tells most: no model reads anything."""
    return _made(shop, RETRIEVAL, None, find(shop))


def make_reading(shop: Workshop, name: str, make: Make) -> Bundle:
    """The candidate `name` as a reader of passages. `make` makes its bundle from rows with their context."""
    found = find(shop)
    return _made(shop, name + READS, make(_readers(shop, found), name), found)


def _readers(shop: Workshop, found: Finding) -> Workshop:
    """The same workshop on rows with passages; its bundles are parts, and stand among the steps."""
    reads = {"data": shop.data_key, "passages": files.hash_file(found.index), "chosen": str(found)}
    splits = shop.splits
    embedder, reranker = encoder_of(found.encoder), reranker_of(found.reranker)
    with rag.Index(found.index, embedder, reranker, frozen=True) as index:
        train, validation = (
            tuple(_with_passages(shop, index, found, one) for one in rows)
            for rows in (splits.train, splits.validation)
        )
    splits = replace(
        splits, train=train, validation=validation, fingerprint=files.hash_value(reads), synthetic=()
    )
    return replace(shop, splits=splits, bundles=shop.steps.folder / "readers")


def _with_passages(shop: Workshop, index: rag.Index, found: Finding, row: Example) -> Example:
    """The row as a reader is asked it. What its passages cannot answer has the refusal as its answer."""
    one = found.chosen
    parts = shown([hit.passage for hit in index.search(row.text, one.k, by=one.by)])
    while len(parts) > 1 and not _fits(shop, posed(row.text, context(parts))):
        parts = parts[:-1]
    told = {part.passage.document for part in parts}
    lost = row.documents and not told & set(row.documents)
    return replace(
        row,
        inputs={"input": posed(row.text, context(parts))},
        output=shop.task.refusal if lost and not refuses(row.output, shop.task.refusal) else row.output,
    )


def _fits(shop: Workshop, text: str) -> bool:
    """Whether a row with this text is short enough to learn from; any is where no model here reads it."""
    if shop.base is None:
        return True
    words = shop.words
    renderer = Renderer(shop.prompt(), words.template, words.tokenizer)
    return len(renderer.prompt(text).ids) <= 0.9 * min(LONGEST, words.context)


def _made(shop: Workshop, name: str, reader: Bundle | None, found: Finding) -> Bundle:
    reads = {
        "data": shop.data_key,
        "index": files.hash_file(found.index),
        "reader": reader.id if reader else None,
        "chosen": str(found),
        "refusal": shop.task.refusal,
    }
    return shop.frozen(f"freeze-{name}", reads, lambda folder: _freeze(shop, name, reader, found, folder))


def _freeze(shop: Workshop, name: str, reader: Bundle | None, found: Finding, folder: Path) -> dict[str, Any]:
    draft = folder / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    files.link_or_copy(found.index, draft / INDEX)
    models = ((ENCODER, found.encoder), (RERANKER, found.reranker))
    for home, model in ((home, model) for home, model in models if model):
        for part in FILES:
            files.link_or_copy(model / part, draft / home / part)
    if reader:
        for file in (path for path in reader.path.rglob("*") if path.is_file()):
            files.link_or_copy(file, draft / READER / file.relative_to(reader.path))
    manifest = _manifest(shop, name, reader, found)
    if reader and is_remote(reader):  # replaying golden rows would be paid for
        return {"bundle": freeze(draft, manifest, into=shop.bundles).name}
    return {"bundle": shop.settle(f"freeze-{name}", draft, manifest).name}


def _manifest(shop: Workshop, name: str, reader: Bundle | None, found: Finding) -> Manifest:
    task = shop.task
    calibrated = f"fitted on {found.calibrated} questions" if found.calibrated else "the default"
    return Manifest(
        task=task.name,
        kind=task.kind,
        candidate=name,
        engine="retrieval",
        prompt=PromptSpec(style="raw", kind=task.kind, instruction=task.instruction),
        sampling=reader.manifest.sampling if reader else Sampling(),
        inputs=shop.inputs,
        columns=task.data.columns,
        model=INDEX,
        encoder=ENCODER if found.encoder else None,
        reranker=RERANKER if found.reranker else None,
        quantization=reader.manifest.quantization if reader else None,
        stages=(Stage(name=reader.manifest.candidate, path=READER, id=reader.id),) if reader else (),
        retrieval=Retrieval(
            k=found.chosen.k,
            by=found.chosen.by,
            refusal=task.refusal,
            shows=found.shows,
        ),
        lineage={
            "data": shop.data_key,
            "rows": len(shop.fitting),
            "seed": task.build.seed,
            "passages": str(found),
            **({"reranker": str(shop.reranker)} if found.reranker else {}),
            "answers_from": f"probability 0.5 on, {calibrated}",
        },
    )
