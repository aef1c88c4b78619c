"""Make a candidate from rows: tuned weights, a linear head, a fused one. Knows no files of a user's task."""

from smallworks.tune.options import Method, TuneOptions, TuneRequest, TuneResult
from smallworks.tune.run import fit, rehearse

__all__ = ["Method", "TuneOptions", "TuneRequest", "TuneResult", "fit", "rehearse"]
