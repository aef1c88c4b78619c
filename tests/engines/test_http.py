"""The http engine against scripted servers that misbehave, and in full circle against our own server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Any

import httpx2
import numpy as np
import pytest

from smallworks.bundle.manifest import Manifest
from smallworks.engines import http as engine
from smallworks.engines.fake import Fake
from smallworks.engines.http import Http
from smallworks.engines.openai_shape import named_choice
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError, UpstreamError, UserError
from smallworks.prompt.renderer import Renderer
from smallworks.seams import Model
from smallworks.server import background, create_app
from smallworks.types import Choices, Message, Prompt, PromptSpec, Sampling

URL = "https://flagship.example/v1"
PROMPT = Prompt(
    text="Hi", messages=(Message(role="system", content="Be kind."), Message(role="user", content="Hi"))
)
CODED = Choices(labels=("bug", "feature", "question"), codes=("A", "B", "C"))
PLAIN = Choices(labels=("card_arrival", "card_linking", "refund"))
Reply = httpx2.Response
Asked = list[dict[str, Any]]


def whole(text: str, *, finish: str = "stop", **more: Any) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Reply(200, json={"choices": [{**choice, **more}]})


def tokens(**logprobs: float) -> dict[str, Any]:
    top = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"logprobs": {"content": [{"token": top[0]["token"], "top_logprobs": top}]}}


def events(*values: Any) -> Reply:
    lines = [f"data: {v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}\n\n" for v in values]
    return Reply(200, headers={"content-type": "text/event-stream"}, content="".join(lines).encode())


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def scripted(*replies: Reply | Exception, **options: Any) -> tuple[Http, Asked]:
    """The engine before a server that gives these replies in turn, the last one for ever."""
    asked: Asked = []

    def answer(request: httpx2.Request) -> Reply:
        asked.append({"headers": request.headers, "url": str(request.url), **json.loads(request.content)})
        reply = replies[min(len(asked), len(replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply.status_code, headers=reply.headers, content=reply.content)

    return Http(URL, "big", transport=httpx2.MockTransport(answer), **options), asked


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_PAUSE", 0.0)


def test_it_is_a_model() -> None:
    assert isinstance(scripted(whole("x"))[0], Model)


def test_messages_go_out_as_they_are_with_the_sampling() -> None:
    model, asked = scripted(whole("Hello.", finish="length"))
    done = model.generate(PROMPT, Sampling(max_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=("END",)))
    assert (done.text, done.finish) == ("Hello.", "length")
    assert asked[0]["url"] == f"{URL}/chat/completions"
    assert asked[0]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    ]
    sent = {name: asked[0][name] for name in ("model", "max_tokens", "temperature", "top_p", "seed", "stop")}
    assert sent == {
        "model": "big",
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["END"],
    }


def test_a_schema_goes_out_as_a_response_format() -> None:
    model, asked = scripted(whole("{}"))
    model.generate(PROMPT, Sampling(schema={"type": "object"}))
    assert asked[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_tokens_are_the_servers_count_or_an_estimate() -> None:
    counted = Reply(
        200, json={**whole("Hello.").json(), "usage": {"prompt_tokens": 11, "completion_tokens": 2}}
    )
    done = scripted(counted)[0].generate(PROMPT, Sampling())
    assert (done.tokens_in, done.tokens_out) == (11, 2)
    done = scripted(whole("12345678"))[0].generate(PROMPT, Sampling())
    assert (done.tokens_in, done.tokens_out) == (3, 2)


def test_a_stream_keeps_odd_line_ends_and_ends_with_the_usage() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 4}}
    model, asked = scripted(events(delta("a\u2028"), delta("漢\x85"), delta("", "stop"), usage, "[DONE]"))
    *pieces, last = model.stream(PROMPT, Sampling())
    assert [piece.text for piece in pieces] == ["a\u2028", "漢\x85"]
    assert last.completion and last.completion.text == "a\u2028漢\x85"
    assert (last.completion.tokens_in, last.completion.tokens_out) == (5, 4)
    assert asked[0]["stream_options"] == {"include_usage": True}


def test_a_stop_string_is_met_even_when_the_server_ignores_it() -> None:
    model, _ = scripted(events(delta("one E"), delta("ND two"), delta("", "stop"), "[DONE]"))
    texts = [chunk.text for chunk in model.stream(PROMPT, Sampling(stop=("END",)))]
    assert "".join(texts) == "one "
    assert scripted(whole("one END two"))[0].generate(PROMPT, Sampling(stop=("END",))).text == "one "


def test_cancelling_ends_a_stream_between_two_events() -> None:
    cancel = Event()
    model, _ = scripted(events(delta("a"), delta("b"), delta("c", "stop"), "[DONE]"))
    stream = model.stream(PROMPT, Sampling(), cancel=cancel)
    assert next(stream).text == "a"
    cancel.set()
    (last,) = stream
    assert last.completion and (last.completion.text, last.completion.finish) == ("a", "cancelled")


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    model, _ = scripted(events(delta("half an ans")))
    with pytest.raises(UpstreamError, match="broke off in the middle"):
        list(model.stream(PROMPT, Sampling()))


def test_an_error_inside_a_stream_is_raised() -> None:
    model, _ = scripted(events(delta("a"), {"error": {"message": "out of memory"}}))
    with pytest.raises(UpstreamError, match="out of memory"):
        list(model.stream(PROMPT, Sampling()))


@pytest.mark.parametrize(
    "failure",
    [
        Reply(429, headers={"retry-after": "0"}),
        Reply(503, text="busy"),
        httpx2.ConnectError("refused"),
        httpx2.RemoteProtocolError("Server disconnected without sending a response."),
    ],
)
def test_what_may_pass_is_tried_again(failure: Reply | Exception) -> None:
    model, asked = scripted(failure, failure, whole("At last."))
    assert model.generate(PROMPT, Sampling()).text == "At last."
    assert len(asked) == 3


def test_trying_again_has_an_end() -> None:
    model, asked = scripted(Reply(503, json={"error": {"message": "loading model"}}))
    with pytest.raises(UpstreamError, match="answered 503: loading model"):
        model.generate(PROMPT, Sampling())
    assert len(asked) == 1 + engine.RETRIES


def test_a_server_that_asks_for_a_long_pause_has_failed() -> None:
    model, asked = scripted(Reply(429, headers={"retry-after": "3600"}))
    with pytest.raises(UpstreamError, match="429"):
        model.generate(PROMPT, Sampling())
    assert len(asked) == 1


def test_a_wrong_key_is_told_by_its_variable_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", "sk-very-secret")
    refusal = Reply(401, json={"error": {"message": "Incorrect API key provided: sk-very-secret"}})
    model, asked = scripted(refusal, key_env="BIG_KEY")
    with pytest.raises(UpstreamError, match="export BIG_KEY=") as failure:
        model.generate(PROMPT, Sampling())
    assert asked[0]["headers"]["authorization"] == "Bearer sk-very-secret"
    assert "secret" not in f"{failure.value}{failure.value!r}{vars(model)}"
    assert len(asked) == 1


def test_a_key_that_is_not_set_is_told_before_anything_is_sent() -> None:
    model, asked = scripted(whole("x"), key_env="NO_SUCH_KEY_HERE")
    with pytest.raises(UserError, match="'NO_SUCH_KEY_HERE' is not set"):
        model.generate(PROMPT, Sampling())
    assert asked == []


@pytest.mark.parametrize(
    "content", [b"<html>Not here</html>", b"[1]", b'{"choices": 5}', b'{"id": "x"}', b"\xff"]
)
def test_garbage_is_told_as_garbage(content: bytes) -> None:
    model, _ = scripted(Reply(200, content=content))
    with pytest.raises(UpstreamError, match="not an OpenAI-shaped one"):
        model.generate(PROMPT, Sampling())
    with pytest.raises(UpstreamError, match="gave no whole answer"):
        list(model.stream(PROMPT, Sampling()))


def test_fields_that_a_server_does_not_know_are_left_out_from_then_on() -> None:
    def refuse(name: str) -> Reply:
        error = {
            "code": "unsupported_parameter",
            "param": name,
            "message": f"Unsupported parameter: '{name}'.",
        }
        return Reply(400, json={"error": error})

    model, asked = scripted(refuse("max_tokens"), refuse("temperature"), whole("Fine."))
    assert model.generate(PROMPT, Sampling(max_tokens=9)).text == "Fine."
    model.generate(PROMPT, Sampling(max_tokens=9))
    for request in asked[2:]:
        assert request["max_completion_tokens"] == 9
        assert not {"max_tokens", "temperature"} & set(request)
    assert len(asked) == 4


def test_a_value_out_of_range_is_not_taken_for_an_unknown_field() -> None:
    error = {"code": "invalid_value", "param": "temperature", "message": "temperature must be at most 2."}
    model, asked = scripted(Reply(400, json={"error": error}))
    with pytest.raises(RequestError, match="must be at most 2"):
        model.generate(PROMPT, Sampling(temperature=9))
    assert len(asked) == 1


def test_choices_are_scored_from_the_alternatives_to_one_token() -> None:
    model, asked = scripted(whole("A", **tokens(**{"A": -0.5, " B": -1.5, "B": -2.0, "a": -3.0})))
    (row,) = model.score([PROMPT], CODED)
    lifted = np.array([-0.5, np.logaddexp(-1.5, -2.0), -4.0])
    assert row == pytest.approx(lifted - np.logaddexp.reduce(lifted))
    assert (asked[0]["max_tokens"], asked[0]["top_logprobs"], asked[0]["temperature"]) == (1, 20, 0.0)


def test_a_token_that_begins_one_label_counts_for_it() -> None:
    model, _ = scripted(whole("ref", **tokens(ref=-0.1, other=-4.0)))
    (row,) = model.score([PROMPT], PLAIN)
    assert row.argmax() == 2


def test_a_token_that_begins_several_labels_makes_the_model_say_it_all() -> None:
    model, asked = scripted(whole("card", **tokens(card=-0.1)), whole("card_linking"))
    (row,) = model.score([PROMPT], PLAIN)
    assert np.exp(row[1]) == pytest.approx(1 - 1e-6)
    assert np.logaddexp.reduce(row) == pytest.approx(0)
    assert asked[1]["max_tokens"] > 1


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("B", 1),
        (" B.", 1),
        ("B: feature", 1),
        ("feature", 1),
        ("The answer is: Question.", 2),
        ("A bug, surely", 0),
        ("I cannot say", None),
        ("bug or feature", None),
    ],
)
def test_without_logprobs_the_said_label_gets_nearly_all(text: str, label: int | None) -> None:
    (row,) = scripted(whole(text))[0].score([PROMPT], CODED)
    if label is None:
        assert np.exp(row) == pytest.approx([1 / 3] * 3)
    else:
        assert np.exp(row[label]) == pytest.approx(1 - 1e-6)


def test_a_whole_answer_comes_with_what_its_first_token_tells() -> None:
    model, asked = scripted(whole("B: feature", **tokens(B=-0.1, A=-3.0)), whole("B"))
    done, row = model.say(PROMPT, Sampling(max_tokens=50), CODED)
    assert done.text == "B: feature" and row is not None and np.argmax(row) == 1
    assert (asked[0]["max_tokens"], asked[0]["logprobs"]) == (50, True)
    assert model.say(PROMPT, Sampling(), CODED)[1] is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("B", 1),
        ('"Feature".', 1),
        ("B: feature", 1),
        ("B) question", None),
        ("A bug, surely", None),
        ("I'm sorry, this is no bug", None),
        ("", None),
    ],
)
def test_a_choice_is_named_by_an_answer_that_is_nothing_else(text: str, label: int | None) -> None:
    assert named_choice(text, CODED) == label


def test_many_prompts_are_scored_at_once_and_in_order() -> None:
    def answer(request: httpx2.Request) -> Reply:
        return whole(json.loads(request.content)["messages"][0]["content"])

    model = Http(URL, "big", transport=httpx2.MockTransport(answer))
    prompts = [Prompt(text="ABC"[i % 3]) for i in range(30)]
    assert model.score(prompts, CODED).argmax(axis=1).tolist() == [i % 3 for i in range(30)]
    assert model.score([], CODED).shape == (0, 3)


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(UserError, match="'flagship' is not an http"):
        Http("flagship", "big")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Callable[..., Http]]:
    """Our own server with a labelling and a writing bundle, and the engine that asks it."""
    labels = Choices(labels=CODED.labels)
    raw = PromptSpec(style="raw", kind="classify", choices=labels)
    chat = PromptSpec(style="chat", kind="generate")
    known = Fake(scores={"It crashes.": {"bug": 0.6, "feature": 0.3, "question": 0.1}})
    pairs: Sequence[tuple[str, PromptSpec, Fake]] = [
        ("tickets", raw, known),
        ("echo", chat, Fake({"Which?": "B"})),
    ]
    bundles = {
        name: Predictor(
            manifest=Manifest(task=name, kind=spec.kind, candidate="fake", engine="fake", prompt=spec),
            model=model,
            renderer=Renderer(spec),
        )
        for name, spec, model in pairs
    }
    with background(create_app(bundles, default="tickets")) as url:
        yield lambda name: Http(f"{url}/v1", name)


def test_full_circle_text_is_what_the_bundle_says(upstream: Callable[..., Http]) -> None:
    model, text = upstream("echo"), "café 漢字 🎉 \u2028"
    whole, *_ = [model.generate(Prompt(text=text), Sampling())]
    *_, last = model.stream(Prompt(text=text), Sampling())
    assert whole == last.completion
    assert (whole.text, whole.tokens_out, whole.finish) == (text, len(text.encode()), "stop")


def test_full_circle_probabilities_are_the_bundles_own(upstream: Callable[..., Http]) -> None:
    (row,) = upstream("tickets").score([Prompt(text="It crashes.")], CODED)
    assert np.exp(row) == pytest.approx([0.6, 0.3, 0.1])


def test_full_circle_a_writing_bundle_is_asked_without_logprobs(upstream: Callable[..., Http]) -> None:
    rows = upstream("echo").score([Prompt(text="Which?")] * 3, CODED)
    assert rows.argmax(axis=1).tolist() == [1, 1, 1]


def test_full_circle_a_server_of_ours_says_what_it_serves(upstream: Callable[..., Http]) -> None:
    assert upstream("tickets").about()["smallworks"]["labels"] == list(CODED.labels)
    assert upstream("none").about() == {}


def test_full_circle_errors_keep_their_words(upstream: Callable[..., Http]) -> None:
    with pytest.raises(UpstreamError, match=r"404: There is no model 'none' here\. Available: tickets, echo"):
        upstream("none").generate(Prompt(text="x"), Sampling())


def test_a_server_that_is_not_there_is_told() -> None:
    assert Http("http://127.0.0.1:9/v1", "big").about() == {}
    with pytest.raises(UpstreamError, match="Check that the server runs"):
        Http("http://127.0.0.1:9/v1", "big").generate(PROMPT, Sampling())
