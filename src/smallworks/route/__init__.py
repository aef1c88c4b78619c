"""When to hand over: thresholds between stages that keep a stated promise, and what they make of the rows."""

from smallworks.route.calibrate import Limits, Routing, calibrate
from smallworks.route.promise import Promise, parse
from smallworks.route.stages import Stage, stages_of

__all__ = ["Limits", "Promise", "Routing", "Stage", "calibrate", "parse", "stages_of"]
