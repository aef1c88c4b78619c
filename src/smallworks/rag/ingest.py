"""From a folder to its index: what changed is read anew, what is gone is taken out, a killed run goes on.

What is indexed of a document is told by the hash of its bytes and of how it is cut. A transaction takes a
thousand passages; what a kill leaves out is found missing by the next run. Vectors come second: the words
can be searched before, and a passage without a vector gets one whenever there is an embedder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from smallworks import files
from smallworks.errors import DataError, MissingExtra, UserError
from smallworks.rag.document import Document, Passage
from smallworks.rag.formats import READERS, read
from smallworks.rag.opening import AnyStore, open_store
from smallworks.rag.passages import SIZE, SMALLEST, cut
from smallworks.seams import Embedder, Progress, silent

READING = 1
"""Raised when documents are read or cut in another way: every one is then read anew."""
BATCH = 1000
"""Passages a transaction."""
VECTORS = 256
"""Passages embedded at once."""
SETTLE = 0.1
"""The share of changed passages above which the index is put in order."""


@dataclass(kw_only=True)
class Ingested:
    """What a run did, and what the index holds after it. `skipped` maps paths to the reason.

    `kept` maps those that could not be read this time (no right to, a library missing) to the reason: what
    was indexed of them stays. `unseen` are characters of the new documents that no reader would have seen, by
    path. `written` counts passages.
    """

    documents: int = 0
    passages: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    written: int = 0
    embedded: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)


def index(
    folder: Path,
    out: Path | str,
    *,
    embedder: Embedder | None = None,
    embedder_name: str = "",
    size: int = SIZE,
    progress: Progress = silent,
) -> Ingested:
    """Bring the index at `out`, a file or an address of PostgreSQL, up to what the folder holds now.

    `embedder_name` is kept in the index and tells one embedder from another: the vectors of another one are
    made anew.
    """
    if size < SMALLEST:
        raise UserError(f"--size {size} is too short for a passage.", fix=f"Give --size {SMALLEST} or more.")
    if not folder.is_dir():
        raise UserError(f"No folder at '{folder}'.", fix="Name the folder that holds the documents.")
    found = dict(_files(folder))
    with open_store(out, create=True) as store:
        if embedder is not None:
            store.ready_for_vectors()
        known = store.hashes()
        _same_folder(folder, str(store.path), found, known)
        done = Ingested()
        _forget(store, [path for path in known if path not in found], done)
        _bring_in(store, found, known, size, done, progress)
        _settle(store)
        if embedder is not None:
            _embed(store, embedder, embedder_name, done, progress)
        done.documents, done.passages = store.counts()
    return done


def fingerprint(folder: Path) -> str:
    """Changes whenever a document of the folder does, or how documents are read. UserError: there is none."""
    found = [[path, _hash(file)] for path, file in _files(folder)]
    if not found:
        raise _no_document(folder)
    return files.hash_value([READING, found])


def paths(folder: Path) -> set[str]:
    """The documents of a folder, as an index names them."""
    return {path for path, _ in _files(folder)}


def _no_document(folder: Path) -> UserError:
    return UserError(
        f"'{folder}' holds no document.", fix=f"Files that are read end with {', '.join(READERS)}."
    )


def _same_folder(folder: Path, out: str, found: dict[str, Path], known: dict[str, str]) -> None:
    """A wrong folder, or one that is not mounted, must not empty an index. Raises UserError."""
    if not found and not known:
        raise _no_document(folder)
    if known and not found.keys() & known.keys():
        raise UserError(
            f"'{folder}' holds none of the {len(known):,} documents of '{out}'.",
            fix="Name the folder that it was made from, or another --out; delete the index to begin anew.",
        )


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Readable endings below the folder, by their path in it; no hidden names, no links that lead out."""
    home = folder.resolve()
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(here) / name
            if name.startswith(".") or path.suffix.lower() not in READERS:
                continue
            if path.is_file() and path.resolve().is_relative_to(home):
                yield path.relative_to(folder).as_posix(), path


def _forget(store: AnyStore, gone: list[str], done: Ingested) -> None:
    if not gone:
        return
    with store.writing():
        _unsettle(store, sum(map(store.take_out, gone)))
    done.removed = len(gone)


def _bring_in(
    store: AnyStore,
    found: dict[str, Path],
    known: dict[str, str],
    size: int,
    done: Ingested,
    progress: Progress,
) -> None:
    """Every document whose key is not the known one, in batches."""
    progress("read", 0, 0, "")
    waiting: list[tuple[str, str, Document, list[Passage]]] = []
    for number, (path, file) in enumerate(found.items(), 1):
        read = _changed(path, file, known, size, done)
        if read:
            waiting.append(read)
        if sum(max(1, len(passages)) for *_, passages in waiting) >= BATCH:
            _write(store, waiting, known, done)
        progress("read", number, len(found), path)
    _write(store, waiting, known, done)
    refused = [path for path in done.skipped if path in known]
    if refused:
        with store.writing():
            _unsettle(store, sum(map(store.take_out, refused)))
    progress("read", len(found), len(found), "done")


def _changed(
    path: str, file: Path, known: dict[str, str], size: int, done: Ingested
) -> tuple[str, str, Document, list[Passage]] | None:
    """The document and its passages; None where it is as it was, or cannot be read."""
    try:
        key = f"{_hash(file)}:{READING}:{size}"
        if known.get(path) == key:
            done.unchanged += 1
            return None
        document = read(file)
    except UserError as error:
        outside = isinstance(error, MissingExtra) or isinstance(error.__cause__, OSError)
        told = done.kept if outside and path in known else done.skipped
        told[path] = str(error)
        return None
    if document.unseen:
        done.unseen[path] = document.unseen
    return path, key, document, cut(document, size)


def _hash(file: Path) -> str:
    try:
        return files.hash_file(file)
    except OSError as error:
        raise DataError(
            f"'{file}' cannot be read: {error.strerror}.", fix="Check its permissions."
        ) from error


def _write(
    store: AnyStore,
    waiting: list[tuple[str, str, Document, list[Passage]]],
    known: dict[str, str],
    done: Ingested,
) -> None:
    if not waiting:
        return
    with store.writing():
        for path, key, document, passages in waiting:
            store.put(path, key, document.title, document.unseen, passages)
        _unsettle(store, sum(len(passages) for *_, passages in waiting))
    for path, _, _, passages in waiting:
        done.written += len(passages)
        done.changed += path in known
        done.added += path not in known
    waiting.clear()


def _unsettle(store: AnyStore, passages: int) -> None:
    store.note("unsettled", (store.fact("unsettled") or 0) + passages)


def _settle(store: AnyStore) -> None:
    """Also after what an earlier, killed run left behind."""
    if (store.fact("unsettled") or 0) > SETTLE * store.counts()[1]:
        store.settle()


def _embed(store: AnyStore, embedder: Embedder, name: str, done: Ingested, progress: Progress) -> None:
    """A vector for each passage without one, in float16: half the bytes."""
    if store.fact("embedder") != name:
        with store.writing():
            store.drop_vectors()
            store.note("embedder", name)
            store.note("dimension", embedder.dimension)
    progress("embed", 0, 0, "")
    total = store.missing_vectors()
    while bare := store.bare(VECTORS):
        vectors = embedder.embed([passage.whole for passage in bare]).astype(np.float16)
        with store.writing():
            store.put_vectors((p.id, row.tobytes()) for p, row in zip(bare, vectors, strict=True))
        done.embedded += len(bare)
        progress("embed", done.embedded, total, "")
    progress("embed", max(1, total), max(1, total), "done")
