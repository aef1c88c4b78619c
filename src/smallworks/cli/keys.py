"""`smallworks keys`: who may ask a server, and how much, and what they have used."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smallworks import settings
from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.server.keys import SCOPES, Key, KeyFile, Keys, check_scopes, open_keys
from smallworks.server.limits.ledger import Gone, Store, Usage, month_of
from smallworks.server.prices import dollars, micros

Action = Literal["add", "list", "usage", "change", "rotate", "revoke", "history"]
HOUR = 60 * 60
DAY = 24 * HOUR
LIMITS = ("requests_per_minute", "tokens_per_minute", "at_once", "monthly_tokens")
MAKING = ("add", "change")
MOST = 10**15


def keys(
    action: Action,
    name: str | None = None,
    /,
    *,
    file: Path | None = None,
    config: Path | None = None,
    scope: tuple[str, ...] = (),
    model: tuple[str, ...] = (),
    days: int | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    at_once: int | None = None,
    monthly_tokens: int | None = None,
    monthly_dollars: str | None = None,
    overlap_hours: int | None = None,
    json: bool = False,
) -> None:
    """Make a key (add NAME), show every one (list) and what they used (usage), give one other limits
    (change NAME), put a new one in its place (rotate NAME), end one for good (revoke NAME), tell who did
    what (history).

    Parameters
    ----------
    action
        add, list, usage, change, rotate, revoke or history.
    name
        add: what to call the key. change, rotate, revoke, usage: its name or id.
    file
        The key file (default: $SMALLWORKS_KEYS); `add` makes it.
    config
        A serve.toml, for where its server keeps keys and counts limits.
    scope
        add, change: what the key opens, answers or metrics; may be given twice (default: answers).
    model
        add, change: a model that the key may use; may be given several times (default: all).
    days
        add, change: the key expires after so many days (default: never).
    requests_per_minute
        add, change: most requests a minute; a change to 0 lifts this or any other limit.
    tokens_per_minute
        add, change: most tokens a minute, prompts and answers.
    at_once
        add, change: most answers under way at once.
    monthly_tokens
        add, change: most tokens a calendar month (UTC).
    monthly_dollars
        add, change: most money a calendar month, by the prices of the server, such as 25 or 0.50.
    overlap_hours
        rotate: how long the old key still works (default: 24; 0 ends it now).
    json
        One JSON document on stdout.
    """
    limits: dict[str, int | None] = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "at_once": at_once,
        "monthly_tokens": monthly_tokens,
    }
    numbers = {"--days": days, **{f"--{k.replace('_', '-')}": v for k, v in limits.items()}}
    others = {"--scope": scope or None, "--model": model or None, "--monthly-dollars": monthly_dollars}
    _check(action, numbers, others, overlap_hours)
    if monthly_dollars is not None:
        limits["monthly_micros"] = 0 if monthly_dollars == "0" else micros(monthly_dollars)
    allowed: dict[str, Any] = {k: v or None for k, v in limits.items() if v is not None}
    if scope or action == "add":
        allowed["scopes"] = check_scopes(scope or SCOPES[:1])
    if model:
        allowed["models"] = model
    if days is not None:
        allowed["expires"] = int(time.time()) + days * DAY if days else None
    with _Desk.opened(file, config, create=action == "add") as desk:
        try:
            _do(desk, action, name, allowed, 24 if overlap_hours is None else overlap_hours, json)
        except Gone as error:
            raise UserError(f"Cannot be read: {error}.", fix="Check that it is there and answers.") from error


@dataclass(frozen=True)
class _Desk:
    """The keys, and where what they used is counted."""

    keys: Keys
    counts: Store

    @classmethod
    def opened(cls, file: Path | None, config: Path | None, *, create: bool) -> _Desk:
        from smallworks.server.limits.tables import Tables

        if config is not None:
            from smallworks.server.config import load

            whole = load(config)
            if whole.asks and not (whole.keys and create):
                held = open_keys(whole.keys, whole.keys_env)
                return cls(held, whole.limits.opened() or Tables(held.database.again()))
            file = file or whole.keys
        path = file or settings.load().keys
        if path is None:
            raise UserError("No key file is named.", fix="Add --file keys.sqlite, or set SMALLWORKS_KEYS.")
        own = KeyFile(path, create=create)
        return cls(own, Tables(own.database.again()))

    def __enter__(self) -> _Desk:
        return self

    def __exit__(self, *_: object) -> None:
        with closing(self.counts):
            self.keys.close()


def _check(
    action: Action, numbers: Mapping[str, int | None], others: Mapping[str, Any], overlap: int | None
) -> None:
    for option, value in {**numbers, **others}.items():
        if value is not None and action not in MAKING:
            raise UserError(f"{option} is for `keys add`, not for `keys {action}`.", fix="Leave it out.")
    least = 0 if action == "change" else 1
    for option, number in numbers.items():
        if number is not None and not least <= number <= MOST:
            raise UserError(
                f"{option} is {number}.", fix="Give a whole number from 1 to 10^15, or leave it out."
            )
    if overlap is not None and (action != "rotate" or overlap < 0):
        raise UserError(f"--overlap-hours is {overlap}.", fix="Give hours from 0, with `keys rotate` alone.")


def _do(
    desk: _Desk, action: Action, name: str | None, allowed: dict[str, Any], overlap: int, json: bool
) -> None:
    held = desk.keys
    if action == "list":
        _list(desk, json)
    elif action == "usage":
        _usage(desk, name, json)
    elif action == "history":
        _history(held, json)
    elif action == "revoke":
        key = held.revoke(_named(name, action))
        _said(json, {"revoked": key.id, "name": key.name}, f"{key.id} {key.name}: revoked; {WITHIN}")
    elif action == "change":
        if not allowed:
            raise UserError("Nothing to change is named.", fix="Add --monthly-tokens 1000000, say.")
        key = held.change(_named(name, action), **allowed)
        _said(json, _told(key, {}), f"{key.id} {key.name}: changed; servers that run know within a second")
    elif action == "rotate":
        _show_once(*held.rotate(_named(name, action), overlap * HOUR), json)
        talk.remark(f"The old key works for {overlap} hours more, on the same limits and budget.")
    else:
        _show_once(*held.add(_named(name, action), **allowed), json)


WITHIN = "servers that run refuse it within a second"


def _named(name: str | None, action: Action) -> str:
    if not name:
        raise UserError(f"`keys {action}` needs a name.", fix=f"Run: smallworks keys {action} NAME")
    return name


def _show_once(key: Key, text: str, json: bool) -> None:
    _said(json, {**_told(key, {}), "key": text}, text)
    talk.remark("This is the only time that the key is shown: the file holds its hash alone.")


def _said(json: bool, document: Any, words: str) -> None:
    if json:
        talk.print_json(document)
    else:
        talk.say(words)


def _list(desk: _Desk, json: bool) -> None:
    now = month_of(time.time())
    spent = {used.account: used for used in desk.counts.usage() if used.month == now}
    rows = [_told(key, spent) for key in desk.keys.all()]
    if json:
        talk.print_json(rows)
        return
    for row in rows:
        limits = [f"{row[limit]:,} {limit.replace('_', ' ')}" for limit in LIMITS if row[limit]]
        if row["monthly_dollars"]:
            limits.append(f"${row['monthly_dollars']} monthly")
        what = ", ".join((*row["scopes"], *row["models"], *limits))
        used = f"{row['spent_this_month']:,} tokens (${row['dollars_this_month']}) spent this month"
        talk.say("  ".join((row["id"], row["name"], row["state"], what, used)))
    if not rows:
        talk.remark("No keys yet. Next: smallworks keys add NAME")


def _usage(desk: _Desk, name: str | None, json: bool) -> None:
    """By key and month; keys that were rotated count as one."""
    names = {key.account: key for key in desk.keys.all()}
    rows = [
        {
            "name": key.name,
            "account": used.account,
            "month": used.month,
            "answers": used.answers,
            "tokens": used.tokens,
            "dollars": dollars(used.micros),
        }
        for used in desk.counts.usage()
        if (key := names.get(used.account)) and name in (None, key.name, key.account)
    ]
    if json:
        talk.print_json(rows)
        return
    for row in rows:
        counted = f"{row['answers']:,} answers  {row['tokens']:,} tokens  ${row['dollars']}"
        talk.say(f"{row['month']}  {row['name']}  {counted}")
    if not rows:
        talk.remark("Nothing was used yet.")


def _history(held: Keys, json: bool) -> None:
    deeds = held.history()
    if json:
        talk.print_json([vars(deed) for deed in deeds])
        return
    for deed in deeds:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(deed.at))
        talk.say(f"{at}  {deed.who}  {deed.what}  {deed.name} ({deed.key})  {deed.detail}")


def _told(key: Key, spent: Mapping[str, Usage]) -> dict[str, Any]:
    """A key as it is shown: never its hash."""
    now, used = time.time(), spent.get(key.account)
    ended = "replaced" if key.replaced else "expired"
    state = "revoked" if key.revoked else ended if key.expired(now) else "live"
    said = {name: value for name, value in vars(key).items() if name not in ("hash", "monthly_micros")}
    tokens, paid = (used.tokens, used.micros) if used else (0, 0)
    most, money = key.monthly_tokens, key.monthly_micros
    return {
        **said,
        "monthly_dollars": None if money is None else dollars(money),
        "state": state,
        "spent_this_month": tokens,
        "left_this_month": None if most is None else max(0, most - tokens),
        "dollars_this_month": dollars(paid),
        "dollars_left": None if money is None else dollars(max(0, money - paid)),
        "answers_this_month": used.answers if used else 0,
    }
