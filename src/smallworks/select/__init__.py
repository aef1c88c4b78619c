"""Which base model to start from: a catalogue as data, arithmetic against a machine, rules and reasons."""

from smallworks.select.advice import Advice
from smallworks.select.catalogue import OWN, Catalogue, Entry, Licence, load
from smallworks.select.fit import Fit, Ruled
from smallworks.select.machine import DEVICES, Machine, described, here
from smallworks.select.needs import Needs, Use
from smallworks.select.ranking import Ranking, rank

__all__ = [
    "DEVICES",
    "OWN",
    "Advice",
    "Catalogue",
    "Entry",
    "Fit",
    "Licence",
    "Machine",
    "Needs",
    "Ranking",
    "Ruled",
    "Use",
    "described",
    "here",
    "load",
    "rank",
]
