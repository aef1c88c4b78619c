"""Which new rows go: leaks before repeats, repeats before likeness; of those alike the first stays."""

from __future__ import annotations

import pytest

from smallworks.data.sift import distinct, sift

LONG = "The export to the accounting system stops after the third page of invoices"


def reasons(new: list[str]) -> list[str]:
    found = sift(
        new, held_out=["The invoice is wrong", LONG], known=["The page is blank", "Dark mode please"]
    )
    return [one.reason if one else "" for one in found]


def test_leaks_repeats_and_likenesses_are_told_apart() -> None:
    new = [
        "the INVOICE is wrong!",
        f"{LONG}.",
        f"{LONG} again",
        "The page is blank",
        "A new thing",
        "a new thing?",
    ]
    assert reasons(new) == ["leak", "leak", "leak", "repeats a training row", "", "repeats a new row"]


def test_the_first_of_new_rows_that_are_alike_stays() -> None:
    new = [
        "My screen went dark when I opened the calendar",
        "My screen went dark when I opened the calendars",
    ]
    assert reasons(new) == ["", "like a new row"]
    assert sift(new, held_out=[], known=[])[1].twin == new[0]  # type: ignore[union-attr]


def test_nothing_to_sift() -> None:
    assert sift([], held_out=["a"], known=[]) == []
    assert sift(["a"], held_out=[], known=[]) == [None]


@pytest.mark.parametrize(
    ("texts", "n", "share"),
    [(["a b a b"], 1, 0.5), (["a b a b"], 2, 2 / 3), (["A, b", "a B"], 2, 0.5), ([], 1, 0.0)],
)
def test_distinct_grams(texts: list[str], n: int, share: float) -> None:
    assert distinct(texts, n) == pytest.approx(share)
