"""The exact commands that make, check and serve what a report shows, and the versions it was made with.

Knows the command line's shape; runs nothing.
"""

from __future__ import annotations

import json
import platform
import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.bundle.store import MANIFEST
from smallworks.data import Splits
from smallworks.recipes.plan import CANDIDATES
from smallworks.types import Row, Table, Task

LIBRARIES = (
    "smallworks",
    "numpy",
    "scikit-learn",
    "onnxruntime",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "peft",
    "xllamacpp",
)
LONGEST_QUESTION = 120


@dataclass(frozen=True, kw_only=True)
class Command:
    line: str
    does: str


def commands(task: Task, splits: Splits, table: Table, out: Path, other: Row | None) -> tuple[Command, ...]:
    """Build, and for a chosen bundle evaluate, compare with `other`, verify, serve and ask."""
    found = [Command(line=_build(task, table, out), does="makes this table again; finished steps are kept")]
    if table.chosen is None:
        return tuple(found)
    bundle = shlex.quote(str(table.chosen))
    found.append(Command(line=f"smallworks evaluate {bundle}", does="measures the chosen bundle again"))
    if other and other.bundle:
        line = f"smallworks compare {bundle} {shlex.quote(str(other.bundle))}"
        found.append(Command(line=line, does=f"against {other.name}, paired on the same rows"))
    question = splits.test[0].text if splits.test else "…"
    found += [
        Command(line=f"smallworks verify {bundle}", does="checks every file and replays the golden rows"),
        Command(line=f"smallworks serve {bundle}", does="serves it on http://127.0.0.1:8000"),
        Command(line=_curl(table.chosen.name, question), does="asks it, as any OpenAI client would"),
    ]
    return tuple(found)


def versions() -> tuple[tuple[str, str], ...]:
    """Python, the machine's kind, and every library of weight that is installed."""
    found = [("Python", platform.python_version()), (platform.system(), platform.machine())]
    for name in LIBRARIES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _build(task: Task, table: Table, out: Path) -> str:
    """With the options that this build was evidently given."""
    words = ["smallworks", "build", str(task.folder)]
    if out != task.folder:
        words += ["--out", str(out)]
    names = [row.name for row in table.rows if not row.name.endswith("+synthetic")]
    if set(names) != set(CANDIDATES):
        words += ["--only", ",".join(names)]
    manifests = _manifests(table)
    base = next((ref for m in manifests if (ref := _base(m))), None)
    if base and base != (task.build.base or "starter"):
        words += ["--base", base]
    embedder = next((str(m["lineage"]["embedder"]) for m in manifests if "embedder" in m["lineage"]), None)
    if embedder and embedder != task.build.embedder:
        words += ["--embedder", embedder]
    return shlex.join(words)


def _manifests(table: Table) -> list[dict[str, Any]]:
    """What the bundles of this table say of themselves."""
    paths = [row.bundle / MANIFEST for row in table.rows if row.bundle]
    return [files.read_json(path) for path in paths if path.is_file()]


def _base(manifest: dict[str, Any]) -> str | None:
    """The base that a bundle refers to, or that its own weights were tuned from."""
    pinned, tuned = manifest.get("base"), manifest["lineage"].get("base")
    return str(pinned["ref"]) if pinned else tuned


def _curl(model: str, question: str) -> str:
    asked = " ".join(question.split())[:LONGEST_QUESTION]
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": asked}]}, ensure_ascii=False)
    url = "http://127.0.0.1:8000/v1/chat/completions"
    return shlex.join(["curl", "-s", url, "-H", "content-type: application/json", "-d", body])
