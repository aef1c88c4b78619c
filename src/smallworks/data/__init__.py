"""The data stage: read a task's files into checked, split Examples, and say what is wrong with them.

Knows nothing of models, prompts or metrics.
"""

from smallworks.data.clean import Cleaning, clean
from smallworks.data.divide import Division, divide
from smallworks.data.prepare import (
    Inspection,
    Splits,
    check,
    fingerprint,
    inspect,
    load,
    preview,
    read_examples,
    read_outside,
)
from smallworks.data.report import DataReport, Notice, Severity
from smallworks.data.source import open_source

__all__ = [
    "Cleaning",
    "DataReport",
    "Division",
    "Inspection",
    "Notice",
    "Severity",
    "Splits",
    "check",
    "clean",
    "divide",
    "fingerprint",
    "inspect",
    "load",
    "open_source",
    "preview",
    "read_examples",
    "read_outside",
]
