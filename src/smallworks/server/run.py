"""Running the application: the address, the port, who may reach it, and a quiet end. Knows no route."""

from __future__ import annotations

import errno
import gc
import ipaddress
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from smallworks.errors import UserError
from smallworks.server.arrival import Arrival
from smallworks.server.assembly import assembled
from smallworks.server.config import Config
from smallworks.server.log import configure
from smallworks.server.tls import Certificate
from smallworks.server.watch import hangup, watching

DRAIN_SECONDS = 30
"""How long answers that have begun may go on after SIGTERM; new requests are refused meanwhile."""
CUT_SECONDS = 2
"""How long those that are cut off then get to say so."""
YOUNG = 50_000
"""Objects made before the young ones are looked through for garbage; at Python's own 700 it finds, again
and again, the requests under way."""


def announce(url: str) -> None:
    sys.stderr.write(f"Serving at {url}  (Ctrl-C ends it)\n")
    sys.stderr.flush()


def serve(config: Config, *, on_ready: Callable[[str], None] = announce) -> None:
    """Serve until SIGINT or SIGTERM; answers that have begun are finished first.

    The first bundle is the default model. Port 0 takes a free one. Raises UserError for an address that
    cannot be had or would be open unasked, before any model is loaded, and BundleError for a bundle that
    does not verify.
    """
    if not (config.entries or config.upstream):
        raise UserError("No bundle to serve.", fix="Name one: smallworks serve BUNDLE")
    check_openness(config)
    certificate = Certificate(config.tls) if config.tls else None
    with listen(config.host, config.port) as listener, ExitStack() as stack:
        app = assembled(config, stack, local=is_loopback(config.host))
        looks = [*app.state.looks, *([certificate.look] if certificate else [])]
        stack.enter_context(hangup(stack.enter_context(watching(looks))))
        server = Server(app, on_ready, certificate.context if certificate else None)
        configure(config.log.format)  # after uvicorn has set up its own
        gc.freeze()  # what the start made stays: no collection need look at it again
        gc.set_threshold(YOUNG)
        gc.enable()
        server.run([listener])


@contextmanager
def background(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """The application in a thread of this process; gives its address, and ends it on leaving."""
    ready: list[str] = []
    with listen(host, port) as listener:
        server = Server(app, ready.append)
        thread = Thread(target=server.run, args=([listener],), name="server", daemon=True)
        thread.start()
        try:
            # The socket listens already: a client that comes before the loop runs waits for it.
            yield _url(listener)
        finally:
            server.drain()
            thread.join(timeout=DRAIN_SECONDS + CUT_SECONDS)


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket. Raises UserError that names the port and another one to try."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError, UnicodeError) as error:
        raise UserError(f"'{host}' is not an address: {error}.", fix="Try --host 127.0.0.1.") from error
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer takes 40 ms.
    with socket.socket(family, kind, protocol) as listener:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(2048)
        except (OSError, OverflowError) as error:
            raise _no_port(host, port, error) from error
        yield listener


def _no_port(host: str, port: int, error: Exception) -> UserError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        return UserError(f"Port {port} on {host} is in use.", fix=f"Choose another: --port {other}")
    if number == errno.EACCES:
        return UserError(
            f"Port {port} needs more rights than yours.", fix="Choose one from 1024: --port 8000"
        )
    if number == errno.EADDRNOTAVAIL:
        return UserError(f"This machine has no address '{host}'.", fix="Try --host 127.0.0.1.")
    return UserError(f"Cannot listen on {host}, port {port}: {error}.", fix="Choose another: --port 8000")


def check_openness(config: Config) -> None:
    """Raises UserError for an address that strangers reach unasked, or that shows them what others send."""
    if config.asks and config.open:
        raise UserError(
            f"'{config.keys or config.keys_env}' says who may ask, and --open says everybody.",
            fix="Leave out one of --keys and --open.",
        )
    if is_loopback(config.host):
        return
    if not (config.asks or config.open):
        raise UserError(
            f"'{config.host}' can be reached from other machines, and no keys are asked for.",
            fix="Ask for them: smallworks keys add NAME --file keys.sqlite, then --keys keys.sqlite. "
            "Or let everybody in: --open",
        )
    if not (config.tls or config.plain):
        raise UserError(
            f"'{config.host}' can be reached from other machines, and what they send is not encrypted.",
            fix="Encrypt it: --tls-cert CERT.pem --tls-key KEY.pem. "
            "Or, where a proxy in front ends TLS or the network is your own: --plain",
        )


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url(listener: socket.socket, scheme: str = "http") -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn that says when it answers, drains on a signal, and returns instead of dying of it.

    While it drains it still listens, so that a new request gets a 503 and its reason, not a refused
    connection; a second signal ends it at once.
    """

    def __init__(
        self, app: Starlette, on_ready: Callable[[str], None], context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                http=Arrival,
                ws="none",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=CUT_SECONDS,
                ssl_context_factory=(lambda config, usual: context) if context else None,
            )
        )
        self._on_ready = on_ready
        self._door = app.state.door
        self._until: float | None = None

    def drain(self) -> None:
        """Take no new requests, and end when those inside are answered or out of time."""
        self._door.draining = True
        self._until = time.monotonic() + DRAIN_SECONDS

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            self._on_ready(_url(listener, "https" if self.config.is_ssl else "http"))

    async def on_tick(self, counter: int) -> bool:
        if self._until is not None and (not self._door.visits or time.monotonic() > self._until):
            return True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._until is not None:
            self.should_exit = self.force_exit = True
        self.drain()
