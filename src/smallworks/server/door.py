"""Who may come in: the key and what it opens, the host name on loopback, and nobody new while all ends.

A page in a browser can make its own name point at 127.0.0.1 and speak to a server there as if it were its
own (DNS rebinding). It cannot choose the Host header, so a keyless server on loopback answers to no other
name than this machine's. Where keys are asked for, the page has none. Knows no bundle.
"""

from __future__ import annotations

import ipaddress
import re
import time
from functools import lru_cache

from starlette.types import Scope

from smallworks.server.allowance import Allowance, Limiter
from smallworks.server.failures import BadField, Draining, Forbidden, InvalidApiKey, Unavailable
from smallworks.server.keys import Key, Keys
from smallworks.server.limits.ledger import Gone
from smallworks.server.visit import Visit

PROBES = frozenset({"/healthz", "/health/live", "/health/ready"})
"""Open to all: they say nothing but that the server is there."""
METRICS = "/metrics"
DEADLINE = b"x-request-deadline"
HOST = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([^:\[\]]+)(?::\d+)?")


class Door:
    """`visits` are those that are not over. `draining` lets those end and no others begin."""

    def __init__(self, keys: Keys | None, *, local: bool, limiter: Limiter | None = None) -> None:
        self.visits: set[Visit] = set()
        self.draining = False
        self._keys = keys
        self._limiter = limiter or Limiter()
        self._local = local
        self._allowances: dict[str, Allowance] = {}

    @property
    def keyed(self) -> bool:
        """Whether keys are asked for."""
        return self._keys is not None

    async def enter(self, scope: Scope, visit: Visit) -> None:
        """Let the visit in, or raise what it is refused with. Reads no body."""
        path = scope["path"]
        if path in PROBES:
            return
        if self._keys is not None:
            visit.allowance = self._recognised(scope, self._keys)
            _check_scope(visit.allowance.key, "metrics" if path == METRICS else "answers")
        elif self._local:
            _check_host(scope)
        if path == METRICS:
            return
        if self.draining:
            raise Draining(
                "The server is ending and takes no new requests.", fix="Ask another replica.", seconds=1
            )
        if visit.allowance is not None:
            await visit.allowance.knock()
        _read_deadline(scope, visit)
        visit.inside = True
        self.visits.add(visit)

    def leave(self, visit: Visit) -> None:
        self.visits.discard(visit)

    def _recognised(self, scope: Scope, keys: Keys) -> Allowance:
        kind, _, text = header(scope, b"authorization").decode("latin-1").partition(" ")
        if kind.lower() != "bearer" or not text.strip():
            raise InvalidApiKey("There is no key.", fix="Send the header 'Authorization: Bearer KEY'.")
        try:
            key = keys.recognise(text.strip())
        except Gone as error:
            raise Unavailable(
                "The keys cannot be read just now.", fix="Ask again later, or tell the operator."
            ) from error
        if key is None:
            raise InvalidApiKey("The key is not known here.", fix="Check it, or ask the operator for one.")
        allowance = self._allowances.get(key.id)
        if allowance is None or allowance.key is not key:  # new, or changed
            allowance = self._allowances[key.id] = self._limiter.of(key)
        if key.expired(time.time()):
            raise InvalidApiKey(f"The key '{key.name}' has expired.", fix="Ask the operator for a new one.")
        return allowance


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that name; empty where there is none."""
    visit: Visit = scope["visit"]
    return visit.sent.get(name, b"")


def _check_scope(key: Key, wanted: str) -> None:
    if wanted not in key.scopes:
        raise Forbidden(
            f"The key '{key.name}' has no scope '{wanted}'.", fix="Ask the operator for a key that has it."
        )


def _check_host(scope: Scope) -> None:
    host = header(scope, b"host")
    if not _is_local(host):
        raise Forbidden(
            f"The host '{host.decode('latin-1')}' is not this machine.",
            fix="Ask at http://127.0.0.1, let a proxy send 'Host: localhost', or serve with --keys.",
        )


@lru_cache(64)
def _is_local(host: bytes) -> bool:
    found = HOST.fullmatch(host.decode("latin-1"))
    if not found:
        return False
    name = (found[1] or found[2]).lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _read_deadline(scope: Scope, visit: Visit) -> None:
    """A client may want its answer sooner than the server's own deadline; never later."""
    sent = header(scope, DEADLINE)
    if not sent:
        return
    try:
        seconds = float(sent)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise BadField(
            f"The header x-request-deadline is '{sent.decode('latin-1')}'.",
            fix="Send seconds, such as 2.5, or leave it out.",
            param=DEADLINE.decode(),
        )
    visit.deadline = min(visit.deadline, seconds)
