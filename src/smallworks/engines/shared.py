"""One GGUF base in memory for several bundles, each with its own adapter: loaded once, closed by the last.

llama.cpp takes adapters only when it loads, so all that may be asked for are named from the start. Every
request brings every adapter's scale, and llama.cpp empties a slot whose scales change: no keys and values
pass from one bundle to another. The slots are the bundles' together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Lock

from smallworks import files
from smallworks.bundle.manifest import Manifest
from smallworks.bundle.store import Bundle
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.opening import gguf_of, threads_for
from smallworks.errors import BundleError


def base_hash(manifest: Manifest) -> str | None:
    """The SHA-256 of the GGUF below a bundle; None where it does not answer on llama.cpp."""
    if manifest.engine != "llamacpp":
        return None
    if manifest.model:
        return manifest.files.get(manifest.model)
    return manifest.base.sha256 if manifest.base else None


class SharedBase:
    """`adapters` maps the files of all bundles' adapters to their SHA-256. Safe to share between threads.

    One that is not as frozen when the base is loaded is left out, and its bundle alone is refused until the
    base is loaded again.
    """

    def __init__(self, adapters: Mapping[Path, str]) -> None:
        self._adapters = adapters
        self._sound: tuple[Path, ...] = ()
        """Those that the loaded base has, in its order."""
        self._model: LlamaCpp | None = None
        self._holders: set[object] = set()
        self._lock = Lock()

    def take(self, bundle: Bundle) -> LlamaCpp:
        """The base with this bundle's adapter alone; close it. Raises BundleError, ModelError."""
        own = bundle.file(bundle.manifest.adapter) if bundle.manifest.adapter else None
        with self._lock:
            if self._model is None:
                self._sound = tuple(path for path, sha256 in self._adapters.items() if _is(path, sha256))
            if own is not None and own not in self._sound:
                raise BundleError(
                    f"The adapter '{own}' was not what was frozen when its base was loaded.",
                    fix="Copy its bundle again from where it was built, then start again.",
                )
            if self._model is None:
                path = gguf_of(bundle)
                loras = [(adapter, 0.0) for adapter in self._sound]
                self._model = LlamaCpp(path, threads=threads_for(path), loras=loras)
            holder = object()
            self._holders.add(holder)
            scales = [float(path == own) for path in self._sound]
            return self._model.with_scales(*scales, end=partial(self._give_back, holder))

    def _give_back(self, holder: object) -> None:
        with self._lock:
            self._holders.discard(holder)
            if not self._holders and self._model:
                model, self._model = self._model, None
                model.close()


def _is(path: Path, sha256: str) -> bool:
    """Whether the file is there, as it was frozen."""
    try:
        return files.hash_file(path) == sha256
    except OSError:
        return False
