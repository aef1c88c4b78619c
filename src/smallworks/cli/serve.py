"""`smallworks serve`: bundles behind an OpenAI-shaped API."""

from __future__ import annotations

from pathlib import Path

from smallworks import settings
from smallworks.cli import talk
from smallworks.server import Rules
from smallworks.server import serve as run


def serve(
    *bundles: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Path | None = None,
    open: bool = False,
    queue: int = Rules.waiting,
    queue_tokens: int = Rules.tokens,
    deadline: float = Rules.deadline,
) -> None:
    """Serve bundles: /v1/chat/completions, /v1/completions, /v1/models, /v1/classify, /generate, /metrics.

    Parameters
    ----------
    bundles
        One or more bundle folders; the first is the default model.
    host
        Address to listen on. One that other machines reach needs --keys or --open.
    port
        Port to listen on; 0 takes a free one.
    keys
        The key file of those that may ask, made with `smallworks keys` (default: $SMALLWORKS_KEYS).
    open
        Ask for no keys: whoever reaches the address may use the server.
    queue
        Most requests that wait in line for one bundle; further ones get 429.
    queue_tokens
        Most tokens, prompts and answers, of all requests in and at one bundle.
    deadline
        Seconds from a request's arrival to the end of its answer; then 504.
    """
    rules = Rules(waiting=queue, tokens=queue_tokens, deadline=deadline)
    file = keys or settings.load().keys
    if open and not keys and file:
        talk.remark(f"--open: nobody is asked for a key, though SMALLWORKS_KEYS names '{file}'.")
        file = None
    run(bundles, host=host, port=port, keys=file, open=open, rules=rules)
