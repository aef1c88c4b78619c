"""A bundle's own index answers: the passages found, which of them are cited, and the refusal."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from smallworks import rag
from smallworks.bundle.manifest import Manifest, Retrieval
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.engines.retriever import Retriever, retriever
from smallworks.errors import RequestError
from smallworks.prompt import Renderer
from smallworks.rag.store import Store
from smallworks.types import Prompt, PromptSpec, Sampling

PLANS = "# Plans\n\n## Pier\n\nPier costs nine dollars a month. It includes five webhooks.\n"
QUAY = "# Quay\n\nThe quay opens at six. Ships pay by length.\n"
SAID = "It includes five webhooks."


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """An index as a bundle holds it, in a folder with nothing beside it."""
    (tmp_path / "d").mkdir()
    for name, text in (("plans.md", PLANS), ("quay.md", QUAY)):
        (tmp_path / "d" / name).write_text(text, encoding="utf-8")
    rag.index(tmp_path / "d", tmp_path / "working.sqlite")
    with Store(tmp_path / "working.sqlite") as store:
        store.freeze(tmp_path / "bundle" / "index.sqlite")
    return tmp_path / "bundle" / "index.sqlite"


def opened(index: Path, reader: Predictor | None = None, **how: object) -> Retriever:
    facts = {"k": 2, "by": "words", "refusal": "No idea.", "shows": "sentence", **how}
    return retriever(index, Retrieval(**facts), reader)  # type: ignore[arg-type]


def reading(answers: Callable[[str], str]) -> Predictor:
    class Says(Fake):
        def _complete(self, prompt: Prompt, sampling: Sampling):  # type: ignore[no-untyped-def]
            self._answers = {prompt.text: answers(prompt.text)}
            return super()._complete(prompt, sampling)

    spec = PromptSpec(style="chat", kind="answer", instruction="Answer from the context.")
    manifest = Manifest(task="help", kind="answer", candidate="lm-zero", engine="fake", prompt=spec)
    return Predictor(manifest=manifest, model=Says(), renderer=Renderer(spec))


def ask(model: Retriever, question: str):  # type: ignore[no-untyped-def]
    return model.generate(Prompt(text=question), Sampling())


def test_a_sentence_of_the_best_passage_and_all_that_was_found(frozen: Path) -> None:
    model = opened(frozen)
    said = ask(model, "How many webhooks does Pier include?")
    assert said.text == SAID
    assert said.sources is not None and said.sources[0].path == "plans.md > Plans > Pier"
    assert [source.cited for source in said.sources] == [True, False][: len(said.sources)]
    assert (
        opened(frozen, shows="passage").ask("How many webhooks does Pier include?").answer.startswith("Pier")
    )
    model.close()


def test_what_is_not_there_is_refused_in_the_task_s_own_words(frozen: Path) -> None:
    said = ask(opened(frozen), "Who wrote the anthem of France?")
    assert said.text == "No idea." and not any(source.cited for source in said.sources or ())
    assert ask(opened(frozen), "zzzz").sources == ()


def test_a_reader_is_given_the_passages_and_its_answer_is_checked(frozen: Path) -> None:
    seen: list[str] = []

    def right(prompt: str) -> str:
        seen.append(prompt)
        return SAID

    said = ask(opened(frozen, reading(right)), "How many webhooks does Pier include?")
    assert said.text == SAID and "[1] Plans > Pier\nPier costs nine" in seen[0]
    assert said.tokens_in > 0 and said.sources and said.sources[0].cited
    invented = reading(lambda _: "It includes 900 zebras.")
    assert ask(opened(frozen, invented), "How many webhooks does Pier include?").text == "No idea."


def test_nothing_is_put_beside_a_frozen_index_and_nothing_is_written(frozen: Path) -> None:
    before = frozen.read_bytes()
    ask(opened(frozen), "How many webhooks does Pier include?")
    assert [path.name for path in frozen.parent.iterdir()] == ["index.sqlite"]
    assert frozen.read_bytes() == before


def test_questions_are_read_at_once_while_a_reader_writes(frozen: Path) -> None:
    all_there = Barrier(8, timeout=20)

    def slow(_: str) -> str:
        all_there.wait()
        return SAID

    model = opened(frozen, reading(slow))
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(ask, [model] * 8, ["How many webhooks does Pier include?"] * 8))
    assert {one.text for one in said} == {SAID}


def test_a_question_that_nobody_waits_for_does_not_wait_for_the_index(frozen: Path) -> None:
    model, gone = opened(frozen), Event()
    gone.set()
    with model._lock:
        done = model.generate(Prompt(text="How many webhooks?"), Sampling(), cancel=gone)
    assert (done.text, done.finish) == ("", "cancelled")


def test_an_answer_that_the_reader_could_not_finish_says_so(frozen: Path) -> None:
    model = opened(frozen, reading(lambda _: SAID))
    short = Sampling(max_tokens=len("It includes five"))
    said = model.generate(Prompt(text="How many webhooks does Pier include?"), short)
    assert (said.text, said.finish) == ("It includes five", "length")


def test_an_empty_question_is_refused(frozen: Path) -> None:
    with pytest.raises(RequestError, match="empty"):
        ask(opened(frozen), "  ")
