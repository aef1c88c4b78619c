"""The card of a bundle: what it is, how to ask it, what it was made from, in Markdown. Pure text."""

from __future__ import annotations

from smallworks.bundle.manifest import Manifest
from smallworks.types import BundleId


def card(manifest: Manifest, identity: BundleId, folder: str) -> str:
    """Markdown, made from the manifest alone: the same bundle always has the same card."""
    choices = manifest.prompt.choices
    labels = f"\nLabels: {', '.join(choices.labels)}.\n" if choices else ""
    shots = (
        "\nThis bundle carries training rows (`shots.jsonl`) as its examples: share it as you would them.\n"
        if "shots.jsonl" in manifest.files
        else ""
    )
    lineage = "\n".join(f"| {name} | {value} |" for name, value in _lineage(manifest))
    return f"""# {manifest.task}: {manifest.candidate}

{manifest.prompt.instruction or "Labels one text."}
{labels}{shots}
```bash
smallworks verify {folder}
smallworks generate "…" --model {folder}
smallworks serve {folder}
```

| what | value |
|---|---|
| id | `{identity}` |
| kind | {manifest.kind} |
| engine | {manifest.engine}{f", {manifest.quantization}" if manifest.quantization else ""} |
| inputs | {", ".join(manifest.inputs)} |
{lineage}

Nothing in this folder may change: every file is checked against `bundle.json` before it answers.
How well it does its task stands in the report of the build, not here: that depends on the rows.
"""


def _lineage(manifest: Manifest) -> list[tuple[str, str]]:
    rows = [(name.replace("_", " "), str(value)) for name, value in manifest.lineage.items()]
    if manifest.base:
        rows.append(("base", f"{manifest.base.source}: {manifest.base.ref} ({manifest.base.sha256[:12]})"))
    return rows
