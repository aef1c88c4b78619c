"""Single-token codes for a closed label set, so that a classification is one prefill and one distribution.

Knows nothing of what the labels mean. A code must be one token right after the generation prompt,
must not merge with the prompt's tail, and must decode back to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from string import ascii_lowercase, ascii_uppercase, digits

from smallworks.errors import ModelError
from smallworks.prompt.template import Template
from smallworks.seams import Tokenizer
from smallworks.types import Choices, Message


def choose(labels: Sequence[str], tokenizer: Tokenizer, template: Template) -> Choices:
    """The first codes that this tokenizer and template allow, in a fixed order, one for each label.

    Raises ModelError when there are more labels than codes.
    """
    prompt = template.render([Message(role="user", content="x")])
    before = tokenizer.encode(prompt)
    found: dict[int, str] = {}
    for code in _candidates():
        if len(found) == len(labels):
            break
        ids = tokenizer.encode(prompt + code)
        if ids[:-1] == before and ids[-1] not in found and tokenizer.decode(ids[-1:]).strip() == code:
            found[ids[-1]] = code
    if len(found) < len(labels):
        raise ModelError(
            f"The task has {len(labels)} labels, but this model's tokenizer gives only {len(found)} "
            "single-token codes.",
            fix="Choose a base model with a larger vocabulary, or merge labels.",
        )
    return Choices(labels=tuple(labels), codes=tuple(found.values()), ids=tuple(found))


def _candidates() -> Iterator[str]:
    """A…Z, a…z, 0…9, then pairs of capitals, then pairs of lower-case letters."""
    yield from ascii_uppercase + ascii_lowercase + digits
    for letters in (ascii_uppercase, ascii_lowercase):
        for first, second in product(letters, repeat=2):
            yield first + second
