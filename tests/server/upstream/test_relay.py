"""Upstreams through the server's own door: what is sent on, what comes back, how it is counted."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from smallworks.errors import UserError
from smallworks.server import background, create_app
from smallworks.server.cache import CacheConfig
from smallworks.server.keys import KeyFile
from smallworks.server.meters import Meters
from smallworks.server.prices import Price
from smallworks.server.rules import Rules
from smallworks.server.upstream import Fleet, Upstream

from .conftest import DONE, HEAD, Asked, Behind, Write, _serve, answer, chunk, delta, http, says, streams

CLIENT = httpx2.Client(timeout=20)
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def ask(url: str, path: str = "/v1/chat/completions", **more: Any) -> httpx2.Response:
    body = json.dumps({**ASK, **more})
    return CLIENT.post(url + path, content=body, headers={"content-type": "application/json"})


def meter(url: str, line: str) -> float:
    text = CLIENT.get(f"{url}/metrics").text
    return sum(float(found.rsplit(" ", 1)[1]) for found in text.splitlines() if found.startswith(line))


def test_unknown_fields_go_through_both_ways(behind: Any, relaying: Any) -> None:
    server = behind(says(body=answer("Hi", fingerprint={"deep": [1, None]})))
    with relaying({"url": server.url, "model": "inner"}) as url:
        said = ask(url, odd={"kept": [1.5, "é", "\ud800"]}).json()
    assert said["fingerprint"] == {"deep": [1, None]}
    assert said["model"] == "m"
    sent = server.asked[0].said
    assert sent["odd"] == {"kept": [1.5, "é", "\ud800"]}
    assert sent["model"] == "inner"
    assert server.asked[0].line == "POST /v1/chat/completions HTTP/1.1"


@pytest.mark.parametrize("name", ["m", "other"])
def test_an_answer_goes_out_as_it_came_where_its_name_is_the_one_asked_for(
    behind: Any, relaying: Any, name: str
) -> None:
    body = json.dumps({**answer("é"), "model": name}, indent=1, ensure_ascii=False).encode()
    with relaying(behind(says(body=body))) as url:
        told = ask(url)
    assert told.json() == {**json.loads(body), "model": "m"}
    assert (told.content == body) == (name == "m")


def test_events_go_out_as_they_came_in_single_lines_of_ascii(behind: Any, relaying: Any) -> None:
    said = {"model": "m", "choices": [{"index": 0, "delta": {"content": "é\u2028"}}]}
    plain = json.dumps(said).encode()
    ways = [plain.replace(b": ", b":  "), json.dumps(said, ensure_ascii=False).encode()]
    lines = b"data: " + json.dumps(said, indent=1).encode().replace(b"\n", b"\ndata: ")

    async def manner(asked: Asked, write: Write) -> None:
        await write(HEAD + b"".join(chunk(b"data: " + way + b"\n\n") for way in ways))
        await write(chunk(lines + b"\n\n" + DONE) + b"0\r\n\r\n")

    with relaying(behind(manner)) as url:
        told = ask(url, stream=True).content
    first, *others, last = told.removesuffix(b"\n\n").split(b"\n\n")
    assert (first, last) == (b"data: " + ways[0], b"data: [DONE]")
    assert all(other.isascii() and other.count(b"\n") == 0 for other in others)
    assert [json.loads(other[6:]) for other in others] == [said, said]


def test_other_forms_are_relayed_to_their_own_path(behind: Any, relaying: Any) -> None:
    server = behind(says())
    with relaying(server) as url:
        assert CLIENT.post(f"{url}/v1/completions", json={"model": "m", "prompt": "a"}).status_code == 200
        told = CLIENT.post(f"{url}/v1/classify", json={"model": "m", "input": "a"})
    assert [each.line.split()[1] for each in server.asked] == ["/v1/completions"]
    assert (told.status_code, told.json()["error"]["param"]) == (400, "model")


def test_responses_and_embeddings_are_relayed(behind: Any, relaying: Any) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    begun = {"type": "response.created", "response": {"id": "r", "model": "inner"}}
    ended = {"type": "response.completed", "response": {"id": "r", "model": "inner", "usage": usage}}
    said = {"type": "response.output_text.delta", "delta": "Hi"}

    async def manner(asked: Asked, write: Write) -> None:
        if "embeddings" in asked.line:
            data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
            await write(http(200, {"object": "list", "model": "inner", "data": data}))
        elif asked.said.get("stream"):
            events = (b"data: " + json.dumps(each).encode() + b"\n\n" for each in (begun, said, ended))
            await write(HEAD + b"".join(map(chunk, events)) + b"0\r\n\r\n")
        else:
            await write(http(200, {"id": "r", "model": "inner", "output": [], "usage": usage}))

    server = behind(manner)
    with relaying(server) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        assert client.embeddings.create(model="m", input="a", encoding_format="float").model == "m"
        assert client.responses.create(model="m", input="a").model == "m"
        events = list(client.responses.create(model="m", input="a", stream=True))
        assert [each.type for each in events] == [each["type"] for each in (begun, said, ended)]
        assert {each.response.model for each in events if hasattr(each, "response")} == {"m"}
        assert meter(url, 'smallworks_tokens_out_total{bundle="m"}') == 8
    assert [each.line.split()[1] for each in server.asked] == [
        "/v1/embeddings",
        "/v1/responses",
        "/v1/responses",
    ]
    assert "stream_options" not in server.asked[-1].said


def test_connections_are_kept_and_the_request_id_goes_along(behind: Any, relaying: Any) -> None:
    server = behind(says())
    with relaying(server) as url, httpx2.Client(headers={"x-request-id": "mine-7"}) as client:
        for _ in range(5):
            client.post(f"{url}/v1/chat/completions", json=ASK)
    assert server.connections <= 2  # one of them looked after its health
    assert {each.headers["x-request-id"] for each in server.asked} == {"mine-7"}


def test_a_stream_comes_as_it_is_made_and_ends_with_done(behind: Any, relaying: Any) -> None:
    going = asyncio.Event()

    async def manner(asked: Asked, write: Write) -> None:
        await write(HEAD + chunk(delta("one")))
        await going.wait()
        await write(chunk(delta("two")) + chunk(DONE) + b"0\r\n\r\n")

    server = behind(manner)
    with (
        relaying(server) as url,
        httpx2.stream(
            "POST", f"{url}/v1/chat/completions", json={**ASK, "stream": True}, timeout=20
        ) as reply,
    ):
        lines = (line for line in reply.iter_lines() if line)
        assert json.loads(next(lines)[6:])["choices"][0]["delta"]["content"] == "one"
        server_loop_set(going)
        assert json.loads(next(lines)[6:])["choices"][0]["delta"]["content"] == "two"
        assert list(lines) == ["data: [DONE]"]


def server_loop_set(event: asyncio.Event) -> None:
    event._loop.call_soon_threadsafe(event.set)  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked_for_it", [True, False])
def test_usage_of_a_stream_is_counted_and_told_only_where_it_was_asked(
    behind: Any, relaying: Any, asked_for_it: bool
) -> None:
    server = behind(streams("a", "b"))
    with relaying(server) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        options: Any = {"stream_options": {"include_usage": True}} if asked_for_it else {}
        chunks = list(client.chat.completions.create(**ASK, stream=True, **options))  # type: ignore[call-overload]
        assert "".join(c.choices[0].delta.content for c in chunks if c.choices) == "ab"
        assert [c.usage.total_tokens for c in chunks if c.usage] == ([7] if asked_for_it else [])
        assert meter(url, 'smallworks_tokens_in_total{bundle="m"}') == 5
        assert meter(url, 'smallworks_tokens_out_total{bundle="m"}') == 2
    assert server.asked[0].said["stream_options"] == {"include_usage": True}


def test_a_server_that_does_not_know_the_field_is_asked_without_it(behind: Any, relaying: Any) -> None:
    async def old(asked: Asked, write: Write) -> None:
        if "stream_options" in asked.said:
            await write(http(422, {"detail": [{"loc": ["body", "stream_options"], "msg": "extra"}]}))
        else:
            await streams("abcdefgh")(asked, write)

    server = behind(old)
    with relaying(server) as url:
        for _ in range(2):
            assert "abcdefgh" in ask(url, stream=True).text
        assert meter(url, 'smallworks_tokens_out_total{bundle="m"}') == 4  # two a answer, by its characters
    assert ["stream_options" in each.said for each in server.asked] == [True, False, False]


def test_a_server_that_does_not_know_the_field_is_asked_once_by_a_cache_too(
    behind: Any, relaying: Any
) -> None:
    async def old(asked: Asked, write: Write) -> None:
        if "stream_options" in asked.said:
            await write(http(422, {"detail": [{"loc": ["body", "stream_options"], "msg": "extra"}]}))
        else:
            await streams("abcd")(asked, write)

    server = behind(old)
    upstream = Upstream.model_validate({"models": ("m",), "server": ({"url": server.url},)})
    app = create_app({}, default="m", upstreams=[upstream], cache=CacheConfig.usual())
    with background(app) as url:
        for seed in range(3):
            assert "abcd" in ask(url, stream=True, seed=seed).text
    assert ["stream_options" in each.said for each in server.asked] == [True, False, False, False]


def test_every_name_of_an_upstream_has_its_price_and_no_other_may() -> None:
    fields = {"models": ("m", "n"), "server": ({"url": "http://127.0.0.1:1/v1"},)}
    upstream = Upstream.model_validate(fields)
    app = create_app({}, default="m", upstreams=[upstream], prices={"n": Price.of(1, 2)})
    assert app.state.room.price("m") == app.state.room.price("n") == Price.of(1, 2)
    with pytest.raises(UserError, match=r"prices\.o"):
        create_app({}, default="m", upstreams=[upstream], prices={"o": Price.of(1, 2)})


def test_names_that_come_and_go_never_change_a_mapping_in_use(behind: Any) -> None:
    fields = {"models": ("*",), "server": ({"url": "http://127.0.0.1:1/v1"},)}
    app = create_app({}, default="m", upstreams=[Upstream.model_validate(fields)])
    room, fleet = app.state.room, Fleet([Upstream.model_validate(fields)], rules=Rules(), meters=Meters())
    fleet.join(room)
    listed, before = fleet._listing(fleet.relays[0]), room.hosts
    listed(["a", "b"])
    assert (list(before), sorted(room.hosts)) == ([], ["a", "b"])
    listed(["b"])
    assert sorted(room.hosts) == ["b"]


def test_https_with_a_certificate_of_ones_own(
    loop: asyncio.AbstractEventLoop, relaying: Any, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    cert, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=t -days 2"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    found = Behind(0)

    async def begin() -> asyncio.Server:
        return await asyncio.start_server(
            lambda r, w: _serve(found, says(), r, w), "127.0.0.1", 0, ssl=context
        )

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    with relaying({"url": url, "ca": cert}) as trusting, relaying({"url": url}, retries=0) as strict:
        assert ask(trusting).json()["choices"][0]["message"]["content"] == "Hello"
        assert ask(strict).status_code == 502
    loop.call_soon_threadsafe(server.close)


def test_a_connection_is_used_again_after_a_stream(behind: Any, relaying: Any) -> None:
    server = behind(streams("a"))
    with relaying(server) as url:
        ask(url, stream=True)
        opened = server.connections
        for _ in range(4):
            ask(url, stream=True)
    assert server.connections == opened


def test_keys_pay_what_the_server_counted(behind: Any, relaying: Any, tmp_path: Path) -> None:
    server = behind(says())
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys:
        _, text = keys.add("ci", monthly_tokens=10_000)
        with relaying(server, keys=keys) as url:
            assert ask(url).status_code == 401
            head = {"authorization": f"Bearer {text}"}
            assert CLIENT.post(f"{url}/v1/chat/completions", json=ASK, headers=head).status_code == 200
            large = {**ASK, "max_tokens": 20_000}
            told = CLIENT.post(f"{url}/v1/chat/completions", json=large, headers=head)
            assert (told.status_code, told.json()["error"]["code"]) == (429, "insufficient_quota")
    assert len(server.asked) == 1
    assert text not in str(server.asked)


def test_the_key_of_a_server_is_sent_there_and_shown_nowhere(
    behind: Any, relaying: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INNER_KEY", "sk-inner-secret")
    words = {"error": {"message": "Bad: sk-inner-secret at 127.0.0.1", "code": "bad_thing", "param": "x"}}
    server = behind(says(400, words))
    with relaying({"url": server.url, "key_env": "INNER_KEY"}) as url:
        told = ask(url)
        seen = (
            told.text + CLIENT.get(f"{url}/metrics").text + CLIENT.get(f"{url}/v1/models").text + caplog.text
        )
    assert server.asked[0].headers["authorization"] == "Bearer sk-inner-secret"
    assert "sk-inner-secret" not in seen
    error = told.json()["error"]
    assert (told.status_code, error["code"], error["param"]) == (400, "bad_thing", "x")
    assert error["message"].startswith("Bad: … at …")


def test_a_key_that_is_not_set_keeps_the_server_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INNER_KEY", raising=False)
    fields = {"models": ("m",), "server": ({"url": "http://127.0.0.1:1/v1", "key_env": "INNER_KEY"},)}
    with pytest.raises(UserError, match="INNER_KEY"):
        create_app({}, default="m", upstreams=[Upstream.model_validate(fields)])


def test_every_model_that_the_servers_list_can_be_asked_for(behind: Any, relaying: Any) -> None:
    server = behind(says())
    with relaying(server, models=("*",), check_every=0.05) as url:
        while not (listed := CLIENT.get(f"{url}/v1/models").json()["data"]):
            pass
        assert [each["id"] for each in listed] == ["inner"]
        assert ask(url, model="inner").json()["model"] == "inner"
        assert ask(url, model="other").status_code == 404


def test_no_more_answers_are_under_way_than_at_once_says(behind: Any, relaying: Any) -> None:
    most, now = 0, 0

    async def manner(asked: Asked, write: Write) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        await write(http(200, answer()))

    with relaying(behind(manner), at_once=2) as url, ThreadPoolExecutor(8) as pool:
        assert {each.status_code for each in pool.map(lambda _: ask(url), range(16))} == {200}
    assert most == 2
