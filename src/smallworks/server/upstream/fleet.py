"""Every upstream of one server, under the names that clients ask for: begun, listed, ended together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from smallworks.server.hosts import Host, check_names
from smallworks.server.meters import Meters
from smallworks.server.prices import Price
from smallworks.server.rules import Rules
from smallworks.server.upstream.meters import UpstreamMeters
from smallworks.server.upstream.settings import Upstream

if TYPE_CHECKING:
    from smallworks.server.upstream.relay import Relay


class Housing(Protocol):
    """A room: `hosts` by every name, replaced as a whole by whoever holds `changing`."""

    hosts: dict[str, Host]
    changing: Lock


class Listed:
    """One model that an upstream's servers list; a Host of its own, so that a key can be for it alone."""

    json = False

    def __init__(self, name: str, relay: Relay) -> None:
        self.names, self.relay = (name,), relay
        self.describe, self.reply, self.stream = relay.describe, relay.reply, relay.stream
        self.count, self.temperature = relay.count, relay.temperature

    @property
    def identity(self) -> str:
        return self.relay.identity

    @property
    def price(self) -> Price:
        return self.relay.price

    def close(self) -> None:
        """The upstream is closed by its fleet."""


class Fleet:
    """`join` a room, `start` in its event loop, and `close` there."""

    def __init__(self, upstreams: Sequence[Upstream], *, rules: Rules, meters: Meters) -> None:
        """Raises UserError for a key variable that is not set, or certificates that cannot be read."""
        shared = UpstreamMeters(meters)
        self.relays = [_relay(each, rules, meters, shared) for each in upstreams]
        self._room: Housing | None = None

    def join(self, room: Housing) -> None:
        """Add every name to the room's. Raises UserError for one that is another's already."""
        self._room, hosts = room, room.hosts
        for relay in self.relays:
            check_names(relay.names, hosts)
            hosts.update(dict.fromkeys(relay.names, relay))

    def start(self) -> None:
        for relay in self.relays:
            relay.start(self._listing(relay) if relay.lists else None)

    def close(self) -> None:
        for relay in self.relays:
            relay.close()

    def _listing(self, relay: Relay) -> Callable[[Iterable[str]], None]:
        """Names come and go with what the servers list; one that is taken already stays whose it is."""

        def listed(names: Iterable[str]) -> None:
            assert self._room is not None
            wanted, room = set(names), self._room
            with room.changing:
                kept = {
                    name: host
                    for name, host in room.hosts.items()
                    if not (isinstance(host, Listed) and host.relay is relay and name not in wanted)
                }
                fresh = sorted(wanted - kept.keys())
                room.hosts = {**kept, **{name: Listed(name, relay) for name in fresh}}

        return listed


def _relay(upstream: Upstream, rules: Rules, meters: Meters, shared: UpstreamMeters) -> Relay:
    from smallworks.server.upstream.relay import Relay  # most servers have no server behind them

    return Relay(upstream, rules=rules, meters=meters, shared=shared)
