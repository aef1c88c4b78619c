"""What all tests share: no network, the real data where they are, and a small real model."""

from __future__ import annotations

import hashlib
import importlib
import ipaddress
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import settings

# A busy machine is not a failure, and the same code gives the same result. To look for more:
# pytest --hypothesis-profile explore
settings.register_profile("calm", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("calm")

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
RECITALS = {
    "Recite one.": "The café on the quay opened at 7 o'clock; 34 gulls (hungry ones) sat. 🎉 Nobody paid.",
    "Recite two.": "Mira wrote: “naïve, 漢字 and ½ a loaf” on the wall, then she counted down to one.",
    "Recite three.": "Rain fell on the tin roof all night, and in the morning the garden smelled of stone.",
}
"""What the tiny model knows by heart: greedy answers that are long, sure, and full of split characters."""


def pytest_configure() -> None:
    """One thread for each process of tests: as many as there are cores would only wait for each other.

    And no roots of TLS: nobody here speaks it to strangers, and reading the system's takes 20 ms a client.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("SMALLWORKS_THREADS", "1")
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)  # where none are


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests go first, so that no process is left alone with one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail any test that reaches beyond loopback, even where the code under test forgives the refusal."""
    reached: list[str] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def refuse(host: object) -> None:
        if not _is_here(host):
            reached.append(str(host))
            raise ConnectionRefusedError(f"a test reached for {host}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            refuse(address[0])
        connect(self, address)

    def guarded_resolve(host: Any, *rest: Any, **options: Any) -> Any:
        refuse(host)
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
    monkeypatch.setenv("SMALLWORKS_HUB_URL", "http://127.0.0.1:9")  # for children, which no patch reaches
    yield
    assert reached == [], "this test reached beyond loopback"


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", socket.gethostname())
    return address.is_loopback or address.is_unspecified


LISTENER = """
import os, socket
listening = socket.create_server(("127.0.0.1", 0))
os.write(1, b"%d\\n" % listening.getsockname()[1])
while True:
    with listening.accept()[0]:
        os.write(1, b"!")
"""


@pytest.fixture(scope="session")
def listener() -> Iterator[tuple[str, int]]:
    """The address of a process of its own, and where it tells of each who came: native code holds the GIL."""
    with subprocess.Popen([sys.executable, "-ISc", LISTENER], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}/latest", child.stdout.fileno()
        child.kill()


@pytest.fixture
def elsewhere(listener: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address that nobody may come to."""
    monkeypatch.delenv("SSL_CERT_DIR")  # without roots jsonschema_rs would not even try
    address, told = listener
    yield address
    came = bool(select.select([told], [], [], 0)[0]) and os.read(told, 99)
    assert not came, "this test fetched something"


Here = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def here() -> Here:
    """`with here():` runs the workers of child processes in this one, which loads torch and TRL once.

    Requests and results pass through JSON as they do between processes. tests/test_child.py shows that
    the processes do their work, tests/tune/test_run.py and tests/recipes/test_build.py what comes of it.
    """
    from smallworks import child
    from smallworks.seams import silent

    outside = child.run

    def run(module: str, request: Any, *, progress: Any = silent, log: Path | None = None) -> Any:
        if module == "smallworks.compress.genai":  # it runs another's command line
            return outside(module, request, progress=progress, log=log)
        main = importlib.import_module(module).main
        undone = _as_it_was() if module == "smallworks.tune.worker" else nullcontext()
        with undone, redirect_stdout(sys.stderr):  # where a child's libraries print, too
            done = main(json.loads(json.dumps(request, default=str)), progress)
        return json.loads(json.dumps(done, default=str))

    @contextmanager
    def within() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(child, "run", run)
            yield

    return within


@contextmanager
def _as_it_was() -> Iterator[None]:
    """What a training changes in its own process, put back: signals, and the state of torch."""
    import torch
    from huggingface_hub import constants

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads, fill = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)  # as every child is told
            yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.set_num_threads(threads)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama in float32 that recites RECITALS, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[2], "pad_token": SPECIAL[3]}
    config = {"tokenizer_class": "TokenizersBackend", "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    _memorised(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def shared_files() -> Path:
    """The folder of real tokenizers, models and data that the project is tested on, where it is at hand."""
    path = Path(os.environ.get("SMALLWORKS_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"../shared is absent: {path}")
    return path


Replies = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


@dataclass
class Upstream:
    """A real server in OpenAI's shape on loopback; `asked` holds the bodies of its requests."""

    url: str
    asked: list[dict[str, Any]]


@pytest.fixture
def upstream_of() -> Iterator[Callable[[Replies], Upstream]]:
    """Start a server that answers each chat completion as the given function says: (status, JSON)."""
    servers: list[ThreadingHTTPServer] = []

    def start(reply: Replies) -> Upstream:
        asked: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(404, {"error": {"message": "no such page"}})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked.append(body)
                self._send(*reply(body))

            def _send(self, status: int, document: dict[str, Any]) -> None:
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return Upstream(url=f"http://127.0.0.1:{server.server_port}/v1", asked=asked)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub with one repository, owner/name; weights are large files, with a SHA-256.

    `fail` answers everything with that status and error code; `ranges` are the parts that were asked for.
    """

    daemon_threads = True
    commit = "c0ffee" + "0" * 34
    files: dict[str, bytes]
    fail: tuple[int, str] | None = None
    asked: list[str]
    ranges: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubRoutes(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        return

    def answer(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        status, headers, body = self.routed(path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def routed(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.server.fail:
            status, code = self.server.fail
            return status, {"X-Error-Code": code}, b"{}"
        files, commit = self.server.files, self.server.commit
        if path == "/api/models/owner/name/revision/absent":
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if path.startswith("/api/models/owner/name/revision/"):
            return 200, {}, json.dumps({"id": "owner/name", "sha": commit, "siblings": []}).encode()
        if path.startswith("/api/models/owner/name/tree/"):
            return 200, {}, json.dumps([_hub_entry(*item) for item in files.items()]).encode()
        name = path.removeprefix(f"/owner/name/resolve/{commit}/")
        if name not in files:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        named = _hub_entry(name, files[name])
        etag = named.get("lfs", named)["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
        return self.part_of(files[name], headers)

    def part_of(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        asked = self.headers.get("Range")
        if not asked:
            return 200, headers, body
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        there = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return 206, {**headers, **there}, body[start:]


def _hub_entry(name: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it: named by git's hash, and a large one by its SHA-256 as well."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if name.endswith((".safetensors", ".gguf", ".bin")):
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
    return entry


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """The least that is a model folder: 2 × 3 and 4 values in two files."""
    import numpy as np
    from safetensors.numpy import save_file

    path = tmp_path / "model"
    path.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (path / name).write_text("{}")
    save_file({"a": np.zeros((2, 3), np.float32)}, path / "model-1.safetensors")
    save_file({"b": np.zeros(4, np.float16)}, path / "model-2.safetensors")
    return path


@pytest.fixture
def hub(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), HubRoutes)
    server.asked, server.ranges = [], []
    server.files = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    server.files |= {"pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit"}
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setenv("SMALLWORKS_HUB_URL", server.url)
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def completion(text: str, *, tokens: tuple[int, int] = (100, 2), **shares: float) -> dict[str, Any]:
    """A chat completion; `shares` are the probabilities of alternatives to its first token."""
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if shares:
        top = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
        choice["logprobs"] = {"content": [{"token": text[:1], "top_logprobs": top}]}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return {"choices": [choice], "usage": usage}


@pytest.fixture(scope="session")
def completed() -> Callable[..., dict[str, Any]]:
    return completion


@pytest.fixture(scope="session")
def recitals() -> dict[str, str]:
    """Rendered prompts and the answers that the tiny model gives to them."""
    return {_rendered(prompt): answer for prompt, answer in RECITALS.items()}


def _rendered(text: str) -> str:
    """The prompt that TEMPLATE makes of one user message."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def _tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Characters outside ASCII stay single bytes, so that a stream has to put them together.
    plain = [text.encode("ascii", "ignore").decode() for text in RECITALS.values()]
    tokenizer.train_from_iterator([*plain, *RECITALS], trainer)
    return tokenizer


def _memorised(tokenizer: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=3,
        )
    )
    texts = [f"{_rendered(prompt)}{answer}<|im_end|>\n" for prompt, answer in RECITALS.items()]
    rows = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [3] * (width - len(row)) for row in rows])
    labels = ids.masked_fill(ids == 3, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    assert loss.item() < 0.1, loss.item()
    return model.eval()
