"""Open a model that tells names: a folder or a hub id, converted once and kept. Knows no rows."""

from __future__ import annotations

from smallworks import settings
from smallworks.bundle.store import hash_weights
from smallworks.compress.names import names_to_onnx
from smallworks.engines.base import resolve_names
from smallworks.engines.names import Names
from smallworks.seams import Progress, silent


def open_names(ref: str, *, progress: Progress = silent) -> Names:
    """Raises ModelError for what is no token-classification model, or tells no names."""
    folder = resolve_names(ref)
    out = settings.load().home / "names" / hash_weights(folder)[:16]
    return Names(names_to_onnx(folder, out, progress=progress))
