"""Fetch a model from the hub: sizes first, pinned to a commit, resumed after a kill, every file checked.

Only files of the patterns asked for are ever fetched. The folders are those of huggingface-hub's own cache;
that library begins a broken-off file anew, so large files are fetched here, beside it.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from smallworks import files, settings
from smallworks.errors import DiskError, ModelError
from smallworks.seams import Progress, silent

REF = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}?)"
    r"(?:/(?P<file>\w[\w./-]*\.gguf))?"
    r"(?:@(?P<revision>\w[\w./-]*))?"
)
COMMIT = re.compile("[0-9a-f]{40}")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5")
TWICE = "consolidated*.safetensors"
"""Some makers publish the same weights a second time under this name."""


@dataclass(frozen=True, kw_only=True)
class HubRef:
    """owner/name, with /file.gguf for one file of it, with @revision for a branch, a tag or a commit."""

    repo: str
    revision: str = "main"
    file: str = ""

    @property
    def pinned(self) -> bool:
        return COMMIT.fullmatch(self.revision) is not None


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file of the hub. `sha256` is empty for a small one, which git's own `blob` id names."""

    path: str
    size: int
    sha256: str
    blob: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What is to be fetched of one commit, and how many bytes of it are not here yet."""

    ref: HubRef
    commit: str
    files: tuple[Remote, ...]
    missing: int

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def pinned(self) -> str:
        """The reference that always means these bytes."""
        return f"{self.ref.repo}{f'/{self.ref.file}' if self.ref.file else ''}@{self.commit}"


def parse(ref: str) -> HubRef | None:
    """The parts of a hub id; None for what cannot be one."""
    found = REF.fullmatch(ref)
    if found is None or ".." in ref or found["repo"].endswith((".git", ".gguf", "-", ".")):
        return None
    return HubRef(repo=found["repo"], revision=found["revision"] or "main", file=found["file"] or "")


def fetch(ref: HubRef, patterns: Sequence[str], progress: Progress = silent) -> Path:
    """The folder of that commit with the files of `patterns`, or the one file that `ref` names.

    Raises ModelError when offline, unknown, gated, only pickled, or not as the hub says; DiskError when full.
    """
    here = cached(ref, patterns)
    if here is not None and (ref.pinned or settings.load().offline):
        return here
    try:
        listing = look(ref, patterns)
    except ModelError as error:
        if here is not None and _unanswered(error):
            return here
        raise
    return download(listing, progress)


def look(ref: HubRef, patterns: Sequence[str]) -> Listing:
    """What would be fetched; asks the hub and fetches nothing. Raises ModelError as `fetch` does."""
    from huggingface_hub.hf_api import RepoFile

    if settings.load().offline:
        raise _absent(ref)
    with _explained(ref):
        api = _api()
        commit = ref.revision if ref.pinned else str(api.model_info(ref.repo, revision=ref.revision).sha)
        tree = list(api.list_repo_tree(ref.repo, revision=commit, recursive=True))
    found = [_remote(entry) for entry in tree if isinstance(entry, RepoFile)]
    wanted = tuple(file for file in found if _wanted(file.path, ref, patterns))
    _refuse_unsafe(ref, wanted, [file.path for file in found])
    blobs = _folder(ref) / "blobs"
    missing = sum(file.size for file in wanted if not (blobs / (file.sha256 or file.blob)).exists())
    return Listing(ref=ref, commit=commit, files=wanted, missing=missing)


def cached(ref: HubRef, patterns: Sequence[str]) -> Path | None:
    """What `fetch` made of the reference earlier, if all of it is still here. Asks nobody."""
    folder = _folder(ref)
    named = folder / "refs" / ref.revision
    commit = ref.revision if ref.pinned else named.read_text().strip() if named.is_file() else ""
    record, snapshot = folder / "fetched" / f"{commit}.json", folder / "snapshots" / commit
    if not commit or not record.is_file():
        return None
    paths = [name for name in files.read_json(record) if _wanted(name, ref, patterns)]
    if not paths or not all((snapshot / name).is_file() for name in paths):
        return None
    return snapshot / ref.file if ref.file else snapshot


def download(listing: Listing, progress: Progress = silent) -> Path:
    """Fetch what is missing of the listing, check it, and remember it. Raises ModelError and DiskError."""
    from filelock import FileLock
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if progress is not silent:
        disable_progress_bars()  # two would write over each other
    ref, folder = listing.ref, _folder(listing.ref)
    here = settings.load()
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    _refuse_full(listing, folder)
    with _explained(ref), FileLock(folder / "fetching.lock"):
        done = listing.size - listing.missing
        for file in listing.files:
            if file.sha256 and not (folder / "blobs" / file.sha256).exists():
                _large(listing, file, folder, partial(_tell, progress, listing, done))
                done += file.size
        snapshot = Path(
            snapshot_download(
                ref.repo,
                revision=listing.commit,
                endpoint=here.hub_url,
                cache_dir=here.home / "hub",
                allow_patterns=[file.path for file in listing.files],
            )
        )
        for file in listing.files:
            if not file.sha256:
                _check_small(snapshot / file.path, file, ref)
        _remember(listing, folder)
    progress("fetch", max(1, listing.size), max(1, listing.size), "done")
    return snapshot / ref.file if ref.file else snapshot


def _tell(progress: Progress, listing: Listing, before: int, here: int) -> None:
    progress("fetch", before + here, listing.size, f"{(before + here) / 1e6:,.0f} MB")


def _large(listing: Listing, file: Remote, folder: Path, told: Callable[[int], None]) -> None:
    """One large file into the cache's blobs, from where an earlier run broke off."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    whole, part = folder / "blobs" / file.sha256, folder / "blobs" / f"{file.sha256}.part"
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    url = hf_hub_url(listing.ref.repo, file.path, revision=listing.commit, endpoint=settings.load().hub_url)
    with io.BufferedWriter(_Part(part, told)) as out:
        http_get(
            url,
            out,
            resume_size=part.stat().st_size,
            headers=build_hf_headers(),
            expected_size=file.size,
            displayed_filename=file.path,
        )
    if files.hash_file(part) != file.sha256:
        part.unlink()
        raise _differs(listing.ref, file)
    part.replace(whole)


class _Part(io.FileIO):
    """A file that is appended to and tells how long it is."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        super().__init__(path, "ab")
        self._told = told

    def write(self, data: Any) -> int:
        written = super().write(data) or 0
        self._told(self.tell())
        return written


def _check_small(path: Path, file: Remote, ref: HubRef) -> None:
    """A file that git itself keeps is named by the hash of its length and its bytes."""
    content = path.read_bytes()
    if hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() != file.blob:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise _differs(ref, file)


def _remember(listing: Listing, folder: Path) -> None:
    """What this commit holds of ours, and which commit the branch meant: for later, without the hub."""
    record = folder / "fetched" / f"{listing.commit}.json"
    before = files.read_json(record) if record.is_file() else {}
    files.write_json(record, {**before, **{file.path: asdict(file) for file in listing.files}})
    if not listing.ref.pinned:
        files.write_text(folder / "refs" / listing.ref.revision, listing.commit)


def _wanted(path: str, ref: HubRef, patterns: Sequence[str]) -> bool:
    """Files at the top, unless a pattern names a folder; of a GGUF repository the one file."""
    if ref.file:
        return path == ref.file
    at_top = [pattern for pattern in patterns if pattern.count("/") == path.count("/")]
    return any(fnmatchcase(path, pattern) for pattern in at_top) and not fnmatchcase(path, TWICE)


def _refuse_unsafe(ref: HubRef, wanted: Sequence[Remote], there: Sequence[str]) -> None:
    if any(file.path.endswith((".safetensors", ".gguf")) for file in wanted):
        return
    pickled = [path for path in there if path.endswith(PICKLES)]
    ggufs = [path for path in there if path.endswith(".gguf")]
    if ref.file or ggufs:
        shown = ", ".join(ggufs[:4]) or "none"
        raise ModelError(
            f"'{ref.repo}' keeps its weights in GGUF files, and '{ref.file or 'no file'}' is none of them.",
            fix=f"Name one of them: {ref.repo}/FILE.gguf (there: {shown}).",
        )
    if pickled:
        raise ModelError(
            f"The weights of '{ref.repo}' are pickles ('{pickled[0]}'), which can run code when read.",
            fix="Choose a revision or another model that has *.safetensors.",
        )
    raise ModelError(
        f"'{ref.repo}' holds no safetensors and no GGUF weights.", fix="Check the spelling of owner/name."
    )


def _refuse_full(listing: Listing, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if listing.missing > free:
        raise DiskError(
            f"'{listing.ref.repo}' takes {listing.missing / 1e9:.2f} GB; "
            f"{free / 1e9:.2f} GB are free at '{folder}'.",
            fix="Free some space, or set SMALLWORKS_HOME to a larger disk.",
        )


def _remote(entry: Any) -> Remote:
    lfs = entry.lfs
    sha256 = lfs.sha256 if lfs else ""
    return Remote(path=entry.path, size=lfs.size if lfs else entry.size, sha256=sha256, blob=entry.blob_id)


def _folder(ref: HubRef) -> Path:
    """The repository's folder in huggingface-hub's layout."""
    return settings.load().home / "hub" / f"models--{ref.repo.replace('/', '--')}"


def _api() -> Any:
    from huggingface_hub import HfApi, constants

    constants.HF_HUB_DISABLE_TELEMETRY = True  # it asks huggingface.co for more, whatever the endpoint
    return HfApi(endpoint=settings.load().hub_url)


@contextmanager
def _explained(ref: HubRef) -> Iterator[None]:
    """Failures of the hub as sentences of ours."""
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    here = settings.load()
    try:
        yield
    except HFValidationError as error:
        raise ModelError(f"'{ref.repo}' is no hub id.", fix="Write it as owner/name.") from error
    except GatedRepoError as error:
        raise ModelError(
            f"'{ref.repo}' is gated.",
            fix=f"Accept its licence at {here.hub_url}/{ref.repo}, then: hf auth login",
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"'{ref.repo}' has no revision '{ref.revision}'.", fix="Leave @… out for its newest commit."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model '{ref.repo}'.", fix="Check the spelling of owner/name."
        ) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in files.FULL:
            raise files.unwritable(_folder(ref), error) from error
        raise _absent(ref) from error


def _unanswered(error: ModelError) -> bool:
    """The hub could not be reached or failed, rather than refused."""
    from huggingface_hub.errors import HfHubHTTPError

    cause = error.__cause__
    return type(cause) is HfHubHTTPError if isinstance(cause, HfHubHTTPError) else cause is not None


def _absent(ref: HubRef) -> ModelError:
    here = settings.load()
    if here.offline:
        return ModelError(
            f"'{ref.repo}' is not in the cache at '{here.home}', and fetching is switched off.",
            fix="Give a local folder, or run without SMALLWORKS_OFFLINE and HF_HUB_OFFLINE.",
        )
    return ModelError(
        f"'{ref.repo}' could not be fetched from {here.hub_url} and is not in the cache.",
        fix="Check the network, set SMALLWORKS_HUB_URL to a mirror, or give a local folder.",
    )


def _differs(ref: HubRef, file: Remote) -> ModelError:
    return ModelError(
        f"'{file.path}' of '{ref.repo}' is not what the hub says: its hash is another.",
        fix="It was removed; fetch it again. If it happens twice, do not use that mirror.",
    )
