"""The report is one file that stands alone, says what the table says, and trusts no text in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from smallworks.data import DataReport, Notice, Splits
from smallworks.evaluate import records
from smallworks.evaluate.confusion import per_class
from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.verdict import against_target
from smallworks.recipes import figures
from smallworks.recipes.axes import cut, decades, levels
from smallworks.recipes.labels import Box, Label, place
from smallworks.recipes.outlook import ladder, next_best, outlook
from smallworks.recipes.report import render, write_report
from smallworks.types import (
    DataFiles,
    Estimate,
    Example,
    ExampleId,
    Kind,
    Latency,
    Parity,
    Record,
    Row,
    Table,
    Targets,
    Task,
)

NASTY = "<script>alert('x')</script> \"&amp;"
LABELS = ("bug", "feature", "question")


def a_task(
    tmp_path: Path,
    kind: Kind = "classify",
    metric: str = "accuracy",
    *,
    at_least: float,
    p95_ms: float | None = None,
) -> Task:
    return Task(
        name="tickets",
        kind=kind,
        instruction="Name the kind.",
        folder=tmp_path,
        data=DataFiles(train=tmp_path / "train.csv"),
        targets=Targets(metric=metric, at_least=at_least, p95_ms=p95_ms),
    )


def some_splits(texts: Sequence[str] = (), labels: Sequence[str] = LABELS) -> Splits:
    test = [
        Example(
            id=ExampleId(f"t{i}"),
            inputs={"input": text},
            output=labels[i % len(labels)] if labels else "{}",
            row=i + 1,
        )
        for i, text in enumerate(texts or [f"ticket number {i}" for i in range(120)])
    ]
    notice = Notice.of(
        range(3, 12), "warning", "duplicate", "Dropped 9 rows.", file="train.csv", removed=True
    )
    report = DataReport(
        notices=(notice,),
        sizes={"train": 300, "validation": 30, "test": len(test)},
        classes=dict.fromkeys(labels, 100),
        columns={"train.csv": "text → input, label → output"},
    )
    return Splits(
        train=tuple(test[:3]),
        validation=(),
        test=tuple(test),
        labels=tuple(labels),
        report=report,
        fingerprint="0",
    )


def answered(splits: Splits, wrong: int) -> list[Record]:
    """The first `wrong` rows are mistakes."""
    found = []
    for i, example in enumerate(splits.test):
        other = next((label for label in splits.labels if label != example.output), "nonsense")
        said = other if i < wrong else example.output
        found.append(
            Record(
                example_id=example.id,
                prompt_hash="0",
                expected=example.output,
                raw=said,
                parsed=said,
                lenient=said,
                scores={
                    name: float(i >= wrong) for name in ("accuracy", "exact_match", "field_f1", "rouge_l")
                },
                tokens_in=1,
                tokens_out=1,
                ms=1.0,
                probabilities={said: 0.9 - i / 1000, "rest": 0.1 + i / 1000} if splits.labels else None,
            )
        )
    return found


def a_row(task: Task, name: str, right: int, n: int = 120, *, p95: float = 1.0, **more: object) -> Row:
    metric = wilson(right, n)
    target = task.targets.at_least
    row = Row(
        name=name,
        kind=name.removesuffix("-q8_0"),
        engine="linear",
        metric=metric,
        latency=Latency(p50=p95 / 2, p95=p95, p99=p95, n=50, rows_per_second=900.0),
        disk_bytes=2_100_000,
        peak_memory_bytes=int(60e6 + 1e6 * p95),
        cost_per_1000=p95 * 1e-5,
        verdict=against_target(metric, target, metric=task.targets.metric) if target is not None else None,
        bundle=task.folder / "bundles" / f"tickets-{name}-0123",
        parity=Parity(rows=24, ids_equal=24, texts_equal=24, worst=0.001, tolerance=0.01, holds=True),
    )
    return replace(row, **more)  # type: ignore[arg-type]


def with_records(row: Row, done: Sequence[Record]) -> Row:
    path = row.bundle.parent / f"{row.name}.jsonl" if row.bundle else Path()
    records.write(path, done)
    return replace(row, records=path, per_class=per_class(done))


def a_table(task: Task, rows: Sequence[Row], chosen: str | None = "linear") -> Table:
    return Table(
        task=task.name,
        metric=task.targets.metric,
        rows=tuple(rows),
        chosen=next((row.bundle for row in rows if row.name == chosen), None),
        chosen_name=chosen,
        why=f"{chosen} holds the target and is the only one that does."
        if chosen
        else "Nothing was measured.",
        seconds={"data": 0.4, "fit-linear": 3.25},
    )


def a_build(tmp_path: Path, p95_ms: float | None = None) -> tuple[Task, Splits, Table]:
    """A table of measured, skipped and recorded candidates, the way a build leaves it."""
    task = a_task(tmp_path, at_least=0.8, p95_ms=p95_ms)
    splits = some_splits()
    rows = [
        a_row(task, "majority", 40, p95=0.1),
        with_records(a_row(task, "linear", 108, p95=0.4), answered(splits, 12)),
        with_records(a_row(task, "lm-lora", 114, p95=40.0), answered(splits, 6)),
        a_row(task, "lm-lora-q8_0", 98, p95=12.0),
        Row(name="fused", kind="fused", engine="onnx", skipped="no embedding model: name one"),
        Row(
            name="flagship",
            kind="flagship",
            engine="recorded: big",
            metric=wilson(117, 120),
            cost_per_1000=0.62,
        ),
    ]
    return task, splits, a_table(task, rows)


def words(page: str) -> str:
    """The page's text as a reader sees it."""
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<wbr>|<[^>]+>", "", body.replace("><", "> <"))))


class Tags(HTMLParser):
    """Every tag with its attributes; notes a closing tag that closes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.stray: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "wbr", "circle", "line", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.stray.append(tag)


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    return parser


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    build = a_build(tmp_path)
    write_report(*build, tmp_path / "a.html")
    write_report(*build, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.is_file()) == [".html", ".html"]


def test_the_page_stands_alone(tmp_path: Path) -> None:
    page = render(*a_build(tmp_path), tmp_path)
    seen = tags(page).seen
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in seen}
    assert not [attrs for _, attrs in seen if {"src", "href", "srcset", "onclick"} & attrs.keys()]
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert len(page) < 300_000


def test_every_tag_is_closed_in_order(tmp_path: Path) -> None:
    parser = tags(render(*a_build(tmp_path), tmp_path))
    assert parser.stray == [] and parser.open == []


def test_every_candidate_and_every_reason_is_there(tmp_path: Path) -> None:
    task, splits, table = a_build(tmp_path)
    page = render(task, splits, table, tmp_path)
    for row in table.rows:
        assert row.name in words(page)
        assert (row.skipped or "") in words(page)
        assert row.verdict is None or row.verdict.reason in unescape(page)


def test_the_result_is_one_sentence(tmp_path: Path) -> None:
    page = words(render(*a_build(tmp_path), tmp_path))
    assert "linear was chosen: it holds the target and is the only one that does." in page
    assert str(tmp_path / "bundles" / "tickets-linear-0123") in page


def test_nasty_text_stays_text(tmp_path: Path) -> None:
    task = replace(a_task(tmp_path, at_least=0.5), name=NASTY, instruction=NASTY)
    splits = some_splits([NASTY] * 30, labels=(NASTY, "b"))
    row = with_records(a_row(task, "linear", 25, 30), answered(splits, 5))
    rows = [
        replace(row, notes=(NASTY,), kind=NASTY),
        Row(name=NASTY, kind=NASTY, engine=NASTY, skipped=NASTY),
    ]
    page = render(task, splits, replace(a_table(task, rows), why=NASTY), tmp_path)
    assert "<script" not in page.lower() and "&amp;amp;" in page
    assert "script" not in {tag for tag, _ in tags(page).seen}
    assert NASTY in words(page)


def test_the_worst_rows_are_quoted_with_their_place(tmp_path: Path) -> None:
    page = words(render(*a_build(tmp_path), tmp_path))
    assert "linear falls short on 12 of 120 test rows" in page
    assert "ticket number 0" in page and "90 %" in page
    assert "ticket number 11" not in page  # the eleventh-worst row


def test_classes_and_confusions_are_of_the_chosen_one(tmp_path: Path) -> None:
    page = render(*a_build(tmp_path), tmp_path)
    assert "linear, class by class" in page and 'class="heat"' in page
    assert words(page).count("Commonest confusions") == 1


def test_the_chosen_ones_probabilities_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    task, splits, table = a_build(tmp_path)
    page = render(task, splits, table, tmp_path)
    assert "How far to trust its probabilities" in page and "share right against confidence" in page
    bare = replace(table, chosen_name="majority")
    assert "How far to trust" not in render(task, splits, bare, tmp_path)


def test_many_classes_get_pairs_but_no_heat_table(tmp_path: Path) -> None:
    task = a_task(tmp_path, at_least=0.5)
    splits = some_splits(labels=[f"intent_{i}" for i in range(40)])
    row = with_records(a_row(task, "linear", 110), answered(splits, 10))
    page = render(task, splits, a_table(task, [row]), tmp_path)
    assert 'class="heat"' not in page and "Commonest confusions" in page and "25 more classes" in page


@pytest.mark.parametrize(
    ("kind", "metric"), [("extract", "field_f1"), ("generate", "rouge_l"), ("answer", "exact_match")]
)
def test_kinds_without_labels_have_no_classes(tmp_path: Path, kind: Kind, metric: str) -> None:
    task = a_task(tmp_path, kind, metric, at_least=0.5)
    splits = some_splits(labels=())
    row = a_row(task, "lm-lora", 110)
    records.write(tmp_path / "r.jsonl", answered(splits, 10))
    rows = [
        replace(row, records=tmp_path / "r.jsonl"),
        Row(name="linear", kind="linear", engine="linear", skipped="labels only"),
    ]
    page = render(task, splits, a_table(task, rows, "lm-lora"), tmp_path)
    assert "class by class" not in page and "nonsense" in page and "The worst rows" in page


def test_a_table_without_records_or_latency_still_reads(tmp_path: Path) -> None:
    task = a_task(tmp_path, at_least=0.5)
    row = a_row(task, "linear", 110, latency=None, peak_memory_bytes=None, cost_per_1000=None, parity=None)
    page = render(task, some_splits(), a_table(task, [row]), tmp_path)
    assert "<svg" not in page and "The worst rows" not in page and "linear" in page


def test_a_table_with_nothing_measured_says_so(tmp_path: Path) -> None:
    task = a_task(tmp_path, at_least=0.5)
    rows = [Row(name="fused", kind="fused", engine="onnx", skipped="no embedding model")]
    page = words(render(task, some_splits(), a_table(task, rows, None), tmp_path))
    assert "Nothing was chosen. Nothing was measured." in page and "no embedding model" in page


def test_the_picture_marks_choice_target_limit_and_flagship(tmp_path: Path) -> None:
    page = render(*a_build(tmp_path, p95_ms=20.0), tmp_path)
    assert page.count("<svg") == 3 and page.count('class="ring"') == 2
    for said in (
        "linear · chosen",
        "target 0.8",
        "limit 20 ms",
        "flagship 0.975, no latency",
        "area: peak memory",
    ):
        assert page.count(said) == 2


def test_commands_name_bundle_rows_and_seed(tmp_path: Path) -> None:
    page = words(render(*a_build(tmp_path), tmp_path))
    bundle = tmp_path / "bundles" / "tickets-linear-0123"
    other = tmp_path / "bundles" / "tickets-lm-lora-0123"
    for line in (f"evaluate {bundle}", f"compare {bundle} {other}", f"verify {bundle}", f"serve {bundle}"):
        assert f"smallworks {line}" in page
    assert f"smallworks build {tmp_path} --only majority,linear" in page
    assert '"content": "ticket number 0"' in page and "Seed 0." in page


def test_notices_name_their_rows(tmp_path: Path) -> None:
    page = words(render(*a_build(tmp_path), tmp_path))
    assert "warning Dropped 9 rows. rows 3, 4, 5, 6, 7, 8, 9, 10 and 11" in page


# --- what would change the choice ---------------------------------------------------------------


def test_the_ladder_climbs_from_cheap_to_good(tmp_path: Path) -> None:
    task, _, table = a_build(tmp_path)
    rungs = ladder(task, table)
    assert [rung.name for rung in rungs] == ["majority", "linear", "lm-lora", None]
    assert all(a.high == b.low for a, b in pairwise(rungs))
    assert rungs[1].low < 0.8 < rungs[1].high


def test_the_sentences_say_what_would_flip_the_choice(tmp_path: Path) -> None:
    task, _, table = a_build(tmp_path)
    said = {point.head: point.sentence for point in outlook(task, table)}
    assert "above that, lm-lora would be chosen" in said["The target"]
    assert "lm-lora is 5.0 points better than linear on the same 120 rows" in said["The next best"]
    assert "100× the cost" in said["The next best"]
    assert "7.5 points below the flagship" in said["The flagship"] and "cheaper" in said["The flagship"]
    assert "would settle lm-lora-q8_0" in said["More test rows"]
    assert said["Not measured"] == "fused: no embedding model: name one."


def test_a_limit_that_keeps_a_good_one_out_is_named(tmp_path: Path) -> None:
    task, _, table = a_build(tmp_path, p95_ms=20.0)
    said = {point.head: point.sentence for point in outlook(task, table)}
    assert "lm-lora: p95 latency 40 ms is over the limit of 20 ms." in said["The limits"]
    assert "lm-lora" not in {rung.name for rung in ladder(task, table)}


def test_a_bundle_with_broken_parity_is_never_the_next_best(tmp_path: Path) -> None:
    _, _, table = a_build(tmp_path)
    broken = Parity(rows=24, ids_equal=20, texts_equal=24, worst=0.3, tolerance=0.01, holds=False)
    rows = [replace(row, parity=broken) if row.name == "lm-lora" else row for row in table.rows]
    other = next_best(replace(table, rows=tuple(rows)), table.rows[1])
    assert other is not None and other.name == "lm-lora-q8_0"


# --- the parts ----------------------------------------------------------------------------------


def test_labels_keep_clear_of_dots_and_of_each_other() -> None:
    frame = Box(0, 0, 600, 300)
    dots = [Label(x=300 + 6 * i, y=150 + 4 * i, radius=6, width=80, height=15) for i in range(8)]
    around = [Box(d.x - 6, d.y - 6, d.x + 6, d.y + 6) for d in dots]
    boxes = [placed.box for placed in place(dots, around, frame)]
    assert all(a.overlap(b) == 0 for i, a in enumerate(boxes) for b in boxes[i + 1 :] + around)
    assert all(box.outside(frame) == 0 for box in boxes)


def test_a_baseline_far_below_leaves_the_scale() -> None:
    assert cut([0.01, 0.91, 0.94, 0.90]) == 0.90
    assert cut([0.01, 0.91]) == 0.0  # one above is no crowd
    assert cut([0.35, 0.55, 0.80, 0.85]) == 0.0


def test_ticks_are_round_and_few() -> None:
    assert decades(0.05, 250, 900) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200])
    assert decades(0.05, 250, 200) == pytest.approx([0.1, 1, 10, 100])
    assert levels(0.87, 0.951, 300) == [0.87, 0.88, 0.89, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95]


def test_figures_are_short() -> None:
    assert [figures.number(x) for x in (None, 0.174, 1.44, 23, 4210.4)] == [
        "–",
        "0.17",
        "1.4",
        "23.0",
        "4,210",
    ]
    assert [figures.dollars(x) for x in (None, 0, 1.2, 0.00432, 1e-6)] == [
        "–",
        "$0.00",
        "$1.20",
        "$0.0043",
        "<$0.0001",
    ]
    assert [figures.times(a, b) for a, b in ((3, 2), (96400, 1), (1, 2), (1, 0))] == [
        "1.5×",
        "96,000×",
        None,
        None,
    ]
    assert [figures.percent(x) for x in (1.0, 0.998, 0.5, 0.001)] == ["100 %", ">99 %", "50 %", "<1 %"]
    assert figures.interval(Estimate(value=0.5, low=0.25, high=0.75, n=4)) == "[0.250, 0.750]"
