"""What all tests share: no network, the real data where they are, and a small real model."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A busy machine is not a failure.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
RECITALS = {
    "Recite one.": "The café on the quay opened at 7 o'clock; 34 gulls (hungry ones) sat. 🎉 Nobody paid.",
    "Recite two.": "Mira wrote: “naïve, 漢字 and ½ a loaf” on the wall, then she counted down to one.",
    "Recite three.": "Rain fell on the tin roof all night, and in the morning the garden smelled of stone.",
}
"""What the tiny model knows by heart: greedy answers that are long, sure, and full of split characters."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail any test that reaches beyond loopback, even where the code under test forgives the refusal."""
    reached: list[str] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def refuse(host: object) -> None:
        if not _is_here(host):
            reached.append(str(host))
            raise ConnectionRefusedError(f"a test reached for {host}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            refuse(address[0])
        connect(self, address)

    def guarded_resolve(host: Any, *rest: Any, **options: Any) -> Any:
        refuse(host)
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
    monkeypatch.setenv("SMALLWORKS_HUB_URL", "http://127.0.0.1:9")  # for children, which no patch reaches
    yield
    assert reached == [], "this test reached beyond loopback"


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", socket.gethostname())
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama in float32 that recites RECITALS, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[2], "pad_token": SPECIAL[3]}
    config = {"tokenizer_class": "TokenizersBackend", "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    _memorised(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def shared_files() -> Path:
    """The folder of real tokenizers, models and data that the project is tested on, where it is at hand."""
    path = Path(os.environ.get("SMALLWORKS_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"../shared is absent: {path}")
    return path


@pytest.fixture(scope="session")
def recitals() -> dict[str, str]:
    """Rendered prompts and the answers that the tiny model gives to them."""
    return {_rendered(prompt): answer for prompt, answer in RECITALS.items()}


def _rendered(text: str) -> str:
    """The prompt that TEMPLATE makes of one user message."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def _tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Characters outside ASCII stay single bytes, so that a stream has to put them together.
    plain = [text.encode("ascii", "ignore").decode() for text in RECITALS.values()]
    tokenizer.train_from_iterator([*plain, *RECITALS], trainer)
    return tokenizer


def _memorised(tokenizer: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=3,
        )
    )
    texts = [f"{_rendered(prompt)}{answer}<|im_end|>\n" for prompt, answer in RECITALS.items()]
    rows = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [3] * (width - len(row)) for row in rows])
    labels = ids.masked_fill(ids == 3, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    assert loss.item() < 0.1, loss.item()
    return model.eval()
