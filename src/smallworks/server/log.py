"""Logs as JSON lines or text: a line for each request, never what was said, who said it, or a secret.

A request's line is made of what the server itself knows of it: ids, names, numbers. The paths of strangers,
headers, addresses and messages of exceptions are not among it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TextIO

from pydantic import Field
from starlette.types import Scope

from smallworks.server.outbox import Outbox
from smallworks.server.section import Section
from smallworks.server.visit import Visit

WAITING = 10_000
"""Lines that may wait for a slow reader of stderr; more are dropped and counted."""


class Log(Section):
    """[log]: without a format only warnings are written; with one also a line for each request."""

    format: Literal["json", "text"] | None = Field(default=None, examples=["json"])
    requests: bool = True

    def check(self) -> str:
        if self.format is None:
            return "warnings alone"
        return f"{self.format}{', a line for each request' if self.requests else ''}"


def line(scope: Scope, visit: Visit) -> dict[str, Any]:
    """What is logged of a request that is over."""
    key = visit.allowance.key.id if visit.allowance else None
    return {
        "time": stamp(time.time()),
        "event": "request",
        "id": visit.id.decode(),
        "route": getattr(scope.get("endpoint"), "__name__", "none"),
        "bundle": visit.bundle,
        "status": visit.status or 499,
        "code": visit.error,
        "ms": round(1000 * visit.taken(), 2),
        "tokens_in": visit.tokens_in,
        "tokens_out": visit.tokens_out,
        "key": key,
    }


class RequestLog:
    """Implements witness.Witness."""

    def __init__(
        self, format: Literal["json", "text"], lost: Callable[[int, str], None], stream: TextIO | None = None
    ) -> None:
        self._stream = stream or sys.stderr
        self._word = _json if format == "json" else _text
        self._outbox = Outbox("request log", self._write, size=WAITING, lost=lost)

    def __call__(self, scope: Scope, visit: Visit) -> None:
        if visit.inside or visit.error:  # probes are no news
            self._outbox.put(line(scope, visit))

    def wants(self, visit: Visit) -> bool:
        return False

    def close(self) -> None:
        self._outbox.close()

    def _write(self, lines: Sequence[dict[str, Any]]) -> None:
        self._stream.write("".join(map(self._word, lines)))
        self._stream.flush()


class JsonFormatter(logging.Formatter):
    """Our own warnings, and those of the libraries: of an exception its class, never its message."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": stamp(record.created),
            "event": "log",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            said["error"] = record.exc_info[0].__name__
        return json.dumps(said, ensure_ascii=False)


def configure(format: Literal["json", "text"] | None) -> None:
    """What uvicorn, and everything else here, logs from now on: warnings on stderr, in this format."""
    if format != "json":
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name in ("", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = ([handler] if not name else []), True


def stamp(seconds: float) -> str:
    """UTC to the millisecond, as RFC 3339 has it."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(1000 * seconds) % 1000:03d}Z"


def _json(said: dict[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False) + "\n"


def _text(said: dict[str, Any]) -> str:
    tokens = f"{said['tokens_in']}+{said['tokens_out']} tokens"
    words = (said["time"], said["status"], said["route"], said["bundle"] or "-", f"{said['ms']} ms", tokens)
    rest = f" {said['code']}" if said["code"] else ""
    return f"{' '.join(map(str, words))}{rest} key={said['key'] or '-'} id={said['id']}\n"
