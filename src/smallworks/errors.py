"""One tree of failures; each says what happened, with the value, and what mends it.

SmallworksError                 anything a user may see (exit 1: ours)
├── UserError                   the user's to mend (exit 2, HTTP 4xx)
│   ├── TaskError               the task file
│   ├── DataError               the rows
│   ├── ModelError              a base model, an adapter, a GGUF, a tokenizer, a template
│   ├── BundleError             a bundle that is missing, changed or does not verify
│   ├── DiskError               a disk that is full, or a folder that may not be written to
│   ├── MissingExtra            an optional library that is not installed
│   └── RequestError            a request that a server cannot take
│       └── GuardBlocked        a request or an answer that a rule of the policy stops
│       └── SchemaError         a JSON schema that no answer can be held to
├── UpstreamError               another server failed us (exit 1, HTTP 502)
└── ChildError                  a child process died (exit 1)

Knows nothing of terminals or HTTP: the doors translate.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def install(extra: str) -> str:
    """The command that brings an extra, run in the project's folder: the package is on no registry yet."""
    return f'pip install -e ".[{extra}]"'


class SmallworksError(Exception):
    """A failure with a fix. `what` names the value, `fix` the command or change that mends it."""

    exit_code = 1
    status = 500

    def __init__(self, what: str, *, fix: str) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} {self.fix}".strip()

    @property
    def code(self) -> str:
        """Snake-case name for machines: `DataError` → `data_error`."""
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__).lstrip("_")


class UserError(SmallworksError):
    exit_code = 2
    status = 400


class TaskError(UserError):
    pass


class DataError(UserError):
    pass


class ModelError(UserError):
    pass


class BundleError(UserError):
    pass


class DiskError(UserError):
    pass


class MissingExtra(UserError):
    """An optional library is absent. Raised with the extra that brings it."""

    def __init__(self, library: str, *, extra: str, wanted_for: str) -> None:
        super().__init__(
            f"{wanted_for} needs {library}, which is not installed.",
            fix=f"Install it with: {install(extra)}",
        )
        self.library = library
        self.extra = extra


class RequestError(UserError):
    pass


class SchemaError(RequestError):
    """A JSON schema that is none, or that holds a keyword which cannot be held."""


class GuardBlocked(RequestError):
    """A rule of a policy lets a request, or its answer, not through. Names the rule, never the text."""

    def __init__(self, what: str, *, fix: str, rule: str, side: str, param: str | None = None) -> None:
        super().__init__(what, fix=fix)
        self.rule, self.side, self.param = rule, side, param
        self.status = 400 if side == "in" else 403


class UpstreamError(SmallworksError):
    status = 502


class ChildError(SmallworksError):
    pass


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest valid name, or lists all when none is near."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"Valid: {', '.join(names)}."
