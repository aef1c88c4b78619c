"""A release that was moved, or a link: its new bundle is proven beside the old one, then takes its place.

No request is dropped: those that came before the change are answered by the old bundle, which is closed when
the last of them is over; later ones find the new. A bundle that fails its proof leaves the old one serving.
Both are in memory for that long. Knows no route.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smallworks.errors import SmallworksError
from smallworks.server.bundles import Seat, is_release, named, seated, stable, where
from smallworks.server.demand import OnDemand
from smallworks.server.door import Door
from smallworks.server.meters import Meters
from smallworks.server.room import Room, Served
from smallworks.server.visit import Visit

LOG = logging.getLogger("smallworks.server")


@dataclass(eq=False, kw_only=True)
class Retired:
    """A host that is found no more. `visits` were inside when it was replaced: some may be its own."""

    host: Served | OnDemand
    visits: set[Visit]


class Reload:
    """`look` is called by one thread. Close it when nothing is served any more."""

    def __init__(
        self,
        seats: Sequence[Seat],
        releases: Path,
        *,
        room: Room,
        door: Door,
        meters: Meters,
        seat: Callable[[str, Path], Seat] = seated,
    ) -> None:
        self._seat = seat
        self._seats, self._file = list(seats), releases
        self._room, self._door, self._meters = room, door, meters
        self._retired: list[Retired] = []
        self._refused: dict[str, tuple[Path, str]] = {}

    def look(self, asked: bool) -> None:
        """Releases are looked at always; folders, which may be links, when it was asked for."""
        for place, seat in enumerate(self._seats):
            if asked or is_release(seat.word):
                self._follow(place, seat, asked)
        self._close_retired()

    def close(self) -> None:
        for predictor in [seat.predictor for seat in self._seats] + [
            retired.host.predictor for retired in self._retired
        ]:
            predictor.close()

    def __enter__(self) -> Reload:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self, place: int, seat: Seat, asked: bool) -> None:
        """What did not prove itself is not tried again until it changes, or until it is asked for."""
        there = None
        try:
            there = where(seat.word, self._file)
            if there == (seat.path, seat.id) or (not asked and there == self._refused.get(seat.word)):
                return
            self._replace(place, self._seat(seat.word, self._file))
            self._refused.pop(seat.word, None)
        except Exception as error:  # whatever a load fails with: it would fail again in a second
            why = str(error) if isinstance(error, SmallworksError) else type(error).__name__
            if there is None and not asked:  # the file is being written, or gone: look again in a second
                return
            if there:
                self._refused[seat.word] = there
            self._meters.reloads.labels(stable(seat.word), "refused").inc()
            LOG.error("reload of '%s' refused, the old bundle serves on: %s", stable(seat.word), why)

    def _replace(self, place: int, fresh: Seat) -> None:
        seats = [*self._seats]
        seats[place] = fresh
        try:
            gone = self._room.serve(named(seats))
        except BaseException:
            fresh.predictor.close()
            raise
        # Whoever may still hold the old host is inside by now; who comes later finds the new one.
        inside = set(self._door.visits)
        self._retired += [Retired(host=host, visits=set(inside)) for host in gone]
        self._seats = seats
        self._meters.reloads.labels(stable(fresh.word), "served").inc()
        LOG.warning("reload: '%s' is '%s' now", stable(fresh.word), fresh.path.name)

    def _close_retired(self) -> None:
        inside = set(self._door.visits)
        for retired in list(self._retired):
            retired.visits &= inside
            if not retired.visits and not retired.host.inside():
                self._retired.remove(retired)
                retired.host.close()
                retired.host.predictor.close()
