"""What one row scores: right or wrong, shared words, shared fields, the counts that BLEU adds up.

Knows one parsed answer and what was expected; knows nothing of other rows, intervals or engines.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from smallworks.errors import DataError, MissingExtra
from smallworks.evaluate.parse import Parsed, loads
from smallworks.evaluate.rouge import rouge
from smallworks.files import canonical
from smallworks.text.support import supported
from smallworks.types import REFUSAL, Kind

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def score_row(
    kind: Kind, parsed: Parsed, expected: str, *, refusal: str = REFUSAL, context: str | None = None
) -> dict[str, float]:
    """The scores of one row, each 0–1, that the metrics of its kind are made of.

    A parse of None scores 0 throughout. `_lenient` scores take the lenient parse. Only an `answer` needs
    `refusal`, the sentence for "the documents do not tell", and `context`, what it may rest on; which scores
    it has depends on whether the refusal was expected and whether it was given.
    """
    if kind == "classify":
        return {
            "accuracy": float(parsed.strict == expected),
            "accuracy_lenient": float(parsed.lenient == expected),
        }
    if kind == "extract":
        return _extract(parsed, expected)
    text = parsed.strict or ""
    if kind == "summarize":
        return {name: f for name, (_, _, f) in rouge(text, expected).items()}
    if kind == "answer":
        scores = _answer(text, expected, refusal)
        share = None if context is None or refuses(text, refusal) else supported(text, context)
        return scores if share is None else {**scores, "supported": share}
    return {
        "exact_match": float(text == expected),
        "exact_match_lenient": float(squad(parsed.lenient or "") == squad(expected)),
        "token_f1": token_f1(text, expected),
        "rouge_l": rouge(text, expected)["rouge_l"][2],
    }


def _answer(text: str, expected: str, refusal: str) -> dict[str, float]:
    refused, f1 = float(refuses(text, refusal)), token_f1(text, expected)
    scores = {"exact_match": float(squad(text) == squad(expected)), "token_f1": f1}
    if refuses(expected, refusal):
        return {**scores, "abstained": refused}
    return {**scores, "answered_f1": f1, "abstained_wrongly": refused}


def refuses(text: str, refusal: str) -> bool:
    """Whether a text is the sentence of refusal and nothing more, in SQuAD's normal form."""
    return squad(text.replace("’", "'")) == squad(refusal.replace("’", "'"))


# --- words --------------------------------------------------------------------------------------


def squad(text: str) -> str:
    """SQuAD's normal form (Rajpurkar et al. 2016): no case, ASCII punctuation, articles or extra spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def token_f1(text: str, expected: str) -> float:
    """F1 of the shared words in SQuAD's normal form; two empty texts agree."""
    said, wanted = squad(text).split(), squad(expected).split()
    if not said or not wanted:
        return float(said == wanted)
    return 2 * (Counter(said) & Counter(wanted)).total() / (len(said) + len(wanted))


def bleu_counts(text: str, expected: str) -> tuple[int, ...]:
    """What BLEU sums over rows: matched and all n-grams for n = 1–4, the two lengths (sacrebleu, 13a)."""
    row = _bleu().sentence_score(text, [expected])
    return (*map(int, row.counts), *map(int, row.totals), int(row.sys_len), int(row.ref_len))


@cache
def _bleu() -> BLEU:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtra("sacrebleu", extra="eval", wanted_for="The metric 'bleu'") from error
    return BLEU(effective_order=True)  # the order only matters to a score of one row, which is not used


# --- fields -------------------------------------------------------------------------------------


def _extract(parsed: Parsed, expected: str) -> dict[str, float]:
    wanted = canonical(_expected(expected)).decode()
    scores: dict[str, float] = {}
    for suffix, text in (("", parsed.strict), ("_lenient", parsed.lenient)):
        hits, said, due = field_counts(text, expected)
        scores[f"json_valid{suffix}"] = float(text is not None)
        scores[f"exact_match{suffix}"] = float(text == wanted)
        scores[f"field_f1{suffix}"] = (
            (2 * hits / (said + due) if said + due else 1.0) if text is not None else 0.0
        )
    return scores


def field_counts(text: str | None, expected: str) -> tuple[int, int, int]:
    """(fields right, fields said, fields due) of a document.

    A field is a leaf: its path and its exact value. The order of a list does not count, its items share a
    path; null is no field, as it stands for "not there". A text of None says nothing.
    """
    due = fields(_expected(expected))
    said = fields(loads(text)) if text is not None else Counter()
    return (said & due).total(), said.total(), due.total()


def fields(value: Any) -> Counter[tuple[str, str]]:
    """The leaves of a JSON value: (path, canonical value), with how often each occurs."""
    return Counter(_leaves(value, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}")
    elif isinstance(value, list):
        for child in value:
            yield from _leaves(child, f"{path}[]")
    elif value is not None:
        yield path, canonical(value).decode()


def _expected(text: str) -> Any:
    try:
        return loads(text)
    except ValueError as error:
        raise DataError(
            f"The expected output {text[:80]!r} is not JSON: {error}.", fix="Mend that row of the data."
        ) from error
