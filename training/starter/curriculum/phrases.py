"""The hand-written words and templates of phrases.toml as values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

Bank = Mapping[str, tuple[str, ...]]

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _words(name: str) -> tuple[str, ...]:
    return tuple(_TABLES["words"][name].split())


def _bank(name: str) -> Bank:
    return {label: tuple(texts) for label, texts in _TABLES[name].items()}


FIRST_NAMES = _words("first_names")
LAST_NAMES = _words("last_names")
CITIES = _words("cities")
ITEMS = _words("items")
COLOURS = _words("colours")
DAYS = _words("days")
MONTHS = _words("months")
JOBS = _words("jobs")
THINGS = (*ITEMS, *_words("more_things"))

POSITIVE = _words("positive")
NEGATIVE = _words("negative")
NEUTRAL = _words("neutral")
OPINIONS: tuple[str, ...] = tuple(_TABLES["templates"]["opinions"])

FEELINGS = _bank("feelings")
REQUESTS = _bank("requests")
QUESTIONS = _bank("questions")
