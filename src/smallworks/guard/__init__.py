"""The guard stage: rules on what goes into a model and what comes out of it, from one policy file."""

from smallworks.errors import GuardBlocked
from smallworks.guard.guards import Guards, Passage, Text, check
from smallworks.guard.policy import load
from smallworks.guard.rule import Found, Policy, Rule

__all__ = ["Found", "GuardBlocked", "Guards", "Passage", "Policy", "Rule", "Text", "check", "load"]
