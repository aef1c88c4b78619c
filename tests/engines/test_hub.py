"""Fetching: pinned, resumed, checked, refused; against a stand-in for the hub that keeps its rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smallworks import files
from smallworks.engines import base
from smallworks.engines import hub as fetching
from smallworks.engines.base import PATTERNS
from smallworks.errors import DiskError, ModelError

REF = fetching.HubRef(repo="owner/name")
WEIGHTS = "model-1.safetensors"


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("owner/name", ("owner/name", "main", "")),
        ("owner/name@v1.0", ("owner/name", "v1.0", "")),
        ("Qwen/Qwen2.5-0.5B@" + "a" * 40, ("Qwen/Qwen2.5-0.5B", "a" * 40, "")),
        ("owner/name/q8_0.gguf", ("owner/name", "main", "q8_0.gguf")),
        ("owner/name/sub/q8_0.gguf@main", ("owner/name", "main", "sub/q8_0.gguf")),
    ],
)
def test_a_reference_has_a_repository_a_file_and_a_revision(
    written: str, parts: tuple[str, str, str]
) -> None:
    found = fetching.parse(written)
    assert found and (found.repo, found.revision, found.file) == parts


@pytest.mark.parametrize(
    "written",
    [
        "name",
        "a/b/c",
        "../name",
        "owner/..",
        "owner/name@",
        "o/n.gguf",
        "/a/b",
        "a/b@/etc/passwd",
        "a/b@../x",
        "a/b//etc/x.gguf",
    ],
)
def test_what_is_no_reference_has_no_parts(written: str) -> None:
    assert fetching.parse(written) is None


def test_sizes_are_known_before_anything_is_fetched(hub: Any) -> None:
    listing = fetching.look(REF, PATTERNS)
    assert listing.commit == hub.commit and listing.pinned == f"owner/name@{hub.commit}"
    wanted = {
        name: len(content) for name, content in hub.files.items() if name.endswith((".json", "tensors"))
    }
    assert {file.path: file.size for file in listing.files} == wanted
    assert listing.size == listing.missing == sum(wanted.values())
    assert [path for path in hub.asked if "/resolve/" in path] == []


def test_a_pinned_model_is_never_asked_for_again(hub: Any) -> None:
    path = base.fetch(f"owner/name@{hub.commit}", PATTERNS)
    assert path.name == hub.commit
    hub.asked.clear()
    assert base.fetch(f"owner/name@{hub.commit}", PATTERNS) == path
    assert hub.asked == []


def test_a_branch_that_moved_is_fetched_anew_and_the_old_commit_stays(hub: Any) -> None:
    first = base.fetch("owner/name", PATTERNS)
    old, hub.commit = hub.commit, "beef" * 10
    assert base.fetch("owner/name", PATTERNS).name == "beef" * 10
    assert base.fetch(f"owner/name@{old}", PATTERNS) == first


def test_a_broken_off_file_is_resumed_where_it_broke_off(hub: Any) -> None:
    whole = hub.files[WEIGHTS] = hub.files[WEIGHTS] + bytes(100_000)
    blobs = fetching._folder(REF) / "blobs"
    blobs.mkdir(parents=True)
    sha256 = next(f.sha256 for f in fetching.look(REF, PATTERNS).files if f.path == WEIGHTS)
    (blobs / f"{sha256}.part").write_bytes(whole[:70_000])
    path = base.fetch("owner/name", PATTERNS)
    assert hub.ranges == ["bytes=70000-"]
    assert (path / WEIGHTS).read_bytes() == whole


def test_a_wrong_beginning_is_found_and_thrown_away(hub: Any) -> None:
    sha256 = next(f.sha256 for f in fetching.look(REF, PATTERNS).files if f.path == WEIGHTS)
    blobs = fetching._folder(REF) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256}.part").write_bytes(b"x" * 20)
    with pytest.raises(ModelError, match=rf"'{WEIGHTS}' of 'owner/name' is not what the hub says"):
        base.fetch("owner/name", PATTERNS)
    assert base.fetch("owner/name", PATTERNS)  # the second time from its beginning


def test_a_small_file_that_was_changed_on_its_way_is_refused(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = fetching.look(REF, PATTERNS)
    hub.files["config.json"] = b"[]"
    with pytest.raises(ModelError, match=r"'config.json' of 'owner/name' is not what the hub says"):
        fetching.download(listing)


def test_a_model_of_pickles_is_refused_before_anything_is_fetched(hub: Any) -> None:
    hub.files = {name: content for name, content in hub.files.items() if not name.endswith("safetensors")}
    with pytest.raises(ModelError, match=r"are pickles \('pytorch_model\.bin'\)"):
        base.fetch("owner/name", PATTERNS)
    assert [path for path in hub.asked if "/resolve/" in path] == []


def test_a_repository_of_gguf_files_wants_one_named(hub: Any) -> None:
    hub.files = {"q8_0.gguf": b"GGUF", "README.md": b""}
    with pytest.raises(ModelError, match=r"keeps its weights in GGUF") as caught:
        base.fetch("owner/name", PATTERNS)
    assert "owner/name/FILE.gguf (there: q8_0.gguf)" in caught.value.fix
    assert base.fetch("owner/name/q8_0.gguf", PATTERNS).read_bytes() == b"GGUF"


def test_weights_that_are_published_twice_are_fetched_once(hub: Any) -> None:
    hub.files["consolidated.safetensors"] = hub.files["onnx/model.safetensors"] = hub.files[WEIGHTS]
    assert sorted(p.name for p in base.fetch("owner/name", PATTERNS).glob("*.safetensors")) == [
        WEIGHTS,
        "model-2.safetensors",
    ]


def test_a_full_disk_is_said_before_anything_is_fetched(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = fetching.look(REF, PATTERNS)
    usage = type("Usage", (), {"free": listing.missing - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DiskError, match="GB are free"):
        fetching.download(listing)


def test_a_revision_that_is_not_there_is_named(hub: Any) -> None:
    with pytest.raises(ModelError, match="no revision 'absent'"):
        base.fetch("owner/name@absent", PATTERNS)


def test_without_the_hub_what_was_fetched_serves(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = base.fetch("owner/name", PATTERNS)
    monkeypatch.setenv("SMALLWORKS_HUB_URL", "http://127.0.0.1:9")
    assert base.fetch("owner/name", PATTERNS) == path
    (path / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="could not be fetched"):
        base.fetch("owner/name", PATTERNS)


def test_progress_ends_at_the_size_of_all(hub: Any) -> None:
    told: list[tuple[float, float]] = []
    base.fetch("owner/name", PATTERNS, lambda step, done, total, note: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == fetching.look(REF, PATTERNS).size
    record: dict[str, Any] = files.read_json(next(Path(fetching._folder(REF) / "fetched").iterdir()))
    assert set(record) == {f.path for f in fetching.look(REF, PATTERNS).files}


def test_a_refusal_is_not_taken_for_silence(hub: Any) -> None:
    path = base.fetch("owner/name", PATTERNS)
    hub.fail = (500, "")
    assert base.fetch("owner/name", PATTERNS) == path
    hub.fail = (403, "GatedRepo")
    with pytest.raises(ModelError, match="'owner/name' is gated") as caught:
        base.fetch("owner/name", PATTERNS)
    assert f"{hub.url}/owner/name" in caught.value.fix
