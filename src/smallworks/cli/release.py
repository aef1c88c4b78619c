"""`smallworks release`: names that point at bundles: promote, roll back, list."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from smallworks import settings
from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.registry import Move, Releases

Action = Literal["promote", "rollback", "list"]


def release(
    action: Action,
    name: str | None = None,
    bundle: Path | None = None,
    /,
    *,
    file: Path | None = None,
    json: bool = False,
) -> None:
    """Point a name at a bundle (promote NAME BUNDLE), back (rollback NAME), or show its moves (list [NAME]).

    Parameters
    ----------
    action
        promote, rollback or list.
    name
        The release, such as production.
    bundle
        promote: the bundle's folder.
    file
        The release file (default: $SMALLWORKS_RELEASES, else releases.sqlite here); `promote` makes it.
    json
        One JSON document on stdout.
    """
    if (name is None and action != "list") or (bundle is None) == (action == "promote"):
        form = {"promote": "promote NAME BUNDLE", "rollback": "rollback NAME", "list": "list [NAME]"}[action]
        raise UserError(f"'{action}' does not go with that.", fix=f"Write: smallworks release {form}")
    held = Releases(file or settings.load().releases, create=action == "promote")
    if action == "list":
        _list(held.history(name), json)
        return
    assert name is not None
    move = held.promote(name, bundle) if bundle is not None else held.rollback(name)
    if json:
        talk.print_json(_told(move))
    else:
        talk.say(f"{name} → {move.path.name}; servers of it load it beside the old one within seconds")


def _list(moves: list[Move], json: bool) -> None:
    if json:
        talk.print_json([_told(move) for move in moves])
        return
    seen = set()
    for move in moves:
        now = "now" if move.release not in seen else ""
        seen.add(move.release)
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(move.at))
        talk.say("  ".join((at, move.release, move.kind, move.path.name, now)).rstrip())
    if not moves:
        talk.remark("No releases yet. Next: smallworks release promote production BUNDLE")


def _told(move: Move) -> dict[str, Any]:
    return {**vars(move), "path": str(move.path)}
