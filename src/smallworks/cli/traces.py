"""`smallworks traces`: what a server answered, listed, or exported as examples for the next round."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from smallworks import files
from smallworks.cli import talk
from smallworks.errors import DataError, UserError
from smallworks.server import config as serve
from smallworks.server.traces import Traces
from smallworks.server.traces.store import Store
from smallworks.server.traces.trace import Trace

Action = Literal["list", "export"]
DAY = 24 * 60 * 60
SHOWN = 20


def traces(
    action: Action,
    /,
    *,
    store: Path | None = None,
    url_env: str | None = None,
    config: Path | None = None,
    bundle: str | None = None,
    days: float | None = None,
    last: int | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Show the newest traces (list), or write those with content as rows of examples (export --out FILE).

    Parameters
    ----------
    action
        list or export.
    store
        The SQLite file of the traces.
    url_env
        The variable that holds the address of the PostgreSQL database of the traces.
    config
        The serve.toml whose [traces] says where they are.
    bundle
        Only those that this bundle answered, by its folder's name.
    days
        Only those of so many days (default: all).
    last
        Only so many, the newest (default: 20 for list, all for export).
    out
        export: the JSONL file to write.
    json
        list: one JSON document on stdout.
    """
    if (out is None) == (action == "export"):
        raise UserError("--out goes with export.", fix="Write: smallworks traces export --out rows.jsonl")
    opened = _section(store, url_env, config).opened()
    try:
        opened.count()  # says what is wrong with it
        since = time.time() - days * DAY if days else 0.0
        if out is None:
            _list(opened, since, bundle, last or SHOWN, json)
        else:
            _export(opened.read(since=since, bundle=bundle, last=last), out)
    finally:
        opened.close()


def _section(store: Path | None, url_env: str | None, config: Path | None) -> Traces:
    if config and not store and not url_env:
        section = serve.load(config).traces
        if section is None:
            raise UserError(
                f"'{config}' has no section [traces].", fix="Name the file: --store traces.sqlite"
            )
        return section
    if store and not store.is_file():
        raise DataError(f"No traces at '{store}'.", fix="Check the path.")
    return Traces(store=store, url_env=url_env)


def _list(store: Store, since: float, bundle: str | None, last: int, json: bool) -> None:
    found = list(store.read(since=since, bundle=bundle, last=last))
    if json:
        talk.print_json([vars(trace) for trace in found])
        return
    table = Table("time", "route", "bundle", "status", "ms", "tokens", "id", box=None)
    for trace in found:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(trace.at))
        status = f"{trace.status} {trace.code}".strip()
        tokens = f"{trace.tokens_in}+{trace.tokens_out}"
        table.add_row(at, trace.route, trace.bundle, status, f"{trace.ms:.1f}", tokens, trace.id)
    talk.out.print(table, markup=False)


def _export(found: Iterator[Trace], out: Path) -> None:
    seen = {"rows": 0, "without": 0}

    def rows() -> Iterator[dict[str, Any]]:
        for trace in found:
            examples = list(trace.examples()) if trace.status == 200 and not trace.code else []
            seen["rows"] += len(examples)
            seen["without"] += not examples
            yield from examples

    files.write_jsonl(out, rows())
    talk.say(f"{seen['rows']:,} rows in '{out}'")
    if seen["without"]:
        talk.remark(
            f"{seen['without']:,} traces have no content or no answer and were left out; "
            "content is kept where serve.toml says so."
        )
    if seen["rows"]:
        talk.remark(f"The answers are the model's own: read them first. Next: smallworks data check {out}")
