"""The page of a load test: one self-contained HTML file with its picture and figures. Knows no network."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from smallworks import __version__, files
from smallworks.evaluate.latency import Percentile
from smallworks.recipes import figures, load_picture
from smallworks.recipes.bench import Bench
from smallworks.recipes.page import template

TEMPLATE = "bench.html.jinja"
PICTURES: tuple[tuple[str, load_picture.Which], ...] = (
    ("Latency against load", "latency"),
    ("Time to the first token", "first"),
)
WIDE, NARROW = (1040, 460), (388, 420)


def write_page(done: Bench, path: Path) -> None:
    """The page appears whole or not at all."""
    files.write_text(path, render(done))


def render(done: Bench) -> str:
    page = template(TEMPLATE, number=figures.number, percentile=_percentile)
    return page.render(
        done=done,
        version=__version__,
        pictures=[_pictures(done, name, which) for name, which in PICTURES if _timed(done, which)],
    )


def _timed(done: Bench, which: load_picture.Which) -> bool:
    return any(getattr(one, which) for one in done.levels)


def _pictures(done: Bench, name: str, which: load_picture.Which) -> tuple[str, Markup, Markup]:
    """The name, and the picture for a wide page and for a narrow one."""
    wide, narrow = (Markup(load_picture.draw(done.levels, which, *size)) for size in (WIDE, NARROW))
    return name, wide, narrow


def _percentile(found: Percentile | None) -> str:
    """12.0 [11.2, 13.0]; a question mark where too few requests tell no upper end."""
    if found is None:
        return figures.NONE
    high = figures.number(found.high) if found.high is not None else "?"
    return f"{figures.number(found.value)} [{figures.number(found.low)}, {high}]"
