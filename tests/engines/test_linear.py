"""The linear engine: what was fitted is what is saved, loaded and answered; broken files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from smallworks.engines.linear import VOCABULARY, WEIGHTS, Linear, LinearHead, load, log_softmax, save
from smallworks.engines.ngrams import FAMILIES, learn
from smallworks.errors import ModelError, RequestError, UserError
from smallworks.types import Choices, Prompt, Sampling

TEXTS = ["the export crashes", "please add an export", "how do I export?", "the app crashes 🎉"]
LABELS = ("bug", "feature", "a question")


def head(*, embedded: int = 0) -> LinearHead:
    random = np.random.default_rng(0)
    blocks = tuple(learn(TEXTS, family) for family in FAMILIES)
    return LinearHead(
        LABELS,
        blocks,
        tuple(random.normal(size=(len(b.idf), len(LABELS))).astype(np.float32) for b in blocks),
        random.normal(size=len(LABELS)),
        random.normal(size=(embedded, len(LABELS))) if embedded else None,
    )


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(text=text) for text in texts]


@pytest.mark.parametrize("embedded", [0, 5])
def test_a_saved_head_answers_as_before(tmp_path: Path, embedded: int) -> None:
    fitted, vector = head(embedded=embedded), np.ones(embedded) / 3 if embedded else None
    save(fitted, tmp_path / "new" / "linear")
    loaded = load(tmp_path / "new" / "linear")
    assert loaded.labels == LABELS
    for text in [*TEXTS, "", "unseen words"]:
        assert loaded.margins(text, vector) == pytest.approx(fitted.margins(text, vector), abs=5e-3)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(head(), tmp_path / name)
    for file in (WEIGHTS, VOCABULARY):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_text_without_known_words_falls_back_on_the_intercept() -> None:
    fitted = head()
    assert fitted.margins("zzz") == pytest.approx(fitted.intercept)


def test_scores_follow_the_order_that_is_asked_for() -> None:
    model, forth, back = Linear(head()), Choices(labels=LABELS), Choices(labels=LABELS[::-1])
    scores = model.score(prompts(*TEXTS), forth)
    assert scores == pytest.approx(model.score(prompts(*TEXTS), back)[:, ::-1])
    assert np.exp(scores).sum(axis=1) == pytest.approx(1.0)


def test_a_subset_of_the_labels_shares_the_whole_probability() -> None:
    two = Linear(head()).score(prompts(*TEXTS), Choices(labels=LABELS[:2]))
    assert two.shape == (4, 2) and np.exp(two).sum(axis=1) == pytest.approx(1.0)


def test_no_prompts_have_no_scores() -> None:
    assert Linear(head()).score([], Choices(labels=LABELS)).shape == (0, 3)


def test_a_label_that_was_not_fitted_is_named() -> None:
    with pytest.raises(RequestError, match="'praise'") as caught:
        Linear(head()).score(prompts("x"), Choices(labels=("bug", "praise")))
    assert "bug" in caught.value.fix


def test_it_says_the_most_probable_label() -> None:
    model = Linear(head())
    for prompt in prompts(*TEXTS):
        best = LABELS[int(model.score([prompt], Choices(labels=LABELS))[0].argmax())]
        assert model.generate(prompt, Sampling()).text == best
        (chunk,) = model.stream(prompt, Sampling(), cancel=Event())
        assert chunk.text == best and chunk.completion == model.generate(prompt, Sampling())


def test_large_margins_do_not_overflow() -> None:
    assert np.isfinite(log_softmax(np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]]))).all()


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\x00 no"])
def test_a_broken_file_names_its_folder(tmp_path: Path, name: str, content: bytes | None) -> None:
    save(head(), tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert str(tmp_path) in caught.value.what and "smallworks build" in caught.value.fix


@pytest.mark.parametrize("tensor", ["coefficients.0", "idf.1", "intercept"])
def test_weights_that_do_not_fit_the_vocabulary_are_refused(tmp_path: Path, tensor: str) -> None:
    save(head(), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({**tensors, tensor: np.ascontiguousarray(tensors[tensor][:-1])}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match="No readable linear model"):
        load(tmp_path)


def test_a_vocabulary_of_another_model_is_refused(tmp_path: Path) -> None:
    save(head(), tmp_path)
    vocabulary = json.loads((tmp_path / VOCABULARY).read_text())
    vocabulary["blocks"][0]["ngrams"].append("one more")
    (tmp_path / VOCABULARY).write_text(json.dumps(vocabulary))
    with pytest.raises(ModelError, match="n-grams"):
        load(tmp_path)


def test_a_full_disk_is_the_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="MiB free"):
        save(head(), tmp_path)
    assert list(tmp_path.iterdir()) == []
