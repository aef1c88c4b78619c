"""The embedded default: starter model, sample task, help-desk articles, safety set. Knows only paths."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
MODEL = HERE / "model"
HELPDESK = HERE / "helpdesk"
SAFETY = HERE / "safety"
"""Requests to refuse and their harmless look-alikes, labelled answers, documents and hidden instructions."""
TASKS = {"tickets": HERE / "tickets"}
"""Sample tasks by name."""
