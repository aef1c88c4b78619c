"""`smallworks fetch`: a model of the hub into the cache, its size shown first, pinned, every file checked."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape

from smallworks import settings
from smallworks.cli import talk
from smallworks.errors import ModelError
from smallworks.seams import silent

if TYPE_CHECKING:
    from smallworks.engines.hub import Listing

LISTED = 12
"""Files shown, the largest first."""


def fetch(ref: str, /, *, dry_run: bool = False, json: bool = False) -> None:
    """Fetch a model of the hub: sizes first, pinned to a commit, resumed, every file checked.

    Only safetensors or GGUF weights, tokenizer and configuration files; no code, no pickles.

    Parameters
    ----------
    ref
        owner/name, owner/name@COMMIT, or owner/name/FILE.gguf.
    dry_run
        Show what would be fetched, and stop.
    json
        One JSON document on stdout.
    """
    from smallworks.engines import base, hub

    named = hub.parse(ref)
    if named is None:
        raise ModelError(
            f"'{ref}' is no hub id.", fix="Write owner/name, owner/name@commit or owner/name/FILE.gguf."
        )
    patterns = [*base.PATTERNS, *base.EMBEDDER_PATTERNS]
    if settings.load().offline:
        path = hub.fetch(named, patterns)
        _conclude(str(path), ref, json=json)
        return
    listing = hub.look(named, patterns)
    if not json:
        _show(listing)
    if dry_run:
        if json:
            talk.print_json({**asdict(listing), "pinned": listing.pinned, "path": None})
        return
    with talk.progress() as progress:
        path = hub.download(listing, progress if listing.missing else silent)
    if json:
        talk.print_json({**asdict(listing), "pinned": listing.pinned, "path": path})
        return
    _conclude(str(path), listing.pinned, json=False)


def _show(listing: Listing) -> None:
    talk.say(f"{listing.ref.repo} at {listing.commit}", style="bold")
    largest = sorted(listing.files, key=lambda file: -file.size)
    for file in largest[:LISTED]:
        talk.say(f"  {file.size / 1e6:>10,.1f} MB  {file.path}")
    if len(largest) > LISTED:
        talk.say(f"  {len(largest) - LISTED} smaller files")
    talk.say(f"  {listing.size / 1e6:>10,.1f} MB  in all, {listing.missing / 1e6:,.1f} MB of it not here yet")


def _conclude(path: str, pinned: str, *, json: bool) -> None:
    if json:
        talk.print_json({"pinned": pinned, "path": path})
        return
    talk.say(f"path     {path}")
    talk.say(f"pinned   {pinned}")
    talk.remark(f"[dim]next    smallworks build TASK --base {escape(pinned)}[/dim]")
