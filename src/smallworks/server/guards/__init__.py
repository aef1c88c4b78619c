"""Guards at the door: where the texts of a request and its answer stand, and what becomes of them."""

from smallworks.server.guards.section import GuardsConfig

__all__ = ["GuardsConfig"]
