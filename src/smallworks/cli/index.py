"""`smallworks index`: a folder of documents in one file that can be asked."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape

from smallworks.cli import talk
from smallworks.rag.ingest import Ingested
from smallworks.rag.opening import told
from smallworks.rag.passages import SIZE
from smallworks.recipes.documents import Indexed, Quality, index_folder

GAIN = "mean reciprocal rank by reranking"
LINES = 10
"""Skipped documents that are named one by one."""


def index(
    folder: Path,
    /,
    *,
    out: str,
    embedder: str | None = None,
    reranker: str | None = None,
    size: int = SIZE,
    questions: Path | None = None,
    json: bool = False,
) -> None:
    """Index what changed in a folder: text, Markdown, HTML, CSV; PDF and Word with the extra `rag`.

    Parameters
    ----------
    folder
        The documents, folders in it included; hidden files and links out of it are left out.
    out
        The index: one SQLite file, or postgresql://USER@HOST/DATABASE?schema=NAME to share it; made, or
        brought up to date.
    embedder
        A sentence-embedding model, for search by meaning too: a local folder or a hub id (default: the
        one of the index, else SMALLWORKS_EMBEDDER; without one, words alone).
    reranker
        A cross-encoder that puts the first passages in order: a local folder or a hub id (default: the one
        of the index). With --questions it is kept only where its gain is shown.
    size
        Most characters of a passage.
    questions
        Validation questions with the documents that answer them: measures the search, and fits from when
        on `smallworks ask` answers.
    json
        One JSON document on stdout.
    """
    with talk.progress() as progress:
        done = index_folder(
            folder,
            out,
            embedder=embedder,
            reranker=reranker,
            size=size,
            questions=questions,
            progress=progress,
        )
    if json:
        talk.print_json(_document(done, told(out)))
        return
    _show(done, told(out))


def _show(done: Indexed, out: str) -> None:
    found = done.ingested
    _warn(found)
    talk.say(
        f"{out}: {found.documents:,} documents, {found.passages:,} passages "
        f"({found.added:,} new, {found.changed:,} changed, {found.removed:,} gone)"
    )
    if done.embedder:
        talk.say(f"searched by words and by vectors of {done.embedder}")
    else:
        talk.remark(
            "Searched by words alone: name an embedding model with --embedder to search by meaning too."
        )
    if done.quality:
        _show_quality(done.quality)
    if done.gain:
        talk.say(f"  {GAIN:<34} {done.gain.value:+.3f}  {done.gain.low:+.3f}–{done.gain.high:+.3f}")
        if not done.reranker:
            talk.remark("The reranker is not kept: no gain is shown on these questions.")
    talk.remark(f'Ask it: smallworks ask {escape(shlex.quote(out))} "a question"')


def _warn(found: Ingested) -> None:
    for path, reason in list(found.skipped.items())[:LINES]:
        talk.remark(f"[yellow]left out[/] {escape(path)}: {escape(reason)}")
    if len(found.skipped) > LINES:
        talk.remark(f"[yellow]left out[/] {len(found.skipped) - LINES:,} more: --json names them all.")
    for path, reason in list(found.kept.items())[:LINES]:
        talk.remark(f"[yellow]kept as it was[/] {escape(path)}: {escape(reason)}")
    if len(found.kept) > LINES:
        talk.remark(f"[yellow]kept as they were[/] {len(found.kept) - LINES:,} more: --json names them all.")
    for path, count in list(found.unseen.items())[:LINES]:
        talk.remark(
            f"[yellow]hidden[/] {escape(path)}: {count:,} characters that no reader sees were taken out"
        )


def _show_quality(quality: Quality) -> None:
    talk.say(f"\n{quality.questions:,} question{'' if quality.questions == 1 else 's'}")
    for name, one in quality.metrics.items():
        talk.say(f"  {name:<10} {one.value:.3f}  {one.low:.3f}–{one.high:.3f}")
    if quality.answered is None or quality.abstained is None:
        talk.remark(
            "Too few questions to fit when to answer: 20 that have an answer and 20 that have none are "
            "needed. The default stays."
        )
        return
    for name, one in (
        ("answered where the answer is there", quality.answered),
        ("declined where it is not", quality.abstained),
    ):
        talk.say(f"  {name:<34} {one.value:.3f}  {one.low:.3f}–{one.high:.3f}")


def _document(done: Indexed, out: str) -> dict[str, Any]:
    found = {"index": out, **asdict(done)}
    if done.quality:
        del found["quality"]["reciprocal"]
    return found
