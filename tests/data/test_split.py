"""The split: deterministic, disjoint, stratified, and stable as rows move or arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.data.marks import normalised
from smallworks.data.split import sizes, split
from smallworks.types import Example, ExampleId

PAIRS = st.lists(st.tuples(st.text("aAbB ", max_size=4), st.sampled_from("xyz")), max_size=60)


def examples(pairs: Sequence[tuple[str, str]]) -> list[Example]:
    return [
        Example(id=ExampleId(str(i)), inputs={"input": text}, output=label, row=i)
        for i, (text, label) in enumerate(pairs, 1)
    ]


def carve(rows: Sequence[Example], seed: int = 0) -> dict[str, set[tuple[str, str]]]:
    parts = split(rows, seed=seed, stratify=True, test=True, validation=True)
    return {part: {(e.text, e.output) for e in landed} for part, landed in parts.items()}


@settings(deadline=None)
@given(pairs=PAIRS, seed=st.integers(0, 5), data=st.data())
def test_parts_are_complete_disjoint_and_blind_to_order(
    pairs: list[tuple[str, str]], seed: int, data: st.DataObject
) -> None:
    rows = examples(pairs)
    parts = split(rows, seed=seed, stratify=True, test=True, validation=True)
    assert sorted(e.row for part in parts.values() for e in part) == [e.row for e in rows]
    texts = [{normalised(e.text) for e in part} for part in parts.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert carve(data.draw(st.permutations(rows)), seed) == carve(rows, seed)


def test_each_class_gives_its_share() -> None:
    rows = examples(
        [(f"{label}{i}", label) for label, n in {"a": 100, "b": 10, "c": 3}.items() for i in range(n)]
    )
    parts = split(rows, seed=0, stratify=True, test=True, validation=True)
    counts = {part: dict(Counter(e.output for e in landed)) for part, landed in parts.items()}
    assert counts["test"] == {"a": 20, "b": 2, "c": 1}
    assert counts["validation"] == {"a": 8, "b": 1}
    assert counts["train"] == {"a": 72, "b": 7, "c": 2}


def test_two_rows_of_every_class_stay_in_train() -> None:
    assert [sizes(n, test=True, validation=True) for n in (0, 1, 2, 3, 4, 5)] == [
        (0, 0), (0, 0), (0, 0), (1, 0), (1, 1), (1, 1),
    ]  # fmt: skip
    assert sizes(10, test=False, validation=True) == (0, 1)


def test_an_appended_row_moves_at_most_the_border() -> None:
    pairs = [(f"row {i}", "x") for i in range(200)]
    before = split(examples(pairs), seed=0, stratify=True, test=True, validation=True)
    after = split(examples([*pairs, ("new", "x")]), seed=0, stratify=True, test=True, validation=True)
    old, new = ({e.text for e in parts["test"]} for parts in (before, after))
    assert len(old - new) <= 1


def test_the_seed_changes_the_draw() -> None:
    rows = examples([(f"row {i}", "x") for i in range(50)])
    assert carve(rows, seed=1) != carve(rows, seed=2)
