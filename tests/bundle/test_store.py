"""Bundles on disk: named by their content, the same twice, and opened only when every byte is right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from smallworks.bundle import Bundle, Calibration, Manifest, freeze, open_bundle
from smallworks.bundle.store import CARD, MANIFEST, hash_weights
from smallworks.errors import BundleError, UserError
from smallworks.types import PromptSpec

SPEC = PromptSpec(style="raw", kind="classify")
MANY = Manifest(task="tickets", kind="classify", candidate="linear", engine="linear", prompt=SPEC)


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    (folder / "linear").mkdir(parents=True)
    (folder / "linear" / "weights").write_bytes(bytes(range(256)))
    (folder / "golden.jsonl").write_text("{}\n")
    return folder


@pytest.fixture
def bundle(draft: Path, tmp_path: Path) -> Bundle:
    return freeze(draft, MANY, into=tmp_path / "bundles")


def test_a_bundle_is_named_by_its_content(bundle: Bundle) -> None:
    assert bundle.name == f"tickets-linear-{bundle.id[:12]}"
    assert sorted(bundle.manifest.files) == ["golden.jsonl", "linear/weights"]
    assert bundle.file("linear/weights").read_bytes() == bytes(range(256))


def test_opening_gives_what_was_frozen(bundle: Bundle) -> None:
    assert open_bundle(str(bundle.path)) == bundle


def test_freezing_again_changes_nothing(bundle: Bundle, draft: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in bundle.path.rglob("*")}
    assert freeze(draft, MANY, into=bundle.path.parent) == bundle
    assert {path: path.stat().st_mtime_ns for path in bundle.path.rglob("*")} == before
    assert len(list(bundle.path.parent.iterdir())) == 1


def test_freezing_again_mends_a_broken_one(bundle: Bundle, draft: Path) -> None:
    bundle.file("golden.jsonl").unlink()
    assert freeze(draft, MANY, into=bundle.path.parent) == bundle
    assert open_bundle(bundle.path) == bundle


@pytest.mark.parametrize("change", ["file", "manifest"])
def test_other_content_has_another_name(bundle: Bundle, draft: Path, change: str) -> None:
    manifest = MANY
    if change == "file":
        (draft / "golden.jsonl").unlink()
        (draft / "golden.jsonl").write_text("{} \n")
    else:
        manifest = Manifest(**{**vars(MANY), "calibration": Calibration(temperature=2.0)})
    other = freeze(draft, manifest, into=bundle.path.parent)
    assert other.id != bundle.id and open_bundle(bundle.path) == bundle


def test_a_bundle_moves_and_is_renamed_freely(bundle: Bundle, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(bundle.path, tmp_path / "elsewhere"))
    assert open_bundle(moved).id == bundle.id


def test_a_card_beside_it_is_not_part_of_it(bundle: Bundle) -> None:
    (bundle.path / CARD).write_text("# A card\n")
    assert open_bundle(bundle.path) == bundle


def flip(path: Path) -> None:
    """Change one bit of one byte, on an inode of its own."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def extra(path: Path) -> None:
    (path.parent / "extra").write_text("")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (flip, "'linear/weights' has checksum"),
        (Path.unlink, "'linear/weights' is missing"),
        (extra, "'linear/extra'"),
    ],
)
def test_a_file_that_is_not_as_frozen_is_named(
    bundle: Bundle, break_it: Callable[[Path], None], said: str
) -> None:
    break_it(bundle.file("linear/weights"))
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle.path)
    assert said in caught.value.what and str(bundle.path) in caught.value.what and caught.value.fix


def test_one_changed_word_in_the_manifest_is_seen(bundle: Bundle) -> None:
    path = bundle.file(MANIFEST)
    raw = json.loads(path.read_text())
    raw["calibration"]["temperature"] = 0.9999
    path.write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=r"'bundle\.json' has checksum"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 99}', "\ufffe\x00"])
def test_a_manifest_that_does_not_read_is_the_users_to_mend(bundle: Bundle, content: str) -> None:
    bundle.file(MANIFEST).write_bytes(content.encode("utf-16"))
    with pytest.raises(UserError, match=str(bundle.path)):
        open_bundle(bundle.path)
    bundle.file(MANIFEST).write_text(content)
    with pytest.raises(UserError, match=str(bundle.path)):
        open_bundle(bundle.path)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError, match="No bundle at") as caught:
            open_bundle(where)
        assert "smallworks build" in caught.value.fix


def test_a_failed_freeze_leaves_nothing(draft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("smallworks.files.link_or_copy", full)
    with pytest.raises(UserError, match="MiB free"):
        freeze(draft, MANY, into=tmp_path / "bundles")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_weights_are_hashed_by_name_and_byte(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = hash_weights(tmp_path)
    (tmp_path / "notes.txt").write_text("not read by any engine")
    assert hash_weights(tmp_path) == first
    (tmp_path / "config.json").write_text("{}")
    assert hash_weights(tmp_path) != first
