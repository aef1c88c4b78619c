"""What the prompt tests share: a tiny ChatML model folder made here, and the real fixtures where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from string import ascii_lowercase

import pytest
from hypothesis import settings
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from smallworks.prompt import Template, TextTokenizer

# A busy machine is not a failure.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{{ message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]


@pytest.fixture(scope="session")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a byte-level BPE of about 600 tokens and the ChatML template."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[AddedToken(text, special=True) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(
        ["Text: the export button crashes. Answer with the code of one label."] * 20, trainer
    )
    folder = tmp_path_factory.mktemp("chatml")
    inner.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHATML)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": None, "eos_token": {"content": "<|im_end|>"}, "pad_token": "<|pad|>"})
    )
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    return folder


@pytest.fixture(scope="session")
def template(chatml: Path) -> Template:
    return Template.load(chatml)


@pytest.fixture(scope="session")
def tokenizer(chatml: Path) -> TextTokenizer:
    return TextTokenizer.load(chatml)


@pytest.fixture(scope="session")
def merging(tokenizer: TextTokenizer) -> tuple[Template, str]:
    """A template without an end of turn whose last letter merges with a certain next one; that letter."""
    pairs = ((a, b) for a in ascii_lowercase for b in ascii_lowercase)
    last, following = next((a, b) for a, b in pairs if len(tokenizer.encode(a + b)) == 1)
    return Template("{{ messages[0].content }}\n" + last, special={"eos_token": "<|im_end|>"}), following


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real tokenizers and templates."""
    folder = Path(os.environ.get("SMALLWORKS_SHARED", Path(__file__).parents[3] / "shared")) / "fixtures"
    if not folder.is_dir():
        pytest.skip("../shared is absent: real tokenizers and templates are not here to compare with")
    return folder
