"""Every engine that the contract is tested on. A new engine joins by adding a factory to FACTORIES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from smallworks import compress
from smallworks.bundle.manifest import Manifest
from smallworks.engines.fake import Fake
from smallworks.engines.linear import Linear, LinearHead
from smallworks.engines.ngrams import learn
from smallworks.engines.predictor import Predictor
from smallworks.prompt.renderer import Renderer
from smallworks.seams import Model
from smallworks.server import background, create_app
from smallworks.types import Choices, Message, Prompt, PromptSpec

LABELS = ("bug", "feature", "question")
CODES = ("A", "B", "C")
CONTEXT = 512


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An engine under test. `recitals` maps finished prompts to the answers that it gives to them.

    `generates` is false for engines that only score labels; `tokens` is false where the engine does not
    know token ids (remote servers), so that only texts are compared.
    """

    make: Callable[[], Model]
    prompt: Callable[[str], Prompt]
    choices: Choices
    recitals: dict[str, str]
    generates: bool = True
    tokens: bool = True

    @property
    def prompts(self) -> list[Prompt]:
        return [self.prompt(text) for text in self.recitals]


def _fake(request: pytest.FixtureRequest) -> Subject:
    recitals = request.getfixturevalue("recitals")
    return Subject(
        make=lambda: Fake(recitals, context=CONTEXT),
        prompt=lambda text: Prompt(text=text, ids=tuple(text.encode())),
        choices=Choices(labels=LABELS),
        recitals=recitals,
    )


def _linear(request: pytest.FixtureRequest) -> Subject:
    recitals = request.getfixturevalue("recitals")
    block = learn(list(recitals), "word")
    coefficients = np.random.default_rng(0).normal(size=(len(block.columns), len(LABELS)))
    head = LinearHead(LABELS, (block,), (coefficients,), np.zeros(len(LABELS)))
    return Subject(
        make=lambda: Linear(head),
        prompt=lambda text: Prompt(text=text),
        choices=Choices(labels=LABELS),
        recitals=recitals,
        generates=False,
        tokens=False,
    )


def _llamacpp(request: pytest.FixtureRequest) -> Subject:
    from smallworks.engines.llamacpp import LlamaCpp

    path = request.getfixturevalue("tiny_gguf")
    return _of_tiny(request, lambda: LlamaCpp(path, threads=1))


def _transformers(request: pytest.FixtureRequest) -> Subject:
    from smallworks.engines.transformers import Transformers

    folder = request.getfixturevalue("tiny_folder")
    return _of_tiny(request, lambda: Transformers(folder, threads=1))


def _openvino(request: pytest.FixtureRequest) -> Subject:
    if find_spec("openvino") is None:  # not imported here: that would tell its maker
        pytest.skip("openvino is not installed")
    from smallworks.engines.openvino import OpenVino

    folder, words = request.getfixturevalue("tiny_openvino"), request.getfixturevalue("tiny_folder")
    return _of_tiny(request, lambda: OpenVino(folder, words, threads=1))


def _ortgenai(request: pytest.FixtureRequest) -> Subject:
    pytest.importorskip("onnxruntime_genai")
    from smallworks.engines.genai import Genai

    folder, words = request.getfixturevalue("tiny_genai"), request.getfixturevalue("tiny_folder")
    return _of_tiny(request, lambda: Genai(folder, words, threads=1))


def _of_tiny(request: pytest.FixtureRequest, make: Callable[[], Model]) -> Subject:
    tokenizer: Tokenizer = request.getfixturevalue("tiny_tokenizer")
    return Subject(
        make=make,
        prompt=lambda text: Prompt(text=text, ids=tuple(tokenizer.encode(text).ids)),
        choices=Choices(labels=LABELS, codes=CODES, ids=tuple(tokenizer.token_to_id(code) for code in CODES)),
        recitals=request.getfixturevalue("recitals"),
    )


def _onnx(request: pytest.FixtureRequest) -> Subject:
    from smallworks.engines.onnx import Encoder, Onnx

    recitals = request.getfixturevalue("recitals")
    encoder = Encoder(request.getfixturevalue("tiny_encoder"))
    random = np.random.default_rng(0)
    block = learn(list(recitals), "word")
    coefficients = random.normal(size=(len(block.columns), len(LABELS)))
    embedded = random.normal(size=(encoder.dimension, len(LABELS)))
    head = LinearHead(LABELS, (block,), (coefficients,), np.zeros(len(LABELS)), embedded)
    return Subject(
        make=lambda: Onnx(head, encoder),
        prompt=lambda text: Prompt(text=text),
        choices=Choices(labels=LABELS),
        recitals=recitals,
        generates=False,
        tokens=False,
    )


def _http(request: pytest.FixtureRequest) -> Subject:
    """The http engine against our own server, which has the fake engine behind it."""
    from smallworks.engines.http import Http

    url = request.getfixturevalue("fake_server")
    return Subject(
        make=lambda: Http(f"{url}/v1", "reciter"),
        prompt=lambda text: Prompt(text=text, messages=(Message(role="user", content=text),)),
        choices=Choices(labels=LABELS),
        recitals=request.getfixturevalue("recitals"),
        tokens=False,
    )


FACTORIES = {
    "fake": _fake,
    "http": _http,
    "linear": _linear,
    "llamacpp": _llamacpp,
    "onnx": _onnx,
    "openvino": _openvino,
    "ortgenai": _ortgenai,
    "transformers": _transformers,
}


@pytest.fixture(scope="session")
def fake_server(recitals: dict[str, str]) -> Iterator[str]:
    spec = PromptSpec(style="chat", kind="generate")
    manifest = Manifest(task="reciter", kind="generate", candidate="fake", engine="fake", prompt=spec)
    reciter = Predictor(manifest=manifest, model=Fake(recitals, context=CONTEXT), renderer=Renderer(spec))
    with background(create_app({"reciter": reciter}, default="reciter")) as url:
        yield url


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that is one table of random vectors: the smallest graph of the right shape."""
    onnx = pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("encoder")
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "a": 2, "Recite": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    hidden = onnx.helper.make_tensor_value_info("hidden", onnx.TensorProto.FLOAT, ["batch", "tokens", 8])
    gather = onnx.helper.make_node("Gather", ["table", "input_ids"], ["hidden"])
    graph = onnx.helper.make_graph(
        [gather], "tiny", [ids], [hidden], [onnx.numpy_helper.from_array(table, "table")]
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "encoder.onnx")
    (folder / "encoder.json").write_text('{"pooling": "mean", "max_tokens": 64, "dimension": 8}')
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def tiny_gguf(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compress.quantize(tiny_folder, tmp_path_factory.mktemp("gguf") / "tiny.gguf", "f32")


@pytest.fixture(scope="session")
def tiny_openvino(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In 8 bits: the contract holds for what is served, not for a form made for the test."""
    return compress.to_openvino(tiny_folder, tmp_path_factory.mktemp("openvino") / "int8", 8)


@pytest.fixture(scope="session")
def tiny_genai(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compress.to_genai(tiny_folder, tmp_path_factory.mktemp("genai") / "int4")


@pytest.fixture(scope="module", params=sorted(FACTORIES))
def subject(request: pytest.FixtureRequest) -> Subject:
    return FACTORIES[request.param](request)


@pytest.fixture(scope="module")
def model(subject: Subject) -> Iterator[Model]:
    """One for all tests of an engine: it keeps the contract whatever was asked before."""
    made = subject.make()
    yield made
    made.close()


@pytest.fixture
def speaker(subject: Subject, model: Model) -> Model:
    """The model, for tests of generation; engines that only score are left out."""
    if not subject.generates:
        pytest.skip(f"{model.engine} does not generate")
    return model
