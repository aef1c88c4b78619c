"""Stock clients work unchanged: OpenAI's SDK, LangChain, the `llm` command and curl.

Measured: each client, installed from the registry into an environment of its own, against the starter behind
a real server: answers, streams, schemas, tools, responses, model lists. No peer. Not covered: other SDKs,
and whether what the starter says is any good. Skipped where the registry cannot be reached.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.served import starter_served

UNIT = "clients that work"
GOAL = "all"
PACKAGES = ("openai", "langchain-openai", "llm")
SECONDS = 120
OPENAI = """
from openai import OpenAI
client = OpenAI()
ask = [{"role": "user", "content": "Hi."}]
closed = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
          "additionalProperties": False}
tool = {"type": "function", "function": {"name": "f", "parameters": closed}}
assert client.models.list().data[0].id == "starter"
assert client.chat.completions.create(model="starter", messages=ask).choices[0].message.content is not None
assert list(client.chat.completions.create(model="starter", messages=ask, stream=True))
form = {"type": "json_schema", "json_schema": {"name": "x", "schema": closed}}
made = client.chat.completions.create(model="starter", messages=ask, response_format=form, max_tokens=64)
assert made.choices[0].message.content.startswith('{"ok":')
called = client.chat.completions.create(model="starter", messages=ask, tools=[tool], tool_choice="required",
                                        max_tokens=64)
assert called.choices[0].message.tool_calls[0].function.name == "f"
assert client.responses.create(model="starter", input="Hi.").output_text is not None
with client.responses.stream(model="starter", input="Hi.") as stream:
    assert list(stream)[-1].type in ("response.completed", "response.incomplete")
"""
LANGCHAIN = """
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

class Made(BaseModel):
    ok: bool

@tool
def now(zone: bool) -> str:
    "The time."
    return "12:30"

model = ChatOpenAI(model="starter", max_tokens=96)
assert model.invoke("Hi.").content is not None
assert list(model.stream("Hi."))
assert isinstance(model.with_structured_output(Made, method="json_schema").invoke("Hi."), Made)
assert isinstance(model.with_structured_output(Made, method="function_calling").invoke("Hi."), Made)
assert model.bind_tools([now], tool_choice="any").invoke("Hi.").tool_calls[0]["name"] == "now"
"""
MODELS = """
- model_id: starter
  model_name: starter
  api_base: "{url}/v1"
"""


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, starter_served() as url:
        home = Path(scratch)
        bin = _environment(home / "venv", say)
        (home / "extra-openai-models.yaml").write_text(MODELS.format(url=url), encoding="utf-8")
        chat = '{"messages": [{"role": "user", "content": "Hi."}]}'
        commands = {
            "openai": [str(bin / "python"), "-c", OPENAI],
            "langchain-openai": [str(bin / "python"), "-c", LANGCHAIN],
            "llm": [str(bin / "llm"), "-m", "starter", "--no-log", "Hi."],
        }
        if shutil.which("curl"):
            sent = ["-H", "content-type: application/json", "-d", chat]
            commands["curl"] = ["curl", "-sf", f"{url}/v1/chat/completions", *sent]
        variables = {**os.environ, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none"}
        variables["LLM_USER_PATH"] = str(home)
        failed = {name: said for name, command in commands.items() if (said := _run(command, variables))}
    say(f"{len(commands) - len(failed)} of {len(commands)} clients work: {', '.join(commands)}; {failed}")
    return Finding(
        value=len(commands) - len(failed),
        holds=not failed,
        details={"clients": list(commands), "failed": failed},
    )


def _environment(folder: Path, say: Say) -> Path:
    """Where the programs of a fresh environment with the clients are."""
    say(f"Installing {', '.join(PACKAGES)} …")
    venv.create(folder, with_pip=True)
    bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
    command = [str(bin / "python"), "-m", "pip", "install", "-q", *PACKAGES]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise Skipped("the clients could not be installed from the registry")
    return bin


def _run(command: list[str], variables: dict[str, str]) -> str:
    """What went wrong; empty where nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end after {SECONDS} s"
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-600:]
