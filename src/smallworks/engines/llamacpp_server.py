"""llama.cpp in this process, by way of xllamacpp: its life, its private port, and its requests.

Each trap of the library that was met is closed here: the adapters' scales travel with every request,
the loopback port asks for a random key, a model that cannot load is explained, an exception in a
callback is not lost. Knows nothing of prompts, sampling or answers.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Event
from typing import Any
from urllib.parse import urlsplit

from smallworks.engines.llamacpp_turns import Turns
from smallworks.errors import ModelError, RequestError, SmallworksError

SILENT = -1
Callback = Callable[[Mapping[str, Any]], bool]
"""Takes one event of a streamed answer; true ends the answer and frees its slot."""


class Server:
    """A loaded model with `slots` sequences of `context` tokens each. Safe to share between threads.

    `loras` are GGUF adapters, whose scales each request brings; `exact_cache` keeps keys and values in
    float32 instead of float16.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int,
        slots: int,
        threads: int,
        exact_cache: bool,
        loras: Sequence[Path] = (),
    ) -> None:
        self._path = path
        self._key = secrets.token_urlsafe(32)
        params = _params(path, context=context, slots=slots, threads=threads, exact_cache=exact_cache)
        self._inner: Any = _start(params, loras, self._key)
        self._address = urlsplit(str(self._inner.listening_address))
        self._busy = 0
        self._idle = Condition()
        self._turns = Turns()
        self.closing = Event()

    @property
    def address(self) -> str:
        """Where llama.cpp's own port listens: loopback, and of no use without the key."""
        return self._address.geturl()

    def complete(self, request: Mapping[str, Any], scales: Sequence[float]) -> Mapping[str, Any]:
        """The whole answer to a completion request."""
        with self._turns.turn(scales), self._using() as inner:
            # Left out, the scales would be those of whatever request filled the prompt cache before.
            reply = inner.handle_completions({**request, "lora": _lora(scales)})
        return _checked(reply)

    def stream(
        self,
        request: Mapping[str, Any],
        scales: Sequence[float],
        callback: Callback,
        given_up: Callable[[], bool] | None = None,
    ) -> None:
        """Hand each event of the answer to `callback`, in this thread, until it returns true.

        One who has given up before its adapter's turn comes is told nothing, and no prompt is read.
        """
        failures: list[BaseException] = []

        def guarded(event: Mapping[str, Any]) -> bool:
            # xllamacpp swallows exceptions of a callback, Ctrl-C included.
            try:
                return callback(_checked(event)) or self.closing.is_set()
            except BaseException as error:  # raised again below
                failures.append(error)
                return True

        with self._turns.turn(scales, given_up) as begun:
            if not begun:
                return
            with self._using() as inner:
                inner.handle_completions({**request, "stream": True, "lora": _lora(scales)}, guarded)
        if failures:
            raise failures[0]

    def tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        reply = self._post(
            "/tokenize", {"content": text, "add_special": False, "parse_special": parse_special}
        )
        tokens: list[int] = reply["tokens"]
        return tokens

    def detokenize(self, ids: Sequence[int]) -> str:
        return str(self._post("/detokenize", {"tokens": list(ids)})["content"])

    def close(self) -> None:
        """End running answers at their next token, then free the memory and the port. Idempotent."""
        self.closing.set()
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0)
            self._inner = None

    def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._using():
            connection = http.client.HTTPConnection(
                self._address.hostname or "", self._address.port, timeout=60
            )
            try:
                connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {self._key}"})
                return _checked(json.loads(connection.getresponse().read()))
            finally:
                connection.close()

    @contextmanager
    def _using(self) -> Iterator[Any]:
        with self._idle:
            if self.closing.is_set() or self._inner is None:
                raise ModelError(f"The engine over '{self._path}' is closed.", fix="Load the model again.")
            self._busy += 1
        try:
            yield self._inner
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


def _params(path: Path, *, context: int, slots: int, threads: int, exact_cache: bool) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_threads_http = 1
    # Flash attention on a CPU sums in float16: the same prompt would score differently after another one.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if exact_cache:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.fit_params = False
    params.warmup = False
    params.cache_ram_mib = 0
    params.verbosity = SILENT
    params.ui = False
    params.endpoint_slots = False
    return params


def _start(params: Any, loras: Sequence[Path], key: str) -> Any:
    import xllamacpp

    params.api_keys = [key]
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0) for lora in loras]
    try:
        server = xllamacpp.Server(params)
        # A server closed before its loop has begun waits for ever: one token shows that the loop runs.
        _checked(
            server.handle_completions({"prompt": [0], "n_predict": 1, "lora": _lora([0.0] * len(loras))})
        )
        return server
    except RuntimeError as error:
        with_loras = f" with the adapters {', '.join(map(repr, map(str, loras)))}" if loras else ""
        raise ModelError(
            f"llama.cpp cannot load '{params.model.path}'{with_loras} ({params.n_ctx} tokens of context).",
            fix="Check that this xllamacpp knows the model's architecture, and that the memory suffices.",
        ) from error


def _lora(scales: Sequence[float]) -> list[dict[str, float]]:
    return [{"id": index, "scale": scale} for index, scale in enumerate(scales)]


def _checked(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" not in reply:
        return reply
    error = reply["error"]
    if error.get("code") == 400:
        raise RequestError(f"llama.cpp refuses the request: {error['message']}.", fix="Change the request.")
    raise SmallworksError(
        f"llama.cpp failed: {error.get('message', error)}.",
        fix="Run the same request again, or load the model again.",
    )
