"""What an exported folder says: README, Modelfile, run script, example request, Dockerfile.

Pure text and values; knows no disk and no engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from smallworks.bundle import Bundle
from smallworks.recipes.asking import Asking
from smallworks.recipes.exportable import Format
from smallworks.recipes.proof import Proof

BIAS = 50.0
"""What lifts the codes of labels over all other tokens, as the engine does it."""
TEXT = "Put your text here."

DOCKERFILE = """\
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY smallworks smallworks
COPY bundle bundle
RUN useradd --no-create-home app
USER app
ENV PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
CMD ["python", "-m", "smallworks.cli", "serve", "bundle", "--host", "0.0.0.0", "--open", "--plain"]
"""
COMPOSE = """\
services:
  smallworks:
    build: .
    ports: ["127.0.0.1:8000:8000"]
    read_only: true
    tmpfs: [/tmp]
    restart: unless-stopped
"""


def run_script(context: int) -> str:
    """Starts llama.cpp's own server over the model beside it, `context` tokens of prompt and answer."""
    return f"""#!/bin/sh
# Serves model.gguf with llama.cpp's own server on this machine alone. README.md has the request.
exec llama-server --model "$(dirname "$0")/model.gguf" --ctx-size {context} --parallel 1 \\
  --flash-attn off --host 127.0.0.1 --port "${{PORT:-8080}}"
"""


def request(asked: Asking, text: str = TEXT) -> dict[str, Any]:
    """A body for llama-server's /completion that asks for the answer to `text`.

    Labels: one token, every code lifted over all others, so that the probabilities are of codes alone.
    """
    body: dict[str, Any] = {"prompt": asked.prompt(text), "cache_prompt": True}
    if asked.labels:
        return {
            **body,
            "n_predict": 1,
            "samplers": ["top_k", "temperature"],
            "top_k": len(asked.codes),
            "temperature": 1.0,
            "logit_bias": [[id, BIAS] for id in asked.code_ids],
            "n_probs": len(asked.codes),
            "post_sampling_probs": True,
        }
    schema = {"json_schema": asked.schema} if asked.schema else {}
    greedy = {"samplers": ["top_k"], "top_k": 1, "temperature": 1.0}
    return {**body, "n_predict": asked.max_tokens, "stop": list(asked.stops), **greedy, **schema}


def modelfile(asked: Asking, context: int) -> str:
    """Ollama's Modelfile whose template writes the very prompt around what the user says."""
    stops = "".join(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}\n" for stop in asked.stops)
    template = f"{go_template(asked.before)}{{{{ .Prompt }}}}{go_template(asked.after)}{{{{ .Response }}}}"
    return f'''FROM ./model.gguf
TEMPLATE """{template}"""
PARAMETER temperature 0
PARAMETER num_predict {asked.max_tokens}
PARAMETER num_ctx {context}
{stops}'''


def go_template(text: str) -> str:
    """Text as a Go template that writes it, safe between three quotation marks."""
    braces = text.replace("{{", "\0").replace("\0", '{{ "{{" }}')
    return braces.replace('"""', '{{ "\\x22\\x22\\x22" }}')


def readme(bundle: Bundle, to: Format, asked: Asking, proven: Proof | None, not_run: tuple[str, ...]) -> str:
    """The page of an exported folder: how to use it, the exact prompt, what was run here and what was not."""
    manifest = bundle.manifest
    parts = [
        f"# {manifest.task}: {manifest.candidate}, for {to}",
        manifest.prompt.instruction,
        _USE[to],
        _inputs(asked),
        _prompt(asked) if to in ("hf", "llama.cpp", "ollama") else "",
        _labels(asked, to),
        f"## JSON schema\n\n```json\n{json.dumps(asked.schema, indent=1)}\n```" if asked.schema else "",
        _tried(proven, not_run),
        f"Made from the bundle `{bundle.id}` by `smallworks export --to {to}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_USE: Mapping[Format, str] = {
    "hf": """## Use

```bash
pip install torch transformers
echo '"A text as JSON."' | python ask.py
```

`ask.py` needs no Smallworks: it reads `task.json`, makes the prompt below, and prints one JSON answer a
line. Any program that loads a transformers folder loads this one; give it the prompt as written here, with no
special tokens added.""",
    "onnx": """## Use

```bash
pip install onnxruntime tokenizers safetensors numpy
echo '"A text as JSON."' | python ask.py
```

`encoder.onnx` turns a text into a vector (`encoder.json`: pooling and longest input); `linear.safetensors`
and `linear.json` are the n-grams and the linear classifier beside it. `ask.py` puts them together.""",
    "llama.cpp": """## Use

```bash
./run.sh        # llama-server on 127.0.0.1:8080
curl -s http://127.0.0.1:8080/completion -H 'content-type: application/json' -d @request.json
```

`request.json` is a whole request with the exact prompt for one text. Send the finished prompt to
`/completion`: `/v1/chat/completions` would write the model's general template around it instead.""",
    "ollama": """## Use

```bash
ollama create mine -f Modelfile
ollama run mine "A text."
```

The template of the Modelfile writes the whole prompt: send the text alone. Ollama does not break up control
tokens inside a text, as Smallworks does: strip them (`<|…|>`) from texts of strangers.""",
    "docker": """## Use

```bash
docker compose up --build
curl -s http://127.0.0.1:8000/v1/models
```

The image holds Python, the libraries of `requirements.txt`, the package and the bundle (with its golden rows,
which are training rows). The compose file opens the port on this machine alone, and asks for no keys: to ask
for them put `--keys FILE` in place of `--open` in the Dockerfile (`smallworks keys add` makes the file).""",
}


def _inputs(asked: Asking) -> str:
    if len(asked.inputs) < 2:
        return ""
    lines = "\n".join(f"{name}: …" for name in asked.inputs)
    return f"The text is made of these inputs, in this order:\n\n```text\n{lines}\n```"


def _prompt(asked: Asking) -> str:
    return f"""## The exact prompt

The text stands where it says `{{text}}`. What comes before and after it is in `task.json` as JSON
strings, which show every line break. The answer has at most {asked.max_tokens}
token{"s" * (asked.max_tokens > 1)} and ends at {" or ".join(f"`{stop}`" for stop in asked.stops)}.

````text
{asked.prompt("{text}")}
````"""


def _labels(asked: Asking, to: Format) -> str:
    if not asked.codes:
        return f"Labels: {', '.join(asked.labels)}." if asked.labels else ""
    rows = zip(asked.codes, asked.code_ids, asked.labels, strict=True)
    table = "\n".join(f"| `{code}` | {id} | {label} |" for code, id, label in rows)
    return (
        f"## Labels\n\n{_SAID[to]}\n\n| code | token id | label |\n|---|---|---|\n{table}"
        if to in _SAID
        else ""
    )


_SAID: Mapping[Format, str] = {
    "hf": "The answer is the code whose token is the most probable, after the calibration in `task.json`.",
    "llama.cpp": "The answer is a code; `top_probs` holds the probability of every code, before the "
    "calibration in `task.json`: (log p + bias) / temperature, renormalised.",
    "ollama": "The answer is a code, as the model says it by itself: nothing keeps Ollama to them, and the "
    "calibration of the bundle is not applied.",
}


def _tried(proven: Proof | None, not_run: tuple[str, ...]) -> str:
    lines = [f"- Run: {told(proven)}"] if proven else []
    return "\n".join(["## What was tried", "", *lines, *(f"- Not run here: {what}." for what in not_run)])


def told(proven: Proof) -> str:
    """One sentence on what was run and how it agreed."""
    parity = proven.parity
    if parity is None:
        return f"nothing, since the bundle has no golden rows ({proven.what})."
    worst = f"; label probabilities off by at most {parity.worst:.4f}" if parity.worst else ""
    return (
        f"{proven.what}: token ids equal on {parity.ids_equal} and answers on {parity.texts_equal} of "
        f"{parity.rows} golden rows{worst}."
    )
