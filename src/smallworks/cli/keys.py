"""`smallworks keys`: who may ask a server, and how much."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from smallworks import settings
from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.server.keys import SCOPES, Key, KeyFile, check_scopes, this_month

Action = Literal["add", "list", "revoke"]
DAY = 24 * 60 * 60
LIMITS = ("requests_per_minute", "tokens_per_minute", "at_once", "monthly_tokens")


def keys(
    action: Action,
    name: str | None = None,
    /,
    *,
    file: Path | None = None,
    scope: tuple[str, ...] = (),
    model: tuple[str, ...] = (),
    days: int | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    at_once: int | None = None,
    monthly_tokens: int | None = None,
    json: bool = False,
) -> None:
    """Make a key (add NAME), show every one without its text (list), or end one for good (revoke NAME).

    Parameters
    ----------
    action
        add, list or revoke.
    name
        add: what to call the key. revoke: its name or id.
    file
        The key file (default: $SMALLWORKS_KEYS); `add` makes it.
    scope
        add: what the key opens, answers or metrics; may be given twice (default: answers).
    model
        add: a model that the key may use; may be given several times (default: all).
    days
        add: the key expires after so many days (default: never).
    requests_per_minute
        add: most requests a minute.
    tokens_per_minute
        add: most tokens a minute, prompts and answers.
    at_once
        add: most answers under way at once.
    monthly_tokens
        add: most tokens a calendar month (UTC).
    json
        One JSON document on stdout.
    """
    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "at_once": at_once,
        "monthly_tokens": monthly_tokens,
    }
    given = {"--scope": len(scope) or None, "--model": len(model) or None, "--days": days}
    _check({**given, **{f"--{k.replace('_', '-')}": v for k, v in limits.items()}}, action)
    path = file or settings.load().keys
    if path is None:
        raise UserError("No key file is named.", fix="Add --file keys.sqlite, or set SMALLWORKS_KEYS.")
    with KeyFile(path, create=action == "add") as held:
        if action == "list":
            _list(held, json)
        elif action == "revoke":
            _revoke(held, _named(name, action), json)
        else:
            expires = int(time.time()) + days * DAY if days else None
            allowed = {"scopes": check_scopes(scope or SCOPES[:1]), "models": model, "expires": expires}
            _add(held, _named(name, action), {**allowed, **limits}, json)


def _check(numbers: Mapping[str, int | None], action: Action) -> None:
    for option, number in numbers.items():
        if number is None:
            continue
        if action != "add":
            raise UserError(f"{option} is for `keys add`, not for `keys {action}`.", fix="Leave it out.")
        if number < 1:
            raise UserError(f"{option} is {number}.", fix="Give a whole number from 1, or leave it out.")


def _named(name: str | None, action: Action) -> str:
    if not name:
        raise UserError(f"`keys {action}` needs a name.", fix=f"Run: smallworks keys {action} NAME")
    return name


def _add(held: KeyFile, name: str, allowed: Mapping[str, Any], json: bool) -> None:
    key, text = held.add(name, **allowed)
    if json:
        talk.print_json({**_told(held, key), "key": text})
    else:
        talk.say(text)
    talk.remark("This is the only time that the key is shown: the file holds its hash alone.")


def _revoke(held: KeyFile, name: str, json: bool) -> None:
    key = held.revoke(name)
    if json:
        talk.print_json({"revoked": key.id, "name": key.name})
    else:
        talk.say(f"{key.id} {key.name}: revoked; servers that run refuse it within a second")


def _list(held: KeyFile, json: bool) -> None:
    rows = [_told(held, key) for key in held.all()]
    if json:
        talk.print_json(rows)
        return
    for row in rows:
        limits = [f"{row[limit]:,} {limit.replace('_', ' ')}" for limit in LIMITS if row[limit]]
        what = ", ".join((*row["scopes"], *row["models"], *limits))
        spent = f"{row['spent_this_month']:,} tokens spent this month"
        talk.say("  ".join((row["id"], row["name"], row["state"], what, spent)))
    if not rows:
        talk.remark(f"No keys yet. Next: smallworks keys add NAME --file {held.path}")


def _told(held: KeyFile, key: Key) -> dict[str, Any]:
    """A key as it is shown: never its hash."""
    state = "revoked" if key.revoked else "expired" if key.expired(time.time()) else "live"
    said = {name: value for name, value in vars(key).items() if name != "hash"}
    return {**said, "state": state, "spent_this_month": held.spent(key, this_month())}
