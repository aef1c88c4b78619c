"""The child that tunes: TRL's SFTTrainer, over PEFT's LoRA or every weight, on ids. Only ever run in a child.

Rows come rendered and masked: TRL's own templates and truncation stay out of it. Knows nothing of tasks.
The seed, the thread count and the rows fix every bit of what is tuned, also across a kill and a resume.
"""

from __future__ import annotations

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
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from smallworks import child, files
from smallworks.engines import shape
from smallworks.engines.transformers import resolve
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.seams import Progress
from smallworks.tune import checkpoints, history
from smallworks.tune.options import WEIGHTS, TuneOptions
from smallworks.tune.order import Order

STEP = "tune"
IGNORED = -100
"""The label of a token outside the loss."""


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train from the last whole checkpoint, or from the start; returns what the parent cannot know.

    A `rehearsal` trains, keeps nothing, and returns its speed alone.
    """
    options = TuneOptions(**request["options"])
    out, base = Path(request["out"]), Path(request["base"])
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # for debugging; a quarter of the time
    started = checkpoints.last(out / "checkpoints")
    watch = Watch(progress, options, out / "checkpoints")
    trainer = _trainer(request, options, watch)
    if request["rehearsal"]:
        return _rehearse(trainer)
    if not (started and _finished(started, options)):
        trainer.train(resume_from_checkpoint=str(started) if started else None)
    if watch.interrupted:
        sys.exit(f"Interrupted at step {trainer.state.global_step}: a checkpoint is saved.")
    log, best = _log(out / "checkpoints")
    save = _save_model if options.part == "model" else _save_adapter
    save(checkpoints.at(out / "checkpoints", best), out / options.part, base)
    return {
        **watch.measured(),
        "steps": max(entry["step"] for entry in log),
        "best_step": best,
        "curve": [asdict(point) for point in history.curve(log)],
        "best_val_loss": min((e["eval_loss"] for e in log if "eval_loss" in e), default=None),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "peak_memory_bytes": child.peak_memory(),
        "resumed": started is not None,
        "stopped_early": history.exhausted(log, options.patience),
    }


def _rehearse(trainer: Trainer) -> dict[str, Any]:
    trainer.train()
    if trainer.watch.interrupted:
        sys.exit("Interrupted.")
    return trainer.watch.measured()


class Watch(TrainerCallback):  # type: ignore[misc]
    """Follows the training: reports, stops when patience or the user says so, marks whole checkpoints."""

    def __init__(self, progress: Progress, options: TuneOptions, folder: Path) -> None:
        self._progress = progress
        self._patience = options.patience
        self._folder = folder
        self._tokens = 0
        self._seconds = 0.0
        self._began = 0.0
        self._validation = ""
        self.interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        self.interrupted = True

    def count(self, tokens: int) -> None:
        self._tokens += tokens

    def measured(self) -> dict[str, float]:
        return {"tokens_per_second": self._tokens / self._seconds if self._seconds else 0.0}

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._seconds += time.perf_counter() - self._began
        if self.interrupted:
            control.should_save = control.should_training_stop = True
        elif state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any) -> None:
        if "loss" not in logs:
            return
        rate = self.measured()["tokens_per_second"]
        note = f"loss {logs['loss']:.3f}{self._validation}, {rate:,.0f} tokens/s"
        self._progress(STEP, state.global_step, state.max_steps, note)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **_: Any) -> None:
        self._validation = f", validation {metrics['eval_loss']:.3f}"
        if history.exhausted(state.log_history, self._patience):
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        checkpoints.mark(self._folder, state.global_step)


class Trainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer with our order of rows, our loss, and without a model card in every checkpoint."""

    order: Order
    watch: Watch

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean cross-entropy of the supervised tokens, the vocabulary projected for these alone.

        TRL 1.16 projects every position where there is no Triton: on a CPU half of the time and of the
        memory. Rows are padded on the right, so that causal attention needs no mask.
        """
        if model.training:
            self.watch.count(int(inputs["attention_mask"].sum()))
        targets = inputs["labels"][:, 1:]
        supervised = targets != IGNORED

        def only_supervised(_: Any, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
            return (hidden[0][:, :-1][supervised].unsqueeze(0), *hidden[1:])

        hook = model.get_output_embeddings().register_forward_pre_hook(only_supervised)
        try:
            outputs = model(input_ids=inputs["input_ids"], use_cache=False)
        finally:
            hook.remove()
        total = torch.nn.functional.cross_entropy(
            outputs.logits[0].float(), targets[supervised], reduction="sum"
        )
        loss = total / (num_items_in_batch if num_items_in_batch is not None else supervised.sum())
        return (loss, outputs) if return_outputs else loss

    def create_model_card(self, *_: Any, **__: Any) -> None:
        return None

    def _get_train_sampler(self, *_: Any) -> Order:
        return self.order


def _trainer(request: Mapping[str, Any], options: TuneOptions, watch: Watch) -> Trainer:
    base, out = Path(request["base"]), Path(request["out"])
    train, validation = _rows(out / "train.jsonl"), _rows(out / "validation.jsonl")
    trainer = Trainer(
        model=_model(base, whole=options.method == "full"),
        args=_arguments(request, options, rows=len(train), validated=len(validation) > 0),
        train_dataset=train,
        eval_dataset=validation if len(validation) else None,
        processing_class=_tokenizer(base, options.pad_id),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=options.pad_id),
        peft_config=None if options.method == "full" else _low_rank(options),
        callbacks=[watch],
    )
    lengths = [len(ids) for ids in train["input_ids"]]
    trainer.watch = watch
    trainer.order = Order(lengths, batch_size=options.batch_size, seed=options.seed)
    return trainer


def _low_rank(options: TuneOptions) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=options.target,
        use_rslora=options.method == "rslora",
    )


def _arguments(request: Mapping[str, Any], options: TuneOptions, *, rows: int, validated: bool) -> SFTConfig:
    total, every = options.steps(rows), options.interval(rows)
    return SFTConfig(
        output_dir=str(Path(request["out"]) / "checkpoints"),
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        gradient_checkpointing=options.gradient_checkpointing,
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
        metric_for_best_model="eval_loss" if validated else None,
        greater_is_better=False,
        logging_steps=max(1, total // 200),
        seed=options.seed,
        data_seed=options.seed,
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        push_to_hub=False,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )


def _model(base: Path, *, whole: bool) -> Any:
    """The base; in float32 where the `whole` of it is tuned, since small steps are lost in 16 bits."""
    kind = resolve("auto", parameters=shape.read(base).parameters, device=_device())
    kind = "float32" if whole else kind
    return AutoModelForCausalLM.from_pretrained(
        base, dtype=getattr(torch, kind), local_files_only=True, use_safetensors=True, trust_remote_code=False
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _rows(file: Path) -> Dataset:
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    for row in files.read_jsonl(file):
        columns["input_ids"].append(row["ids"])
        pairs = zip(row["ids"], row["supervised"], strict=True)
        columns["labels"].append([id if supervised else IGNORED for id, supervised in pairs])
    return Dataset.from_dict(columns)


def _tokenizer(base: Path, pad_id: int) -> PreTrainedTokenizerFast:
    """What the trainer asks for; no text ever passes through it."""
    inner = TextTokenizer.load(base).inner
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=inner.id_to_token(pad_id))


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = files.read_json(checkpoint / "trainer_state.json")
    return state


def _finished(checkpoint: Path, options: TuneOptions) -> bool:
    state = _state(checkpoint)
    done = state["global_step"] >= state["max_steps"]
    return done or history.exhausted(state["log_history"], options.patience)


def _log(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole log, and the step whose weights are kept: the best validation's, or the last."""
    last = checkpoints.last(folder)
    assert last is not None
    state = _state(last)
    return state["log_history"], state["best_global_step"] or state["global_step"]


def _save_adapter(checkpoint: Path, adapter: Path, base: Path) -> None:
    """The checkpoint's adapter alone, its config free of this machine's paths and of set order."""
    config = files.read_json(checkpoint / "adapter_config.json")
    config["base_model_name_or_path"] = base.name
    config["target_modules"] = sorted(config["target_modules"])
    with files.atomic_folder(adapter) as folder:
        files.link_or_copy(checkpoint / WEIGHTS["adapter"], folder / WEIGHTS["adapter"])
        files.write_json(folder / "adapter_config.json", dict(sorted(config.items())))


def _save_model(checkpoint: Path, model: Path, base: Path) -> None:
    """The checkpoint's weights in float32, with the base's own configuration, tokenizer and template."""
    config = {**shape.configuration(base), "dtype": "float32"}
    config.pop("torch_dtype", None)
    with files.atomic_folder(model) as folder:
        files.link_or_copy(checkpoint / WEIGHTS["model"], folder / WEIGHTS["model"])
        for companion in shape.companions(base):
            files.link_or_copy(companion, folder / companion.name)
        files.write_json(folder / shape.CONFIG, config)
