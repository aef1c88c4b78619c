"""The usage at the end of a stream: whether it was asked for, asking for it, taking it away again. Pure."""

from __future__ import annotations

from smallworks.server.hosts import Said


def wants_usage(said: Said) -> bool:
    options = said.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def with_usage(said: Said) -> Said:
    """The request, asking for it. Options that are no object are left for the host to refuse."""
    options = said.get("stream_options") or {}
    if not isinstance(options, dict):
        return said
    return {**said, "stream_options": {**options, "include_usage": True}}


def asking_none(said: Said) -> Said:
    """What asks for the usage, without asking for it."""
    options = {name: value for name, value in said["stream_options"].items() if name != "include_usage"}
    rest = {name: value for name, value in said.items() if name != "stream_options"}
    return {**rest, "stream_options": options} if options else rest


def without_usage(event: Said) -> Said | None:
    """The event for a client that did not ask for it; None where it holds nothing else."""
    if "usage" not in event:
        return event
    if event["usage"] and not event.get("choices"):
        return None
    return {name: value for name, value in event.items() if name != "usage"}
