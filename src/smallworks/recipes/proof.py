"""The golden rows of a bundle put to an exported folder, as its users will ask it. Knows no page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from smallworks.bundle import Bundle
from smallworks.bundle.golden import TOLERANCES, Golden, Tolerance, agree
from smallworks.engines import calibration
from smallworks.engines.opening import threads_for
from smallworks.errors import ModelError
from smallworks.recipes.asking import Asking, golden_texts
from smallworks.recipes.examine import verify
from smallworks.seams import Model, Progress
from smallworks.types import Parity, Prompt, Sampling


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was run on the golden rows, and how it agreed with what was frozen; None where there are none."""

    what: str
    parity: Parity | None


def by_script(bundle: Bundle, folder: Path, script: str, tolerance: Tolerance) -> Proof:
    """The folder's own script in a process of its own. Raises ModelError where it fails."""
    rows = golden_texts(bundle)
    texts = "".join(json.dumps(text) + "\n" for text, _ in rows)
    lines = run([sys.executable, "-P", str(folder / script)], script, texts=texts).splitlines()
    said = [_read(golden, json.loads(line)) for (_, golden), line in zip(rows, lines, strict=True)]
    parity = agree([golden for _, golden in rows], said, tolerance=tolerance) if rows else None
    return Proof(what=f"{script} of that folder, in a process of its own", parity=parity)


def by_llamacpp(bundle: Bundle, asked: Asking, gguf: Path, precision: str, *, plain: bool) -> Proof:
    """The GGUF on llama.cpp's library, its prompts sent as text.

    `plain` takes the greedy answer as it comes, as a server does that can neither lift codes nor hold to a
    schema: how many answers are equal is then told, and asked of none.
    """
    from smallworks.engines.llamacpp import LlamaCpp

    rows = golden_texts(bundle)
    model = LlamaCpp(gguf, threads=threads_for(gguf))
    try:
        said = [_said(model, bundle, asked, text, golden, plain=plain) for text, golden in rows]
    finally:
        model.close()
    frozen = [replace(golden, probabilities=None) if plain else golden for _, golden in rows]
    tolerance = replace(TOLERANCES[precision], texts=0.0) if plain else TOLERANCES[precision]
    parity = agree(frozen, said, tolerance=tolerance) if rows else None
    how = "its greedy answers as they come" if plain else "its prompts sent as text"
    return Proof(what=f"the GGUF on llama.cpp's library, {how}", parity=parity)


def by_package(folder: Path) -> Proof:
    """The package copied into `folder` verifies the bundle copied there."""
    command = [sys.executable, "-m", "smallworks.child", "smallworks.recipes.proof"]
    said = run(command, "the copied package", texts=json.dumps({"bundle": "bundle"}), folder=folder)
    outcome = json.loads(said.splitlines()[-1])
    if "error" in outcome:
        raise ModelError(f"{outcome['error']['what']} Nothing was written.", fix=outcome["error"]["fix"])
    parity = outcome["result"]["parity"]
    what = "the copied package, verifying the copied bundle"
    return Proof(what=what, parity=Parity(**parity) if parity else None)


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The child that the copied package runs: every checksum, then the golden rows."""
    _, parity = verify(Path(request["bundle"]))
    return {"parity": asdict(parity) if parity else None}


def run(
    command: list[str],
    what: str,
    *,
    texts: str | None = None,
    folder: Path | None = None,
) -> str:
    """The standard output of a command. Raises ModelError with its last words where it fails."""
    done = subprocess.run(
        command, cwd=folder, input=texts, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode == 0:
        return done.stdout
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no output")
    raise ModelError(
        f"On the golden rows {what} ended with: {last[:300]}. Nothing was written.",
        fix="See that the libraries it needs are installed and whole.",
    )


def _read(frozen: Golden, said: Mapping[str, Any]) -> Golden:
    text = said["label"] if "label" in said else said["text"]
    return replace(frozen, ids=tuple(said["ids"]), text=text, probabilities=said.get("probabilities"))


def _said(model: Any, bundle: Bundle, asked: Asking, text: str, golden: Golden, *, plain: bool) -> Golden:
    """What a GGUF says to one golden row, and the ids that llama.cpp itself makes of its prompt."""
    prompt = Prompt(text=asked.prompt(text))
    ids = tuple(model.tokenize(prompt.text))
    if asked.labels and not plain:
        probabilities = _probabilities(model, bundle, prompt)
        label = max(probabilities, key=lambda name: probabilities[name])
        return replace(golden, ids=ids, text=label, probabilities=probabilities)
    schema = None if plain else asked.schema
    sampling = Sampling(max_tokens=asked.max_tokens, stop_ids=asked.stop_ids, schema=schema)
    said = model.generate(prompt, sampling).text
    if asked.labels:
        said = dict(zip(asked.codes, asked.labels, strict=True)).get(said.strip(), said)
    return replace(golden, ids=ids, text=said, probabilities=None)


def _probabilities(model: Model, bundle: Bundle, prompt: Prompt) -> dict[str, float]:
    choices, fitted = bundle.manifest.prompt.choices, bundle.manifest.calibration
    assert choices is not None
    logp = calibration.apply(
        model.score([prompt], choices),
        temperature=fitted.temperature,
        bias=fitted.bias,
        isotonic=fitted.isotonic,
    )
    return dict(zip(choices.labels, map(float, np.exp(logp[0])), strict=True))
