"""Make a candidate from rows: tuned weights, a linear head, a fused one. Knows no files of a user's task."""

from smallworks.tune.options import Method, Rehearsal, TuneOptions, TuneRequest, TuneResult
from smallworks.tune.run import Validated, fit, rehearse

__all__ = ["Method", "Rehearsal", "TuneOptions", "TuneRequest", "TuneResult", "Validated", "fit", "rehearse"]
