"""What every candidate of one build has at hand: the task, its rows, the base model, the steps.

Knows no candidate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.bundle import Bundle, Manifest, freeze, open_bundle
from smallworks.bundle.golden import Golden, write
from smallworks.bundle.manifest import Scope, read_calibration
from smallworks.data import Splits
from smallworks.engines import verbatim
from smallworks.engines.base import BaseModel, Words, words_of
from smallworks.errors import BundleError
from smallworks.evaluate.worker import write_examples
from smallworks.prompt import choose
from smallworks.recipes.plan import SYNTHETIC
from smallworks.recipes.steps import Steps
from smallworks.seams import Progress
from smallworks.types import Example, PromptSpec, Task

GOLDEN_ROWS = 24
UNLABELLED_ROWS = 96


@dataclass(frozen=True)
class Workshop:
    """`base` and `embedder` are None where a build needs none; candidates that do are then skipped. So is
    `reranker`; passages then keep the order in which they are found.

    `taught`: the synthetic rows are trained on too. They are never validated on, and no golden row is one.
    """

    task: Task
    splits: Splits
    steps: Steps
    bundles: Path
    progress: Progress
    base: BaseModel | None = None
    embedder: Path | None = None
    reranker: Path | None = None
    taught: bool = False

    @cached_property
    def data_key(self) -> str:
        """Changes whenever a row of any split does."""
        if not self.taught:
            return self.splits.fingerprint
        rows = [[e.text, e.output, e.probabilities] for e in self.splits.synthetic]
        return files.hash_value([self.splits.fingerprint, rows])

    @property
    def suffix(self) -> str:
        """What is added to the names of candidates that learn from synthetic rows too."""
        return SYNTHETIC if self.taught else ""

    @property
    def synthetic(self) -> tuple[Example, ...]:
        """Rows to fit and to tune on beside `train`; empty for a candidate without them."""
        return self.splits.synthetic if self.taught else ()

    @cached_property
    def words(self) -> Words:
        """The base's tokenizer, template and context."""
        assert self.base is not None, "the plan skips language models without a base"
        return words_of(self.base)

    @cached_property
    def shuffled(self) -> tuple[Example, ...]:
        """The training rows in the order of their hashes: any beginning of it is a fair sample of all."""
        return tuple(sorted(self.splits.train, key=lambda e: files.hash_value([e.text, e.output])))

    @property
    def fitting(self) -> tuple[Example, ...]:
        """Every row that a candidate without early stopping may be fitted on: train and validation."""
        return self.splits.train + self.splits.validation

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.splits.train[0].inputs)

    @property
    def scope(self) -> Mapping[str, Any]:
        """What a step reads of the loss allowed in scope; empty where nothing is asked about scope."""
        loss = self.task.in_scope_loss
        return {} if loss is None else {"scope": loss}

    def ask_scope(self, outside: Sequence[Any]) -> dict[str, Any] | None:
        """What a child is told to find a threshold by; `outside` are the rows out of scope in its terms."""
        loss = self.task.in_scope_loss
        if loss is None:
            return None
        return {"loss": loss, "label": self.task.data.out_of_scope, "outside": list(outside)}

    @cached_property
    def wording(self) -> Mapping[str, Any]:
        """What of the task file changes a prompt."""
        task = self.task
        return {
            "name": task.name,
            "instruction": task.instruction,
            "labels": self.splits.labels,
            "schema": self.schema,
            "kind": task.kind,
        }

    @cached_property
    def schema(self) -> Mapping[str, Any] | None:
        """The task's, with a mark on the fields whose values stood in their text in every training row: a
        language model can then say nothing else in them."""
        if self.task.schema is None or self.task.kind != "extract":
            return self.task.schema
        return verbatim.mark(self.task.schema, ((e.text, json.loads(e.output)) for e in self.splits.train))

    def prompt(self, *, listed: bool = True) -> PromptSpec:
        """How the base is asked; `listed` shows a classification's labels in the prompt."""
        task, words = self.task, self.words
        labelled = task.kind == "classify"
        return PromptSpec(
            style="chat",
            kind=task.kind,
            instruction=task.instruction,
            choices=choose(self.splits.labels, words.tokenizer, words.template) if labelled else None,
            listed=listed,
            schema=self.schema,
        )

    def write_rows(self, name: str, rows: Sequence[Example]) -> Path:
        """Rows as a JSONL file for a child process, written once per content."""
        path = self.steps.folder / f"rows-{name}-{self.data_key[:12]}.jsonl"
        if not path.exists():
            write_examples(path, rows)
        return path

    def run_child(self, step: str, module: str, request: dict[str, Any], log: Path) -> Any:
        """Heavy work under the name of a step."""

        def relay(_: str, done: float, total: float, note: str) -> None:
            self.progress(step, done, total, note)

        return child.run(module, request, progress=relay, log=log / "log.txt")

    def frozen(
        self, step: str, reads: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]]
    ) -> Bundle:
        """The bundle that a step makes; made again where it was deleted or is not what was frozen."""
        try:
            return open_bundle(self.bundles / self.steps.run(step, reads, make)["bundle"])
        except BundleError:
            self.steps.forget(step, reads)
            return open_bundle(self.bundles / self.steps.run(step, reads, make)["bundle"])

    def settle(self, step: str, draft: Path, manifest: Manifest, *, unlabelled: bool = False) -> Bundle:
        """Freeze a draft: calibrate it where asked, replay golden rows on its engine, name it by its hash.

        `unlabelled` asks for the prompt's prior from training texts; temperature and curve always come from
        the validation rows, unless the manifest brings them.
        """
        provisional = freeze(draft, manifest, into=draft.parent / "provisional")
        calibrate = manifest.engine not in ("linear", "onnx")
        fitted = self.run_child(
            step,
            "smallworks.evaluate.settle",
            {
                "bundle": provisional.path,
                "validation": self.write_rows("validation", self.splits.validation),
                "unlabelled": [e.text for e in self.shuffled[:UNLABELLED_ROWS]] if unlabelled else [],
                "calibrate": calibrate,
                "scope": self.ask_scope([dict(e.inputs) for e in self.splits.outside]),
                "golden": [dict(e.inputs) for e in self.golden_examples()],
            },
            draft.parent,
        )
        write(draft, [Golden(**{**g, "ids": tuple(g["ids"])}) for g in fitted["golden"]])
        if fitted["calibration"]:
            manifest = replace(manifest, calibration=read_calibration(fitted["calibration"]))
        manifest = replace(manifest, lineage={**manifest.lineage, **self.replaces})
        manifest = with_scope(manifest, fitted["scope"])
        mark = None if manifest.scope else self.task.data.out_of_scope
        return freeze(draft, replace(manifest, out_of_scope=mark), into=self.bundles)

    @cached_property
    def replaces(self) -> dict[str, Any]:
        """What a lineage says of the flagship that the task graduates from; a server counts by it."""
        from smallworks.recipes.flagship import instead

        flagship = self.task.flagship
        rows = self.shuffled[:UNLABELLED_ROWS]
        return instead(self.task, flagship, self.splits.labels, rows) if flagship else {}

    def golden_examples(self) -> list[Example]:
        """Rows of train by the order of their hashes, and a third of rows out of scope where there are some:
        golden rows are never test rows."""
        outside = self.splits.outside[: GOLDEN_ROWS // 3]
        return [*self.shuffled[: GOLDEN_ROWS - len(outside)], *outside]


def with_scope(manifest: Manifest, found: Mapping[str, Any] | None) -> Manifest:
    """The manifest with the threshold that a child found, and what was to be said of it."""
    if found is None:
        return manifest
    least = Scope(**found["scope"]) if found["scope"] else None
    return replace(manifest, scope=least, lineage={**manifest.lineage, "scope": found["why"]})
