"""Which of the bundles that are served stand on one base: they share it in memory, each with its own adapter.

Told from their manifests before anything is loaded, because llama.cpp takes adapters only when it loads. What
comes later (a release that moves on) is loaded by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from smallworks.bundle.manifest import from_json
from smallworks.bundle.store import MANIFEST, Bundle, identify, open_bundle
from smallworks.engines.predictor import Predictor
from smallworks.engines.shared import SharedBase, base_hash
from smallworks.engines.weigh import adapter_bytes, bytes_of
from smallworks.errors import UserError
from smallworks.files import read_json
from smallworks.seams import Model
from smallworks.server.demand import Unloaded

Opens = Callable[[Bundle, Model | None], Predictor]
"""A bundle that was checked, opened on its own engine or on one that is there, and proven."""


class Base(SharedBase):
    """One that several of the served bundles stand on. `bytes` is what it holds, its adapters counted."""

    def __init__(self, sha256: str, bundles: Sequence[Bundle]) -> None:
        named = [b for b in bundles if b.manifest.adapter]
        super().__init__({b.file(n): b.manifest.files.get(n, "") for b in named if (n := b.manifest.adapter)})
        first = bundles[0]
        self.name = f"base-{sha256[:12]}"
        self.bytes = bytes_of(first) - adapter_bytes(first) + sum(map(adapter_bytes, bundles))


class Bases:
    """`paths` are the folders of all bundles that are served from the start.

    One that cannot be read shares nothing: what is wrong with it is said when it is opened.
    """

    def __init__(self, paths: Sequence[Path], opens: Opens) -> None:
        self._opens = opens
        self._bases: dict[Path, Base] = {}
        groups: defaultdict[str, list[Bundle]] = defaultdict(list)
        for path in dict.fromkeys(paths):
            with suppress(UserError, OSError):
                manifest = from_json(read_json(path / MANIFEST), where=str(path))
                bundle = Bundle(path=path, id=identify(manifest), manifest=manifest)
                if (sha256 := base_hash(manifest)) and bytes_of(bundle):
                    groups[sha256].append(bundle)
        for sha256, bundles in groups.items():
            if len(bundles) > 1:
                base = Base(sha256, bundles)
                self._bases.update({bundle.path: base for bundle in bundles})

    def open(self, path: Path) -> Predictor:
        """The bundle, proven, on its base that others share too. Raises BundleError, ModelError."""
        bundle, base = open_bundle(path), self._bases.get(path)
        model = base.take(bundle) if base else None
        try:
            return self._opens(bundle, model)
        except BaseException:
            if model:
                model.close()
            raise

    def later(self, path: Path) -> Unloaded:
        """A bundle whose files are as frozen; it is loaded and proven when it is first asked for."""
        base = self._bases.get(path)
        return Unloaded(open_bundle(path), self.open, base)
