"""Where weights come from: every place that has them, every refusal, and a stand-in for the hub."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from smallworks import starter
from smallworks.engines.base import resolve, resolve_embedder
from smallworks.errors import ModelError, UserError

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The least that is a model folder: 2 × 3 and 4 values in two files."""
    path = tmp_path / "model"
    path.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (path / name).write_text("{}")
    save_file({"a": np.zeros((2, 3), np.float32)}, path / "model-1.safetensors")
    save_file({"b": np.zeros(4, np.float16)}, path / "model-2.safetensors")
    return path


def test_no_name_is_the_starter() -> None:
    base = resolve(None)
    assert (base.path, base.pin.source, base.is_gguf) == (starter.MODEL, "starter", False)
    assert base == resolve("starter")
    assert 1e5 < base.parameters < 1e9


def test_a_folder_is_pinned_by_what_is_in_it(folder: Path) -> None:
    base = resolve(str(folder))
    assert (base.path, base.pin.source, base.parameters) == (folder, "folder", 10)
    save_file({"b": np.ones(4, np.float16)}, folder / "model-2.safetensors")
    assert resolve(str(folder)).pin.sha256 != base.pin.sha256


def test_a_gguf_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "any-name"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("output_norm.weight", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    base = resolve(str(path))
    assert base.is_gguf and base.path == path


@pytest.mark.parametrize("content", [b"", b"GG", b"ggml....", b"PK\x03\x04"])
def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.gguf") as caught:
        resolve(str(tmp_path / "m.gguf"))
    assert "GGUF" in caught.value.what and caught.value.fix


@pytest.mark.parametrize("ref", ["/no/such/model", "./absent", "models/absent.gguf", "one-word", "a/b/c", ""])
def test_a_base_that_is_nowhere_is_named(ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        resolve(ref)
    assert f"'{ref}'" in caught.value.what or "config.json" in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused_with_its_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name) as caught:
        resolve(str(folder))
    assert str(folder) in caught.value.what


def test_pickled_weights_are_not_read(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(ModelError, match="no safetensors") as caught:
        resolve(str(folder))
    assert "safetensors" in caught.value.fix


@pytest.mark.parametrize("keep", [0, 4, 9, 40, -1])
def test_weights_that_are_cut_short_are_refused(folder: Path, keep: int) -> None:
    path = folder / "model-1.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model-1\.safetensors") as caught:
        resolve(str(folder))
    assert "Download it again" in caught.value.fix


def test_an_embedder_is_a_folder_or_a_hub_id(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        resolve_embedder(str(folder))
    (folder / "model.safetensors").write_bytes(b"")
    assert resolve_embedder(str(folder)) == folder
    for ref in ("/no/such", "./no", "word"):
        with pytest.raises(ModelError, match="No embedding model"):
            resolve_embedder(ref)


# --- the hub --------------------------------------------------------------------------------------


class Hub(ThreadingHTTPServer):
    """Serves one repository, owner/name; `fail` answers everything with that status and error code."""

    daemon_threads = True
    files: dict[str, bytes]
    fail: tuple[int, str] | None = None
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Routes(BaseHTTPRequestHandler):
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
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def routed(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.server.fail:
            status, code = self.server.fail
            return status, {"X-Error-Code": code}, b"{}"
        files = self.server.files
        if path.startswith("/api/models/owner/name/revision/"):
            return 200, {}, json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": []}).encode()
        if path.startswith("/api/models/owner/name/tree/"):
            tree = [{"type": "file", "path": n, "size": len(c), "oid": _etag(c)} for n, c in files.items()]
            return 200, {}, json.dumps(tree).encode()
        name = path.removeprefix(f"/owner/name/resolve/{COMMIT}/")
        if name in files:
            return 200, {"ETag": f'"{_etag(files[name])}"', "X-Repo-Commit": COMMIT}, files[name]
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), Routes)
    server.asked = []
    server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.files |= {"pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit"}
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setenv("SMALLWORKS_HUB_URL", server.url)
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_id_is_fetched_once_and_pinned(hub: Hub, folder: Path) -> None:
    base = resolve("owner/name")
    assert (base.pin.source, base.parameters) == ("hub", 10)
    assert sorted(path.name for path in base.path.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert base.pin.sha256 == resolve(str(folder)).pin.sha256


def test_neither_code_nor_pickles_are_fetched(hub: Hub) -> None:
    resolve("owner/name")
    assert [path for path in hub.asked if path.endswith((".py", ".bin"))] == []


def test_what_was_fetched_is_there_without_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    online = resolve("owner/name")
    monkeypatch.setenv("SMALLWORKS_OFFLINE", "1")
    hub.asked.clear()
    assert resolve("owner/name") == online
    assert hub.asked == []


def test_offline_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLWORKS_OFFLINE", "1")
    with pytest.raises(ModelError, match="'owner/name' is not in the cache") as caught:
        resolve("owner/name")
    assert "SMALLWORKS_OFFLINE" in caught.value.fix and hub.asked == []


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ((404, "RepoNotFound"), "no model 'owner/name'"),
        ((401, "RepoNotFound"), "no model 'owner/name'"),
        ((403, "GatedRepo"), "'owner/name' is gated"),
        ((418, ""), "could not be fetched from http"),
    ],
)
def test_each_refusal_of_the_hub_has_its_sentence(hub: Hub, fail: tuple[int, str], said: str) -> None:
    hub.fail = fail
    with pytest.raises(ModelError, match=said) as caught:
        resolve("owner/name")
    assert caught.value.fix


def test_a_hub_that_is_not_there_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLWORKS_HUB_URL", "http://127.0.0.1:9/")
    with pytest.raises(ModelError, match="could not be fetched") as caught:
        resolve("owner/name")
    assert "http://127.0.0.1:9 " in caught.value.what and "SMALLWORKS_HUB_URL" in caught.value.fix


@pytest.mark.parametrize("ref", ["own er/name", "-owner/name", "owner/..", "owner/" + "n" * 200])
def test_what_cannot_be_a_hub_id_is_refused(hub: Hub, ref: str) -> None:
    with pytest.raises(ModelError, match="hub id"):
        resolve(ref)
    assert hub.asked == []


def test_a_disk_that_fills_up_while_fetching_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(UserError, match="MiB free"):
        resolve("owner/name")
