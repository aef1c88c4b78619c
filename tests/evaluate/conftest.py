"""Records made from little: what was expected, what was said."""

from collections.abc import Callable

import pytest

from smallworks.evaluate.parse import parse
from smallworks.evaluate.scores import score_row
from smallworks.types import REFUSAL, ExampleId, Kind, Record

Make = Callable[..., list[Record]]


def _make(
    kind: Kind,
    rows: list[tuple[str, str]],
    labels: tuple[str, ...] = ("bug", "feature", "question"),
    probabilities: list[dict[str, float]] | None = None,
    refusal: str = REFUSAL,
) -> list[Record]:
    """Records of (expected, said) rows, parsed and scored as a run would."""
    records = []
    for i, (expected, said) in enumerate(rows):
        parsed = parse(kind, said, labels=labels)
        records.append(
            Record(
                example_id=ExampleId(f"r{i}"),
                prompt_hash="",
                expected=expected,
                raw=said,
                parsed=parsed.strict,
                lenient=parsed.lenient,
                scores=score_row(kind, parsed, expected, refusal=refusal),
                tokens_in=10,
                tokens_out=1,
                ms=1.0,
                probabilities=probabilities[i] if probabilities else None,
            )
        )
    return records


@pytest.fixture
def make() -> Make:
    return _make
