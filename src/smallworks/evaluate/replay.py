"""Golden rows answered again: does this engine say what the reference engine said?

Apart from the worker, so that a server that proves its bundles loads no statistics.
"""

from __future__ import annotations

from smallworks.bundle import Bundle
from smallworks.bundle.golden import TOLERANCES, agree, read
from smallworks.engines.predictor import Predictor
from smallworks.types import Parity


def replay(bundle: Bundle, predictor: Predictor, *, most: int | None = None) -> Parity | None:
    """The golden rows on this engine against what the reference engine said; None where there are none.

    `most` limits how many are replayed.
    """
    golden = read(bundle.path)[:most]
    if not golden:
        return None
    said = [predictor.golden(row.inputs) for row in golden]
    return agree(golden, said, tolerance=TOLERANCES[bundle.manifest.quantization or "same"])
