"""Passages hold every word once, stay below their size, and never cross a heading."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smallworks.rag.document import Block, Document
from smallworks.rag.passages import cut

TEXT = st.text(alphabet="abcdef .!?。\"')\n", max_size=900)


def document(*blocks: Block) -> Document:
    return Document(title="t", blocks=blocks)


@given(
    st.lists(st.tuples(TEXT, st.sampled_from([(), ("A",), ("A", "B")])), max_size=6), st.integers(100, 400)
)
def test_no_word_is_lost_or_doubled(parts: list[tuple[str, tuple[str, ...]]], size: int) -> None:
    passages = cut(document(*(Block(text=text, headings=where) for text, where in parts)), size)
    whole = "".join("".join(text.split()) for text, _ in parts)
    assert "".join("".join(passage.text.split()) for passage in passages) == whole
    assert all(len(passage.text) <= size for passage in passages)
    assert [passage.place for passage in passages] == list(range(1, len(passages) + 1))


def test_paragraphs_share_a_passage_and_headings_do_not() -> None:
    found = cut(document(Block(text="One."), Block(text="Two."), Block(text="Three.", headings=("H",))))
    assert [(passage.text, passage.headings) for passage in found] == [
        ("One.\n\nTwo.", ()),
        ("Three.", ("H",)),
    ]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(20))
    assert all(passage.text.endswith(".") for passage in cut(document(Block(text=text)), 120))


def test_a_long_table_repeats_its_head() -> None:
    rows = ["| name | price |", "|---|---|", *(f"| plan {n} | {n} dollars |" for n in range(30))]
    found = cut(document(Block(text="\n".join(rows), lines=True, head=2)), 150)
    assert len(found) > 4
    assert all(passage.text.startswith("| name | price |\n|---|---|\n| plan") for passage in found)


def test_a_row_stands_alone() -> None:
    blocks = [Block(text="a: 1", alone=True, metadata={"a": "1"}), Block(text="a: 2", alone=True)]
    assert [(p.text, p.metadata) for p in cut(document(*blocks))] == [("a: 1", {"a": "1"}), ("a: 2", {})]
