"""Releases: names such as `production` that point at bundles, moved by one word and moved back by another."""

from smallworks.registry.releases import Move, Releases

__all__ = ["Move", "Releases"]
