"""Where weights come from: every place that has them, and every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from smallworks import starter
from smallworks.engines.base import resolve, resolve_embedder
from smallworks.errors import ModelError, UserError


@pytest.fixture
def folder(model_folder: Path) -> Path:
    return model_folder


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


def test_an_address_of_a_file_is_as_good_as_its_path(folder: Path) -> None:
    spaced = folder.rename(folder.parent / "my model")
    assert resolve(spaced.as_uri()) == resolve(str(spaced))
    with pytest.raises(ModelError, match="another machine"):
        resolve("file://host/model")


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


def test_a_hub_id_is_fetched_once_and_pinned(hub: Any, folder: Path) -> None:
    base = resolve("owner/name")
    assert (base.pin.source, base.parameters) == ("hub", 10)
    assert sorted(path.name for path in base.path.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert base.pin.sha256 == resolve(str(folder)).pin.sha256


def test_neither_code_nor_pickles_are_fetched(hub: Any) -> None:
    resolve("owner/name")
    assert [path for path in hub.asked if path.endswith((".py", ".bin"))] == []


def test_what_was_fetched_is_there_without_the_hub(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    online = resolve("owner/name")
    monkeypatch.setenv("SMALLWORKS_OFFLINE", "1")
    hub.asked.clear()
    assert resolve("owner/name") == online
    assert hub.asked == []


def test_offline_says_so(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_each_refusal_of_the_hub_has_its_sentence(hub: Any, fail: tuple[int, str], said: str) -> None:
    hub.fail = fail
    with pytest.raises(ModelError, match=said) as caught:
        resolve("owner/name")
    assert caught.value.fix


def test_a_hub_that_is_not_there_is_named(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLWORKS_HUB_URL", "http://127.0.0.1:9/")
    with pytest.raises(ModelError, match="could not be fetched") as caught:
        resolve("owner/name")
    assert "http://127.0.0.1:9 " in caught.value.what and "SMALLWORKS_HUB_URL" in caught.value.fix


@pytest.mark.parametrize("ref", ["own er/name", "-owner/name", "owner/..", "owner/" + "n" * 200])
def test_what_cannot_be_a_hub_id_is_refused(hub: Any, ref: str) -> None:
    with pytest.raises(ModelError, match="hub id"):
        resolve(ref)
    assert hub.asked == []


def test_a_disk_that_fills_up_while_fetching_is_said(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(UserError, match="MiB free"):
        resolve("owner/name")
