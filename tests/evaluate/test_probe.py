"""The probe of the real starter: it reads and writes at some speed, and scores a reference's first tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smallworks import compress, starter
from smallworks.bundle import Manifest
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.predictor import Predictor
from smallworks.evaluate import probe
from smallworks.prompt import Renderer, Template, TextTokenizer
from smallworks.seams import silent
from smallworks.types import Example, ExampleId, PromptSpec, Sampling

EXAMPLES = [
    Example(id=ExampleId(str(i)), inputs={"input": f"Row {i}: {'the export ' * i}fails."}, output="")
    for i in range(6)
]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    spec = PromptSpec(style="chat", kind="generate", instruction="Say it again.")
    renderer = Renderer(spec, Template.load(starter.MODEL), TextTokenizer.load(starter.MODEL))
    manifest = Manifest(
        task="t",
        kind="generate",
        candidate="c",
        engine="llamacpp",
        prompt=spec,
        sampling=Sampling(max_tokens=8),
    )
    gguf = compress.quantize(starter.MODEL, tmp_path_factory.mktemp("probe") / "m.gguf", "q8_0")
    with Predictor(manifest=manifest, model=LlamaCpp(gguf, threads=1), renderer=renderer) as opened:
        yield opened


def test_reading_and_writing_take_time(predictor: Predictor) -> None:
    assert probe.prefill(predictor, EXAMPLES) > 0
    written = probe.decode(predictor, EXAMPLES)
    assert written is None or written > 0


def test_timed_prompts_are_as_long_as_asked_and_begin_differently(predictor: Predictor) -> None:
    prompts = probe._prompts(predictor, EXAMPLES, 40)
    assert {len(ids) for ids in prompts} == {40} and len({ids[:8] for ids in prompts}) == probe.REPEATS


def test_first_tokens_are_scored_over_those_of_the_reference(predictor: Predictor) -> None:
    chosen = [[20 + i, 300, 41] for i in range(len(EXAMPLES))]
    rows = probe.first_tokens(predictor, EXAMPLES, chosen, silent)
    assert [row["ids"] for row in rows] == chosen
    assert all(sum(row["probabilities"]) == pytest.approx(1) for row in rows)
    assert len({tuple(row["probabilities"]) for row in rows}) == len(rows)


@pytest.mark.slow
def test_the_reference_chooses_its_most_likely_tokens(predictor: Predictor, tmp_path: Path) -> None:
    from dataclasses import replace

    from smallworks.engines.transformers import Transformers

    with replace(predictor, model=Transformers(starter.MODEL, threads=1)) as reference:
        rows = probe.first_tokens(reference, EXAMPLES[:2], None, silent)
    for row in rows:
        assert len(set(row["ids"])) == probe.FIRST
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
    again = probe.first_tokens(predictor, EXAMPLES[:2], [row["ids"] for row in rows], silent)
    assert again[0]["probabilities"] == pytest.approx(rows[0]["probabilities"], abs=0.1)
