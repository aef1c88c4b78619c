"""From a bundle to its row on the table: measured in a child, priced, judged. Knows no candidate's making."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.bundle import Bundle
from smallworks.evaluate import verdict
from smallworks.recipes import figures
from smallworks.recipes.cascade import inner, is_remote, scope_of
from smallworks.recipes.flagship import price
from smallworks.recipes.workshop import Workshop
from smallworks.types import LOSS, RECALL, Estimate, Latency, Parity, Row, Targets, Task, Verdict


def measure(shop: Workshop, bundle: Bundle, family: str) -> Row:
    """Evaluate on the test rows (once per bundle and test set) and judge against the task's targets."""
    step = f"evaluate-{bundle.manifest.candidate}"
    reads = {"bundle": bundle.id, "data": shop.data_key, **wording(shop.task)}
    result = shop.steps.run(step, reads, lambda folder: _evaluate(shop, bundle, step, folder))
    card = result["scorecard"]
    metrics = {name: Estimate(**raw) for name, raw in card["metrics"].items()}
    latency = Latency(**card["latency"])
    cost = _cost(shop, bundle, card["tokens_in"], card["tokens_out"], result["mean_ms"])
    return Row(
        name=bundle.manifest.candidate,
        kind=family,
        engine=bundle.manifest.engine,
        metric=metrics[shop.task.targets.metric],
        metrics=metrics,
        latency=latency,
        disk_bytes=disk_bytes(bundle),
        peak_memory_bytes=card["peak_memory_bytes"],
        cost_per_1000=cost,
        verdict=judge(shop.task.targets, metrics, latency, card["peak_memory_bytes"], cost),
        bundle=bundle.path,
        records=shop.steps.folder_of(step, reads) / "records.jsonl",
        parity=Parity(**result["parity"]) if result["parity"] else None,
        per_class=card["per_class"],
        notes=(
            *_notes(result, metrics),
            *_in_scope(bundle, metrics, shop.task.targets.in_scope_loss),
            *_forgotten(bundle),
            *_searched(bundle),
        ),
    )


def wording(task: Task) -> dict[str, str]:
    """What scores depend on beyond the rows; only an `answer` has a sentence of refusal, and documents."""
    documents = {"rests_on": "documents"} if task.data.documents else {}
    return {"refusal": task.refusal, **documents} if task.kind == "answer" else {}


def _cost(shop: Workshop, bundle: Bundle, tokens_in: float, tokens_out: float, ms: float) -> float:
    """Dollars per 1,000 requests: list price for a remote model (tokens are means over all
    requests, of a cascade too), this machine's time for any other."""
    flagship = shop.task.flagship
    if is_remote(bundle) and flagship:
        return 1000 * price(flagship, tokens_in, tokens_out)
    return 1000 * ms / 3.6e6 * shop.task.build.machine_price_per_hour


def judge(
    targets: Targets,
    metrics: Mapping[str, Estimate],
    latency: Latency | None,
    memory: int | None,
    cost: float | None,
) -> Verdict | None:
    """Quality against its target, then the plain limits, with the deciding reason; None without targets."""
    verdicts = []
    if targets.at_least is not None:
        verdicts.append(
            verdict.against_target(metrics[targets.metric], targets.at_least, metric=targets.metric)
        )
    verdicts += verdict.limits(
        targets, latency=latency, memory_bytes=memory, cost_per_1000=cost, loss=metrics.get(LOSS)
    )
    return verdict.combine(verdicts) if verdicts else None


def disk_bytes(bundle: Bundle) -> int:
    """Bytes of everything needed to answer: the bundle, and the base weights that it refers to."""
    return files.size_of(bundle.path) + sum(map(files.size_of, _bases(bundle)))


def _bases(bundle: Bundle) -> set[Path]:
    """The base weights that it and its stages refer to, each once."""
    found = set[Path]().union(*map(_bases, inner(bundle)))
    if bundle.manifest.base:
        from smallworks.engines.opening import base_path

        found.add(base_path(bundle.manifest.base).resolve())
    return found


def _evaluate(shop: Workshop, bundle: Bundle, step: str, folder: Path) -> dict[str, Any]:
    outside = shop.splits.outside_test and scope_of(bundle)
    request = {
        "bundle": bundle.path,
        "rows": shop.write_rows("test", shop.splits.test),
        "labels": shop.splits.labels,
        "schema": shop.task.schema,
        "refusal": shop.task.refusal,
        "documents": shop.task.data.documents is not None,
        "outside": shop.write_rows("outside", shop.splits.outside_test) if outside else None,
        "records": folder / "records.jsonl",
    }
    result: dict[str, Any] = shop.run_child(step, "smallworks.evaluate.worker", request, folder)
    return result


def _in_scope(bundle: Bundle, metrics: Mapping[str, Estimate], most: float | None) -> tuple[str, ...]:
    """What it keeps back as out of scope, where the task asks for it; `most` is the limit in scope."""
    said = [f"scope: {why}"] if (why := bundle.manifest.lineage.get("scope")) else []
    for name, whose in ((RECALL, "out of scope"), (LOSS, "in scope")):
        if name in metrics:
            said.append(figures.handed_over(metrics[name], whose))
    if LOSS in metrics and most is not None and metrics[LOSS].low > most:
        said[-1] += f": over the limit of {100 * most:g} %"
    return tuple(said)


def _forgotten(bundle: Bundle) -> tuple[str, ...]:
    """What its tuning cost elsewhere, where it was tuned."""
    forgetting = bundle.manifest.lineage.get("forgetting")
    return (f"elsewhere: {forgetting}",) if forgetting else ()


def _searched(bundle: Bundle) -> tuple[str, ...]:
    """How the passages are found that it answers from, where it has documents."""
    passages = bundle.manifest.lineage.get("passages")
    return (str(passages),) if passages else ()


def _notes(result: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> tuple[str, ...]:
    notes = []
    for name, whose in (("abstained", "unanswerable"), ("abstained_wrongly", "answerable")):
        if name in metrics:
            notes.append(f"refused {figures.percent(metrics[name].value)} of the {whose} rows")
    if result["ece"] is not None:
        notes.append(f"calibration error {100 * result['ece']:.1f} points")
    if result["shortened"]:
        notes.append(f"{result['shortened']} inputs were too long for its context and read in part")
    if result["parity"] and not result["parity"]["holds"]:
        p = result["parity"]
        notes.append(
            f"PARITY BROKEN: token ids equal on {p['ids_equal']} of {p['rows']} golden rows, "
            f"label probability off by up to {p['worst']:.3f} (allowed {p['tolerance']})"
        )
    return tuple(notes)
