"""The two marks that every picture here is made of, as SVG text: a line, and words. Sizes in pixels."""

from __future__ import annotations

from html import escape


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, style: str, *, anchor: str = "start") -> str:
    """`anchor` says what of the words stands at x: their start, middle or end."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
