"""The embedded default: the starter model, the sample task and the help-desk articles. Knows only paths."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
MODEL = HERE / "model"
HELPDESK = HERE / "helpdesk"
TASKS = {"tickets": HERE / "tickets"}
"""Sample tasks by name."""
