"""`smallworks doctor`: what this machine has, and what each missing extra would give."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from smallworks import __version__, settings
from smallworks.cli import talk
from smallworks.errors import install


@dataclass(frozen=True, kw_only=True)
class Extra:
    """An optional part: the libraries that make it, and what it gives."""

    name: str
    libraries: tuple[str, ...]
    gives: str


EXTRAS = (
    Extra(
        name="train",
        libraries=("torch", "transformers", "trl", "peft", "accelerate", "datasets"),
        gives="the reference engine and tuning (lm-zero, lm-few, lm-lora, lm-full)",
    ),
    Extra(
        name="eval",
        libraries=("scikit-learn", "scipy", "sacrebleu", "onnxruntime", "onnx"),
        gives="the linear and fused candidates, BLEU",
    ),
    Extra(name="data", libraries=("pyarrow", "py3langid"), gives="Parquet files, and telling languages"),
    Extra(
        name="rag", libraries=("pypdf", "python-docx"), gives="PDF and Word files in an index of documents"
    ),
    Extra(
        name="redis",
        libraries=("redis", "hiredis"),
        gives="limits, budgets and cached answers that several servers share over Redis",
    ),
    Extra(
        name="postgres",
        libraries=("psycopg",),
        gives="keys, limits, budgets and traces in PostgreSQL",
    ),
    Extra(
        name="otel",
        libraries=("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
        gives="spans for OpenTelemetry",
    ),
    Extra(
        name="openvino",
        libraries=("openvino",),
        gives="the openvino engine: int8 and int4 forms that read prompts quickly on a CPU",
    ),
    Extra(
        name="genai",
        libraries=("onnxruntime-genai", "onnx_ir", "onnx"),
        gives="the ortgenai engine: int4 forms in ONNX",
    ),
    Extra(name="sweep", libraries=("optuna",), gives="a search for learning rate and rank (tune --sweep)"),
    Extra(
        name="quant",
        libraries=("bitsandbytes", "compressed-tensors"),
        gives="8-bit and 4-bit weights in the reference engine",
    ),
)


def doctor(*, json: bool = False) -> None:
    """What this machine has, and what each missing extra would give.

    Parameters
    ----------
    json
        One JSON document on stdout.
    """
    machine, extras, measured = _machine(), [_extra(extra) for extra in EXTRAS], _measured()
    if json:
        talk.print_json({"machine": machine, "measured": measured, "extras": extras})
        return
    machine = {**machine, "speed": _speed(measured)}
    for name, value in machine.items():
        talk.out.print(f"{name:<14}{value}", highlight=False, soft_wrap=True)
    talk.out.print("")
    for extra in extras:
        missing = extra["missing"]
        mark = "[green]✓[/green]" if not missing else "[yellow]–[/yellow]"
        talk.out.print(f"{mark} \\[{extra['name']}] {extra['gives']}", highlight=False, soft_wrap=True)
        if isinstance(missing, list) and missing:
            talk.out.print(
                f"    missing {', '.join(missing)}: {extra['fix']}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _machine() -> Mapping[str, str]:
    import psutil

    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(Path.cwd())
    here = settings.load()
    return {
        "smallworks": __version__,
        "python": f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}",
        "cores": f"{settings.physical_cores()} physical; engines use {here.threads} threads",
        "memory": f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f}",
        "disk here": f"{disk.free / 1e9:.1f} GB free",
        "gpu": _gpu(),
        "llama.cpp": f"xllamacpp {_version('xllamacpp')}",
        "embedder": here.embedder or "none set (SMALLWORKS_EMBEDDER): 'fused' is skipped",
        "cache": str(here.home),
    }


def _measured() -> Mapping[str, float]:
    """What `smallworks recommend --machine` reads: bytes free, bytes and float32 operations a second."""
    import psutil

    from smallworks.engines import speed

    found = speed.measure()
    return {
        "memory_bytes": psutil.virtual_memory().available,
        "bandwidth": round(found.bandwidth),
        "flops": round(found.flops),
        "threads": found.threads,
        "load": round(psutil.getloadavg()[0], 2),
    }


def _speed(measured: Mapping[str, float]) -> str:
    return (
        f"{measured['bandwidth'] / 1e9:.1f} GB/s copied, {measured['flops'] / 1e9:.0f} GFLOP/s multiplied "
        f"on {measured['threads']} threads, measured just now at a load of {measured['load']}"
    )


def _gpu() -> str:
    """What torch or the driver's own tool tells, without loading torch when there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "none found"
    import subprocess

    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    return listed.stdout.strip() or "a driver without a GPU"


def _extra(extra: Extra) -> Mapping[str, object]:
    missing = [library for library in extra.libraries if _version(library) == "absent"]
    return {
        **{k: v for k, v in asdict(extra).items() if k != "libraries"},
        "versions": {library: _version(library) for library in extra.libraries},
        "missing": missing,
        "fix": install(extra.name) if missing else "",
    }


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
