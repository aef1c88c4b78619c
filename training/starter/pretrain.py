"""Trains the starter within a budget of minutes: `python -m training.starter.pretrain --help`."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from training.starter import batches, config, corpora, curriculum, documents, encoding, measure
from training.starter import model as architecture
from training.starter import tokenizer as bpe
from training.starter.curriculum import tables
from training.starter.curriculum.labels import CODES

SAVE_EVERY = 180.0  # seconds between checkpoints
LOG_EVERY = 20  # steps
DRAWN_A_STEP = 16  # conversations, about


@dataclass(slots=True)
class Run:
    """What a checkpoint holds: everything that changes while training."""

    model: LlamaForCausalLM
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """`out`: the model folder. `work`: checkpoint and loss curve."""

    out: Path
    work: Path

    @property
    def checkpoint(self) -> Path:
        return self.work / "checkpoint.pt"

    @property
    def curve(self) -> Path:
        return self.work / "loss.csv"


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    settings = config.read(arguments.config)
    torch.manual_seed(settings.seed)
    places = Places(arguments.out, arguments.work)
    places.work.mkdir(parents=True, exist_ok=True)
    source = corpora.read(arguments.corpora)
    texts = documents.build(source)
    tokenizer = _tokenizer(places.out, settings, source, texts)
    run = start(settings, places, tokenizer, arguments.resume, arguments.begin)
    drawn = run.step * DRAWN_A_STEP + (curriculum.ALL_MIXED if arguments.begin else 0)
    data = streams(run, settings, source, texts, tokenizer, drawn)
    train(run, settings, places, data, arguments.minutes * 60, arguments.precision)
    architecture.save(run.model, places.out)
    saved = LlamaForCausalLM.from_pretrained(places.out, dtype=torch.float32)
    figures = measure.figures(saved, tokenizer, source)
    _record(places, arguments, run, figures, settings)
    print(json.dumps(figures, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("starter.toml"))
    parser.add_argument("--corpora", type=Path, required=True, help="folder of *.tar.xz archives")
    parser.add_argument(
        "--out", type=Path, required=True, help="the model folder; its tokenizer is kept if there is one"
    )
    parser.add_argument("--work", type=Path, required=True, help="checkpoint and loss curve")
    parser.add_argument(
        "--minutes", type=float, required=True, help="training time in all, resumed time included"
    )
    parser.add_argument("--begin", type=Path, help="a finished model folder to train further, such as --out")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --work")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    return parser.parse_args()


def _tokenizer(
    out: Path, settings: config.Config, source: corpora.Corpora, texts: documents.Documents
) -> Tokenizer:
    """The folder's own tokenizer, or a new one from a sample of every source and of the curriculum."""
    path = out / "tokenizer.json"
    if not path.exists():
        trained = bpe.train(sample(source, texts, settings.seed), settings.shape.vocab_size)
        bpe.save(trained, out, settings.shape.max_positions)
    return Tokenizer.from_file(str(path))


def sample(
    source: corpora.Corpora, texts: documents.Documents, seed: int, size: int = 16_000_000
) -> Iterator[str]:
    """About `size` characters of plain text in training proportions, and a quarter as much chat."""
    random = Random(seed)
    for name, chunks in texts.training.items():
        left = documents.WEIGHTS[name] * size
        for chunk in random.sample(chunks, len(chunks)):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    yield from encoding.texts(islice(curriculum.stream(source, seed), size // 4000))


def start(
    settings: config.Config, places: Places, tokenizer: Tokenizer, resume: bool, begin: Path | None
) -> Run:
    """A checkpoint where one is to be resumed; else finished weights to go on from; else fresh ones."""
    if begin is None:
        codes = [tokenizer.token_to_id(code) for code in CODES]
        model = architecture.build(settings.shape, codes, bpe.forms(tokenizer))
    else:
        model = architecture.load(begin)
    matrices = [weight for weight in model.parameters() if weight.ndim == 2]
    vectors = [weight for weight in model.parameters() if weight.ndim < 2]
    wanted = settings.optimizer
    groups = [
        {"params": matrices, "weight_decay": wanted.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    run = Run(model, torch.optim.AdamW(groups, lr=wanted.learning_rate, betas=(0.9, 0.95), fused=True))
    if resume and places.checkpoint.exists():
        state = torch.load(places.checkpoint, weights_only=True)
        run.model.load_state_dict(state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.step, run.seconds, run.tokens = state["step"], state["seconds"], state["tokens"]
    return run


Streams = tuple[Iterator[batches.Rows], Iterator[batches.Rows]]


def streams(
    run: Run,
    settings: config.Config,
    source: corpora.Corpora,
    texts: documents.Documents,
    tokenizer: Tokenizer,
    drawn: int,
) -> Streams:
    """Seeded by the step as well, so that a resumed run goes on with new data; `drawn` conversations on."""
    seed = settings.seed + run.step
    return (
        batches.text(texts, tables.stream(source, seed), tokenizer, settings.batch, seed),
        batches.chat(curriculum.stream(source, seed, drawn), tokenizer, settings.batch, seed),
    )


def train(
    run: Run, settings: config.Config, places: Places, data: Streams, budget: float, precision: str
) -> None:
    plain, chats = data
    began, saved = time.monotonic() - run.seconds, time.monotonic()
    run.model.train()
    while run.seconds < budget:
        set_rate(run.optimizer, rate(run.step, run.seconds / budget, settings.optimizer))
        losses = step(run, settings.optimizer, next(plain), next(chats), precision)
        run.seconds = time.monotonic() - began
        if run.step % LOG_EVERY == 0:
            _log(places.curve, run, losses)
        if time.monotonic() - saved > SAVE_EVERY:
            _checkpoint(run, places)
            architecture.save(run.model, places.work / "latest")
            saved = time.monotonic()
    _checkpoint(run, places)


def step(
    run: Run, optimizer: config.Optimizer, plain: batches.Rows, chats: batches.Rows, precision: str
) -> tuple[float, float]:
    """One update from both kinds of data; returns the two losses in nats a token."""
    found = []
    for rows, weight in ((plain, 1 - optimizer.chat_weight), (chats, optimizer.chat_weight)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            value = loss(run.model, rows)
        (weight * value).backward()
        found.append(value.item())
        run.tokens += rows.inputs.numel()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), optimizer.clip)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.step += 1
    return found[0], found[1]


def loss(model: LlamaForCausalLM, rows: batches.Rows) -> torch.Tensor:
    """Weighted mean cross-entropy; the output matrix is applied only where something is learned."""
    hidden = model.model(rows.inputs, use_cache=False).last_hidden_state
    learned = rows.weights > 0
    return _cross_entropy(hidden[learned], model.lm_head.weight, rows.targets[learned], rows.weights[learned])


def _cross_entropy(
    hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    each = torch.nn.functional.cross_entropy((hidden @ head.T).float(), targets, reduction="none")
    return (each * weights).sum() / weights.sum()


def rate(step: int, share: float, optimizer: config.Optimizer) -> float:
    """Linear warm-up over steps, then a cosine down to `final_fraction` over the share of the time spent."""
    warmup = min(1.0, (step + 1) / optimizer.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    final = optimizer.final_fraction
    return optimizer.learning_rate * warmup * (final + (1 - final) * cosine)


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def _checkpoint(run: Run, places: Places) -> None:
    temporary = places.checkpoint.with_suffix(".tmp")
    state = {"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict()}
    torch.save({**state, "step": run.step, "seconds": run.seconds, "tokens": run.tokens}, temporary)
    temporary.replace(places.checkpoint)


def _log(path: Path, run: Run, losses: tuple[float, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("step", "seconds", "tokens", "text_loss", "chat_loss"))
        writer.writerow((run.step, round(run.seconds), run.tokens, *(round(value, 4) for value in losses)))


Figures = dict[str, float]


def _record(
    places: Places, arguments: argparse.Namespace, run: Run, figures: Figures, settings: config.Config
) -> None:
    """What was run on which data, and what came of it: the provenance of the folder's weights."""
    record = {
        "weights_sha256": _digest(places.out),
        "begun_from_sha256": _digest(arguments.begin) if arguments.begin else None,
        "config": str(arguments.config.name),
        "seed": settings.seed,
        "learning_rate": settings.optimizer.learning_rate,
        "precision": arguments.precision,
        "minutes": round(run.seconds / 60, 1),
        "steps": run.step,
        "tokens": run.tokens,
        "figures": figures,
        "corpora_sha256": corpora.hashes(arguments.corpora),
    }
    (places.work / "run.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _digest(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
