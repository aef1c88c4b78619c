"""Paid answers on disk: each is a line as soon as it has come, so that a killed run pays for nothing twice.

Knows neither who answered nor what was asked: an answer has a key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from smallworks import files
from smallworks.recipes.teacher import Said

FILE = "answers.jsonl"


class Journal:
    """The answers by key. Made by `keeping`, which holds its folder for one process."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._answers = {key: Said(**said) for key, said in map(json.loads, file)}

    def __contains__(self, key: str) -> bool:
        return key in self._answers

    def __iter__(self) -> Iterator[Said]:
        return iter(self._answers.values())

    def get(self, key: str) -> Said | None:
        return self._answers.get(key)

    def add(self, key: str, said: Said) -> None:
        """On the disk before anything else is asked."""
        line = json.dumps([key, asdict(said)], ensure_ascii=False)
        self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._answers[key] = said


@contextmanager
def keeping(folder: Path, what: str) -> Iterator[Journal]:
    """The journal in a folder, empty where there is none; a last line that a kill tore is taken off."""
    with files.lock(folder, what):
        path = folder / FILE
        try:
            with path.open("a+b") as file:
                file.seek(0)
                whole = sum(len(line) for line in file if line.endswith(b"\n"))
                file.truncate(whole)
                file.seek(0)
                yield Journal(file)
        except OSError as error:
            raise files.unwritable(path, error) from error
