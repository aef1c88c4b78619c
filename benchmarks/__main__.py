"""`python -m benchmarks list`, `python -m benchmarks NAME [--json]`: the last line is one JSON object.

Ends with 0 when the claim was measured or skipped, whether or not it holds; `holds` says which.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys

from benchmarks.claim import NAMES, document


def main(arguments: list[str]) -> int:
    asked = _parser().parse_args(arguments)
    if asked.encoder:
        os.environ["SMALLWORKS_MINILM"] = asked.encoder
    if asked.minutes:
        os.environ["SMALLWORKS_SOAK_MINUTES"] = str(asked.minutes)
    if asked.rows:
        os.environ["SMALLWORKS_QUANTISED_ROWS"] = str(asked.rows)
    if asked.name == "list":
        _list()
        return 0
    module = importlib.import_module(f"benchmarks.{asked.name}")
    if not asked.json:
        print(inspect.getdoc(module))
        print(f"Goal: {module.GOAL}\n", flush=True)
    say = _silent if asked.json else _say
    print(json.dumps(document(asked.name, module, say), ensure_ascii=False), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Show one claim, with its figure."
    )
    parser.add_argument("name", choices=("list", *NAMES), metavar="NAME", help=f"list, {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--minutes", type=float, help="how long a soak lasts (default: 3)")
    parser.add_argument("--rows", type=int, help="most rows of each task in quantised (default: 770 and 240)")
    parser.add_argument("--encoder", metavar="PATH", help="all-MiniLM-L6-v2 (default: SMALLWORKS_MINILM)")
    return parser


def _list() -> None:
    for name in NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        shows = (inspect.getdoc(module) or "").splitlines()[0]
        print(f"{name:<18} {shows}\n{'':<18} goal: {module.GOAL}")


def _say(text: str) -> None:
    print(text, flush=True)


def _silent(_: str) -> None:
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
