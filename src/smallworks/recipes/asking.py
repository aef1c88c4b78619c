"""How a bundle's weights are asked without Smallworks: the exact prompt around a text, codes, calibration.

Values only. The golden rows prove them: the wording around a text must give the prompts that were frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from smallworks.bundle import Bundle
from smallworks.bundle.golden import Golden
from smallworks.bundle.golden import read as read_golden
from smallworks.engines.opening import TOKENIZER
from smallworks.engines.predictor import text_of
from smallworks.errors import BundleError
from smallworks.prompt import Renderer, Template, TextTokenizer
from smallworks.types import Kind

MARK = "SMALLWORKS-TEXT-GOES-HERE"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The prompt of a text is `before` + text + `after`, control tokens written out.

    The answer is a text of at most `max_tokens` that ends at one of `stop_ids`; or, where there are labels,
    the code of the label with the highest probability: log-probabilities of `code_ids`, calibrated.
    """

    kind: Kind
    inputs: tuple[str, ...]
    before: str = ""
    after: str = ""
    labels: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    code_ids: tuple[int, ...] = ()
    calibration: Mapping[str, Any] | None = None
    max_tokens: int = 1
    stops: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    schema: Mapping[str, Any] | None = None

    def prompt(self, text: str) -> str:
        return f"{self.before}{text}{self.after}"


def asking(bundle: Bundle, *, worded: bool = True) -> Asking:
    """How this bundle is asked. Raises BundleError where no fixed wording around a text says it.

    Without `worded` the wording is left out, and nothing is raised.
    """
    manifest = bundle.manifest
    choices = manifest.prompt.choices
    found = Asking(
        kind=manifest.kind,
        inputs=manifest.inputs,
        labels=choices.labels if choices else (),
        codes=choices.codes if choices else (),
        code_ids=choices.ids if choices else (),
        calibration=asdict(manifest.calibration) if choices else None,
        schema=manifest.prompt.schema,
    )
    return _worded(bundle, found) if worded and manifest.prompt.style == "chat" else found


def golden_texts(bundle: Bundle) -> Sequence[tuple[str, Golden]]:
    """The golden rows, each with its inputs as one text.

    Left out: texts that were cut to fit, and those with control tokens in them, which are broken up first.
    """
    rows = [(text_of(golden.inputs), golden) for golden in read_golden(bundle.path)]
    if bundle.manifest.prompt.style == "raw":
        return rows
    renderer = _renderer(bundle, TextTokenizer.load(bundle.file(TOKENIZER)))
    prompts = [renderer.prompt(text) for text, _ in rows]
    return [
        row
        for row, prompt in zip(rows, prompts, strict=True)
        if prompt.ids == row[1].ids and row[0] in prompt.text
    ]


def _worded(bundle: Bundle, found: Asking) -> Asking:
    """With the wording around a text, proven on the golden rows."""
    words = TextTokenizer.load(bundle.file(TOKENIZER))
    renderer = _renderer(bundle, words)
    before, mark, after = renderer.prompt(MARK).text.partition(MARK)
    stop_ids = bundle.manifest.sampling.stop_ids or renderer.stop_ids
    worded = replace(
        found,
        before=before,
        after=after,
        max_tokens=1 if found.labels else bundle.manifest.sampling.max_tokens,
        stops=tuple(stop for id in stop_ids if (stop := words.inner.id_to_token(id))),
        stop_ids=stop_ids,
    )
    texts = [text for text, _ in golden_texts(bundle)]
    lost = not texts and bool(read_golden(bundle.path))
    if lost or not mark or any(worded.prompt(text) != renderer.prompt(text).text for text in texts):
        raise BundleError(
            f"No fixed wording around a text gives the prompts of '{bundle.name}'.",
            fix="Export a quantised form --to docker, which brings the renderer of the bundle itself.",
        )
    return worded


def _renderer(bundle: Bundle, words: TextTokenizer) -> Renderer:
    return Renderer(bundle.manifest.prompt, Template.load(bundle.file(TOKENIZER)), words)
