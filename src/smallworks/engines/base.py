"""Where weights come from: the starter, a local folder, a GGUF file or a hub id, pinned by hash.

Only safetensors and GGUF are ever fetched; code and pickles are not. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from urllib.parse import unquote, urlsplit

from smallworks import files, starter
from smallworks.bundle.manifest import Base
from smallworks.bundle.store import hash_weights
from smallworks.engines import gguf_file, hub
from smallworks.errors import ModelError
from smallworks.prompt import Template
from smallworks.prompt import tokenizer as tokenizers
from smallworks.seams import Progress, Tokenizer, silent

PATTERNS = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "vocab.txt", "merges.txt"]
DEFAULT_CONTEXT = 2048
EMBEDDER_PATTERNS = ["model.safetensors", "*.json", "1_Pooling/*.json", "vocab.txt"]


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """Weights that are here: `path` is a Hugging Face folder, or a GGUF file when `is_gguf`."""

    path: Path
    pin: Base
    parameters: int

    @property
    def is_gguf(self) -> bool:
        return self.pin.source == "gguf"


def resolve(ref: str | None, progress: Progress = silent) -> BaseModel:
    """The base model named by `ref` (None: the starter). Raises ModelError when it cannot be had."""
    if ref is None or ref == "starter":
        return _folder(starter.MODEL, "starter", "starter")
    path = local(ref)
    if path.is_file():
        return _gguf(path)
    if path.is_dir():
        return _folder(path.resolve(), "folder", str(path.resolve()))
    if hub.parse(ref) is None:
        raise ModelError(
            f"No base model at '{ref}'.",
            fix="Give a folder with config.json and safetensors, a .gguf file, or a hub id: owner/name.",
        )
    fetched = fetch(ref, PATTERNS, progress)
    return _gguf(fetched) if fetched.is_file() else _folder(fetched, "hub", str(fetched))


@dataclass(frozen=True, kw_only=True)
class Words:
    """How a base reads and writes: its tokenizer, its chat template, its context in tokens."""

    tokenizer: Tokenizer
    template: Template
    context: int


def words_of(base: BaseModel) -> Words:
    """From the folder's files, or from the metadata of a bare GGUF."""
    if not base.is_gguf:
        config = files.read_json(base.path / "config.json")
        return Words(
            tokenizer=tokenizers.load(base.path),
            template=Template.load(base.path),
            context=int(config.get("max_position_embeddings") or DEFAULT_CONTEXT),
        )
    from smallworks.engines.llamacpp import GgufTokenizer, LlamaCpp

    model = LlamaCpp(base.path, slots=1)
    return Words(
        tokenizer=GgufTokenizer(model),
        template=Template(model.chat_template, special=model.special_tokens),
        context=model.context,
    )


def resolve_embedder(ref: str) -> Path:
    """The folder of a sentence-embedding model: a local path or a hub id."""
    return _encoder(
        ref, "embedding model", "a sentence-embedding model in safetensors, e.g. all-MiniLM-L6-v2"
    )


def resolve_reranker(ref: str) -> Path:
    """The folder of a cross-encoder that gives one score: a local path or a hub id."""
    return _encoder(ref, "reranker", "a cross-encoder, e.g. cross-encoder/ms-marco-MiniLM-L6-v2")


def resolve_names(ref: str) -> Path:
    """The folder of a token-classification model that tells names: a local path or a hub id."""
    return _encoder(ref, "name model", "a token-classification model in safetensors with a tokenizer.json")


def _encoder(ref: str, kind: str, wanted: str) -> Path:
    path = local(ref)
    if not path.is_dir():
        if hub.parse(ref) is None:
            raise ModelError(f"No {kind} at '{ref}'.", fix="Give a folder, or a hub id such as owner/name.")
        path = fetch(ref, EMBEDDER_PATTERNS)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (path / name).is_file():
            raise ModelError(f"'{path}' is no {kind}: it has no {name}.", fix=f"Give {wanted}.")
    return path


def fetch(ref: str, patterns: Sequence[str], progress: Progress = silent) -> Path:
    """What a hub id names, fetched and checked. Raises ModelError for one that cannot be had."""
    named = hub.parse(ref)
    if named is None:
        raise ModelError(f"'{ref}' is no hub id.", fix="Write it as owner/name, or owner/name@commit.")
    return hub.fetch(named, patterns, progress)


def local(ref: str) -> Path:
    """A path as it is written, or as file:// names it."""
    if not ref.startswith("file://"):
        return Path(ref).expanduser()
    address = urlsplit(ref)
    if address.netloc not in ("", "localhost"):
        raise ModelError(f"'{ref}' names another machine.", fix="Write file:///path, with three slashes.")
    return Path(unquote(address.path))


def _folder(path: Path, source: str, ref: str) -> BaseModel:
    for name in ("config.json", "tokenizer.json"):
        if not (path / name).is_file():
            raise ModelError(
                f"'{path}' is not a model folder: it has no {name}.",
                fix="Give a Hugging Face folder in safetensors with its tokenizer.json.",
            )
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise ModelError(
            f"'{path}' holds no safetensors weights (pickled .bin files are not read).",
            fix="Convert them to safetensors, or choose a model that has them.",
        )
    pin = Base(source=source, ref=ref, sha256=hash_weights(path))  # type: ignore[arg-type]
    return BaseModel(path=path, pin=pin, parameters=sum(_parameters(w) for w in weights))


def _gguf(path: Path) -> BaseModel:
    gguf_file.read(path)  # whole and of a kind that reads, before anything is built on it
    pin = Base(source="gguf", ref=str(path.resolve()), sha256=hash_weights(path))
    return BaseModel(path=path.resolve(), pin=pin, parameters=path.stat().st_size)


def _parameters(path: Path) -> int:
    """Values in a safetensors file, from its header alone. Raises ModelError when it is cut short."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(
            f"'{path}' is not a readable safetensors file: {error}.", fix="Download it again."
        ) from error
