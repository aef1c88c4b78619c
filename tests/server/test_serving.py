"""`serve`: addresses, ports and signals. A process of its own, as a user would run it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.errors import BundleError, UserError
from smallworks.server import Config, background, create_app, serve
from smallworks.server.bundles import Seat, named
from smallworks.server.run import listen


def test_a_port_in_use_is_named_before_any_bundle_is_opened(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} on 127.0.0.1 is in use.*--port {port + 1}"):
            serve(Config(bundles=("no-bundle",), port=port))


def test_an_address_that_others_reach_needs_keys_or_a_second_word(tmp_path: Path) -> None:
    any_bundle = Config(bundles=("no-bundle",), port=0)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(UserError, match=f"'{host}' can be reached.*--keys keys.sqlite.*--open"):
            serve(any_bundle.model_copy(update={"host": host}))
    keys = {"keys": tmp_path / "none.sqlite"}
    with pytest.raises(UserError, match="No key file"):
        serve(any_bundle.model_copy(update={"host": "0.0.0.0", "plain": True, **keys}))
    with pytest.raises(UserError, match="Leave out one of --keys and --open"):
        serve(any_bundle.model_copy(update={"open": True, **keys}))


@pytest.mark.parametrize("who", [{"keys": Path("keys.sqlite")}, {"open": True}])
def test_clear_text_to_other_machines_needs_a_word_of_its_own(who: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"not encrypted.*--tls-cert.*--plain"):
        serve(Config(bundles=("no-bundle",), host="0.0.0.0", port=0, **who))


def test_a_changed_bundle_is_not_served(bundle: Path) -> None:
    (bundle / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        serve(Config(bundles=(str(bundle),), port=0))


def test_no_bundle_at_all_is_told() -> None:
    with pytest.raises(UserError, match="smallworks serve BUNDLE"):
        serve(Config())


def test_the_socket_sends_small_answers_at_once() -> None:
    # asyncio turns Nagle's algorithm off only on a socket that names its protocol.
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_bundles_go_by_folder_name_and_by_a_task_name_of_their_own(
    labelling: Callable[..., Predictor],
) -> None:
    one, two, three = labelling(), labelling(), labelling(task="other")
    paths = ("b/tickets-a-1", "b/tickets-b-2", "b/other-c-3")
    loaded = zip(paths, (one, two, three), strict=True)
    names = named([Seat(word=path, path=Path(path), id="", predictor=p) for path, p in loaded])
    assert list(names) == ["tickets-a-1", "tickets-b-2", "other-c-3", "other"]
    assert names["other"] is three


def test_a_stream_that_has_begun_is_finished_when_the_server_ends(writing: Callable[..., Predictor]) -> None:
    slow = writing(Fake(pace=0.02))
    with background(create_app({"slow": slow}, default="slow")) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none")
        messages = [{"role": "user", "content": "all of it"}]
        stream = client.chat.completions.create(model="slow", messages=messages, stream=True)
        first = next(iter(stream)).choices[0].delta.content
    assert first + "".join(c.choices[0].delta.content or "" for c in stream) == "Say it.\n\nall of it"


def serving(bundle: Path) -> str:
    return f"from smallworks.server import Config, serve; serve(Config(bundles=({str(bundle)!r},), port=0))"


@contextmanager
def served(code: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that serves on a free port, and its address."""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        yield process.stderr.readline().split()[2], process
    finally:
        process.kill()
        process.communicate()


def test_a_served_bundle_answers_and_ends_quietly_on_sigterm(bundle: Path) -> None:
    with served(serving(bundle)) as (url, process):
        body = {"model": bundle.name, "messages": [{"role": "user", "content": "It crashes."}]}
        reply = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=20).json()
        assert reply["smallworks"]["label"] in ("bug", "question")
        assert httpx2.post(f"{url}/generate", json={"input_text": "x", "model": "tickets"}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert process.stderr and process.stderr.read() == ""


SLOW = """
from pathlib import Path
from tempfile import TemporaryDirectory
from smallworks.bundle import Manifest, freeze
from smallworks.engines import opening
from smallworks.engines.fake import Fake
from smallworks.server import Config, serve
from smallworks.types import PromptSpec

spec = PromptSpec(style="chat", kind="generate", instruction="Say it.")
manifest = Manifest(task="slow", kind="generate", candidate="fake", engine="fake", prompt=spec)
opening.MAKERS["fake"] = lambda bundle, threads: Fake(pace=0.01)
with TemporaryDirectory() as folder:
    (Path(folder) / "draft").mkdir()
    slow = freeze(Path(folder) / "draft", manifest, into=Path(folder))
    serve(Config(bundles=(str(slow.path),), port=0))
"""
"""`smallworks serve` of a bundle that takes seconds."""


def test_on_sigterm_a_stream_is_finished_and_new_requests_are_refused() -> None:
    with served(SLOW) as (url, process), httpx2.Client(base_url=url, timeout=30) as client:
        body = {"messages": [{"role": "user", "content": "x" * 100}], "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            while client.get("/health/ready").status_code == 200:
                time.sleep(0.01)
            refused = httpx2.post(f"{url}/generate", json={"input_text": "x"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert process.wait(timeout=20) == 0
        assert process.stderr and process.stderr.read() == ""
