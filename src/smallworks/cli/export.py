"""`smallworks export`: a folder that others use without Smallworks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from smallworks.cli import talk
from smallworks.recipes import handout
from smallworks.recipes.export import export as hand_on
from smallworks.recipes.exportable import Format


def export(bundle: Path, /, *, to: Format, out: Path, json: bool = False) -> None:
    """Write a folder that others use without Smallworks, after running it on the bundle's golden rows.

    Parameters
    ----------
    bundle
        The bundle's folder.
    to
        hf, llama.cpp, ollama, onnx or docker.
    out
        The new folder.
    json
        One JSON document on stdout.
    """
    with talk.progress() as progress:
        done = hand_on(bundle, to, out, progress=progress)
    if json:
        talk.print_json(asdict(done))
        return
    talk.say(f"folder   {done.folder} ({done.bytes / 1e6:,.1f} MB)")
    if done.proof:
        talk.say(f"run      {handout.told(done.proof)}")
    for what in done.not_run:
        talk.say(f"not run  {what}")
    talk.remark(f"[dim]next     {done.folder / 'README.md'}[/dim]")
