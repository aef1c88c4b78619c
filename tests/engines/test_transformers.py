"""The reference engine on a random tiny model: what no other engine shares is tested here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import jsonschema_rs
import numpy as np
import pytest

from smallworks import starter
from smallworks.engines import shape
from smallworks.engines.transformers import Quantization, Transformers, resolve
from smallworks.errors import MissingExtra, ModelError, RequestError
from smallworks.types import Choices, Prompt, Sampling

torch = pytest.importorskip("torch")

LABELS = Choices(labels=("x", "y", "z"), codes=("A", "B", "C"), ids=(36, 37, 38))
FACTS = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def save(folder: Path, seed: int = 0) -> Path:
    """A random two-layer Llama with the starter's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(starter.MODEL / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Transformers]:
    made = Transformers(folder, threads=1)
    yield made
    made.close()


def exact(engine: Transformers, ids: tuple[int, ...]) -> np.ndarray:
    """The definition: one forward pass over the whole prompt, log-softmax over the choices."""
    with torch.inference_mode():
        logits = engine._model(input_ids=torch.tensor([list(ids)])).logits[0, -1, list(LABELS.ids)]
    return np.asarray(torch.log_softmax(logits.double(), -1))


def prompts(prefix: int, lengths: list[int]) -> list[Prompt]:
    random = np.random.default_rng(0)
    shared = random.integers(10, 4000, prefix).tolist()
    return [Prompt(text="", ids=(*shared, *random.integers(10, 4000, n).tolist())) for n in lengths]


@pytest.mark.parametrize(
    ("prefix", "lengths"), [(0, [5, 1, 9]), (60, [3, 40, 1, 17]), (3, [4, 4]), (30, [2])]
)
def test_batched_scores_equal_the_definition(engine: Transformers, prefix: int, lengths: list[int]) -> None:
    rows = prompts(prefix, lengths)
    scores = engine.score(rows, LABELS)
    assert scores.dtype == np.float64 and scores.shape == (len(rows), 3)
    assert np.allclose(np.exp(scores).sum(1), 1)
    assert np.allclose(scores, [exact(engine, row.ids) for row in rows], atol=1e-4)


def test_scoring_one_by_one_keeps_the_shared_prefix(engine: Transformers) -> None:
    rows = prompts(50, [6, 12, 3, 8])
    scores = np.concatenate([engine.score([row], LABELS) for row in rows])
    assert len(engine._scorer._prefix) == 50
    assert np.allclose(scores, [exact(engine, row.ids) for row in rows], atol=1e-4)


def test_batches_are_bounded_and_lose_no_row(engine: Transformers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallworks.engines.scoring.BATCH_TOKENS", 40)
    rows = prompts(20, [5, 9, 30, 2, 11, 60, 7])
    scores = engine.score(rows, LABELS)
    assert np.allclose(scores, [exact(engine, row.ids) for row in rows], atol=1e-4)
    assert engine.score([], LABELS).shape == (0, 3)


def test_labels_without_ids_are_refused(engine: Transformers) -> None:
    with pytest.raises(RequestError, match="3 labels have 0 token ids"):
        engine.score(prompts(0, [3]), Choices(labels=("x", "y", "z")))


def test_greedy_equals_the_library_s_own_generate(engine: Transformers) -> None:
    ids = prompts(0, [12])[0].ids
    ours = engine.generate(Prompt(text="", ids=ids), Sampling(max_tokens=20))
    theirs = engine._model.generate(
        torch.tensor([list(ids)]), attention_mask=torch.ones(1, 12), max_new_tokens=20, do_sample=False
    )[0, 12:]
    assert ours.ids == tuple(token for token in theirs.tolist() if token != 2)


def test_a_long_prompt_is_computed_in_chunks(engine: Transformers, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = prompts(0, [100])[0]
    whole = engine.generate(prompt, Sampling(max_tokens=8))
    monkeypatch.setattr("smallworks.engines.steps.CHUNK", 7)
    assert engine.generate(prompt, Sampling(max_tokens=8)) == whole


def test_top_p_of_almost_nothing_is_greedy(engine: Transformers) -> None:
    prompt = prompts(0, [12])[0]
    narrow = engine.generate(prompt, Sampling(max_tokens=10, temperature=1.0, top_p=1e-9, seed=1))
    assert narrow == engine.generate(prompt, Sampling(max_tokens=10))


@pytest.mark.parametrize("seed", range(5))
def test_a_schema_makes_random_weights_write_valid_json(engine: Transformers, seed: int) -> None:
    sampling = Sampling(max_tokens=200, temperature=1.0, seed=seed, schema=FACTS)
    answer = engine.generate(Prompt(text="Who?"), sampling)
    if answer.finish == "stop":
        jsonschema_rs.validate(FACTS, json.loads(answer.text))
        assert not answer.text.endswith((" ", "\n")) and ": " not in answer.text.split('"age"')[1]
    else:
        assert answer.tokens_out == 200


def test_a_bad_schema_is_refused_with_the_reason(engine: Transformers) -> None:
    with pytest.raises(RequestError, match='"foo" is not valid'):
        engine.generate(Prompt(text="x"), Sampling(schema={"type": "foo"}))


def test_answers_end_at_the_context(engine: Transformers) -> None:
    answer = engine.generate(prompts(0, [250])[0], Sampling(max_tokens=50, temperature=2.0, seed=0))
    assert answer.tokens_in + answer.tokens_out <= 256
    with pytest.raises(RequestError, match="takes 256 tokens; the model's context is 256"):
        engine.generate(prompts(0, [256])[0], Sampling())


def test_cancelling_in_the_middle_ends_the_stream(engine: Transformers) -> None:
    cancel = Event()
    stream = engine.stream(
        prompts(0, [5])[0], Sampling(max_tokens=200, temperature=1.0, seed=2), cancel=cancel
    )
    next(stream)
    cancel.set()
    *_, last = stream
    assert last.completion is not None and last.completion.finish == "cancelled"
    assert last.completion.tokens_out < 20


def test_two_open_streams_do_not_wait_for_each_other(engine: Transformers) -> None:
    prompt, sampling = prompts(0, [9])[0], Sampling(max_tokens=12)
    alone = engine.generate(prompt, sampling)
    first, second = engine.stream(prompt, sampling), engine.stream(prompt, sampling)
    next(first)
    *_, two = second
    *_, one = first
    assert one.completion == two.completion == alone


def test_threads_get_the_answers_they_would_get_alone(engine: Transformers) -> None:
    rows = prompts(20, [4, 7, 9, 12])
    alone = [engine.generate(row, Sampling(max_tokens=10)) for row in rows]
    found: dict[int, object] = {}

    def ask(index: int) -> None:
        found[index] = engine.generate(rows[index], Sampling(max_tokens=10))
        engine.score([rows[index]], LABELS)

    threads = [Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(4)] == alone


def test_a_closed_engine_says_so(folder: Path) -> None:
    engine = Transformers(folder, threads=1)
    engine.close()
    engine.close()
    with pytest.raises(ModelError, match="is closed"):
        engine.generate(Prompt(text="x"), Sampling())


def test_small_models_are_float32_on_a_cpu() -> None:
    assert resolve("auto", parameters=135_000_000) == "float32"
    assert resolve("auto", parameters=500_000_000) == "bfloat16"
    assert resolve("auto", parameters=3_000_000, device="cuda") == "bfloat16"
    assert resolve("bfloat16", parameters=1) == "bfloat16"


def test_truncated_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="truncated"):
        Transformers(broken, threads=1)


def test_missing_tensors_are_refused_not_made_up(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lack 1 of the model's tensors"):
        Transformers(broken, threads=1)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickles"):
        Transformers(pickled, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_bitsandbytes_weights_score_near_the_reference(quantization: Quantization) -> None:
    pytest.importorskip("bitsandbytes")
    rows = [Prompt(text="The word is"), Prompt(text="The word that we look for is")]
    whole, small = (
        Transformers(starter.MODEL, threads=1),
        Transformers(starter.MODEL, quantization=quantization),
    )
    scores, reference = small.score(rows, LABELS), whole.score(rows, LABELS)
    assert np.allclose(np.exp(scores).sum(1), 1)
    assert 0 < np.abs(np.exp(scores) - np.exp(reference)).max() < (0.05 if quantization == "int8" else 0.3)


def write_compressed(folder: Path, out: Path, *, bits: int) -> dict[str, np.ndarray]:
    """The linear layers packed here by hand, as compressed-tensors has it; returns them as whole numbers say.

    4 bits: groups of 16 columns, eight numbers in one of 32 bits, the earlier one lower; 8 bits: a scale a
    row, and activations in 8 bits too.
    """
    from safetensors.numpy import load_file, save_file

    shutil.copytree(folder, out)
    stored, dense = {}, {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            stored[name] = dense[name] = weight
            continue
        groups = weight.reshape(len(weight), -1, 16) if bits == 4 else weight[:, None]
        most = 2 ** (bits - 1) - 1
        scales = np.abs(groups).max(2, keepdims=True) / most
        whole = np.rint(groups / scales).astype(np.int64)
        dense[name] = (whole * scales).reshape(weight.shape).astype(np.float32)
        stored[f"{name}_scale"] = scales[..., 0].astype(np.float32)
        if bits == 8:
            stored[name] = whole[:, 0].astype(np.int8)
            continue
        nibbles = (whole + 8).reshape(len(weight), -1, 8) << np.arange(0, 32, 4)
        stored[f"{name}_packed"] = nibbles.sum(2).astype(np.uint32).view(np.int32)
        stored[f"{name}_shape"] = np.array(weight.shape, np.int64)
    save_file(stored, out / "model.safetensors", metadata={"format": "pt"})
    usual = {"num_bits": bits, "type": "int", "symmetric": True}
    spread = {"strategy": "group", "group_size": 16} if bits == 4 else {"strategy": "channel"}
    asked = {**usual, "strategy": "token", "dynamic": True} if bits == 8 else None
    form = "pack-quantized" if bits == 4 else "int-quantized"
    group = {
        "targets": ["Linear"],
        "weights": {**usual, **spread},
        "input_activations": asked,
        "format": form,
    }
    config = json.loads((out / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": group},
        "format": form,
        "ignore": ["lm_head"],
        "quantization_status": "compressed",
    }
    (out / "config.json").write_text(json.dumps(config))
    return dense


@pytest.mark.parametrize("bits", [4, 8])
def test_compressed_tensors_answer_as_the_numbers_that_they_hold(
    folder: Path, tmp_path: Path, bits: int, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("compressed_tensors")
    from safetensors.numpy import save_file

    numbers = write_compressed(folder, tmp_path / "small", bits=bits)
    dense = shutil.copytree(folder, tmp_path / "dense")
    save_file(numbers, dense / "model.safetensors", metadata={"format": "pt"})
    rows = [Prompt(text="", ids=tuple(range(40, 40 + n))) for n in (5, 9)]
    small = Transformers(tmp_path / "small", threads=1)
    scores, wanted = small.score(rows, LABELS), Transformers(dense, threads=1).score(rows, LABELS)
    off = np.abs(scores - wanted).max()
    assert off < 1e-4 if bits == 4 else 1e-4 < off < 0.5, "activations of 8 bits are not the whole ones"
    assert np.allclose(small.score(rows[:1], LABELS), scores[:1], atol=1e-4), "whatever stands beside it"
    assert "it/s" not in capfd.readouterr().err, "no bars on the user's terminal"


def test_compressed_tensors_without_their_library_name_the_extra(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_compressed(folder, tmp_path / "small", bits=4)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"compressed_tensors.*\[quant\]"):
        Transformers(tmp_path / "small", threads=1)


def test_packed_weights_are_counted_by_their_parameters(folder: Path, tmp_path: Path) -> None:
    write_compressed(folder, tmp_path / "small", bits=4)
    whole, packed = shape.read(folder), shape.read(tmp_path / "small")
    assert whole.parameters < packed.parameters < 1.1 * whole.parameters
