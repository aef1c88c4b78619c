"""The bundles that are to be served: found by folder or release, proven on their golden rows, and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smallworks.bundle import open_bundle
from smallworks.bundle.store import MANIFEST, Bundle
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.engines.predictor import Predictor
from smallworks.errors import BundleError, UserError
from smallworks.evaluate.replay import replay
from smallworks.files import read_json
from smallworks.registry import Releases
from smallworks.registry.releases import NAME
from smallworks.seams import Model
from smallworks.server.room import Bundled

PROOF_ROWS = 4
"""Golden rows that an engine must answer as frozen before it serves."""


@dataclass(kw_only=True)
class Seat:
    """What serves for one word of the operator's, a folder or a release. `path` is the real folder."""

    word: str
    path: Path
    id: str
    predictor: Bundled


def is_release(word: str) -> bool:
    """Whether a word names a release, not a folder: folders win."""
    return NAME.fullmatch(word) is not None and not Path(word).exists()


def where(word: str, releases: Path) -> tuple[Path, str]:
    """The folder that a word means just now, and the id of the bundle there. Reads no weights."""
    if is_release(word):
        if not releases.is_file():
            raise BundleError(
                f"There is neither a folder '{word}' nor a release file at '{releases}'.",
                fix=f"Give a bundle's folder, or first: smallworks release promote {word} BUNDLE",
            )
        move = Releases(releases).current(word)
        return move.path.resolve(), move.bundle
    path = Path(word).expanduser().resolve()
    if not (path / MANIFEST).is_file():
        open_bundle(word)  # says what is wrong with it
    return path, str(read_json(path / MANIFEST).get("id"))


def seated(word: str, releases: Path, opens: Callable[[Path], Bundled] | None = None) -> Seat:
    """The bundle of one word, loaded and proven, or as `opens` has it.

    Raises BundleError, or UserError for a release that is not known.
    """
    path, id = where(word, releases)
    predictor = (opens or open_proven)(path)
    try:
        check_id(word, path, id, str(read_json(path / MANIFEST).get("id")))
    except BaseException:
        predictor.close()
        raise
    return Seat(word=word, path=path, id=id, predictor=predictor)


def check_id(word: str, path: Path, id: str, found: str) -> None:
    """Raises BundleError where the bundle in a folder is not the one that the word means."""
    if found != id:
        raise BundleError(
            f"'{word}' should be the bundle {id[:12]}, but in '{path}' there is {found[:12]}.",
            fix=f"Put it back, or: smallworks release promote {word} {path}",
        )


def open_proven(where: Bundle | str | Path, model: Model | None = None) -> Predictor:
    """A bundle whose engine here agrees with its golden rows. Raises BundleError for one that does not.

    `model` is its engine where that is loaded already.
    """
    bundle = where if isinstance(where, Bundle) else open_bundle(where)
    predictor = open_predictor(bundle, model=model)
    try:
        _prove(bundle, predictor)
    except BaseException:
        predictor.close()
        raise
    return predictor


def _prove(bundle: Bundle, predictor: Predictor) -> None:
    parity = None if bundle.manifest.remote else replay(bundle, predictor, most=PROOF_ROWS)
    if parity is not None and not parity.holds:
        path = bundle.path
        raise BundleError(
            f"'{path}' does not answer here as it did when it was frozen: token ids equal on "
            f"{parity.ids_equal} and answers on {parity.texts_equal} of {parity.rows} golden rows, a label "
            f"probability off by up to {parity.worst:.3f} "
            f"(allowed {parity.tolerance}).",
            fix=f"See: smallworks verify {path}. Rebuild it, or serve another form.",
        )


def named(seats: Sequence[Seat]) -> dict[str, Bundled]:
    """Each by its folder's name, by the word it was asked for, and by a task name of its own.

    The word stays when a release or a link is moved on; the folder's name, which holds the hash, does
    not. Raises UserError where two are called alike.
    """
    names: dict[str, Bundled] = {}
    for seat in seats:
        for name in dict.fromkeys((seat.path.name, stable(seat.word))):
            if name in names:
                raise UserError(
                    f"Two bundles are called '{name}', and a model needs a name of its own.",
                    fix="Rename one of the folders, or serve one of them.",
                )
            names[name] = seat.predictor
    tasks = Counter(seat.predictor.manifest.task for seat in seats)
    for seat in seats:
        if tasks[seat.predictor.manifest.task] == 1:
            names.setdefault(seat.predictor.manifest.task, seat.predictor)
    return names


def stable(word: str) -> str:
    """The name of a word that stays whatever bundle it comes to mean."""
    path = Path(word).expanduser()
    return path.name if path.name not in ("", "..") else path.resolve().name
