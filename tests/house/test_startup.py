"""Heavy libraries are loaded by what needs them: neither the package, nor its help, nor the linear engine."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ["torch", "transformers", "trl", "peft", "sklearn", "scipy", "onnxruntime", "onnx", "xllamacpp"]
HEAVY += ["openvino", "onnxruntime_genai", "bitsandbytes", "pyarrow", "datasets", "sacrebleu"]
HEAVY += ["fastapi", "starlette", "pydantic", "uvicorn", "huggingface_hub"]
SHOW = (
    "import sys, json; sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
)


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running this code."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{SHOW}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr))


def test_the_package_and_its_help_load_nothing_heavy() -> None:
    code = "import smallworks; from smallworks.cli import run; run(['--help']); run(['--version'])"
    assert loaded(code) & {*HEAVY, "numpy"} == set()


def test_what_every_bundle_needs_loads_nothing_heavy() -> None:
    modules = ["engines.linear", "engines.opening", "engines.predictor", "recipes.plan"]
    assert loaded("; ".join(f"import smallworks.{module}" for module in modules)) & set(HEAVY) == set()


def test_the_server_loads_no_training_library() -> None:
    assert loaded("import smallworks.server") & {"torch", "transformers", "trl", "sklearn"} == set()


SPARED = {"fastapi", "opentelemetry", "redis", "psycopg", "re2", "llguidance", "jsonschema_rs", "httpx2"}
SPARED |= {"huggingface_hub", "gguf", "yaml", "scipy"}


def test_a_server_without_a_file_loads_nothing_of_the_parts_it_does_not_have() -> None:
    code = """
import sys
import smallworks.cli.serve
from smallworks.server import Config, config, create_app
config.load(None, {"bundles": ("bundle",)}).entries
create_app({}, default="none")
ours = ["guard", "evaluate.metrics", "server.guards.passing", "server.cache.responses"]
ours += ["server.upstream.relay", "server.openapi"]
assert not {f"smallworks.{name}" for name in ours} & set(sys.modules)
assert "rich.progress" not in sys.modules and "rich.table" not in sys.modules
assert not Config.__pydantic_complete__, "the schema of a file that nobody gave was built"
"""
    assert loaded(code) & ({*HEAVY, *SPARED} - {"starlette", "pydantic", "uvicorn"}) == set()
