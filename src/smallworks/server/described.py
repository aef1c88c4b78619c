"""What a bundle says of itself to those who ask, whether or not it is loaded. Knows no engine."""

from __future__ import annotations

from functools import cached_property

from smallworks.bundle.manifest import Manifest
from smallworks.bundle.store import identify
from smallworks.server.hosts import Said


class Described:
    """The part of a Host that the manifest tells."""

    def __init__(self, names: tuple[str, ...], manifest: Manifest) -> None:
        self.names, self.manifest = names, manifest

    @cached_property
    def identity(self) -> str:
        return identify(self.manifest)

    @property
    def json(self) -> bool:
        return self.manifest.sampling.schema is not None

    def temperature(self, said: Said) -> float | None:
        if self.manifest.prompt.choices is not None:
            return 0.0
        wanted: float | None = said.get("temperature")
        return self.manifest.sampling.temperature if wanted is None else wanted

    def describe(self) -> Said:
        choices = self.manifest.prompt.choices
        return {
            "task": self.manifest.task,
            "kind": self.manifest.kind,
            "candidate": self.manifest.candidate,
            "engine": self.manifest.engine,
            "labels": list(choices.labels) if choices else None,
        }
