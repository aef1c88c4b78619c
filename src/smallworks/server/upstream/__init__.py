"""Model names that other servers answer to: any number of OpenAI-shaped ones, balanced, watched, replaced."""

from smallworks.server.upstream.fleet import Fleet
from smallworks.server.upstream.settings import Server, Upstream

__all__ = ["Fleet", "Server", "Upstream"]
