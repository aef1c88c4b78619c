"""The only disk: atomic writes, canonical JSON, hashes. Knows nothing of what it writes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smallworks.errors import DataError, DiskError, UserError

SHARED_FROM = 32 * 2**20
"""Bytes from which a file is worth a hard link rather than a copy."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The errors of a disk, a quota or a file that is full."""


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the same value always gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def hash_value(value: Any) -> str:
    """Hex SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def hash_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved over it only when the block ends well."""
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, renamed to it only when the block ends well."""
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Says of a failed write where it was to go."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> DiskError:
    """The user's sentence for a write that failed; nothing half-written remains."""
    what = f"Could not write '{path}': {error.strerror or error}"
    if error.errno not in FULL:
        return DiskError(
            f"{what}.", fix="Choose a folder that you may write to, then run the same command again."
        )
    there = next(folder for folder in path.absolute().parents if folder.is_dir())
    return DiskError(
        f"{what} ({shutil.disk_usage(there).free // 2**20:,} MiB free there).",
        fix="Free some space or choose another folder, then run the same command again: it resumes.",
    )


@contextmanager
def lock(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder` for one process at a time. Raises UserError at once when another one has it."""
    from filelock import FileLock, Timeout

    with _naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / "lock")
        try:
            held.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"Another process works on {what} in '{folder}'.", fix="Wait for it, or choose another --out."
            ) from error
    try:
        yield
    finally:
        held.release()


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """The parsed file. Raises DataError that names the line when it is not JSON."""
    with _reading(path):
        text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"'{path}' is not valid JSON at line {error.lineno}: {error.msg}.", fix="Mend that line."
        ) from error


def read_jsonl(path: Path) -> Iterator[Any]:
    """One parsed value a line, blank lines skipped. Raises DataError that names the line."""
    with _reading(path), path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"'{path}' line {number} is not valid JSON: {error.msg} at column {error.colno}.",
                    fix="Mend or delete that line.",
                ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"No file at '{path}'.", fix="Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text.", fix="Save it as UTF-8.") from error


def link_or_copy(source: Path, target: Path) -> None:
    """`target` with the bytes of `source`; large ones share the disk blocks where the file system can.

    Small ones are always copied: editing a bundle's tokenizer must not reach the starter's own.
    """
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # never written through: others may share its blocks
        if source.stat().st_size >= SHARED_FROM:
            with suppress(OSError):
                os.link(source, target)
                return
        shutil.copyfile(source, target)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
