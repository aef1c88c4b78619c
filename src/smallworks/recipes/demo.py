"""The demonstration: build the sample task offline, serve the winner, ask it one question over HTTP.

The very code of a user's own build, on the embedded starter model and the sample task.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smallworks.recipes.build import Options, build
from smallworks.recipes.sample import lay_out
from smallworks.recipes.served import served
from smallworks.seams import Progress, silent
from smallworks.types import Table, Task

QUESTION = "Is it normal that my invoice totals double every time I refresh the page?"

SLOW = ("lm-few-q*", "lm-full*")
"""Left out for time: long uncached prompts in llama.cpp, a third of the whole demo, and a second tuning."""
EPOCHS = 3.0
"""For time as well: a build of one's own gives so few rows ten."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question over HTTP: the answer's text, the label probabilities, and the same as a curl line."""

    question: str
    answer: str
    probabilities: dict[str, float]
    client: str
    curl: str


def demonstrate(folder: Path, *, progress: Progress = silent) -> tuple[Task, Table]:
    """Lay out the sample task in `folder` and build it."""
    task = lay_out("tickets", folder)
    quick = replace(task, build=replace(task.build, epochs=EPOCHS))
    return task, build(quick, Options(skip=SLOW), progress=progress)


def ask(table: Table, question: str = QUESTION) -> Asked:
    """Serve the chosen bundle in a process of its own, ask it over HTTP with a stock client, and stop it."""
    assert table.chosen is not None
    with served(table.chosen) as url:
        answer, client = _ask(url, table.chosen.name, question)
    said = answer["choices"][0]["message"]["content"]
    probabilities = (answer.get("smallworks") or {}).get("probabilities", {})
    return Asked(
        question=question,
        answer=said,
        probabilities=probabilities,
        client=client,
        curl=curl_line(table.chosen.name, question),
    )


def curl_line(model: str, question: str, port: int = 8000) -> str:
    """The same request for a terminal, against `smallworks serve` on its default port."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": question}]})
    return (
        f"curl -s http://127.0.0.1:{port}/v1/chat/completions "
        f"-H 'content-type: application/json' -d {shlex.quote(body)}"
    )


def _ask(url: str, model: str, question: str) -> tuple[dict[str, Any], str]:
    """With the openai SDK where it is installed, else with plain HTTP."""
    messages: Any = [{"role": "user", "content": question}]
    try:
        from openai import OpenAI
    except ImportError:
        import httpx2

        body = {"model": model, "messages": messages}
        reply = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=30)
        reply.raise_for_status()
        return dict(reply.json()), "plain HTTP"
    client = OpenAI(base_url=f"{url}/v1", api_key="none-needed-on-loopback")
    return client.chat.completions.create(model=model, messages=messages).model_dump(), "the openai SDK"
