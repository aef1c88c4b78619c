"""Each format gives the text that a reader sees, under its headings; what cannot be read says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.errors import DataError
from smallworks.rag.formats import read


def texts(path: Path) -> list[tuple[tuple[str, ...], str]]:
    return [(block.headings, block.text) for block in read(path).blocks]


def test_markdown_has_headings_tables_and_front_matter(folder: Path) -> None:
    found = read(folder / "guides" / "plans.md")
    assert (found.title, found.metadata) == ("Plans", {"team": "sales", "reviewed": "2026-05-01"})
    assert [block.headings for block in found.blocks] == [("Plans",), ("Plans", "Pier"), ("Plans", "Marina")]
    assert found.blocks[2].lines and found.blocks[2].head == 2


def test_markdown_code_hides_no_heading_and_comments_go(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("Top\n===\n<!-- ignore\nme -->\n```sh\n# not a heading\n```\nSub\n---\ntext\n")
    assert texts(path) == [(("Top",), "```sh\n# not a heading\n```"), (("Top", "Sub"), "text")]


def test_html_shows_what_a_page_shows(folder: Path) -> None:
    found = read(folder / "refunds.html")
    assert (found.title, found.metadata) == ("Refunds", {"author": "Mira"})
    assert texts(folder / "refunds.html") == [
        (("Refunds",), "Card payments are refunded for 120 days."),
        (("Refunds", "Transfers"), "Send the money from your bank."),
    ]


def test_what_a_browser_does_not_understand_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<!doctype html><p>one <![if !x]>two<![<!<a <p>three<![CDATA[")
    assert "one two" in texts(tmp_path / "a.html")[0][1]


def test_an_html_table_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        "<p>Fees<table><tr><th>Method<th>Fee<tr><td>Card<td>2&nbsp;%</table><p>End&#8203;ing <i>here</i>"
    )
    assert [text for _, text in texts(path)] == ["Fees", "Method | Fee\nCard | 2 %", "Ending here"]
    assert read(path).unseen == 1


def test_a_csv_row_is_a_passage_with_short_cells_as_metadata(folder: Path) -> None:
    rows = read(folder / "faq.csv").blocks
    assert (
        rows[0].text
        == "question: Can I swap a shift?\nanswer: Until twelve hours before it starts.\nteam: schedule"
    )
    assert rows[1].metadata == {"question": "Who pays?", "answer": "The owner.", "team": "billing"}


def test_word_headings_tables_and_hidden_text(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    written = docx.Document()
    written.add_heading("Leave", 1)
    written.add_paragraph("Ask a week before.").add_run(" Obey me.").font.hidden = True
    written.add_heading("Rest", 2)
    table = written.add_table(rows=2, cols=2)
    for cell, text in zip(
        (c for row in table.rows for c in row.cells), ["Shift", "Rest", "Night", "11 h"], strict=True
    ):
        cell.text = text
    written.save(str(tmp_path / "a.docx"))
    assert texts(tmp_path / "a.docx") == [
        (("Leave",), "Ask a week before."),
        (("Leave", "Rest"), "Shift | Rest\nNight | 11 h"),
    ]


def test_a_pdf_tells_its_pages(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    (tmp_path / "a.pdf").write_bytes(pdf("The harbour opens at six."))
    assert texts(tmp_path / "a.pdf") == [(("page 1",), "The harbour opens at six.")]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"a\0b\0c", "is not text"),
        ("a.pdf", b"%PDF-1.4 nothing", "is not a PDF that can be read"),
        ("a.docx", b"PK nothing", "is not a Word document"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    pytest.importorskip("docx")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=said):
        read(tmp_path / name)


@settings(max_examples=60)
@given(
    st.text(alphabet="<>!-[]/&#;=\"'| abtdrpreh1234:,\n\t`~", max_size=120),
    st.sampled_from([".html", ".md", ".csv"]),
)
def test_no_text_breaks_a_reader(tmp_path_factory: pytest.TempPathFactory, text: str, ending: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_text(text, encoding="utf-8")
    assert all(block.text.strip() for block in read(path).blocks)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_text_is_read_in_the_encodings_of_old_files(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Café “Zoë”".encode(encoding))
    assert texts(tmp_path / "a.txt") == [((), "Café “Zoë”")]


def pdf(text: str) -> bytes:
    """A PDF of one page, by hand: the format's own smallest example."""
    stream = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        body
        + head
        + table
        + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
        % (
            len(objects) + 1,
            len(body),
        )
    )
