"""What a bundle is thought to take in memory, beside what it took."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from smallworks import files, starter
from smallworks.bundle.manifest import Base, Manifest
from smallworks.bundle.store import freeze, hash_weights, open_bundle
from smallworks.compress import quantize
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.weigh import LEAST, bytes_of
from smallworks.types import PromptSpec

SPEC = PromptSpec(style="chat", kind="generate")


def test_a_remote_bundle_takes_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "draft").mkdir()
    manifest = Manifest(task="t", kind="generate", candidate="fake", engine="fake", prompt=SPEC)
    assert bytes_of(freeze(tmp_path / "draft", manifest, into=tmp_path)) == LEAST


def test_a_base_outside_the_bundle_counts(tmp_path: Path) -> None:
    (tmp_path / "draft").mkdir()
    base = Base(source="starter", ref="starter", sha256=hash_weights(starter.MODEL))
    manifest = Manifest(
        task="t", kind="generate", candidate="lm", engine="transformers", prompt=SPEC, base=base
    )
    bundle = freeze(tmp_path / "draft", manifest, into=tmp_path)
    assert bytes_of(bundle) > files.size_of(starter.MODEL)


def test_a_gguf_is_estimated_within_a_factor_of_what_it_takes(tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    draft.mkdir()
    quantize(starter.MODEL, draft / "model.gguf", "q8_0")
    manifest = Manifest(
        task="t", kind="generate", candidate="q", engine="llamacpp", prompt=SPEC, model="model.gguf",
        quantization="q8_0",
    )  # fmt: skip
    bundle = open_bundle(freeze(draft, manifest, into=tmp_path).path)
    import xllamacpp  # noqa: F401  # the library's own memory is not the bundle's

    before = psutil.Process().memory_info().rss
    model = LlamaCpp(bundle.file("model.gguf"), threads=1)
    taken = psutil.Process().memory_info().rss - before
    model.close()
    if taken <= 0:
        pytest.skip("this process had freed more memory than the model took")
    assert 0.4 < bytes_of(bundle) / taken < 4
