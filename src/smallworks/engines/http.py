"""The http engine: any OpenAI-shaped server as a Model.

Knows nothing of prompts' wording: messages go out as they are, and the server's own template is out of
our hands. The key is read for each request and appears in no message, log or bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event, Lock
from typing import Any
from urllib.parse import quote

import httpx2
import numpy as np

from smallworks import settings
from smallworks.engines import openai_shape as shape
from smallworks.engines.stops import StopScanner
from smallworks.errors import ModelError, RequestError, SmallworksError, UpstreamError, UserError
from smallworks.types import Choices, Chunk, Completion, Finish, Prompt, Sampling

RETRIES = 3
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
THE_REQUEST = frozenset({400, 413, 422})
"""Answers that blame the request, not the server."""
FIRST_PAUSE = 0.5
"""Seconds before the first retry; each further one waits twice as long."""
LONGEST_PAUSE = 20.0
"""A server that asks for a longer pause than this has failed the request."""
AT_ONCE = 8
"""Requests of one scoring batch under way at the same time."""
SAID_TOKENS = 256
"""Room for a label that has to be generated, since a reasoning model spends some before it answers."""
CONNECT_SECONDS = 10.0


class Http:
    """Implements seams.Model over `{url}/chat/completions`. Safe to call from several threads.

    `key_env` names the environment variable that holds the key; `timeout` is seconds without a byte.
    """

    engine = "http"
    context = 0

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_env: str | None = None,
        timeout: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"'{url}' is not an http or https address.", fix="Try https://…/v1.")
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model
        self._key_env = key_env
        self._refused: set[str] = set()
        self._spent = (0, 0, 0)
        self._counting = Lock()
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)), transport=transport
        )

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """The whole answer; streamed behind the scenes where it can be cancelled."""
        if cancel is not None:
            *_, last = self.stream(prompt, sampling, cancel=cancel)
            assert last.completion is not None
            return last.completion
        return _whole(prompt, sampling, self._ask(shape.body(self._model, prompt, sampling)))

    def say(
        self, prompt: Prompt, sampling: Sampling, choices: Choices
    ) -> tuple[Completion, list[float] | None]:
        """The whole answer, and what its first token tells of the choices, in one request.

        Log-probabilities as in `score`; None where the server gives none that tell the choices apart.
        """
        reply = self._ask(shape.saying_body(self._model, prompt, sampling))
        return _whole(prompt, sampling, reply), shape.score_row(shape.first_choice(reply), choices)

    def about(self) -> Mapping[str, Any]:
        """What the server says of the model at /models/NAME; empty where it says nothing."""
        where = self._url.removesuffix("/chat/completions") + "/models/" + quote(self._model, safe="")
        try:
            response = self._client.get(where, headers=self._headers())
        except httpx2.HTTPError:
            return {}
        return _object(response) if response.is_success else {}

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        """The answer as the server sends it. A set `cancel` is seen between two events."""
        cancel = cancel or Event()
        if cancel.is_set() or sampling.max_tokens < 1:
            finish: Finish = "cancelled" if cancel.is_set() else "length"
            yield Chunk(text="", completion=_completion(prompt, "", finish, (0, 0)))
            return
        scanner, shown, usage, ended = StopScanner(sampling.stop), "", None, False
        finish = "stop"
        for event in self._events(shape.body(self._model, prompt, sampling, stream=True), cancel):
            usage = shape.usage_of(event) or usage
            choice = shape.first_choice(event)
            if choice.get("finish_reason"):
                finish, ended = shape.finish_of(choice), True
            if text := scanner.push(shape.text_of(choice, "delta")):
                shown += text
                yield Chunk(text=text)
            if scanner.found:
                finish = "stop"
                break
        if not (ended or scanner.found or cancel.is_set()):
            raise UpstreamError(f"{self._url} broke off in the middle of an answer.", fix="Ask again.")
        rest = scanner.flush()
        finish = "cancelled" if cancel.is_set() else finish
        yield Chunk(text=rest, completion=_completion(prompt, shown + rest, finish, usage))

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        """From the log-probabilities of one token; where the server gives none, from the answer it writes.

        See `openai_shape.score_row` and `said_row`: a choice outside the twenty reported ones has an
        estimated floor, so that these are probabilities for ranking and calibration, not exact ones.
        """
        if len(prompts) < 2:
            rows = [self._row(prompt, choices) for prompt in prompts]
        else:
            with ThreadPoolExecutor(min(AT_ONCE, len(prompts)), "http-score") as pool:
                rows = list(pool.map(lambda prompt: self._row(prompt, choices), prompts))
        return np.array(rows, dtype=np.float64).reshape(len(prompts), len(choices.labels))

    def spent(self) -> tuple[int, int, int]:
        """Requests, tokens in, tokens out; those that the server did not count are estimated."""
        return self._spent

    def count(self, text: str) -> int:
        return shape.estimate(text)

    def close(self) -> None:
        self._client.close()

    def _row(self, prompt: Prompt, choices: Choices) -> list[float]:
        if not {"logprobs", "top_logprobs"} & self._refused:
            reply = self._ask(shape.scoring_body(self._model, prompt))
            choice = shape.first_choice(reply)
            row = shape.score_row(choice, choices)
            if row is not None:
                return row
            if not choice.get("logprobs"):
                self._refused.add("logprobs")  # it has none to give: the next rows are asked only once
        said = self.generate(prompt, Sampling(max_tokens=SAID_TOKENS))
        return shape.said_row(said.text, choices)

    def _ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        response = self._open(body, Event())
        try:
            reply = shape.parse(response.read())
            self._bill(body, reply)
            return reply
        except httpx2.HTTPError as error:
            raise self._broken(error) from error
        finally:
            response.close()

    def _bill(self, body: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        said = shape.text_of(shape.first_choice(reply), "message")
        asked = "".join(str(m.get("content", "")) for m in body["messages"])
        tokens_in, tokens_out = shape.usage_of(reply) or (shape.estimate(asked), shape.estimate(said))
        with self._counting:
            requests, before_in, before_out = self._spent
            self._spent = (requests + 1, before_in + tokens_in, before_out + tokens_out)

    def _events(self, body: Mapping[str, Any], cancel: Event) -> Iterator[dict[str, Any]]:
        response = self._open(body, cancel)
        try:
            for event in httpx2.EventSource(response):
                if cancel.is_set() or event.data == "[DONE]":
                    return
                yield shape.parse(event.data)
        except httpx2.HTTPError as error:
            raise self._broken(error) from error
        finally:
            response.close()

    def _open(self, body: Mapping[str, Any], cancel: Event) -> httpx2.Response:
        """An accepted response, its body unread. Retries while nothing has been answered yet."""
        attempt = 0
        while True:
            wait = FIRST_PAUSE * 2**attempt
            sent = shape.without(body, self._refused)
            try:
                response = self._send(sent)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.RemoteProtocolError) as error:
                failure: SmallworksError = self._broken(error)
            except httpx2.HTTPError as error:
                raise self._broken(error) from error
            else:
                if response.is_success:
                    return response
                if self._adjusts(response, sent):
                    continue
                failure = self._failure(response)
                if response.status_code not in RETRIED:
                    raise failure
                wait = _retry_after(response, wait)
            if attempt == RETRIES or wait > LONGEST_PAUSE or cancel.wait(wait):
                raise failure
            attempt += 1

    def _send(self, body: Mapping[str, Any]) -> httpx2.Response:
        if self._client.is_closed:
            raise ModelError("This model is closed.", fix="Open it again.")
        request = self._client.build_request("POST", self._url, json=body, headers=self._headers())
        return self._client.send(request, stream=True)

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {settings.secret(self._key_env)}"} if self._key_env else {}

    def _adjusts(self, response: httpx2.Response, sent: Mapping[str, Any]) -> bool:
        """Whether the server refused an optional field, which is then left out of this and later requests."""
        field = shape.refused_field(_object(response), sent) if response.status_code in (400, 422) else None
        if field is None:
            return False
        self._refused.add(field)
        response.close()
        return True

    def _failure(self, response: httpx2.Response) -> SmallworksError:
        """What a refusal means; the server's own words, the key blotted out should it repeat it."""
        status, words = response.status_code, shape.message_of(_object(response))
        response.close()
        if self._key_env:
            words = words.replace(settings.secret(self._key_env), "…")
        said = f": {words}" if words else ""
        kind = RequestError if status in THE_REQUEST else UpstreamError
        return kind(f"{self._url} answered {status}{said}.", fix=self._fix(status))

    def _fix(self, status: int) -> str:
        if status in (401, 403):
            if self._key_env:
                return f"Check the key: export {self._key_env}=…"
            return "Name the variable that holds the key: key_env under [flagship] in task.toml."
        if status == 404:
            return f"Check the URL, which usually ends in /v1, and the model's name, '{self._model}'."
        if status == 429:
            return "Wait, or raise the limit of that account."
        if status >= 500:
            return "Try again when that server is well; see its log."
        return "Mend the request that it names."

    def _broken(self, error: Exception) -> UpstreamError:
        reason = str(error) or type(error).__name__
        return UpstreamError(
            f"{self._url} gave no whole answer ({type(error).__name__}: {reason}).",
            fix="Check that the server runs and that the URL is right.",
        )


def _whole(prompt: Prompt, sampling: Sampling, reply: Mapping[str, Any]) -> Completion:
    """A reply that did not stream, cut at a stop string that the server passed over."""
    choice, scanner = shape.first_choice(reply), StopScanner(sampling.stop)
    text = scanner.push(shape.text_of(choice, "message")) + scanner.flush()
    finish: Finish = "stop" if scanner.found else shape.finish_of(choice)
    return _completion(prompt, text, finish, shape.usage_of(reply))


def _completion(prompt: Prompt, text: str, finish: Finish, usage: tuple[int, int] | None) -> Completion:
    tokens_in, tokens_out = usage or (shape.estimate(shape.asked_text(prompt)), shape.estimate(text))
    return Completion(text=text, finish=finish, tokens_in=tokens_in, tokens_out=tokens_out)


def _object(response: httpx2.Response) -> Mapping[str, Any]:
    """The body of a refusal, as an object whatever it is; empty when it broke off."""
    try:
        response.read()
        value = response.json()
    except httpx2.HTTPError:
        return {}
    except ValueError:
        return {"message": " ".join(response.text.split())[:200]}
    return value if isinstance(value, dict) else {"message": str(value)}


def _retry_after(response: httpx2.Response, default: float) -> float:
    """Seconds that the server asks for, as a number or a date."""
    asked = response.headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(asked))
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return default
