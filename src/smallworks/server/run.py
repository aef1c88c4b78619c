"""Running the application: the address, the port, the bundles, and a quiet end. Knows no route."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from types import FrameType

import uvicorn
from fastapi import FastAPI

from smallworks.bundle import open_bundle
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.engines.predictor import Predictor
from smallworks.errors import BundleError, UserError
from smallworks.evaluate.worker import replay
from smallworks.server.app import create_app
from smallworks.server.keys import KeyFile
from smallworks.server.rules import Rules

PROOF_ROWS = 4
"""Golden rows that an engine must answer as frozen before it serves."""
DRAIN_SECONDS = 30
"""How long answers that have begun may go on after SIGTERM; new requests are refused meanwhile."""
CUT_SECONDS = 2
"""How long those that are cut off then get to say so."""


def announce(url: str) -> None:
    sys.stderr.write(f"Serving at {url}  (Ctrl-C ends it)\n")
    sys.stderr.flush()


def serve(
    paths: Sequence[str | Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    keys: Path | None = None,
    open: bool = False,
    rules: Rules | None = None,
    threads: int | None = None,
    on_ready: Callable[[str], None] = announce,
) -> None:
    """Serve bundles until SIGINT or SIGTERM; answers that have begun are finished first.

    The first bundle is the default model. `port` 0 takes a free one. `keys` is the file of those that may
    ask; `open` lets everybody who reaches the address. Raises UserError for an address that cannot be had
    or would be open unasked, before any model is loaded, and BundleError for a bundle that does not verify.
    """
    if not paths:
        raise UserError("No bundle to serve.", fix="Name one: smallworks serve BUNDLE")
    local = _is_loopback(host)
    _check_openness(host, local=local, keys=keys, open=open)
    with listen(host, port) as listener, ExitStack() as stack:
        file = stack.enter_context(KeyFile(keys)) if keys else None
        loaded = [stack.enter_context(open_proven(path, threads)) for path in paths]
        bundles = named(paths, loaded)
        default = next(iter(bundles))
        app = create_app(bundles, default=default, keys=file, rules=rules or Rules(), local=local)
        _Server(app, on_ready).run([listener])


def open_proven(path: str | Path, threads: int | None) -> Predictor:
    """A bundle whose engine here agrees with its golden rows. Raises BundleError for one that does not."""
    bundle = open_bundle(path)
    predictor = open_predictor(bundle, threads=threads)
    parity = None if bundle.manifest.remote else replay(bundle, predictor, most=PROOF_ROWS)
    if parity is not None and not parity.holds:
        predictor.close()
        raise BundleError(
            f"'{path}' does not answer here as it did when it was frozen: token ids equal on "
            f"{parity.ids_equal} and answers on {parity.texts_equal} of {parity.rows} golden rows, a label "
            f"probability off by up to {parity.worst:.3f} "
            f"(allowed {parity.tolerance}).",
            fix=f"See: smallworks verify {path}. Rebuild it, or serve another form.",
        )
    return predictor


def named(paths: Sequence[str | Path], loaded: Sequence[Predictor]) -> dict[str, Predictor]:
    """Bundles by folder name, and by task name too where only one bundle does that task."""
    folders = [Path(path).expanduser().resolve().name for path in paths]
    twice = next((name for name, count in Counter(folders).items() if count > 1), None)
    if twice:
        raise UserError(
            f"Two bundles are called '{twice}', and a model needs a name of its own.",
            fix="Rename one of the folders, or serve one of them.",
        )
    names = dict(zip(folders, loaded, strict=True))
    tasks = Counter(predictor.manifest.task for predictor in names.values())
    for predictor in list(names.values()):
        if tasks[predictor.manifest.task] == 1:
            names.setdefault(predictor.manifest.task, predictor)
    return names


@contextmanager
def background(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """The application in a thread of this process; gives its address, and ends it on leaving."""
    ready: list[str] = []
    with listen(host, port) as listener:
        server = _Server(app, ready.append)
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


def _check_openness(host: str, *, local: bool, keys: Path | None, open: bool) -> None:
    if keys and open:
        raise UserError(
            f"'{keys}' says who may ask, and --open says everybody.",
            fix="Leave out one of --keys and --open.",
        )
    if not (local or keys or open):
        raise UserError(
            f"'{host}' can be reached from other machines, and no keys are asked for.",
            fix="Ask for them: smallworks keys add NAME --file keys.sqlite, then --keys keys.sqlite. "
            "Or let everybody in: --open",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn that says when it answers, drains on a signal, and returns instead of dying of it.

    While it drains it still listens, so that a new request gets a 503 and its reason, not a refused
    connection; a second signal ends it at once.
    """

    def __init__(self, app: FastAPI, on_ready: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ws="none",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=CUT_SECONDS,
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
            self._on_ready(_url(listener))

    async def on_tick(self, counter: int) -> bool:
        if self._until is not None and (not self._door.inside or time.monotonic() > self._until):
            return True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._until is not None:
            self.should_exit = self.force_exit = True
        self.drain()
