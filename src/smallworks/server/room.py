"""The engine room: which bundles answer, in which threads, and how an abandoned answer ends.

Each bundle has threads for as many answers as its engine gives at once; further requests wait in line.
The event loop never runs an engine. A client that hangs up sets the answer's cancel event, and one that
hangs up while it waits never reaches the engine. Knows nothing of HTTP beyond `receive`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Generic, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from smallworks.engines.predictor import Predictor
from smallworks.server.failures import ClientGone, ModelNotFound

T = TypeVar("T")
WORKERS = {"linear": 2, "onnx": 2, "llamacpp": 4, "transformers": 1, "http": 64, "fake": 64}
"""Answers at once by engine; a stranger's engine gets OTHER."""
OTHER = 4


class Room:
    def __init__(self, bundles: Mapping[str, Predictor], default: str) -> None:
        self.bundles = dict(bundles)
        self.default = default
        distinct = {id(p): p for p in self.bundles.values()}
        self._pools = {
            key: ThreadPoolExecutor(WORKERS.get(p.manifest.engine, OTHER), p.manifest.engine)
            for key, p in distinct.items()
        }

    def find(self, name: str | None) -> tuple[str, Predictor]:
        """The bundle of that name, the default where none is given. Raises ModelNotFound."""
        name = name or self.default
        if name not in self.bundles:
            raise ModelNotFound(
                f"There is no model '{name}' here.", fix=f"Available: {', '.join(self.bundles)}."
            )
        return name, self.bundles[name]

    async def run(self, request: Request, predictor: Predictor, work: Callable[[Event], T]) -> T:
        """What `work` returns. Raises ClientGone when the client hung up first."""
        cancel = Event()
        pool = self._pools[id(predictor)]
        future = asyncio.get_running_loop().run_in_executor(pool, work, cancel)
        # The body has been read, so that nothing but a disconnect can come.
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise ClientGone
            return future.result()
        finally:
            cancel.set()
            future.cancel()
            gone.cancel()

    def stream(
        self, request: Request, predictor: Predictor, work: Callable[[Event], Generator[T]]
    ) -> Pieces[T]:
        return Pieces(self._pools[id(predictor)], request.receive, work)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


class Pieces(Generic[T]):
    """What a generator in a thread yields, taken on the event loop. Close it in every case."""

    def __init__(
        self, pool: ThreadPoolExecutor, receive: Receive, work: Callable[[Event], Generator[T]]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | Exception | None] = asyncio.Queue()
        self._cancel = Event()
        self._ended = False
        self._future = pool.submit(self._produce, work)
        self._watch = self._loop.create_task(self._wait_gone(receive))

    async def take(self) -> list[T]:
        """All pieces that are ready, at least one; none at the end. Raises what the generator raised."""
        pieces: list[T] = []
        while not self._ended and not (pieces and self._queue.empty()):
            item = await self._queue.get()
            if isinstance(item, Exception):
                if pieces:
                    self._queue.put_nowait(item)
                    break
                self._ended = True
                raise item
            if item is None:
                self._ended = True
            else:
                pieces.append(item)
        return pieces

    def close(self) -> None:
        self._cancel.set()
        self._future.cancel()
        self._watch.cancel()

    def _produce(self, work: Callable[[Event], Generator[T]]) -> None:
        try:
            with closing(work(self._cancel)) as pieces:
                for piece in pieces:
                    if self._cancel.is_set():
                        return
                    self._put(piece)
            self._put(None)
        except Exception as error:  # raised again on the event loop
            self._put(error)

    def _put(self, item: T | Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def _wait_gone(self, receive: Receive) -> None:
        await receive()
        self._cancel.set()
        self._queue.put_nowait(ClientGone())
