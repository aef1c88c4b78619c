"""Hand a bundle on: a folder that others use without Smallworks, run here on the bundle's own golden rows.

What a bundle cannot become is refused before any work (`exportable`). Knows no wording of the pages: see
`handout`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path

from smallworks import compress, files
from smallworks.bundle import Bundle, open_bundle
from smallworks.bundle.golden import TOLERANCES, Tolerance
from smallworks.bundle.store import SIDE_FILES
from smallworks.compress.encoder import FILES as ENCODER
from smallworks.engines import gguf_file, shape
from smallworks.engines.linear import VOCABULARY, WEIGHTS
from smallworks.engines.llamacpp import LARGEST_DEFAULT_CONTEXT
from smallworks.engines.opening import TOKENIZER
from smallworks.engines.transformers import resolve
from smallworks.errors import ModelError, UserError
from smallworks.recipes import ask, handout, proof, weights
from smallworks.recipes.asking import Asking, asking
from smallworks.recipes.exportable import Format, check
from smallworks.recipes.proof import Proof
from smallworks.seams import Progress, silent

FACTS, SCRIPT, SCRATCH = "task.json", "ask.py", "scratch"
WITHOUT = ("starter/model", "starter/helpdesk", "starter/tickets", "__pycache__")
"""Parts of the package that no bundle needs to answer."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A finished folder. `proof` is None where none of it could be run here; `not_run` says what and why."""

    bundle: str
    to: Format
    folder: Path
    bytes: int
    proof: Proof | None
    not_run: tuple[str, ...]


Written = tuple[Proof | None, tuple[str, ...]]
"""What proved a folder, and what could not be run."""


def export(where: Path, to: Format, out: Path, *, progress: Progress = silent) -> Export:
    """Write the folder `out`, whole or not at all. Raises BundleError for what cannot become that format.

    Raises ModelError where the finished folder answers otherwise than the bundle.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' is there already.", fix="Name another --out, or delete it.")
    bundle = open_bundle(where)
    check(bundle, to)
    asked = asking(bundle, worded=to != "docker")
    progress("export", 0, 0, "")
    with files.atomic_folder(out) as draft:
        proven, not_run = _WRITERS[to](bundle, asked, draft, progress)
        if proven and proven.parity and not proven.parity.holds:
            raise _disagrees(bundle, to, proven)
        files.write_text(draft / "README.md", handout.readme(bundle, to, asked, proven, not_run))
        size = files.size_of(draft)
    progress("export", 1, 1, "done")
    return Export(bundle=bundle.id, to=to, folder=out, bytes=size, proof=proven, not_run=not_run)


def _write_hf(bundle: Bundle, asked: Asking, draft: Path, progress: Progress) -> Written:
    """Every weight in one folder, with the bundle's own tokenizer and template; asked by `ask.py`."""
    source = weights.whole(bundle, draft / SCRATCH, progress)
    kept = [*shape.weight_files(source), *shape.companions(source), source / shape.CONFIG]
    for path in (*kept, *source.glob("*.safetensors.index.json"), *weights.licences(bundle)):
        files.link_or_copy(path, draft / path.name)
    shutil.rmtree(draft / SCRATCH, ignore_errors=True)
    for name in bundle.manifest.files:
        if name.startswith(f"{TOKENIZER}/") and not name.endswith(shape.CONFIG):
            files.link_or_copy(bundle.file(name), draft / Path(name).name)
    dtype = resolve("auto", parameters=shape.read(draft).parameters)
    _write_script(asked, draft, dtype=dtype)
    tolerance = TOLERANCES["same" if dtype == "float32" else "bf16"]
    if asked.schema:
        tolerance = Tolerance(tolerance.probability, 0.0)  # nothing holds the answer to the schema there
    return _by_script(bundle, draft, tolerance, needs=("torch", "transformers"))


def _write_onnx(bundle: Bundle, asked: Asking, draft: Path, progress: Progress) -> Written:
    manifest = bundle.manifest
    for name in ENCODER:
        files.link_or_copy(bundle.file(f"{manifest.encoder}/{name}"), draft / name)
    for name in (WEIGHTS, VOCABULARY):
        files.link_or_copy(bundle.file(f"{manifest.model}/{name}"), draft / name)
    _write_script(asked, draft)
    return _by_script(bundle, draft, TOLERANCES["same"], needs=("onnxruntime",))


def _write_llamacpp(bundle: Bundle, asked: Asking, draft: Path, progress: Progress) -> Written:
    gguf, context = _write_gguf(bundle, draft, progress)
    files.write_text(draft / "run.sh", handout.run_script(context))
    (draft / "run.sh").chmod(0o755)
    files.write_json(draft / FACTS, asdict(asked))
    files.write_json(draft / "request.json", handout.request(asked))
    precision = weights.quantized(bundle) or "f16"
    proven = proof.by_llamacpp(bundle, asked, gguf, precision, plain=False)
    return proven, _absent("llama-server")


def _write_ollama(bundle: Bundle, asked: Asking, draft: Path, progress: Progress) -> Written:
    gguf, context = _write_gguf(bundle, draft, progress)
    files.write_text(draft / "Modelfile", handout.modelfile(asked, context))
    files.write_json(draft / FACTS, asdict(asked))
    precision = weights.quantized(bundle) or "f16"
    return proof.by_llamacpp(bundle, asked, gguf, precision, plain=True), _absent("ollama")


def _write_docker(bundle: Bundle, asked: Asking, draft: Path, progress: Progress) -> Written:
    """The bundle, the package as it is installed here, and the libraries that it needs."""
    for name in (*bundle.manifest.files, *SIDE_FILES):
        files.link_or_copy(bundle.file(name), draft / "bundle" / name)
    package = Path(files.__file__).parent
    for path in sorted(p for p in package.rglob("*") if p.is_file()):
        name = path.relative_to(package).as_posix()
        if not any(part in name for part in WITHOUT):
            files.link_or_copy(path, draft / "smallworks" / name)
    files.write_text(draft / "requirements.txt", "".join(f"{line}\n" for line in requirements(bundle)))
    files.write_text(draft / "Dockerfile", handout.DOCKERFILE)
    files.write_text(draft / "compose.yaml", handout.COMPOSE)
    proven = proof.by_package(draft)
    for cache in list(draft.rglob("__pycache__")):
        shutil.rmtree(cache)
    return proven, ("docker: building the image downloads Python and the libraries of requirements.txt",)


_WRITERS: Mapping[Format, Callable[[Bundle, Asking, Path, Progress], Written]] = {
    "hf": _write_hf,
    "onnx": _write_onnx,
    "llama.cpp": _write_llamacpp,
    "ollama": _write_ollama,
    "docker": _write_docker,
}


ENGINES: Mapping[str, Sequence[str]] = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino", "llguidance"),
    "ortgenai": ("onnxruntime-genai", "llguidance"),
}
"""Libraries of engines that the core does without."""


def requirements(bundle: Bundle) -> list[str]:
    """The core's libraries in the versions of this machine, and those of the bundle's engine."""
    listed = [
        re.split(r"[\[<>=!~; ]", line)[0] for line in requires("smallworks") or () if "extra ==" not in line
    ]
    names = [*listed, *ENGINES.get(bundle.manifest.engine, ())]
    return [f"{name}=={version(name)}" for name in names]


def _write_gguf(bundle: Bundle, draft: Path, progress: Progress) -> tuple[Path, int]:
    """The bundle's own GGUF, or its whole weights in 16 bits; and the longest context in tokens."""
    out = draft / weights.GGUF
    if bundle.manifest.engine == "llamacpp" and bundle.manifest.model:
        files.link_or_copy(bundle.file(bundle.manifest.model), out)
    else:
        compress.quantize(weights.whole(bundle, draft / SCRATCH, progress), out, "f16", progress)
        for path in weights.licences(bundle):
            files.link_or_copy(path, draft / path.name)
        shutil.rmtree(draft / SCRATCH, ignore_errors=True)
    trained = int(gguf_file.read(out).of_architecture("context_length", LARGEST_DEFAULT_CONTEXT))
    return out, min(trained, LARGEST_DEFAULT_CONTEXT)


def _write_script(asked: Asking, draft: Path, **more: str) -> None:
    shutil.copyfile(ask.__file__, draft / SCRIPT)
    files.write_json(draft / FACTS, {**asdict(asked), **more})


def _by_script(bundle: Bundle, draft: Path, tolerance: Tolerance, *, needs: Sequence[str]) -> Written:
    missing = [library for library in needs if find_spec(library) is None]
    if missing:
        return None, (f"{SCRIPT}: {' and '.join(missing)} not installed",)
    return proof.by_script(bundle, draft, SCRIPT, tolerance), ()


def _absent(program: str) -> tuple[str, ...]:
    found = shutil.which(program)
    return (
        f"{program}: it is {'installed, but this command starts no server' if found else 'not installed'}",
    )


def _disagrees(bundle: Bundle, to: Format, proven: Proof) -> ModelError:
    parity = proven.parity
    assert parity is not None
    return ModelError(
        f"As {to}, '{bundle.name}' answers otherwise: token ids equal on {parity.ids_equal} and answers on "
        f"{parity.texts_equal} of {parity.rows} golden rows, a label probability off by up to "
        f"{parity.worst:.3f} (allowed {parity.tolerance:g}). Nothing was written.",
        fix="Export a quantised form of it --to docker, which runs the bundle itself.",
    )
