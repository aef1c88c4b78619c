"""The child that tunes: TRL's SFTTrainer, over PEFT's LoRA or every weight, on ids. Only ever run in a child.

Rows come rendered and masked: TRL's own templates and truncation stay out of it. Knows nothing of tasks.
The seed, the thread count and the rows fix every bit of what is tuned, also across a kill and a resume.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig

from smallworks import child, files
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.seams import Progress
from smallworks.tune import checkpoints, forgetting, history, ranks, weights
from smallworks.tune.options import TuneOptions
from smallworks.tune.order import Order
from smallworks.tune.prefix import IGNORED
from smallworks.tune.run import VALIDATED
from smallworks.tune.soft import SHARES, Collator
from smallworks.tune.trainer import Trainer

STEP = "tune"


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train from the last whole checkpoint, or from the start; returns what the parent cannot know.

    A `rehearsal` trains, keeps nothing, and returns its speed alone. Of several processes the first one saves
    and answers.
    """
    options = TuneOptions(**request["options"])
    out, base = Path(request["out"]), Path(request["base"])
    ranks.begin(options.processes, request["meeting"])
    torch.set_num_threads(max(1, options.threads // options.processes))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # for debugging; a quarter of the time
    started = checkpoints.last(out / "checkpoints")
    patience = options.patience_for(sum(1 for _ in files.read_jsonl(out / "train.jsonl")))
    watch = Watch(progress, patience, out / "checkpoints")
    trainer = _trainer(request, options, watch)
    if request["rehearsal"]:
        return {**_rehearse(trainer, watch), "precision": weights.precision_for(base, options)}
    if not (started and _finished(started, patience)):
        trainer.train(resume_from_checkpoint=str(started) if started else None)
    ranks.leave()
    if watch.interrupted:
        sys.exit(f"Interrupted at step {trainer.state.global_step}: a checkpoint is saved.")
    if not ranks.first():
        return {}
    log, best = _log(out / "checkpoints")
    weights.save(checkpoints.at(out / "checkpoints", best), out / options.part, base, options)
    told = {
        **watch.measured(),
        "precision": weights.precision_for(base, options),
        "steps": max(entry["step"] for entry in log),
        "best_step": best,
        "curve": [asdict(point) for point in history.curve(log)],
        "best_val_loss": min(history.deciding(log), default=None),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "peak_memory_bytes": child.peak_memory(),
        "resumed": started is not None,
        "stopped_early": history.exhausted(log, patience),
    }
    del trainer  # its memory is wanted
    gc.collect()
    progress(STEP, told["steps"], told["steps"], "what it forgot")
    return {**told, "forgetting": forgetting.measure(base, out / options.part, options)}


def _rehearse(trainer: Trainer, watch: Watch) -> dict[str, Any]:
    trainer.train()
    ranks.leave()
    if watch.interrupted:
        sys.exit("Interrupted.")
    return watch.measured()


class Watch(TrainerCallback):  # type: ignore[misc]
    """Follows the training: reports, stops when patience or the user says so, marks whole checkpoints."""

    def __init__(self, progress: Progress, patience: int, folder: Path) -> None:
        self._progress = progress
        self._patience = patience
        self._folder = folder
        self._tokens = 0.0
        self._latest = 0
        self._seconds = 0.0
        self._began = 0.0
        self._validation = ""
        self.interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        self.interrupted = True

    def count(self, tokens: int) -> None:
        self._latest += tokens

    def measured(self) -> dict[str, float]:
        return {"tokens_per_second": self._tokens / self._seconds if self._seconds else 0.0}

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        tokens, told = ranks.total((self._latest, self.interrupted), args.device)
        self._tokens, self._latest = self._tokens + tokens, 0
        self._seconds += time.perf_counter() - self._began
        if told:  # by any process, to all of them alike; what comes later is heard at the next step
            self.interrupted = True
            control.should_save = control.should_training_stop = True
        elif state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if "loss" not in logs:
            return
        rate = logs["tokens_per_second"] = self.measured()["tokens_per_second"]
        note = f"loss {logs['loss']:.3f}{self._validation}, {rate:,.0f} tokens/s"
        self._progress(STEP, state.global_step, state.max_steps, note)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **_: Any) -> None:
        loss = history.deciding([metrics])[0]
        self._validation = f", validation {loss:.3f}"
        self._progress(VALIDATED, state.global_step, state.max_steps, repr(loss))
        if history.exhausted(state.log_history, self._patience):
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        ranks.wait()
        if ranks.first():
            checkpoints.mark(self._folder, state.global_step)


def _trainer(request: Mapping[str, Any], options: TuneOptions, watch: Watch) -> Trainer:
    base, out = Path(request["base"]), Path(request["out"])
    together = options.processes > 1
    train, validation = _rows(out / "train.jsonl", blank=together), _rows(out / "validation.jsonl")
    rows = len(train) - together
    trainer = Trainer(
        model=weights.load(base, options),
        args=_arguments(request, options, rows=rows, validated=len(validation) > 0),
        train_dataset=train,
        eval_dataset=validation if len(validation) else None,
        processing_class=_tokenizer(base, options.pad_id),
        data_collator=Collator(pad_token_id=options.pad_id),
        peft_config=None if options.method == "full" else _low_rank(options),
        callbacks=[watch, *_boards(request)],
    )
    # TRL rounds the adapter of a quantised base to bfloat16, where small steps are lost.
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    lengths = [len(ids) for ids in train["input_ids"]][:rows]
    trainer.count = watch.count
    trainer.codes = tuple(options.codes)
    blank = rows if together else None
    trainer.order = Order(lengths, batch_size=options.batch_size, seed=options.seed, blank=blank)
    return trainer


def _boards(request: Mapping[str, Any]) -> list[TrainerCallback]:
    """TensorBoard's, where it was asked for."""
    if request["rehearsal"] or not request["tensorboard"] or not ranks.first():
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(log_dir=request["tensorboard"]))]


def _low_rank(options: TuneOptions) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=options.target,
        use_rslora=options.method == "rslora",
        use_dora=options.method == "dora",
    )


def _arguments(request: Mapping[str, Any], options: TuneOptions, *, rows: int, validated: bool) -> SFTConfig:
    total, every = options.steps(rows), options.interval(rows)
    arguments = SFTConfig(
        output_dir=str(Path(request["out"]) / "checkpoints"),
        per_device_train_batch_size=options.batch_size // options.processes,
        per_device_eval_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        gradient_checkpointing=bool(options.gradient_checkpointing),
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_steps=total,
        learning_rate=request["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=int(options.warmup_ratio * total),
        weight_decay=options.weight_decay,
        adam_beta2=options.beta2,
        eval_strategy="steps" if validated else "no",
        eval_steps=every,
        save_strategy="no" if request["rehearsal"] else "steps",
        save_steps=every,
        save_total_limit=2,
        metric_for_best_model=(history.LABEL_LOSS if options.codes else history.LOSS) if validated else None,
        greater_is_better=False,
        logging_steps=max(1, total // 200),
        seed=options.seed,
        data_seed=options.seed,
        bf16=weights.precision_for(Path(request["base"]), options) == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        report_to="none",
        push_to_hub=False,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )
    if arguments.n_gpu > 1:
        # One process with several GPUs would split each batch, which is one sequence here.
        arguments._n_gpu = 1
    return arguments


def _rows(file: Path, *, blank: bool = False) -> Dataset:
    """The rows as columns; with `blank`, the first one once more at the end, with nothing to learn in it."""
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    shares: list[list[float]] = []
    for row in files.read_jsonl(file):
        columns["input_ids"].append(row["ids"])
        pairs = zip(row["ids"], row["supervised"], strict=True)
        columns["labels"].append([id if supervised else IGNORED for id, supervised in pairs])
        shares.append(row.get("shares", []))
    if blank:
        columns["input_ids"].append(columns["input_ids"][0])
        columns["labels"].append([IGNORED] * len(columns["labels"][0]))
        shares.append([])
    return Dataset.from_dict({**columns, SHARES: shares} if any(shares) else columns)


def _tokenizer(base: Path, pad_id: int) -> PreTrainedTokenizerFast:
    """What the trainer asks for; no text ever passes through it."""
    inner = TextTokenizer.load(base).inner
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=inner.id_to_token(pad_id))


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = files.read_json(checkpoint / "trainer_state.json")
    return state


def _finished(checkpoint: Path, patience: int) -> bool:
    state = _state(checkpoint)
    done = state["global_step"] >= state["max_steps"]
    return done or history.exhausted(state["log_history"], patience)


def _log(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole log, and the step whose weights are kept: the best validation's, or the last."""
    last = checkpoints.last(folder)
    assert last is not None
    state = _state(last)
    return state["log_history"], state["best_global_step"] or state["global_step"]
