"""Which requests are the same: the key is a hash over all that an answer depends on. Knows no store."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

from smallworks.server.hosts import Said

VERSION = "smallworks cache 1"
"""Changes whenever the meaning of a kept answer does, so that older entries are never found again."""
FREE = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "request_id",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""Fields that cannot change the answer; the model is in the key by the name that answers. Others are kept."""
ECHOES = "/responses"
"""The form whose answer says again what was asked: only how it is sent is free there."""
SENDING = frozenset({"model", "stream", "stream_options"})
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""ASCII, so that half a surrogate pair has bytes as well."""


def key_of(*, identity: str, form: str, name: str, tenant: str, said: Said) -> bytes:
    """32 bytes. `identity` is the host's own, `form` the path; `tenant` shares with nobody else.

    Raises ValueError or RecursionError for what cannot be written as JSON again.
    """
    free = SENDING if form == ECHOES else FREE
    asked = {field: value for field, value in said.items() if field not in free}
    whole = _begun(identity, form, name, tenant).copy()
    whole.update(_canonical(asked).encode())
    digest: bytes = whole.digest()
    return digest


@lru_cache(4096)
def _begun(*parts: str) -> Any:
    """The hash up to what every request of this host, form and tenant has alike."""
    return hashlib.sha256(_canonical([VERSION, *parts]).encode() + b"\n")
