"""Bundles over one base: one model in memory, and each answers as it does alone, whoever asks between."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import numpy as np
import pytest

from smallworks import compress, files
from smallworks import starter as embedded
from smallworks.bundle import Bundle, Manifest, freeze
from smallworks.compress.weights import write as write_tensors
from smallworks.engines.base import resolve, words_of
from smallworks.engines.llamacpp_turns import Turns
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.engines.predictor import Predictor
from smallworks.engines.shared import SharedBase
from smallworks.engines.weigh import adapter_bytes, bytes_of
from smallworks.errors import BundleError
from smallworks.prompt import Renderer
from smallworks.server import background, memory
from smallworks.server.assembly import assembled
from smallworks.server.bases import Bases
from smallworks.server.bundles import open_proven
from smallworks.server.config import Config
from smallworks.server.failures import NotLoaded
from smallworks.server.memory import MemoryBudget, RoomConfig
from smallworks.server.meters import Meters
from smallworks.types import PromptSpec, Sampling

TEXTS = ("The export button does nothing.", "The export button is blue.", "Please add a dark mode!")
"""The first two share most of their prompt, which is what a prompt cache would reuse."""


def made_adapter(folder: Path, seed: int) -> Path:
    """A LoRA over the starter's last layer that changes what it writes."""
    random, config = np.random.default_rng(seed), files.read_json(embedded.MODEL / "config.json")
    width, layer = config["hidden_size"], config["num_hidden_layers"] - 1
    name = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
    heads = config["head_dim"] * config["num_attention_heads"]
    tensors = {
        f"{name}.lora_A.weight": random.normal(0, 0.3, (4, heads)).astype(np.float32),
        f"{name}.lora_B.weight": random.normal(0, 0.3, (width, 4)).astype(np.float32),
    }
    folder.mkdir(parents=True)
    plan = {key: ("F32", tensor.shape) for key, tensor in tensors.items()}
    write_tensors(folder / "adapter_model.safetensors", plan, tensors.values())
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["o_proj"]}
    files.write_json(folder / "adapter_config.json", config)
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Two adapters over the starter's GGUF, and the GGUF alone, as bundles that write."""
    scratch = tmp_path_factory.mktemp("bases")
    gguf, words = compress.quantize(embedded.MODEL, scratch / "base.gguf", "q8_0"), words_of(resolve(None))
    spec = PromptSpec(style="chat", kind="generate", instruction="Answer the ticket.")
    stops = Renderer(spec, words.template, words.tokenizer).stop_ids
    bundles = []
    for task, seed in {"one": 1, "two": 2, "bare": 0}.items():
        draft = scratch / task
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
            files.link_or_copy(embedded.MODEL / name, draft / "tokenizer" / name)
        files.link_or_copy(gguf, draft / "model.gguf")
        if seed:
            lora = made_adapter(scratch / f"lora-{seed}", seed)
            compress.convert_adapter(embedded.MODEL, lora, draft / "adapter.gguf")
        manifest = Manifest(
            task=task,
            kind="generate",
            candidate="lm-lora-adapter-q8_0",
            engine="llamacpp",
            prompt=spec,
            sampling=Sampling(max_tokens=12, stop_ids=stops),
            model="model.gguf",
            adapter="adapter.gguf" if seed else None,
            quantization="adapter-q8_0" if seed else "q8_0",
        )
        bundles.append(freeze(draft, manifest, into=scratch / "bundles"))
    return bundles


@pytest.fixture(scope="module")
def alone(three: list[Bundle]) -> dict[str, list[str]]:
    """What each says of the texts in a process of its own, as it were."""
    said = {}
    for bundle in three:
        with open_predictor(bundle, threads=1) as predictor:
            said[bundle.manifest.task] = [predictor(text) for text in TEXTS]
    assert len({tuple(texts) for texts in said.values()}) == 3, "else nothing could be told apart"
    return said


@pytest.fixture
def bases(three: list[Bundle]) -> Bases:
    return Bases([bundle.path for bundle in three], open_proven)


@pytest.fixture
def opened(three: list[Bundle], bases: Bases) -> Iterator[dict[str, Predictor]]:
    predictors = {bundle.manifest.task: bases.open(bundle.path) for bundle in three}
    yield predictors
    for predictor in predictors.values():
        predictor.close()


def test_they_answer_in_turns_and_at_once_as_each_does_alone(
    opened: dict[str, Predictor], alone: dict[str, list[str]]
) -> None:
    servers = {id(predictor.model._server) for predictor in opened.values()}  # type: ignore[attr-defined]
    assert len(servers) == 1
    asked = [(task, at) for at in (0, 1, 0, 2) for task in (*opened, "one", "bare")]
    for task, at in asked:
        assert opened[task](TEXTS[at]) == alone[task][at]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda pair: opened[pair[0]](TEXTS[pair[1]]), asked))
    assert said == [alone[task][at] for task, at in asked]


def test_who_is_cancelled_before_the_turn_comes_reads_no_prompt(opened: dict[str, Predictor]) -> None:
    one, cancel = opened["one"], Event()
    prompt, sampling = one.render(TEXTS[0]), one.manifest.sampling
    turns: Turns = one.model._server._turns  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool, turns.turn((9.0,)):
        whole = pool.submit(one.model.generate, prompt, sampling, cancel=cancel)
        pieces = pool.submit(lambda: list(one.model.stream(prompt, sampling, cancel=cancel)))
        with turns._changed:
            while not turns._changed.wait_for(lambda: len(turns._waiting) == 2, 0.01):
                pass
        cancel.set()
        done = whole.result(30), pieces.result(30)[-1].completion
    assert [(said.finish, said.tokens_out) for said in done if said] == [("cancelled", 0)] * 2


def test_the_base_goes_with_the_last_bundle_and_comes_again(
    three: list[Bundle], bases: Bases, alone: dict[str, list[str]]
) -> None:
    first, second = (bases.open(bundle.path) for bundle in three[:2])
    first.close()
    first.close()
    assert second(TEXTS[0]) == alone["two"][0]
    second.close()
    with pytest.raises(Exception, match="closed"):
        second(TEXTS[0])
    with bases.open(three[0].path) as again:
        assert again(TEXTS[0]) == alone["one"][0]


def test_an_adapter_that_was_changed_is_left_out_and_its_bundle_alone_refused(
    three: list[Bundle], alone: dict[str, list[str]], tmp_path: Path
) -> None:
    first, second, _ = three
    changed = replace(first, path=tmp_path)
    changed.file("adapter.gguf").write_bytes(first.file("adapter.gguf").read_bytes() + b"!")
    base = SharedBase({b.file("adapter.gguf"): b.manifest.files["adapter.gguf"] for b in (changed, second)})
    with pytest.raises(BundleError, match="not what was frozen"):
        base.take(changed)
    with open_predictor(second, model=base.take(second)) as predictor:
        assert predictor(TEXTS[0]) == alone["two"][0]
        with pytest.raises(BundleError, match="not what was frozen"):
            base.take(changed)


def test_a_bundle_that_cannot_be_read_says_so_when_it_is_opened(three: list[Bundle], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(three[0].path, damaged)
    (damaged / "model.gguf").write_bytes(b"GGUF")
    bases = Bases([tmp_path / "gone", damaged, three[2].path], open_proven)
    with pytest.raises(BundleError, match="No bundle at"):
        bases.open(tmp_path / "gone")
    with pytest.raises(BundleError, match=r"model\.gguf"):
        bases.later(damaged)


@pytest.mark.parametrize("load", ["start", "demand"])
def test_the_server_gives_each_its_own_adapter(
    three: list[Bundle], alone: dict[str, list[str]], load: Any
) -> None:
    config = Config.usual().model_copy(
        update={"bundles": tuple(str(b.path) for b in three), "room": RoomConfig(load=load)}
    )
    asked = [(task, at) for at in (0, 1, 2) for task in alone]

    def ask(pair: tuple[str, int]) -> str:
        body = {"model": pair[0], "messages": [{"role": "user", "content": TEXTS[pair[1]]}]}
        reply = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=60).raise_for_status()
        return str(reply.json()["choices"][0]["message"]["content"])

    with ExitStack() as stack:
        url = stack.enter_context(background(assembled(config, stack, local=True)))
        with ThreadPoolExecutor(6) as pool:
            said = list(pool.map(ask, asked))
        counted = httpx2.get(f"{url}/metrics").text
    assert said == [alone[task][at] for task, at in asked]
    assert ('smallworks_loaded_bytes{bundle="base-' in counted) == (load == "demand")


def test_an_adapter_counts_beside_its_base(three: list[Bundle]) -> None:
    one, _, bare = three
    assert bytes_of(one) - bytes_of(bare) == adapter_bytes(one) == one.file("adapter.gguf").stat().st_size
    assert adapter_bytes(bare) == 0


@dataclass(eq=False)
class Piece:
    """A bundle for the budget: `base` is what it shares."""

    name: str
    bytes: int
    base: Any = None
    used: float = 0.0
    busy: bool = False

    def idle(self) -> bool:
        return not self.busy

    def open(self) -> Any:
        return None

    def drop(self) -> None:
        return None


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> MemoryBudget:
    """Of 100 bytes, where a load grows by half of what was told."""
    monkeypatch.setattr(memory, "resident", lambda: 0)
    monkeypatch.setattr(memory, "available", lambda: 10**15)
    monkeypatch.setattr(memory, "WAIT", 0.0)
    return MemoryBudget(100, Meters())


def test_a_shared_base_counts_once_and_goes_with_those_that_share_it(budget: MemoryBudget) -> None:
    base = Piece("base", 80)
    one, two = Piece("one", 8, base, used=1), Piece("two", 8, base, used=3)
    other, last = Piece("other", 20, used=2), Piece("last", 40)

    def inside() -> list[str]:
        return [each.name for each in budget._inside]

    async def play() -> None:
        for bundle in (one, two, other):
            await budget.load(bundle)  # type: ignore[arg-type]
        assert inside() == ["one", "two", "other"] and base.bytes == 40
        await budget.load(last)  # type: ignore[arg-type]
        assert inside() == ["one", "two", "last"], "'two' was asked last, and its base is that of 'one'"
        last.used, one.busy = 4.0, True
        with pytest.raises(NotLoaded):
            await budget.load(Piece("much", 90))  # type: ignore[arg-type]
        assert inside() == ["one", "two"], "one of them is busy, and both stay"
        one.busy = False
        await budget.load(Piece("much", 90))  # type: ignore[arg-type]
        assert inside() == ["much"]

    asyncio.run(play())
