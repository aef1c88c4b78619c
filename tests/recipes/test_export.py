"""An exported folder answers as the bundle does, without Smallworks; what it cannot become is refused."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from smallworks import compress, files
from smallworks.bundle import Bundle, Manifest, freeze
from smallworks.bundle.golden import GOLDEN, read, write
from smallworks.cli import run
from smallworks.engines.linear import LinearHead, load, save
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.ngrams import FAMILIES, learn
from smallworks.engines.onnx import FACTS, GRAPH, Encoder, Onnx
from smallworks.engines.predictor import Predictor
from smallworks.errors import BundleError, ModelError, UserError
from smallworks.prompt import Renderer, TextTokenizer
from smallworks.recipes import export as exports
from smallworks.recipes import handout, proof, weights
from smallworks.recipes.export import export
from smallworks.types import Choices, PromptSpec, Table


@pytest.fixture(scope="module")
def q4(adapted: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The adapted bundle in q4_0, beside it."""
    scratch = tmp_path_factory.mktemp("q4")
    whole = weights.whole(adapted, scratch, lambda *_: None)
    gguf = compress.quantize(whole, scratch / "model.gguf", "q4_0")
    return weights.freeze_quantized(adapted, gguf, "q4_0", scratch / "draft")


def test_llama_cpp_gets_the_merged_weights_in_16_bits_and_the_exact_prompt(
    adapted: Bundle, tmp_path: Path
) -> None:
    done = export(adapted.path, "llama.cpp", tmp_path / "out")
    assert done.proof and done.proof.parity
    assert (done.proof.parity.ids_equal, done.proof.parity.rows, done.proof.parity.holds) == (4, 4, True)
    assert 0 < done.proof.parity.worst < 0.02
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "README.md",
        "model.gguf",
        "request.json",
        "run.sh",
        "task.json",
    ]
    page = (done.folder / "README.md").read_text()
    choices = adapted.manifest.prompt.choices
    assert choices and f"| `{choices.codes[1]}` | {choices.ids[1]} | feature |" in page
    assert "token ids equal on 4 and answers on 4 of 4" in page and "Not run here: llama-server" in page
    assert (done.folder / "run.sh").stat().st_mode & 0o111


def test_the_example_request_is_answered_over_http(adapted: Bundle, tmp_path: Path) -> None:
    """By the server of llama.cpp's library, which speaks as llama-server does."""
    done = export(adapted.path, "llama.cpp", tmp_path / "out")
    body = json.loads((done.folder / "request.json").read_text())
    golden = read(adapted.path)[0]
    body["prompt"] = body["prompt"].replace(handout.TEXT, golden.inputs["input"])
    model = LlamaCpp(done.folder / "model.gguf", threads=1)
    try:
        reply = _post(model, body)
    finally:
        model.close()
    tops = reply["completion_probabilities"][0]["top_probs"]
    choices = adapted.manifest.prompt.choices
    assert choices and {top["id"] for top in tops} == set(choices.ids)
    assert reply["tokens_evaluated"] == len(golden.ids)


def _post(model: LlamaCpp, body: dict[str, Any]) -> dict[str, Any]:
    server = model._server
    address = urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    headers = {"Authorization": f"Bearer {server._key}", "content-type": "application/json"}
    connection.request("POST", "/completion", json.dumps(body), headers)
    reply: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return reply


def test_the_modelfile_writes_the_very_tokens(q4: Bundle, tmp_path: Path) -> None:
    done = export(q4.path, "ollama", tmp_path / "out")
    page = (done.folder / "Modelfile").read_text()
    template = page.partition('TEMPLATE """')[2].partition('"""')[0].removesuffix("{{ .Response }}")
    tokenizer = TextTokenizer.load(q4.file("tokenizer"))
    for golden in read(q4.path):
        prompt = template.replace("{{ .Prompt }}", golden.inputs["input"])
        assert tuple(tokenizer.encode(prompt)) == golden.ids
    for line in ("temperature 0", "num_predict 1", "num_ctx 1024", 'stop "<|im_end|>"'):
        assert f"PARAMETER {line}\n" in page
    assert (done.folder / "model.gguf").read_bytes() == q4.file("model.gguf").read_bytes()


def test_no_instruction_breaks_out_of_a_modelfile() -> None:
    nasty = 'Say {{ .System }} or """ or """"" and }} too'
    written = handout.go_template(nasty)
    assert '"""' not in written
    back = written.replace('{{ "\\x22\\x22\\x22" }}', '"""').replace('{{ "{{" }}', "{{")
    assert back == nasty


def test_docker_brings_the_package_and_the_bundle(q4: Bundle, tmp_path: Path) -> None:
    done = export(q4.path, "docker", tmp_path / "out")
    assert done.proof and done.proof.parity and done.proof.parity.holds
    assert sorted(p.name for p in done.folder.iterdir()) == [
        "Dockerfile",
        "README.md",
        "bundle",
        "compose.yaml",
        "requirements.txt",
        "smallworks",
    ]
    assert not list(done.folder.rglob("model.safetensors")) and not list(done.folder.rglob("__pycache__"))
    assert "xllamacpp==" in (done.folder / "requirements.txt").read_text()
    package = done.folder / "smallworks" / "__init__.py"
    package.write_text(package.read_text().replace('__version__ = "', '__version__ = "copy of '))
    command = [sys.executable, "-m", "smallworks.cli", "--version"]
    assert proof.run(command, "it", folder=done.folder).startswith("copy of ")


def test_a_few_shot_bundle_goes_into_docker_alone(q4: Bundle, tmp_path: Path) -> None:
    done = export(few_shot(q4, tmp_path / "few").path, "docker", tmp_path / "out")
    assert done.proof and done.proof.parity is None


def test_a_licence_travels_with_the_weights(
    adapted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "LICENSE.txt").write_text("Be kind.")
    monkeypatch.setattr(weights, "licences", lambda _: [tmp_path / "LICENSE.txt"])
    done = export(adapted.path, "llama.cpp", tmp_path / "out")
    assert (done.folder / "LICENSE.txt").read_text() == "Be kind."


def test_a_linear_bundle_goes_into_docker(small_table: Table, tmp_path: Path) -> None:
    linear = next(row.bundle for row in small_table.rows if row.name == "linear")
    assert linear
    done = export(linear, "docker", tmp_path / "out")
    assert done.proof and done.proof.parity and done.proof.parity.worst < 1e-6


@pytest.fixture
def fused(tmp_path: Path) -> Bundle:
    """A bag of random word vectors as ONNX, under one head with n-grams, frozen."""
    pytest.importorskip("onnxruntime")
    known = ["the export button", "add dark mode", "how do i export", "dark button please"]
    draft, generator = tmp_path / "draft", np.random.default_rng(0)
    write_encoder(draft / "encoder")
    blocks = tuple(learn(known, family) for family in FAMILIES)
    labels = ("bug", "feature")
    head = LinearHead(
        labels,
        blocks,
        tuple(generator.normal(size=(len(block.columns), 2)).astype(np.float32) for block in blocks),
        generator.normal(size=2),
        generator.normal(size=(6, 2)).astype(np.float32),
    )
    save(head, draft / "linear")
    manifest = Manifest(
        task="small",
        kind="classify",
        candidate="fused",
        engine="onnx",
        prompt=PromptSpec(style="raw", kind="classify", choices=Choices(labels=labels[::-1])),
        model="linear",
        encoder="encoder",
    )
    model = Onnx(load(draft / "linear"), Encoder(draft / "encoder", threads=1))
    predictor = Predictor(manifest=manifest, model=model, renderer=Renderer(manifest.prompt))
    write(draft, [predictor.golden({"input": text}) for text in (*known, "nothing known", "Dark, dark MODE")])
    return freeze(draft, manifest, into=tmp_path / "bundles")


def write_encoder(folder: Path) -> None:
    """`hidden` is the vector of each token: what is left of an encoder without layers."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = {
        word: i for i, word in enumerate(["[UNK]", "the", "export", "button", "dark", "mode", "how", "do"])
    }
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    vectors = np.random.default_rng(1).normal(size=(len(words), 6)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["vectors", "input_ids"], ["hidden"])],
        "bag",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", "tokens", 6])],
        [numpy_helper.from_array(vectors, "vectors")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / GRAPH))
    files.write_json(folder / FACTS, {"pooling": "mean", "max_tokens": 8, "dimension": 6})


def test_a_fused_bundle_answers_from_onnx_and_a_script(fused: Bundle, tmp_path: Path) -> None:
    done = export(fused.path, "onnx", tmp_path / "out")
    assert done.proof and done.proof.parity
    assert (done.proof.parity.texts_equal, done.proof.parity.rows) == (6, 6)
    assert done.proof.parity.worst < 1e-5


@pytest.mark.slow
def test_a_transformers_folder_answers_from_a_script(adapted: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    done = export(adapted.path, "hf", tmp_path / "out")
    assert done.proof and done.proof.parity
    assert (done.proof.parity.ids_equal, done.proof.parity.texts_equal) == (4, 4)
    assert done.proof.parity.worst < 1e-3 and done.not_run == ()
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja", "ask.py"} <= {
        path.name for path in done.folder.iterdir()
    }


def test_what_cannot_be_run_here_is_said(
    adapted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    done = export(adapted.path, "hf", tmp_path / "out")
    assert done.proof is None and done.not_run == ("ask.py: torch and transformers not installed",)
    assert "Not run here: ask.py: torch" in (done.folder / "README.md").read_text()


def few_shot(bundle: Bundle, into: Path) -> Bundle:
    draft = into / "draft"
    for name in set(bundle.manifest.files) - {GOLDEN}:
        files.link_or_copy(bundle.file(name), draft / name)
    files.write_jsonl(draft / "shots.jsonl", [["a", "bug"]])
    return freeze(draft, replace(bundle.manifest, candidate="lm-few"), into=into)


@pytest.mark.parametrize(
    ("which", "to", "said"),
    [
        ("q4", "hf", ["q4_0", "does not come back", "small-lm-lora-"]),
        ("q4", "onnx", ["no ONNX encoder"]),
        ("adapted", "onnx", ["no ONNX encoder", "--to hf"]),
        ("adapted", "docker", ["torch", "smallworks quantize"]),
        ("linear", "hf", ["no language model", "--to docker"]),
        ("linear", "ollama", ["no language model", "--to docker"]),
        ("linear", "onnx", ["no ONNX graph", "--to docker"]),
        ("few", "hf", ["anew for every text", "tuned candidate"]),
        ("few", "llama.cpp", ["anew for every text"]),
    ],
)
def test_what_a_bundle_cannot_become_is_refused_with_what_to_do(
    which: str,
    to: exports.Format,
    said: list[str],
    adapted: Bundle,
    q4: Bundle,
    small_table: Table,
    tmp_path: Path,
) -> None:
    linear = next(row.bundle for row in small_table.rows if row.name == "linear")
    chosen: dict[str, Callable[[], Path | None]] = {
        "q4": lambda: q4.path,
        "adapted": lambda: adapted.path,
        "linear": lambda: linear,
        "few": lambda: few_shot(adapted, tmp_path / "few").path,
    }
    where = chosen[which]()
    assert where
    with pytest.raises(BundleError) as refused:
        export(where, to, tmp_path / "out")
    assert [words for words in said if words not in str(refused.value)] == []
    assert not (tmp_path / "out").exists()


def test_weights_that_are_already_quantised_are_never_merged(adapted: Bundle, tmp_path: Path) -> None:
    model = tmp_path / "draft" / "model"
    files.write_json(model / "config.json", {"quantization_config": {"quant_method": "bitsandbytes"}})
    manifest = replace(adapted.manifest, base=None, adapter=None, model="model")
    bundle = freeze(model.parent, manifest, into=tmp_path)
    assert weights.lacking(bundle) == "rests on weights that are already quantised (bitsandbytes)"


def test_a_folder_that_is_there_is_not_written_over(adapted: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="there already"):
        export(adapted.path, "llama.cpp", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_answers_otherwise_is_never_handed_on(q4: Bundle, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    for name in q4.manifest.files:
        files.link_or_copy(q4.file(name), draft / name)
    rows = read(q4.path)
    sure = {"bug": 0.0, "feature": 1.0, "question": 0.0}, {"bug": 1.0, "feature": 0.0, "question": 0.0}
    write(draft, [replace(rows[0], probabilities=p) for p in sure])
    other = freeze(draft, q4.manifest, into=tmp_path / "bundles")
    with pytest.raises(ModelError, match=r"answers otherwise.*Nothing was written"):
        export(other.path, "llama.cpp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_was_run_and_what_was_not(
    q4: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(q4.path), "--to", "ollama", "--out", str(tmp_path / "out")]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["proof"]["parity"]["rows"] == 4 and document["not_run"][0].startswith("ollama: ")
    assert run(["export", str(q4.path), "--to", "coreml", "--out", "x"]) == 2
