"""The words of the house as frozen values: what crosses between stages is one of these or a bundle.

Knows nothing of disks, engines or terminals. Times are milliseconds, sizes bytes, money US dollars,
probabilities natural (0–1) and log-probabilities natural logarithms, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NewType

Kind = Literal["classify", "extract", "answer", "summarize", "generate"]
Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "cancelled"]
Outcome = Literal["pass", "fail", "inconclusive"]
ExampleId = NewType("ExampleId", str)
BundleId = NewType("BundleId", str)

KINDS: tuple[Kind, ...] = ("classify", "extract", "answer", "summarize", "generate")
REFUSAL = "I don't know based on the provided documents."
"""What an `answer` says when the documents do not tell, unless the task names another sentence."""
IN_SCOPE_LOSS = 0.05
"""The share of the rows in scope that may be handed over where a task marks rows out of it but sets none."""
LOSS, RECALL = "in_scope_loss", "out_of_scope_recall"
"""What is measured of that: the share handed over of the rows in scope, and of those out of it."""


# --- Task ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns or keys that hold each part of a row; None means: detect."""

    input: str | tuple[str, ...] | None = None
    output: str | None = None
    id: str | None = None
    tags: str | None = None
    group: str | None = None
    document: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """Where the rows are. Those of `synthetic` come from a teacher and are only ever trained on.

    `out_of_scope` is what rows have in the place of a label that belong to none: no class to learn.
    `documents` is the folder that an `answer` is found in, where rows carry no context of their own.
    """

    train: Path
    validation: Path | None = None
    test: Path | None = None
    columns: Columns = Columns()
    synthetic: Path | None = None
    out_of_scope: str | None = None
    documents: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a candidate must hold. `at_least` is on the metric's own scale, 0–1.

    `in_scope_loss` is the most of the rows in scope (0–1) that may be handed over as out of it.
    """

    metric: str
    at_least: float | None = None
    p95_ms: float | None = None
    memory_mb: float | None = None
    cost_per_1000: float | None = None
    in_scope_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Flagship:
    """The model that the task graduates from. Prices are dollars per million tokens."""

    name: str
    input_price: float
    output_price: float
    url: str | None = None
    key_env: str | None = None
    answers: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    base: str | None = None
    embedder: str | None = None
    reranker: str | None = None
    seed: int = 0
    epochs: float | None = None
    machine_price_per_hour: float = 0.10


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the user wants done. `labels` is empty until the data are read, when the file lists none.

    `refusal` is the sentence that a row of kind `answer` expects where its documents hold no answer.
    """

    name: str
    kind: Kind
    instruction: str
    folder: Path
    data: DataFiles
    targets: Targets
    labels: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    refusal: str = REFUSAL
    flagship: Flagship | None = None
    build: BuildOptions = BuildOptions()

    @property
    def in_scope_loss(self) -> float | None:
        """The share of the rows in scope (0–1) that may be handed over; None: nothing is, whatever comes."""
        return self.targets.in_scope_loss or (IN_SCOPE_LOSS if self.data.out_of_scope else None)


# --- Example ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row. `inputs` holds named texts (at least 'input'); `output` is text, a label or JSON text.

    `row` is the 1-based row in its file, the header of a CSV not counted. Rows of one `group` (a customer,
    a document) belong together; empty: the row stands alone. `probabilities` is what a teacher gave each
    label that it named; a model may learn from them instead of from `output` alone. `documents` are the
    paths of those that hold the answer, as far as the row names them.
    """

    id: ExampleId
    inputs: Mapping[str, str]
    output: str
    tags: tuple[str, ...] = ()
    row: int = 0
    group: str = ""
    probabilities: Mapping[str, float] | None = None
    documents: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The inputs as one text: the sole value, or `name: value` lines."""
        if len(self.inputs) == 1:
            return next(iter(self.inputs.values()))
        return "\n".join(f"{name}: {value}" for name, value in self.inputs.items())


# --- Prompt -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A closed label set as single-token codes, in one order: `labels[i]` is said as `codes[i]`.

    `ids[i]` is the token id of `codes[i]` right after a rendered prompt; empty for engines
    without tokens, which score the labels themselves.
    """

    labels: tuple[str, ...]
    codes: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PromptSpec:
    """Everything the renderer needs besides the inputs; a bundle carries it whole.

    `style` 'raw' passes the input text through (linear, encoders); 'chat' renders messages.
    `listed` says whether the label set stands in the prompt. `shots` are (input text, answer) pairs.
    """

    style: Literal["raw", "chat"]
    kind: Kind
    instruction: str = ""
    choices: Choices | None = None
    listed: bool = True
    schema: Mapping[str, Any] | None = None
    shots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A finished prompt. `ids` is empty for engines without tokens and for remote ones.

    `messages` is only for remote engines, whose template is out of our hands. `shortened` says that the
    end of the input was cut to fit the context.
    """

    text: str
    ids: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    shortened: bool = False


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to draw tokens. `temperature` 0 is greedy. `schema` constrains the output to JSON.

    `stop` strings end the answer and are not part of it; `stop_ids` likewise for tokens. `logprobs` asks for
    each token's log-probability and that of so many most probable ones in its place; None asks for none.
    `logit_bias` is what is added to the logits of token ids. Not every engine can do these two.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    schema: Mapping[str, Any] | None = None
    logprobs: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token that was drawn, by the model's own distribution: before temperature, bias and schema.

    `top` are the most probable tokens in its place. `raw` is None where the engine tells only `text`.
    """

    text: str
    logprob: float
    raw: bytes | None = None
    top: tuple[Token, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A passage that was found for a question. `path` is its document with the headings it stands under;
    `cited`: a sentence of the answer rests on it.
    """

    document: str
    path: str
    text: str
    cited: bool = False


@dataclass(frozen=True, kw_only=True)
class Completion:
    """`tokens` is empty unless log-probabilities were asked; `sources` is None where nothing was searched."""

    text: str
    finish: Finish
    tokens_in: int
    tokens_out: int
    ids: tuple[int, ...] = ()
    tokens: tuple[Token, ...] = ()
    sources: tuple[Source, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a streamed answer; the last one has `completion`, and its `text` may be empty.

    The texts of all chunks joined equal `completion.text`; no chunk splits a Unicode character. `tokens` are
    those drawn since the chunk before, where log-probabilities were asked.
    """

    text: str
    completion: Completion | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Spent:
    """Tokens that one stage of a cascade took for one answer; a stage of a stage is `outer/inner`."""

    stage: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a bundle says to one set of inputs.

    `probabilities` maps each label to its calibrated probability (classify only; sums to 1).
    `ms` is the wall time from inputs to answer, rendering included. `shortened` says that only the
    beginning of the input was read, since all of it does not fit the model. `stage` names which stage of a
    cascade answered; tokens are then of all stages that were asked, and `spent` has those of each, the last
    of which answered. `abstain` says that the input seems out
    of scope, `text` being the label that would have been said; None where no threshold is set for that.
    `sources` are the passages that were found for it, the best first; None where no documents were searched.
    """

    text: str
    tokens_in: int
    tokens_out: int
    ms: float
    finish: Finish = "stop"
    probabilities: Mapping[str, float] | None = None
    shortened: bool = False
    stage: str = ""
    tokens: tuple[Token, ...] = ()
    abstain: bool | None = None
    sources: tuple[Source, ...] | None = None
    spent: tuple[Spent, ...] = ()


# --- Evaluation ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of an evaluation. `scores` holds per-row metric parts, e.g. {'accuracy': 1.0}; one that does
    not apply to the row (`abstained` where there is an answer to give) is left out.

    `parsed` is the strict parse (None where the raw text is not exactly valid); `lenient` the
    forgiving one. `signals` are what its tokens tell of how sure a written answer is, where that was asked.
    """

    example_id: ExampleId
    prompt_hash: str
    expected: str
    raw: str
    parsed: str | None
    lenient: str | None
    scores: Mapping[str, float]
    tokens_in: int
    tokens_out: int
    ms: float
    probabilities: Mapping[str, float] | None = None
    shortened: bool = False
    group: str = ""
    stage: str = ""
    signals: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured value with its interval (95 % unless `level` says otherwise) over `n` rows.

    `groups` is how many groups the rows came in, None where each stands alone. `design` is how many of
    these rows tell as much as one independent row would; only shares of rows need it.
    """

    value: float
    low: float
    high: float
    n: int
    level: float = 0.95
    groups: int | None = None
    design: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds per request at batch 1, and rows per second at the engine's own batch size."""

    p50: float
    p95: float
    p99: float
    n: int
    rows_per_second: float


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """A candidate's metrics over one data set. `metrics` includes the task's own one.

    `peak_memory_bytes` is the peak resident memory of the process that answered, model and all;
    `tokens_in` and `tokens_out` are means per request.
    """

    metrics: Mapping[str, Estimate]
    latency: Latency
    peak_memory_bytes: int
    tokens_in: float
    tokens_out: float
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Pass, fail, or inconclusive; `rows_needed` is how many more test rows would settle it."""

    outcome: Outcome
    reason: str
    rows_needed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """B against A on the same rows. `difference` is mean(B) − mean(A) on the metric's scale."""

    metric: str
    a: Estimate
    b: Estimate
    difference: Estimate
    p_value: float
    test: str
    only_a: int
    only_b: int


# --- The table ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How a served form agrees with the reference engine on the golden rows.

    `worst` is the largest difference of one label probability; `tolerance` what was allowed.
    """

    rows: int
    ids_equal: int
    texts_equal: int
    worst: float
    tolerance: float
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate: measured, or skipped with the reason; `failed` when it was tried in vain.

    `mixes` is the file of what a cascade's stages come to together, at every threshold.
    """

    name: str
    kind: str
    engine: str
    metric: Estimate | None = None
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    latency: Latency | None = None
    disk_bytes: int | None = None
    peak_memory_bytes: int | None = None
    cost_per_1000: float | None = None
    verdict: Verdict | None = None
    bundle: Path | None = None
    records: Path | None = None
    parity: Parity | None = None
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    failed: bool = False
    mixes: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """The result of a build: every candidate, the chosen one and why, seconds per step."""

    task: str
    metric: str
    rows: tuple[Row, ...]
    chosen: Path | None
    chosen_name: str | None
    why: str
    seconds: Mapping[str, float]
    report: Path | None = None
