"""Bundles on disk: freeze a draft folder under its content hash, open one only if every byte matches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from smallworks import files
from smallworks.bundle.card import card
from smallworks.bundle.manifest import Manifest, from_json, to_json
from smallworks.errors import BundleError, UserError
from smallworks.types import BundleId

MANIFEST = "bundle.json"
CARD = "README.md"
SIDE_FILES = (MANIFEST, CARD)
"""Not covered by the checksums: the manifest holds them, and the card names the bundle's own hash."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle: its folder, its id and its manifest. Immutable on disk."""

    path: Path
    id: BundleId
    manifest: Manifest

    def file(self, name: str) -> Path:
        return self.path / name

    @property
    def name(self) -> str:
        return self.path.name


def freeze(draft: Path, manifest: Manifest, *, into: Path) -> Bundle:
    """Copy a draft folder to `into/<task>-<candidate>-<hash>`; an intact one already there is kept."""
    checksums = {name: files.hash_file(draft / name) for name in contents(draft)}
    manifest = replace(manifest, files=checksums)
    identity = identify(manifest)
    target = into / f"{manifest.task}-{manifest.candidate}-{identity[:12]}"
    if not intact(target):
        with files.atomic_folder(target) as folder:
            for name in checksums:
                files.link_or_copy(draft / name, folder / name)
            files.write_json(folder / MANIFEST, {"id": identity, **to_json(manifest)})
            files.write_text(folder / CARD, card(manifest, identity, target.name))
    return Bundle(path=target, id=identity, manifest=manifest)


def open_bundle(where: str | Path) -> Bundle:
    """Open and check a bundle. Raises BundleError that names the first file that is missing or changed."""
    path = Path(where).expanduser()
    if not (path / MANIFEST).is_file():
        raise BundleError(
            f"No bundle at '{path}': it has no {MANIFEST}.",
            fix="Give the folder that `smallworks build` printed, e.g. bundles/<task>-<candidate>-<hash>.",
        )
    raw = files.read_json(path / MANIFEST)
    manifest = from_json(raw, where=str(path))
    identity = identify(manifest)
    if identity != raw.get("id"):
        raise _broken(path, MANIFEST, f"has checksum {identity[:12]}…, not {str(raw.get('id'))[:12]}…")
    _check_files(path, manifest)
    return Bundle(path=path, id=identity, manifest=manifest)


def identify(manifest: Manifest) -> BundleId:
    """The content hash: over the manifest, and through its checksums over every file."""
    return BundleId(files.hash_value(to_json(manifest)))


def contents(folder: Path) -> list[str]:
    """Relative names of the files below a folder, sorted, side files left out. Links are refused."""
    link = next((p for p in folder.rglob("*") if p.is_symlink()), None)
    if link:
        raise _broken(folder, link.relative_to(folder).as_posix(), "is a link, and may lead anywhere")
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in names if name not in SIDE_FILES)


def intact(path: Path) -> bool:
    """Whether there is a bundle and every byte of it is as frozen."""
    try:
        open_bundle(path)
    except UserError:
        return False
    return True


def _check_files(path: Path, manifest: Manifest) -> None:
    present = contents(path)
    extra = sorted(set(present) - set(manifest.files))
    if extra:
        raise _broken(path, extra[0], "is not part of the bundle")
    for name, expected in manifest.files.items():
        if name not in present:
            raise _broken(path, name, "is missing")
        actual = files.hash_file(path / name)
        if actual != expected:
            raise _broken(path, name, f"has checksum {actual[:12]}…, not {expected[:12]}…")


def _broken(path: Path, name: str, what: str) -> BundleError:
    return BundleError(
        f"The bundle at '{path}' is not what was frozen: '{name}' {what}.",
        fix="Copy it again from where it was built; or delete that folder and run smallworks build again.",
    )


def hash_weights(
    path: Path, *, only: Iterable[str] = (".safetensors", ".json", ".jinja", ".model", ".gguf")
) -> str:
    """Hex SHA-256 over the names and bytes of the weight and tokenizer files of a base (file or folder)."""
    if path.is_file():
        return files.hash_file(path)
    names = sorted(p.name for p in path.iterdir() if p.is_file() and p.suffix in set(only))
    return files.hash_value([[name, files.hash_file(path / name)] for name in names])
