"""The data stage: read a task's files into checked, split Examples, and say what is wrong with them.

Knows nothing of models, prompts or metrics.
"""

from smallworks.data.prepare import Splits, check, fingerprint, load, preview, read_examples
from smallworks.data.report import DataReport, Notice, Severity

__all__ = [
    "DataReport",
    "Notice",
    "Severity",
    "Splits",
    "check",
    "fingerprint",
    "load",
    "preview",
    "read_examples",
]
