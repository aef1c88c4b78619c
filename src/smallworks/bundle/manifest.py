"""What a bundle says of itself: `bundle.json` as a frozen value, and back. Knows no disk and no engine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from smallworks.errors import BundleError
from smallworks.types import Choices, Columns, Kind, PromptSpec, Sampling

FORMAT = 1
EngineName = Literal[
    "linear",
    "onnx",
    "llamacpp",
    "transformers",
    "openvino",
    "ortgenai",
    "http",
    "fake",
    "cascade",
    "retrieval",
]
By = Literal["words", "vectors", "both"]
Shows = Literal["passage", "sentence"]
ScopeScore = Literal["probability", "margin", "max_logit", "energy"]
Signal = Literal["likelihood", "weakest", "margin", "agreement", "none"]
SCOPE_SCORES: tuple[ScopeScore, ...] = get_args(ScopeScore)
LATER: tuple[tuple[str, str, Any], ...] = (
    ("columns", "group", None),
    ("columns", "document", None),
    ("calibration", "isotonic", ()),
    ("", "stages", ()),
    ("", "sureness", {}),
    ("", "gate", None),
    ("", "scope", None),
    ("", "out_of_scope", None),
    ("", "retrieval", None),
    ("", "reranker", None),
    ("sampling", "logprobs", None),
    ("sampling", "logit_bias", ()),
)
"""Keys that came after the first bundles: left out at their default, so that older bundles keep their id."""
K_QUANTS = ("q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k")
OPENVINO = ("openvino-int8", "openvino-int4")
GENAI = ("onnx-int4",)
BITSANDBYTES = ("bnb-8bit", "bnb-4bit")
LLMCOMPRESSOR = ("gptq", "awq", "w8a8")
GGUFS = ("f32", "f16", "bf16", "q8_0", "q4_0", *K_QUANTS)
BESIDE = "adapter-"
ADAPTED = tuple(f"{BESIDE}{kind}" for kind in GGUFS)
"""The base as a GGUF of that kind and the adapter as a file beside it, which is not merged into it."""
PRECISIONS = (*GGUFS, *ADAPTED, *OPENVINO, *GENAI, *BITSANDBYTES, *LLMCOMPRESSOR)


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pinned reference to weights outside the bundle: `sha256` covers every file that is read."""

    source: Literal["starter", "folder", "gguf", "hub"]
    ref: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Log-probabilities → (log p + bias) / temperature, renormalised. `bias` is per label, in label order.

    `isotonic` then bends every probability along a rising curve of points (said, meant); empty: it does not.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    isotonic: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """From when on a label is kept back: where this score of an input is below `at`, it seems out of scope.

    `label` is what rows out of scope are marked with in the task's files; None where none are.
    """

    score: ScopeScore
    at: float
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Remote:
    """An OpenAI-shaped server; the key itself never enters a bundle."""

    url: str
    model: str
    key_env: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a cascade: a whole bundle in the folder `path` inside this one, with its own `id`."""

    name: str
    path: str
    id: str


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """What tells how sure a stage of a cascade is, where that is not the probability of its label.

    `signal` is of its tokens, or the `agreement` with the stage that was asked before; `none`: it never
    answers, and is asked for the next one to agree with. `curve` are rising points (signal, confidence);
    empty: the signal is the confidence.
    """

    signal: Signal
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a cascade asks of an input before any stage: how likely the first is good enough, by what lies in
    the folder `path`. Below `at` the last stage alone is asked."""

    path: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How the index that is a bundle's `model` is asked: `k` passages, found `by` words, vectors or both.

    Without a stage that reads them the answer is the best passage, or, as `shows` has it, the one sentence of
    it that tells most. `refusal` is what it says where the passages hardly hold what was asked for.
    """

    k: int
    by: By
    refusal: str
    shows: Shows = "passage"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`files` maps each file of the bundle to its SHA-256; the bundle's id is the hash of all of this.

    `model` names the weights inside the bundle (a GGUF, a linear model, an adapter folder), `encoder`
    the ONNX encoder of a fused one. `inputs` names the fields that a request may give, `columns` those of
    a labelled file, as the task named them. `stages` are those of a cascade, cheap to dear; `thresholds` maps
    the path of each but the last to the confidence from which it answers, and `sureness` to what tells that
    where it is not the probability of a label; `gate` is asked first. `scope` is from when on a label is
    kept back; a cascade leaves that to its stages. `out_of_scope` is the mark of rows out of scope in the
    task's files, where no `scope` says it. With `retrieval` the one stage, if any, is the bundle that reads
    the passages, `encoder` embeds the questions, and `reranker` is the folder of the cross-encoder that puts
    the first passages in order.
    """

    task: str
    kind: Kind
    candidate: str
    engine: EngineName
    prompt: PromptSpec
    sampling: Sampling = field(default_factory=Sampling)
    inputs: tuple[str, ...] = ("input",)
    columns: Columns = field(default_factory=Columns)
    model: str | None = None
    encoder: str | None = None
    reranker: str | None = None
    adapter: str | None = None
    base: Base | None = None
    remote: Remote | None = None
    quantization: str | None = None
    calibration: Calibration = field(default_factory=Calibration)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    sureness: Mapping[str, Sureness] = field(default_factory=dict)
    gate: Gate | None = None
    scope: Scope | None = None
    out_of_scope: str | None = None
    stages: tuple[Stage, ...] = ()
    retrieval: Retrieval | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


def precision(manifest: Manifest) -> str | None:
    """The kind of its weights, of its base where an adapter stands beside one; None for those as trained."""
    return manifest.quantization.removeprefix(BESIDE) if manifest.quantization else None


def to_json(manifest: Manifest) -> dict[str, Any]:
    raw = dataclasses.asdict(manifest)
    for section, key, usual in LATER:
        part = raw[section] if section else raw
        if part[key] == usual:
            del part[key]
    return raw


def from_json(raw: Any, *, where: str) -> Manifest:
    """Raises BundleError when the format is newer than this program or a field is missing.

    `id` stands beside the fields on disk and is the store's to check.
    """
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise BundleError(
            f"The bundle at '{where}' has format {version!r}; this program reads {FORMAT}.",
            fix="Upgrade smallworks, or rebuild the bundle with: smallworks build",
        )
    try:
        manifest = Manifest(
            **{
                **{name: value for name, value in raw.items() if name != "id"},
                "prompt": _prompt(raw["prompt"]),
                "sampling": Sampling(**_tuples(raw["sampling"], "stop", "stop_ids")),
                "inputs": tuple(raw["inputs"]),
                "columns": _columns(raw["columns"]),
                "base": Base(**raw["base"]) if raw["base"] else None,
                "remote": Remote(**raw["remote"]) if raw["remote"] else None,
                "calibration": read_calibration(raw["calibration"]),
                "stages": tuple(Stage(**stage) for stage in raw.get("stages", ())),
                "sureness": {path: _sureness(one) for path, one in raw.get("sureness", {}).items()},
                "gate": Gate(**raw["gate"]) if raw.get("gate") else None,
                "scope": Scope(**raw["scope"]) if raw.get("scope") else None,
                "retrieval": Retrieval(**raw["retrieval"]) if raw.get("retrieval") else None,
            }
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"The bundle at '{where}' has a bundle.json that does not read: {error}.",
            fix="Rebuild it with: smallworks build",
        ) from error
    problem = _problem(manifest)
    if problem:
        raise BundleError(
            f"The bundle at '{where}' is not to be trusted: {problem}.", fix="Get it again from who built it."
        )
    return manifest


def read_calibration(raw: Mapping[str, Any]) -> Calibration:
    """A calibration from its JSON. Raises TypeError or ValueError for what is none."""
    curve = tuple((float(said), float(meant)) for said, meant in raw.get("isotonic", ()))
    return Calibration(temperature=raw["temperature"], bias=tuple(raw["bias"]), isotonic=curve)


def _problem(manifest: Manifest) -> str | None:
    """What no build would have written: names outside the bundle, an engine or a calibration that is none."""
    parts = (manifest.model, manifest.encoder, manifest.reranker, manifest.adapter)
    for name in filter(None, (*parts, *manifest.files)):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            return f"'{name}' lies outside of it"
    for name in filter(None, parts):
        if not any(file == name or file.startswith(f"{name}/") for file in manifest.files):
            return f"'{name}' is covered by no checksum"
    if manifest.engine not in get_args(EngineName):
        return f"there is no engine '{manifest.engine}'"
    if manifest.retrieval or manifest.engine == "retrieval":
        return _problem_of_retrieval(manifest)
    if manifest.stages or manifest.engine == "cascade":
        return _problem_of_stages(manifest)
    if manifest.quantization not in (None, *PRECISIONS):
        return f"there is no quantisation '{manifest.quantization}'"
    if manifest.quantization in ADAPTED and not (manifest.model and manifest.adapter):
        return f"'{manifest.quantization}' takes a base and an adapter"
    labels = len(manifest.prompt.choices.labels) if manifest.prompt.choices else 0
    temperature, bias = manifest.calibration.temperature, manifest.calibration.bias
    numbers = (temperature, *bias)
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers) or temperature <= 0:
        return "its calibration is not a set of finite numbers"
    if not _rises(manifest.calibration.isotonic):
        return "the curve of its calibration does not rise from 0 to 1"
    if manifest.scope and not _measures(manifest.scope):
        return "its threshold of scope is no number, or of no score that is known"
    return (
        f"its calibration has {len(bias)} biases for {labels} labels"
        if len(bias) not in (0, labels)
        else None
    )


def _problem_of_stages(manifest: Manifest) -> str | None:
    stages = manifest.stages
    if manifest.engine != "cascade" or len(stages) < 2:
        return f"the engine '{manifest.engine}' does not go with {len(stages)} stages"
    for stage in stages:
        if f"{stage.path}/bundle.json" not in manifest.files:
            return f"its stage '{stage.name}' is covered by no checksum"
    if list(manifest.thresholds) != [stage.path for stage in stages[:-1]]:
        return "its thresholds are not one for each stage but the last"
    if not all(isinstance(x, int | float) and 0 <= x <= 1 for x in manifest.thresholds.values()):
        return "its thresholds are not confidences between 0 and 1"
    if len({stage.name for stage in stages}) < len(stages):
        return "two of its stages have one name"
    gate = manifest.gate
    parts = [f"{gate.path}/difficulty.{kind}" for kind in ("json", "jsonl")] if gate else []
    if gate and (not set(parts) <= manifest.files.keys() or not 0 <= gate.at <= 1):
        return "its gate is covered by no checksum, or has no threshold between 0 and 1"
    for path, how in manifest.sureness.items():
        if path not in manifest.thresholds or how.signal not in get_args(Signal) or not _rises(how.curve):
            return f"what tells how sure '{path}' is does not go with its stages"
    first = manifest.sureness.get(stages[0].path)
    if first and first.signal == "agreement":
        return "its first stage has none before it to agree with"
    return None


def _problem_of_retrieval(manifest: Manifest) -> str | None:
    found, stages = manifest.retrieval, manifest.stages
    if manifest.engine != "retrieval" or found is None or manifest.model is None or len(stages) > 1:
        return f"the engine '{manifest.engine}' does not go with its index and {len(stages)} stages"
    if any(f"{stage.path}/bundle.json" not in manifest.files for stage in stages):
        return f"its stage '{stages[0].name}' is covered by no checksum"
    if not isinstance(found.k, int) or found.k < 1 or found.by not in get_args(By):
        return f"it finds {found.k!r} passages by {found.by!r}"
    if found.by != "words" and manifest.encoder is None:
        return f"it searches by {found.by} and has no encoder"
    return None if found.shows in get_args(Shows) else f"it shows {found.shows!r} of a passage"


def _rises(curve: Sequence[tuple[float, float]]) -> bool:
    """Whether both halves of the points are probabilities that grow, and none is meant as impossible."""
    inside = all(0 <= said <= 1 and 0 < meant <= 1 for said, meant in curve)
    return inside and all(a < c and b < d for (a, b), (c, d) in pairwise(curve))


def _measures(scope: Scope) -> bool:
    return scope.score in SCOPE_SCORES and isinstance(scope.at, int | float) and math.isfinite(scope.at)


def _sureness(raw: Mapping[str, Any]) -> Sureness:
    return Sureness(signal=raw["signal"], curve=tuple((float(a), float(b)) for a, b in raw["curve"]))


def _prompt(raw: Mapping[str, Any]) -> PromptSpec:
    choices = raw["choices"]
    return PromptSpec(
        **{
            **raw,
            "choices": Choices(**_tuples(choices, "labels", "codes", "ids")) if choices else None,
            "shots": tuple((text, answer) for text, answer in raw["shots"]),
        }
    )


def _columns(raw: Mapping[str, Any]) -> Columns:
    named = raw["input"]
    return Columns(**{**raw, "input": tuple(named) if isinstance(named, list) else named})


def _tuples(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**raw, **{name: tuple(raw[name]) for name in names}}
