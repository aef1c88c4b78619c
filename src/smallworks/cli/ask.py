"""`smallworks ask`: an answer from indexed documents with what it rests on, or that they do not tell."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from smallworks.bundle.store import MANIFEST
from smallworks.cli import talk
from smallworks.engines.ground import Grounded, ground
from smallworks.errors import UserError
from smallworks.rag.opening import is_shared
from smallworks.rag.search import K
from smallworks.recipes.converse import open_model
from smallworks.recipes.documents import opened, retriever_of

STARTER = "The starter does not answer from documents yet: nearly always it says that it does not know."


def ask(
    index: str,
    question: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    model: str | None = None,
    k: int | None = None,
    where: list[str] | None = None,
    threshold: float | None = None,
    embedder: str | None = None,
    reranker: str | None = None,
    json: bool = False,
) -> None:
    """Answer from documents: the best passage, or what a model makes of the best ones.

    Parameters
    ----------
    index
        What `smallworks index` made, a file or an address, or a bundle that answers from documents.
    question
        The question.
    model
        Who answers: a bundle of kind answer, a base model, a GGUF file, a hub id, or 'starter' (default:
        nobody, the best passage is shown as it stands).
    k
        Passages that the answer may rest on (default: 5; those of a bundle as it was frozen).
    where
        name=value: only passages with that metadata, or with that path; * and ? stand for anything.
    threshold
        Answer from this probability on that the passages hold the answer (default: as fitted, else 0.5).
    embedder
        Where the index's embedding model is now, if it has moved.
    reranker
        A cross-encoder that puts the first passages in order (default: that of the index, if it has one).
    json
        One JSON document on stdout.
    """
    _check(threshold)
    conditions = _conditions(where or [])
    with ExitStack() as open_ones:
        progress = open_ones.enter_context(talk.progress())
        if not is_shared(index) and (Path(index) / MANIFEST).is_file():
            _refuse_what_is_frozen(index, model=model, embedder=embedder, reranker=reranker)
            bundle = open_ones.enter_context(retriever_of(Path(index)))
            answer = bundle.ask(question, k=k, where=conditions, threshold=threshold)
            answer = replace(answer, answer=bundle.text_of(answer))
        else:
            found = open_ones.enter_context(
                opened(index, embedder=embedder, reranker=reranker, progress=progress)
            )
            answering = open_ones.enter_context(open_model(model, progress=progress)) if model else None
            passages = K if k is None else k
            answer = ground(found, question, answering, k=passages, where=conditions, threshold=threshold)
    if model == "starter":
        talk.remark(STARTER)
    if json:
        talk.print_json(_document(answer))
    else:
        _show(answer)


def _check(threshold: float | None) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"--threshold {threshold:g} is no probability.", fix="Give 0 to 1.")


def _refuse_what_is_frozen(bundle: str, **named: str | None) -> None:
    for option, value in named.items():
        if value is not None:
            raise UserError(
                f"--{option} has no meaning for the bundle '{bundle}', which brings its own.",
                fix="Leave it out, or name an index that `smallworks index` made.",
            )


def _conditions(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f"--where '{text}' is no condition.", fix="Write --where name=value.")
        found[name.strip()] = value.strip()
    return found


def _show(found: Grounded) -> None:
    for part in found.shown:
        for order in part.orders:
            talk.remark(
                f"[yellow]order[/] in {escape(part.passage.path)}, not obeyed: {escape(order.text[:160])}"
            )
    if found.declined:
        talk.say(found.answer)
        talk.remark(f"[dim]{escape(found.declined)}; {_sure(found)}[/]")
        if found.shown:
            nearest = escape(found.shown[0].passage.path)
            talk.remark(f"[dim]the nearest passage is {nearest}: --threshold 0 shows it[/]")
        return
    if not found.model:
        talk.say(found.sentences[0].text, style="bold")
        if found.answer != found.sentences[0].text:
            talk.say(f"\n{found.answer}")
    for sentence in found.sentences if found.model else ():
        marks = "".join(f" [{number}]" for number in sentence.cites)
        support = "nothing to look up" if sentence.support is None else f"support {sentence.support:.2f}"
        talk.say(f"{sentence.text}{marks}  ({support})")
    cited = {number for sentence in found.sentences for number in sentence.cites}
    talk.say("")
    for part in found.shown:
        if part.number in cited:
            talk.say(f"[{part.number}] {part.passage.path}")
    talk.remark(f"[dim]{_sure(found)}[/]")


def _sure(found: Grounded) -> str:
    return f"{found.confidence:.2f} that the passages hold the answer, {found.threshold:.2f} asked for"


def _document(found: Grounded) -> dict[str, Any]:
    hits = {hit.passage.id: hit for hit in found.hits}
    passages = [
        {
            "number": part.number,
            "document": part.passage.document,
            "place": part.passage.place,
            "headings": part.passage.headings,
            "text": part.passage.text,
            "metadata": part.passage.metadata,
            "bm25": hits[part.passage.id].bm25,
            "cosine": hits[part.passage.id].cosine,
            "reranked": hits[part.passage.id].reranked,
            "orders": [asdict(order) for order in part.orders],
        }
        for part in found.shown
    ]
    names = (
        "question",
        "answer",
        "declined",
        "confidence",
        "threshold",
        "model",
        "tokens_in",
        "tokens_out",
        "ms",
    )
    told = {name: getattr(found, name) for name in names}
    return {**told, "sentences": [asdict(one) for one in found.sentences], "passages": passages}
