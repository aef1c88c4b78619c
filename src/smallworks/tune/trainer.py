"""TRL's SFTTrainer with our order of rows and our loss, which computes only what the loss needs.

Knows ids, labels and masks; nothing of checkpoints, of how long to train and of what is told on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from trl import SFTTrainer

from smallworks.engines import calibration
from smallworks.tune import history, prefix, soft
from smallworks.tune.order import Order
from smallworks.tune.prefix import IGNORED
from smallworks.tune.soft import SHARES

FULL = "full_attention"
"""The name in `layer_types` of a layer that sees what its mask lets it see."""
# fmt: off
JOINABLE = frozenset((
    "apertus", "arcee", "bitnet", "cohere", "ernie4_5", "falcon", "gemma", "glm", "glm4", "gpt2",
    "gpt_neox", "granite", "granitemoe", "llama", "ministral3", "mistral", "mixtral", "nemotron", "olmo",
    "olmo2", "opt", "phi", "phi3", "qwen3_moe", "seed_oss", "stablelm", "starcoder2",
))
# fmt: on
"""Types of models that name no `layer_types`, and whose layers are all such (each is tested)."""


class Trainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer with our order of rows, our loss, and without a model card in every checkpoint."""

    order: Order
    count: Callable[[int], None]
    """Told how many tokens each batch of the training has."""
    codes: tuple[int, ...]
    said: list[tuple[Any, Any]]
    """Of a validation's batches: log-probabilities of the labels, and the ids of the right ones."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean cross-entropy of the supervised tokens, the vocabulary projected for these alone.

        Where a row has shares, its first supervised token costs the divergence from them instead.

        TRL 1.16 projects every position where there is no Triton: on a CPU half of the time and of the
        memory. A beginning that the rows share is computed once. Otherwise rows are padded on the right, so
        that causal attention needs no mask.
        """
        lengths = inputs["attention_mask"].sum(1)
        if model.training:
            self.count(int(lengths.sum()))
        ids, labels, places = joined(self.model.config, inputs["input_ids"], inputs["labels"], lengths)
        targets = labels[:, 1:]
        supervised = targets != IGNORED
        bare = self.accelerator.unwrap_model(model)

        def only_supervised(_: Any, hidden: tuple[Any, ...]) -> tuple[Any, ...]:
            return (hidden[0][:, :-1][supervised].unsqueeze(0), *hidden[1:])

        hook = bare.get_output_embeddings().register_forward_pre_hook(only_supervised)
        try:
            outputs = model(input_ids=ids, use_cache=False, **places)
        finally:
            hook.remove()
        logits, wanted = outputs.logits[0].float(), targets[supervised]
        if SHARES in inputs:
            taught = (inputs["labels"] != IGNORED).any(1)
            total = soft.loss(logits, wanted, first(supervised), inputs[SHARES][taught], self.codes)
        else:
            total = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
        if self.codes and not model.training:
            self._keep(outputs.logits[0], targets, supervised)
        if num_items_in_batch is None:
            loss = total / supervised.sum()
        else:  # counted over all processes, whose gradients are then averaged
            loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _keep(self, logits: Any, targets: Any, supervised: Any) -> None:
        """What was said where each row's answer begins, as log-probabilities of the codes."""
        begins = first(supervised)
        said = logits[begins][:, list(self.codes)].double().log_softmax(-1)
        self.said.append((said.cpu(), targets[supervised][begins].cpu()))

    def evaluation_loop(self, *given: Any, **named: Any) -> Any:
        """A validation, with the loss of its labels at its best temperature beside the plain one."""
        self.said = []
        if self.accelerator.num_processes > 1:
            self.gather_function = _alone
        output = super().evaluation_loop(*given, **named)
        if self.said:
            logp, ids = (torch.cat(each).numpy() for each in zip(*self.said, strict=True))
            output.metrics[history.LABEL_LOSS] = label_loss(logp, ids, self.codes)
        return output

    def get_eval_dataloader(self, *given: Any) -> Any:
        """Of several processes each reads all validation rows: the figures are those of a single one."""
        if self.accelerator.num_processes == 1:
            return super().get_eval_dataloader(*given)
        return torch.utils.data.DataLoader(
            self.eval_dataset, batch_size=self.args.per_device_eval_batch_size, collate_fn=self.data_collator
        )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if SHARES not in self._signature_columns:
            self._signature_columns.append(SHARES)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        return None

    def _get_train_sampler(self, *_: Any) -> Order:
        return self.order


def _alone(losses: Any) -> Any:
    return losses


def first(supervised: Any) -> Any:
    """Which of the supervised places [rows, tokens], taken one after another, begin an answer."""
    before = torch.nn.functional.pad(supervised, (1, 0))[:, :-1]
    return (supervised & ~before)[supervised]


def joined(config: Any, ids: Any, labels: Any, lengths: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Ids and labels of the batch as they are computed, and the positions and mask that they need."""
    start = prefix.shared(ids, labels) if joinable(config, int(lengths.max())) else 0
    if not start or not prefix.cheaper(lengths, start, hidden=config.hidden_size):
        return ids, labels, {}
    one = prefix.join(ids, labels, lengths, start)
    return one.ids, one.labels, {"position_ids": one.positions, "attention_mask": one.mask}


def joinable(config: Any, longest: int) -> bool:
    """Whether a mask alone keeps rows of up to `longest` tokens apart in one sequence.

    Convolutions and linear attention carry a state from one row into the next, whatever the mask says, and
    a sliding window sees less of a row than the mask would allow.
    """
    if kinds := getattr(config, "layer_types", None):
        return set(kinds) == {FULL}
    window = getattr(config, "sliding_window", None) or longest
    return config.model_type in JOINABLE and longest <= window


def label_loss(logp: np.ndarray, ids: np.ndarray, codes: Sequence[int]) -> float:
    """Nats a row of the right labels at the best temperature; `logp` [rows, codes], `ids` [rows]."""
    right = np.array([list(codes).index(id) for id in ids])
    settled = calibration.apply(logp, temperature=calibration.fit_temperature(logp, right))
    return -float(settled[np.arange(len(right)), right].mean())
