"""A Llama of SmolLM2-135M's shape with random weights, for what depends on the shape alone."""

from __future__ import annotations

import shutil
from pathlib import Path

SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def make(folder: Path, words: Path) -> Path:
    """The model in `folder`, with the tokenizer of `words`. Float16 holds the weights exactly."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).half().float()
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "chat_template.jinja"):
        shutil.copyfile(words / name, folder / name)
    shutil.copyfile(words / "from-jatin-tokenizer_config.json", folder / "tokenizer_config.json")
    return folder
