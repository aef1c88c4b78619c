"""Traces: one row for each sampled request, in SQLite or PostgreSQL, from which examples are made again."""

from smallworks.server.traces.collector import Collector
from smallworks.server.traces.config import Traces

__all__ = ["Collector", "Traces"]
