"""Looking after the servers in the background: whether each is well, and which models it lists."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from smallworks.server.upstream.backend import Backend
from smallworks.server.upstream.failed import Failed

LOG = logging.getLogger("smallworks.server")
LOOK_SECONDS = 5.0


class Checks:
    """`on_models` hears the names that all servers together list, where it is given."""

    def __init__(
        self,
        backends: Sequence[Backend],
        every: float,
        on_models: Callable[[Iterable[str]], None] | None,
    ) -> None:
        self._backends, self._every, self._on_models = backends, every, on_models
        self._listed: dict[str, list[str]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """In the event loop that runs."""
        self._task = asyncio.get_running_loop().create_task(self._forever())

    def close(self) -> None:
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    async def once(self) -> None:
        """Look at every server."""
        await asyncio.gather(*(self._look(backend) for backend in self._backends))
        if self._on_models is not None:
            self._on_models(dict.fromkeys(name for names in self._listed.values() for name in names))

    async def _forever(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(self._every)

    async def _look(self, backend: Backend) -> None:
        seconds = min(LOOK_SECONDS, self._every)
        try:
            async with asyncio.timeout(2 * seconds):
                if self._on_models is not None:
                    self._listed[backend.name] = await backend.models(seconds)
                else:
                    await backend.look(seconds)
        except (Failed, TimeoutError) as error:
            if backend.healthy:
                LOG.warning("upstream %s is not well: %s", backend.name, getattr(error, "cause", "timeout"))
            backend.healthy = False
            return
        if not backend.healthy:
            LOG.warning("upstream %s is well again", backend.name)
            backend.breaker.hurry(time.monotonic())
        backend.healthy = True
