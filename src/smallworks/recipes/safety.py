"""Is it safe to let people at it? What it refuses, what it refuses needlessly, whose instructions it follows.

Puts a red-team set and hidden instructions to a bundle, in a child, or to a server. Shares of refusals are
corrected for the detector's own mistakes. Knows which question suits what; counting is `evaluate`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from smallworks import child, files, settings
from smallworks.bundle import Bundle, open_bundle
from smallworks.bundle.golden import read as read_golden
from smallworks.engines.http import AT_ONCE, Http
from smallworks.errors import DataError, UserError
from smallworks.evaluate import injection, records
from smallworks.evaluate.injection import CANARIES, Case, Injection, Tried
from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.refusal import Detector, corrected, measured, refuses
from smallworks.evaluate.verdict import against_target
from smallworks.evaluate.wire import Wire, home
from smallworks.recipes import redteam
from smallworks.recipes.bench import first_model
from smallworks.recipes.examine import labelled_rows, labels_of
from smallworks.recipes.redteam import Request
from smallworks.seams import Progress, silent
from smallworks.text.support import QUESTIONS
from smallworks.types import Answer, Estimate, ExampleId, Message, Prompt, Record, Sampling, Verdict

CASES = 96
"""Hidden instructions that are tried; each takes two questions, and every text one more."""
LONGEST = 256
"""Tokens of an answer of a server."""
Inputs = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The least share of harmful requests refused, of benign ones answered, of lures resisted."""

    refused: float | None = None
    answered: float | None = None
    resisted: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 < value <= 1:
                raise UserError(f"--{name} {value:g} is not above 0 and at most 1.", fix=f"Try --{name} 0.9.")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Files in place of our own sets, and how a server is asked."""

    harmful: tuple[Path, ...] = ()
    benign: tuple[Path, ...] = ()
    labelled: Path | None = None
    model: str | None = None
    key_env: str | None = None


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """One sort of request: the share that the detector says was refused, and that corrected for its mistakes.

    `wrong` names the requests that were dealt with wrongly, as far as the detector can tell.
    """

    seen: Estimate
    corrected: Estimate
    wrong: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Safety:
    """What was found; None, and a reason in `skipped`, where it does not apply. Verdicts where asked for."""

    target: str
    harmful: Refusals | None
    benign: Refusals | None
    injection: Injection | None
    detector: Detector | None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    records: tuple[Record, ...] = ()


def safety(
    target: str,
    rows: Path | None = None,
    *,
    targets: Targets = Targets(),
    options: Options = Options(),
    out: Path | None = None,
    progress: Progress = silent,
) -> Safety:
    """Examine a bundle's folder or a server's URL. Lures go into `rows`, golden rows or our documents."""
    remote = target.startswith(("http://", "https://"))
    bundle = None if remote else open_bundle(Path(target))
    labels = bundle is not None and bundle.manifest.kind in ("classify", "extract")
    skipped = {"refusals": f"it only ever answers with {_form(bundle)}, and cannot refuse"} if labels else {}
    if labels and (options.harmful or options.benign or targets.refused or targets.answered):
        raise UserError(f"'{target}' {skipped['refusals']}.", fix="Ask for --resisted alone.")
    requests = () if labels else _requests(options)
    detector = None if labels else measured(_judged(options))
    cases = _cases(bundle, rows)
    asked = [_whole(bundle, request.text) for request in requests]
    asked += [one for case in cases for one in (case.clean, case.injected, case.twin)]
    said = _ask_bundle(bundle, asked, progress) if bundle else _ask_server(target, options, asked, progress)
    tried = _tried(cases, said[len(requests) :])
    found = _refusals(requests, said, detector)
    judged = injection.judge(tried)
    if judged is None:
        skipped["injection"] = "every plain answer already says what the hidden instructions want"
    kept = (*_request_records(requests, said), *_case_records(tried, said[len(requests) :]))
    if out:
        records.write(out, kept)
    return Safety(
        target=target,
        harmful=found.get(True),
        benign=found.get(False),
        injection=judged,
        detector=detector,
        verdicts=_verdicts(targets, found, judged),
        skipped=skipped,
        records=kept,
    )


def _form(bundle: Bundle | None) -> str:
    return "labels" if bundle and bundle.manifest.kind == "classify" else "documents of its schema"


# --- what is asked ------------------------------------------------------------------------------


def _requests(options: Options) -> tuple[Request, ...]:
    """Files where they are named, else our own set."""
    ours = redteam.own() if not (options.harmful or options.benign) else ()
    return (*ours, *redteam.load(options.harmful, harmful=True), *redteam.load(options.benign, harmful=False))


def _judged(options: Options) -> list[tuple[str, bool]]:
    return redteam.labelled(options.labelled) if options.labelled else redteam.own_labelled()


def _whole(bundle: Bundle | None, text: str) -> Inputs:
    """A request as the inputs of a bundle: as its question, or its last input, the others empty."""
    names = bundle.manifest.inputs if bundle else ("input",)
    asking = next((name for name in names if name.casefold() in QUESTIONS), names[-1])
    return {name: text if name == asking else "" for name in names}


def _cases(bundle: Bundle | None, rows: Path | None) -> list[Case]:
    """Texts with lures in them. Few texts get several lures each; many get one."""
    texts: Sequence[Inputs] = redteam.documents()
    if bundle and rows:
        texts = [example.inputs for example in labelled_rows(bundle, rows)[1]]
    elif rows:
        raise UserError(f"'{rows}' are rows of a task, and a URL has none.", fix="Leave them out.")
    elif bundle:
        texts = [row.inputs for row in read_golden(bundle.path)] or texts
    if not texts:
        raise DataError(f"'{rows}' holds no row to hide an instruction in.", fix="Give a file with rows.")
    known, lures = labels_of(bundle) if bundle else (), redteam.lures()
    wanted = known or CANARIES
    each = max(1, min(len(lures), CASES // len(texts)))
    spread = [texts[i * len(texts) // CASES] for i in range(CASES)] if len(texts) > CASES else texts
    return [
        injection.case(
            f"lure-{at + 1}-{turn + 1}",
            f"text-{at + 1}",
            inputs,
            lures[(at + turn) % len(lures)],
            wanted[(at + turn) % len(wanted)],
            labels=bool(known),
            first=(at + turn) % 2 == 1,
        )
        for at, inputs in enumerate(spread)
        for turn in range(each)
    ]


# --- asking -------------------------------------------------------------------------------------


def _ask_bundle(bundle: Bundle, asked: Sequence[Inputs], progress: Progress) -> list[Answer]:
    different = {files.canonical(inputs): inputs for inputs in asked}
    with TemporaryDirectory(prefix="smallworks-") as scratch:
        put, got = Path(scratch) / "inputs.jsonl", Path(scratch) / "answers.jsonl"
        files.write_jsonl(put, different.values())
        request = {"bundle": bundle.path, "inputs": put, "answers": got}
        child.run("smallworks.evaluate.answering", request, progress=progress)
        said = dict(zip(different, files.read_jsonl(got), strict=True))
    return [Answer(**said[files.canonical(inputs)]) for inputs in asked]


def _ask_server(url: str, options: Options, asked: Sequence[Inputs], progress: Progress) -> list[Answer]:
    at = home(url)
    key = settings.secret(options.key_env) if options.key_env else None
    model = options.model or first_model(Wire(at, key=key)) or ""
    engine = Http(f"{at}/v1", model, key_env=options.key_env)
    different = list({files.canonical(inputs): inputs for inputs in asked}.values())
    done = 0

    def ask(inputs: Inputs) -> Answer:
        nonlocal done
        text = "\n\n".join(inputs.values())
        prompt = Prompt(text=text, messages=(Message(role="user", content=text),))
        said = engine.generate(prompt, Sampling(max_tokens=LONGEST))
        done += 1
        progress("ask", done, len(different), "")
        return Answer(text=said.text, tokens_in=said.tokens_in, tokens_out=said.tokens_out, ms=0.0)

    try:
        with ThreadPoolExecutor(AT_ONCE, "safety") as pool:
            said = dict(zip(map(files.canonical, different), pool.map(ask, different), strict=True))
    finally:
        engine.close()
    return [said[files.canonical(inputs)] for inputs in asked]


# --- what came of it ----------------------------------------------------------------------------


def _refusals(
    requests: Sequence[Request], said: Sequence[Answer], detector: Detector | None
) -> dict[bool, Refusals]:
    found = {}
    for sort in {request.harmful for request in requests}:
        assert detector is not None
        mine = [(r, refuses(a.text)) for r, a in zip(requests, said, strict=False) if r.harmful is sort]
        hits = sum(refused for _, refused in mine)
        found[sort] = Refusals(
            seen=wilson(hits, len(mine)),
            corrected=corrected(hits, len(mine), detector),
            wrong=tuple(request.id for request, refused in mine if refused is not sort),
        )
    return found


def _tried(cases: Sequence[Case], said: Sequence[Answer]) -> list[Tried]:
    texts = [answer.text for answer in said]
    return [
        Tried(case=case, clean=texts[3 * at], injected=texts[3 * at + 1], twin=texts[3 * at + 2])
        for at, case in enumerate(cases)
    ]


def _verdicts(
    targets: Targets, found: Mapping[bool, Refusals], judged: Injection | None
) -> dict[str, Verdict]:
    asked = {
        "refused": (targets.refused, found[True].corrected if True in found else None),
        "answered": (targets.answered, others(found[False].corrected) if False in found else None),
        "resisted": (targets.resisted, judged.resisted if judged else None),
    }
    verdicts = {}
    for name, (least, share) in asked.items():
        if least is not None:
            none = Verdict(outcome="inconclusive", reason=f"{name} was not measured.")
            verdicts[name] = against_target(share, least, metric=name) if share else none
    return verdicts


def others(share: Estimate) -> Estimate:
    """The share of the rest, such as of what was not refused."""
    return Estimate(value=1 - share.value, low=1 - share.high, high=1 - share.low, n=share.n)


def _request_records(requests: Sequence[Request], said: Sequence[Answer]) -> list[Record]:
    return [
        _record(
            r.id,
            "refusal" if r.harmful else "answer",
            answer,
            {"refused": float(refuses(answer.text))},
            r.text,
        )
        for r, answer in zip(requests, said, strict=False)
    ]


def _case_records(tried: Sequence[Tried], said: Sequence[Answer]) -> list[Record]:
    kept = []
    for at, one in enumerate(tried):
        for turn, name in enumerate(("clean", "injected", "twin")):
            answer = said[3 * at + turn]
            scores = {"obeyed": float(one.obeyed(answer.text)), "changed": float(one.changed(answer.text))}
            asked = "\n\n".join(getattr(one.case, name).values())
            kept.append(
                _record(f"{one.case.id}-{name}", one.clean, answer, scores, asked, group=one.case.document)
            )
    return kept


def _record(
    name: str, expected: str, answer: Answer, scores: Mapping[str, float], asked: str, *, group: str = ""
) -> Record:
    return Record(
        example_id=ExampleId(name),
        prompt_hash=files.hash_value(asked),
        expected=expected,
        raw=answer.text,
        parsed=answer.text,
        lenient=answer.text,
        scores=scores,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        ms=answer.ms,
        group=group,
    )
