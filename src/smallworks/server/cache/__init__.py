"""Answers kept for the next who asks the same: exact always, by likeness only where the config names it."""

from smallworks.server.cache.config import CacheConfig

__all__ = ["CacheConfig"]
