"""`smallworks serve`: bundles behind an OpenAI-shaped API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from smallworks import settings
from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.server import config as files
from smallworks.server import serve as run
from smallworks.server.log import Log
from smallworks.server.tls import Tls


def serve(
    *bundles: str,
    embedder: list[str] | None = None,
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    keys: Path | None = None,
    open: bool = False,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    plain: bool = False,
    queue: int | None = None,
    queue_tokens: int | None = None,
    deadline: float | None = None,
    log_format: Literal["json", "text"] | None = None,
    check: bool = False,
    json: bool = False,
) -> int:
    """Serve bundles: /v1/chat/completions, /v1/completions, /v1/models, /v1/classify, /generate, /metrics.

    Parameters
    ----------
    bundles
        One or more bundle folders; the first is the default model.
    embedder
        A sentence-embedding model for /v1/embeddings: a folder, or a hub id.
    config
        A serve.toml with all of this and more; what is said here wins over it.
    host
        Address to listen on (default: 127.0.0.1). One that other machines reach needs --keys or --open,
        and TLS or --plain.
    port
        Port to listen on (default: 8000); 0 takes a free one.
    keys
        The key file of those that may ask, made with `smallworks keys` (default: $SMALLWORKS_KEYS).
    open
        Ask for no keys: whoever reaches the address may use the server.
    tls_cert
        PEM file of the certificate and its chain; renewed ones are taken up.
    tls_key
        PEM file of its private key.
    plain
        No TLS, though other machines reach the address: a proxy ends TLS, or the network is your own.
    queue
        Most requests that wait in line for one bundle (default: 256); further ones get 429.
    queue_tokens
        Most tokens, prompts and answers, of all requests in and at one bundle (default: 1048576).
    deadline
        Seconds from a request's arrival to the end of its answer (default: 600); then 504.
    log_format
        A line on stderr for each request, as JSON or text; never what was said.
    check
        Try all that can be tried without listening or loading a model, say what would be served, and end:
        0 where all is well, else 2.
    json
        With --check: one JSON document on stdout.
    """
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "keys": keys,
        "open": open or None,
        "plain": plain or None,
        "queue": queue,
        "queue_tokens": queue_tokens,
        "deadline": deadline,
        "bundles": bundles or None,
        "bundle": () if bundles else None,
        "embedders": tuple(embedder) if embedder else None,
        "tls": _tls(tls_cert, tls_key),
        "log": Log(format=log_format) if log_format else None,
    }
    if json and not check:
        raise UserError("--json goes with --check alone.", fix="Add --check, or leave --json out.")
    whole = _with_keys(files.load(config, options), keys, open)
    whole.rules  # noqa: B018  raises UserError for a limit that would let nothing through
    if check:
        return _check(whole, json)
    run(whole)
    return 0


def _tls(cert: Path | None, key: Path | None) -> Tls | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UserError("TLS needs a certificate and its key.", fix="Give both: --tls-cert and --tls-key.")
    return Tls(cert=cert, key=key)


def _with_keys(config: files.Config, named: Path | None, open: bool) -> files.Config:
    """Options win over the file, and the file over the environment: who may ask is said by the nearest."""
    if named and not open:
        return config.model_copy(update={"open": False})
    file = config.keys or (None if config.keys_env else settings.load().keys)
    if file and not named and (open or (config.open and not config.keys)):
        talk.remark(f"open: nobody is asked for a key, though there is '{file}'.")
        file = None
    return config.model_copy(update={"keys": file})


def _check(config: files.Config, json: bool) -> int:
    from rich.table import Table

    from smallworks.server.check import rows

    found = rows(config)
    well = not any(row.fix for row in found)
    if json:
        talk.print_json({"ok": well, "parts": [vars(row) for row in found]})
        return 0 if well else 2
    table = Table("part", "what", "", box=None)
    for row in found:
        table.add_row(row.part, f"{row.what} {row.fix}".strip(), "mend" if row.fix else "ok")
    talk.out.print(table, markup=False)
    return 0 if well else 2
