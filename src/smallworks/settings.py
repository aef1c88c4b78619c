"""Settings from the environment, read in one place. Nothing else reads os.environ.

| variable | what |
|---|---|
| SMALLWORKS_HOME | where downloads and conversions are cached (default ~/.cache/smallworks) |
| SMALLWORKS_EMBEDDER | sentence-embedding model for `fused`: a local folder or a hub id |
| SMALLWORKS_THREADS | threads per engine (default: the physical cores) |
| SMALLWORKS_HUB_URL | where hub ids are fetched from (default https://huggingface.co) |
| SMALLWORKS_OFFLINE | 1: never reach for the hub |
| SMALLWORKS_UPSTREAMS | URLs of model servers that bundles may send inputs and keys to, comma-separated |
| SMALLWORKS_LLMCOMPRESSOR | the python of an environment that has llmcompressor (default: none) |
| SMALLWORKS_TENSORBOARD | a folder that every tuning writes its losses to, for TensorBoard (default: none) |
| SMALLWORKS_KEYS | the key file of `smallworks keys` and `smallworks serve` (default: none) |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from smallworks.errors import UserError

UPSTREAMS = "SMALLWORKS_UPSTREAMS"


@dataclass(frozen=True, kw_only=True)
class Settings:
    home: Path
    embedder: str | None
    threads: int
    hub_url: str
    offline: bool
    upstreams: tuple[str, ...] = ()
    keys: Path | None = None
    llmcompressor: Path | None = None
    tensorboard: Path | None = None
    releases: Path = Path("releases.sqlite")


def load() -> Settings:
    """Settings of this moment; an empty variable is as good as none. Raises UserError for a bad value."""
    env = {name: value for name, value in os.environ.items() if value}
    return Settings(
        home=Path(env.get("SMALLWORKS_HOME", "~/.cache/smallworks")).expanduser(),
        embedder=env.get("SMALLWORKS_EMBEDDER"),
        threads=_threads(env.get("SMALLWORKS_THREADS")),
        hub_url=env.get("SMALLWORKS_HUB_URL", "https://huggingface.co").rstrip("/"),
        upstreams=tuple(url.strip() for url in env.get(UPSTREAMS, "").split(",") if url.strip()),
        keys=_path(env.get("SMALLWORKS_KEYS")),
        llmcompressor=_path(env.get("SMALLWORKS_LLMCOMPRESSOR")),
        tensorboard=_path(env.get("SMALLWORKS_TENSORBOARD")),
        releases=Path(env.get("SMALLWORKS_RELEASES", "releases.sqlite")).expanduser(),
        offline=env.get("SMALLWORKS_OFFLINE", env.get("HF_HUB_OFFLINE", "0")) != "0",
    )


def approve_upstream(url: str) -> None:
    """Let bundles of this process and its children talk to a server that the user's own task file names."""
    os.environ[UPSTREAMS] = ",".join(dict.fromkeys((*load().upstreams, url)))


def secret(variable: str) -> str:
    """The value of a key variable, for the one request that needs it; never stored or logged."""
    value = os.environ.get(variable)
    if not value:
        raise UserError(f"The key variable '{variable}' is not set.", fix=f"Run: export {variable}=…")
    return value


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _threads(text: str | None) -> int:
    if text is None:
        return physical_cores()
    if not text.isdecimal() or int(text) < 1:
        raise UserError(
            f"SMALLWORKS_THREADS is '{text}', not a positive number.", fix="Try SMALLWORKS_THREADS=2."
        )
    return int(text)


def ranks() -> int:
    """Processes that a distributed launcher (torchrun, accelerate launch) started together; 1 without one."""
    count = os.environ.get("WORLD_SIZE", "1")
    return int(count) if count.isdecimal() else 1


def rank() -> int:
    """Which of these processes this one is, from 0 on; 0 for one alone, whatever RANK says."""
    if ranks() == 1:
        return 0
    number = os.environ.get("RANK", "0")
    return int(number) if number.isdecimal() else 0


def physical_cores() -> int:
    """Physical cores that this process may use; oversubscription is the largest speed risk of all."""
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable))


def array_threads() -> int:
    """Threads that numpy's matrix products take: what its library is told, else the physical cores."""
    told = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    return int(told) if told.isdecimal() and int(told) > 0 else physical_cores()
