"""`smallworks serve`: bundles behind an OpenAI-shaped API."""

from __future__ import annotations

from pathlib import Path

from smallworks.server import serve as run


def serve(*bundles: Path, host: str = "127.0.0.1", port: int = 8000, allow_remote: bool = False) -> None:
    """Serve bundles on loopback: /v1/chat/completions, /v1/completions, /v1/models, /v1/classify, /generate.

    Parameters
    ----------
    bundles
        One or more bundle folders; the first is the default model.
    host
        Address to listen on.
    port
        Port to listen on; 0 takes a free one.
    allow_remote
        Listen on an address that other machines reach. There are no keys yet: put a gateway before it.
    """
    run(bundles, host=host, port=port, allow_remote=allow_remote)
