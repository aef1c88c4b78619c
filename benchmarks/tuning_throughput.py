"""Tuning a 135M model on short rows takes a fraction of the usual time on a CPU, at the same loss.

Measured: rows per CPU second of one thread, LoRA of rank 16 in float32 on a Llama of SmolLM2-135M's shape
(random weights), Banking77 rows as the product renders them (in ChatML without a system turn, which would be
shared by all rows and flatter us), 8 rows a step; the median step after the first.
Against: the common tutorial script (transformers' Trainer, `padding="max_length"`, 512), and TRL's SFTTrainer
at its best: rows of like length together with dynamic padding, or packed. Every peer trains the same ids and
the same loss mask from the same adapter.
Equal loss: the first loss of every one that trains the same batches, and its validation loss after a step.
Not covered: other shapes, bfloat16, GPUs, the loss after a whole tuning, and the losses of TRL packed, whose
steps hold other rows.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import random_llama
from benchmarks.claim import Finding, Say
from benchmarks.shared import read_csv, shared
from smallworks.prompt import Renderer, Template, TextTokenizer, TrainingRow, choose
from smallworks.tune import TuneOptions, TuneRequest
from smallworks.tune.order import Order
from smallworks.types import PromptSpec

UNIT = "times TRL's best, in rows per second"
GOAL = "≥ 1.3 × TRL's best and ≥ 15 × the tutorial script; the same losses to 0.001"
LEAST_TRL, LEAST_SCRIPT, SAME = 1.3, 15.0, 1e-3
BATCH, STEPS, COMPARED, LONGEST = 8, 5, 1, 512
INSTRUCTION = "Name the intent of the customer's message."
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One subject: rows a CPU second, and its losses where it trains the same batches."""

    rows_per_second: float
    first_loss: float | None = None
    validation_loss: float | None = None


def measure(say: Say) -> Finding:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = random_llama.make(Path(scratch) / "model", shared("fixtures/tok-smollm2"))
        request = _request(folder, Path(scratch))
        tokens = [len(row.ids) for row in request.train]
        say(f"{len(tokens)} rows of {statistics.mean(tokens):.1f} tokens")
        told: dict[str, Told] = {}
        for name, run in _subjects().items():
            told[name] = run(request, Path(scratch) / name.replace(" ", "-"))
            say(f"{name}: {told[name]}")
    ours, script = told["smallworks"], told["tutorial script"]
    best = max((name for name in told if name.startswith("TRL")), key=lambda name: told[name].rows_per_second)
    against = ours.rows_per_second / told[best].rows_per_second
    against_script = ours.rows_per_second / script.rows_per_second
    apart = max(_apart(ours, each) for each in told.values() if each.first_loss is not None)
    return Finding(
        value=round(against, 2),
        holds=against >= LEAST_TRL and against_script >= LEAST_SCRIPT and apart <= SAME,
        against={"name": best, "rows_per_second": round(told[best].rows_per_second, 3)},
        details={
            "rows_per_second": {name: round(each.rows_per_second, 3) for name, each in told.items()},
            "against_script": round(against_script, 1),
            "losses_apart": apart,
            "tokens_per_row": round(statistics.mean(tokens), 1),
        },
    )


def _subjects() -> dict[str, Callable[[TuneRequest, Path], Told]]:
    return {
        "smallworks": _ours,
        "TRL padded": _trl_padded,
        "TRL packed": _trl_packed,
        "tutorial script": _script,
    }


def _request(folder: Path, scratch: Path) -> TuneRequest:
    """Rows in our own order, so that every subject has rows of like length together."""
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    data, tokenizer, template = shared("data/banking77"), TextTokenizer.load(folder), Template.load(folder)
    table = read_csv(data / "train.csv", "text", "category")
    labels = sorted({label for _, label in table})
    spec = PromptSpec(
        style="chat",
        kind="classify",
        instruction=INSTRUCTION,
        choices=choose(labels, tokenizer, template),
        listed=False,
    )
    renderer = Renderer(spec, template, tokenizer)
    rows = [renderer.training(text, label) for text, label in table[:: len(table) // 200]]
    validation, rows = tuple(rows[:16]), rows[16 : 16 + 8 * BATCH]
    order = Order([len(row.ids) for row in rows], batch_size=BATCH, seed=0)
    options = TuneOptions(
        end_id=renderer.stop_ids[0], pad_id=0, learning_rate=1e-3, epochs=1, precision="float32", threads=1
    )
    train = tuple(rows[index] for index in order)[: STEPS * BATCH]
    return TuneRequest(base=folder, out=scratch, train=train, validation=validation, options=options)


def _ours(request: TuneRequest, out: Path) -> Told:
    from torch.utils.data import SequentialSampler

    from smallworks.tune import worker
    from smallworks.tune.run import in_child, write_rows

    out.mkdir()
    alone = replace(request, out=out, validation=())
    write_rows(alone)
    asked = in_child(alone, request.options.learning_rate or 0.0, rehearsal=True)
    watch = worker.Watch(lambda *_: None, request.options, out)
    trainer = worker._trainer(asked, request.options, watch)
    trainer.order = SequentialSampler(trainer.train_dataset)
    return _timed(trainer, request)


def _trl_padded(request: TuneRequest, out: Path) -> Told:
    return _timed(_trl(request, out, per_device_train_batch_size=BATCH), request)


def _trl_packed(request: TuneRequest, out: Path) -> Told:
    """One sequence a step, as long as the rows of a step of the others are together."""
    mean = statistics.mean(len(row.ids) for row in request.train)
    trainer = _trl(request, out, per_device_train_batch_size=1, packing=True, max_length=int(mean * BATCH))
    return _timed(trainer, request, same=False)


def _trl(request: TuneRequest, out: Path, **settings: Any) -> Any:
    from trl import SFTConfig, SFTTrainer

    settings = {**_common(request), "max_length": None, **settings}
    return SFTTrainer(
        model=_adapted(request),
        args=SFTConfig(output_dir=str(out), **settings),
        train_dataset=_dataset(request.train),
        processing_class=_tokenizer(request),
    )


def _script(request: TuneRequest, out: Path) -> Told:
    """Every row padded to 512, the collator that most tutorials take; one step, which takes half a minute."""
    from transformers import Trainer, TrainingArguments, default_data_collator

    few = request.train[: COMPARED * BATCH]
    rows = [
        {
            "input_ids": [*row.ids, *[request.options.pad_id] * (LONGEST - len(row.ids))],
            "attention_mask": [1] * len(row.ids) + [0] * (LONGEST - len(row.ids)),
            "labels": [*_labels(row), *[-100] * (LONGEST - len(row.ids))],
        }
        for row in few
    ]
    trainer = Trainer(
        model=_adapted(request),
        args=TrainingArguments(output_dir=str(out), per_device_train_batch_size=BATCH, **_common(request)),
        train_dataset=rows,
        data_collator=default_data_collator,
    )
    return _timed(trainer, request)


def _common(request: TuneRequest) -> dict[str, Any]:
    return {
        "learning_rate": request.options.learning_rate,
        "num_train_epochs": 1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
    }


def _adapted(request: TuneRequest) -> Any:
    """The base under the adapter that every subject begins with."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(request.base, dtype=torch.float32)
    options = request.options
    config = LoraConfig(
        task_type="CAUSAL_LM", r=options.rank, lora_alpha=options.alpha, target_modules="all-linear"
    )
    return _begun(get_peft_model(base, config))


def _begun(model: Any) -> Any:
    """The same first adapter for all, drawn by the names of its tensors."""
    import torch

    for name, parameter in sorted(model.named_parameters()):
        if "lora_A" in name:
            generator = torch.Generator().manual_seed(len(name) * 1000 + sum(map(ord, name)))
            parameter.data = 0.02 * torch.randn(parameter.shape, generator=generator)
    return model


def _timed(trainer: Any, request: TuneRequest, *, same: bool = True) -> Told:
    from transformers import PrinterCallback, TrainerCallback

    spent, losses, validated = list[float](), list[float](), list[float]()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            spent.append(time.process_time() - self.began)
            if same and state.global_step == COMPARED:
                validated.append(_validation(trainer.model, request.validation))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
            losses.extend([float(logs["loss"])] if "loss" in logs else [])

    _begun(trainer.model)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    trained = len(trainer.train_dataset) if same else len(request.train)
    rows = trained / len(spent) if not same else BATCH
    return Told(
        rows_per_second=rows / statistics.median(spent[1:] or spent),
        first_loss=losses[0] if same else None,
        validation_loss=validated[0] if validated else None,
    )


def _validation(model: Any, rows: Sequence[TrainingRow]) -> float:
    """Mean loss of the supervised tokens, each row alone."""
    import torch

    training, losses, count = model.training, 0.0, 0
    model.eval()
    with torch.no_grad():
        for row in rows:
            said = model(input_ids=torch.tensor([row.ids])).logits[0, :-1].log_softmax(-1)
            at = [index for index, supervised in enumerate(row.supervised) if supervised]
            losses -= float(sum(said[index - 1, row.ids[index]] for index in at))
            count += len(at)
    model.train(training)
    return losses / count


def _apart(one: Told, other: Told) -> float:
    assert one.first_loss is not None and other.first_loss is not None
    assert one.validation_loss is not None and other.validation_loss is not None
    first = abs(one.first_loss - other.first_loss)
    return max(first, abs(one.validation_loss - other.validation_loss))


def _dataset(rows: Sequence[TrainingRow]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{"input_ids": list(row.ids), "labels": _labels(row)} for row in rows])


def _labels(row: TrainingRow) -> list[int]:
    return [id if supervised else -100 for id, supervised in zip(row.ids, row.supervised, strict=True)]


def _tokenizer(request: TuneRequest) -> Any:
    from transformers import PreTrainedTokenizerFast

    inner = TextTokenizer.load(request.base).inner
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=inner.id_to_token(request.options.pad_id),
        eos_token=inner.id_to_token(request.options.end_id),
    )
