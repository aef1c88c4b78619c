"""llama.cpp beyond the contract: exactness against transformers, and each trap of the library."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from smallworks import compress
from smallworks.engines import verbatim
from smallworks.engines.llamacpp import GgufTokenizer, LlamaCpp
from smallworks.errors import ModelError, RequestError, SmallworksError
from smallworks.types import Choices, Prompt, Sampling

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "sure": {"type": "boolean"}},
    "required": ["name", "sure"],
    "additionalProperties": False,
}
WIDE = Choices(labels=tuple(map(str, range(40))), ids=tuple(range(20, 60)))


@pytest.fixture(scope="module")
def model(tiny_gguf):
    with_it = LlamaCpp(tiny_gguf, threads=1)
    yield with_it
    with_it.close()


@pytest.fixture(scope="module")
def ids(tiny_tokenizer):
    return lambda text: tuple(tiny_tokenizer.encode(text).ids)


@pytest.fixture(scope="module")
def reference(tiny_folder):
    """Log-probabilities over WIDE by transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    hf = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()

    def score(prompts):
        with torch.inference_mode():
            last = [hf(torch.tensor([p.ids])).logits[0, -1, list(WIDE.ids)] for p in prompts]
        return torch.log_softmax(torch.stack(last).double(), -1).numpy()

    return score


@pytest.fixture(scope="module")
def prompts(recitals, ids):
    texts = [text + answer[:n] for text, answer in recitals.items() for n in (0, 7, 40)]
    return [Prompt(text=text, ids=ids(text)) for text in texts]


@pytest.mark.parametrize(("kind", "tolerance"), [("f32", 1e-4), ("f16", 1e-2), ("q8_0", 0.5)])
def test_scores_are_those_of_transformers(tiny_folder, tmp_path, prompts, reference, kind, tolerance):
    model = LlamaCpp(compress.quantize(tiny_folder, tmp_path / "m.gguf", kind), threads=1)
    expected = reference(prompts)
    scores = model.score(prompts, WIDE)
    model.close()
    assert np.exp(scores) == pytest.approx(np.exp(expected), abs=tolerance / 10)
    sure = expected > -10
    assert scores[sure] == pytest.approx(expected[sure], abs=tolerance)


def test_the_prompt_cache_changes_no_score(model, prompts):
    fresh = {prompt.ids: model.score([prompt], WIDE) for prompt in prompts}
    for _ in range(3):
        for prompt in [*prompts[::-1], *prompts[::2], *prompts[1::2]]:
            assert model.score([prompt], WIDE) == pytest.approx(fresh[prompt.ids], abs=1e-4)


def test_scores_hold_while_other_requests_run(model, prompts):
    alone = model.score(prompts, WIDE)
    with ThreadPoolExecutor(6) as pool:
        talk = [pool.submit(model.generate, prompt, Sampling(max_tokens=60)) for prompt in prompts]
        scores = list(pool.map(lambda _: model.score(prompts, WIDE), range(4)))
        [one.result() for one in talk]
    for together in scores:
        assert together == pytest.approx(alone, abs=1e-4)


def test_two_labels_cannot_share_a_code(model, prompts):
    with pytest.raises(RequestError, match="2 labels have 1 different"):
        model.score(prompts, Choices(labels=("a", "b"), ids=(30, 30)))


def test_a_schema_holds_whatever_the_model_would_say(model, prompts):
    completion = model.generate(prompts[0], Sampling(max_tokens=60, schema=SCHEMA))
    answer = json.loads(completion.text)
    assert set(answer) == {"name", "sure"}
    assert completion.finish == "stop"


def test_a_schema_leaves_no_room_for_white_space(model, prompts):
    for seed in range(12):
        sampling = Sampling(max_tokens=80, temperature=8.0, seed=seed, schema=SCHEMA)
        text = model.generate(prompts[0], sampling).text
        assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii="\\u" in text)


def test_a_field_that_is_held_to_a_text_says_nothing_else(model, prompts):
    text = "Rain in La Paz on the 3rd"
    marked = {"type": "object", "properties": {"town": {"type": "string", "x-verbatim": True}}}
    schema = verbatim.held({**marked, "required": ["town"], "additionalProperties": False}, text)
    for seed in range(3):
        sampling = Sampling(max_tokens=80, temperature=8.0, seed=seed, schema=schema)
        assert json.loads(model.generate(prompts[0], sampling).text)["town"] in verbatim.spans(text)


def test_an_answer_that_llama_cpp_let_go_of_its_schema_is_none(model, prompts, monkeypatch):
    unknown = {**SCHEMA, "properties": {"name": {"type": "string", "format": "no-such"}}}
    monkeypatch.setattr("smallworks.engines.llamacpp.usable", lambda _: unknown)
    sampling = Sampling(max_tokens=60, schema=SCHEMA)
    for ask in (model.generate, lambda *asked: list(model.stream(*asked))):
        with pytest.raises(SmallworksError, match="did not hold"):
            ask(prompts[0], sampling)


def test_a_schema_that_is_none_is_refused(model, prompts):
    with pytest.raises(RequestError, match="schema is not valid"):
        model.generate(prompts[0], Sampling(schema={"type": "nonsense"}))


def test_the_port_of_the_library_asks_for_the_key(model):
    address = urlsplit(model._server.address)
    assert address.hostname == "127.0.0.1"
    for method, path in [
        ("POST", "/completion"),
        ("POST", "/tokenize"),
        ("GET", "/props"),
        ("GET", "/slots"),
    ]:
        for headers in ({}, {"Authorization": "Bearer guess"}):
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
            connection.request(method, path, "{}", headers)
            assert connection.getresponse().status == 401
            connection.close()


def test_closing_frees_the_port_and_the_threads(tiny_gguf):
    before = threading.active_count(), psutil.Process().num_threads()
    model = LlamaCpp(tiny_gguf, threads=1)
    port = urlsplit(model._server.address).port
    model.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert (threading.active_count(), psutil.Process().num_threads()) <= (before[0], before[1] + 1)


def test_closing_right_after_opening_does_not_hang(tiny_gguf):
    for _ in range(10):
        LlamaCpp(tiny_gguf, threads=1).close()


def test_opening_and_closing_leaks_no_memory(tiny_gguf):
    def resident():
        for _ in range(10):
            LlamaCpp(tiny_gguf, threads=1).close()
        return psutil.Process().memory_info().rss

    resident()
    assert resident() - resident() < 8 * 2**20


def test_closing_ends_a_running_answer(tiny_gguf, prompts):
    model = LlamaCpp(tiny_gguf, threads=1)
    stream = model.stream(prompts[0], Sampling(max_tokens=400))
    next(stream)
    model.close()
    assert list(stream)[-1].completion is not None


def test_closing_one_engine_leaves_another_alone(tiny_gguf, model, prompts):
    expected = model.score(prompts, WIDE)
    LlamaCpp(tiny_gguf, threads=1).close()
    assert model.score(prompts, WIDE) == pytest.approx(expected, abs=1e-4)


def test_an_exception_while_an_answer_comes_is_not_lost(model, prompts):
    def interrupt(_event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model._server.stream({"prompt": list(prompts[0].ids), "n_predict": 5}, (), interrupt)


def test_a_prompt_may_come_as_text(model, prompts):
    with_ids = model.generate(prompts[0], Sampling(max_tokens=30))
    assert model.generate(Prompt(text=prompts[0].text), Sampling(max_tokens=30)) == with_ids


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(RequestError, match="empty"):
        model.generate(Prompt(text=""), Sampling())


def test_the_answer_ends_where_the_context_ends(tiny_gguf, prompts):
    model = LlamaCpp(tiny_gguf, context=64, slots=1, threads=1)
    completion = model.generate(prompts[0], Sampling(max_tokens=500))
    model.close()
    assert completion.finish == "length"
    assert completion.tokens_in + completion.tokens_out == 64


def test_a_file_that_is_no_model_is_explained_not_attempted(tmp_path, tiny_gguf):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cut off"):
        LlamaCpp(cut)


def test_a_whole_file_that_does_not_load_is_explained(tmp_path):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "odd.gguf", "nonesuch")
    writer.add_tensor("x", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="cannot load"):
        LlamaCpp(tmp_path / "odd.gguf")


def test_llama_cpp_writes_nothing_to_the_terminal(tiny_gguf):
    code = (
        "import sys; from pathlib import Path; from smallworks.engines.llamacpp import LlamaCpp\n"
        "m = LlamaCpp(Path(sys.argv[1]), threads=1); m.count('x'); m.close()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiny_gguf)], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_bare_file_brings_its_tokenizer_and_template(model, tiny_folder, tiny_tokenizer, recitals):
    words = GgufTokenizer(model)
    for text, answer in recitals.items():
        ids = words.encode(text + answer)
        assert ids == tiny_tokenizer.encode(text + answer).ids
        assert words.decode(ids) == tiny_tokenizer.decode(ids, skip_special_tokens=True)
    assert words.size == tiny_tokenizer.get_vocab_size()
    assert model.chat_template == (tiny_folder / "chat_template.jinja").read_text()
    assert model.special_tokens["eos_token"] == "<|im_end|>"
    assert model.eos_ids == (2,)


class TestAdapters:
    """LoRA adapters beside the base: the prompt cache must not carry one into the other."""

    @pytest.fixture(scope="class")
    def adapted(self, tiny_gguf, tiny_folder, tmp_path_factory):
        lora = compress.convert_adapter(
            tiny_folder,
            make_adapter(tiny_folder, tmp_path_factory.mktemp("lora")),
            tmp_path_factory.mktemp("gguf") / "lora.gguf",
        )
        model = LlamaCpp(tiny_gguf, threads=1, slots=1, loras=[(lora, 1.0)])
        yield model
        model.close()

    def test_scale_zero_is_the_base(self, adapted, model, prompts):
        assert adapted.with_scales(0.0).score(prompts, WIDE) == pytest.approx(
            model.score(prompts, WIDE), abs=1e-4
        )

    def test_base_and_adapter_do_not_share_a_cache(self, adapted, model, prompts):
        """Without explicit scales, the second of these would be answered from the first one's cache."""
        base = adapted.with_scales(0.0)
        expected = model.score(prompts, WIDE)
        for _ in range(2):
            with_lora = adapted.score(prompts, WIDE)
            assert np.abs(with_lora - expected).max() > 0.5
            assert base.score(prompts, WIDE) == pytest.approx(expected, abs=1e-4)

    def test_scales_are_counted(self, adapted):
        with pytest.raises(ModelError, match="2 scales for 1 adapters"):
            adapted.with_scales(1.0, 0.5)


def make_adapter(folder, out):
    """A PEFT LoRA adapter with random weights over `folder`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned = get_peft_model(base, config)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    tuned.save_pretrained(out)
    return out
