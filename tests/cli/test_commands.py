"""The commands as a user types them: results on stdout, talk on stderr, JSON that parses, exit codes."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from smallworks import starter
from smallworks.cli import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample task with its linear candidate, built by the command."""
    folder = tmp_path_factory.mktemp("cli") / "tickets"
    shutil.copytree(starter.TASKS["tickets"], folder)
    assert run(["build", str(folder), "--only", "linear"]) == 0
    return folder


@pytest.fixture
def bundle(built: Path) -> Path:
    return next((built / "bundles").iterdir())


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:  # type: ignore[type-arg]
    """The JSON document that a command prints on stdout, and nothing else there."""
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 0
    document: dict = json.loads(capsys.readouterr().out)  # type: ignore[type-arg]
    return document


def test_build_prints_one_json_document(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = said(capsys, "build", built, "--only", "linear", "--json")
    assert document["chosen"]["name"] == "linear"


def test_build_shows_the_table_and_says_that_nothing_changed(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", str(built), "--only", "linear"]) == 0
    printed = capsys.readouterr()
    assert "● linear" in printed.out and "bundle" in printed.out
    assert "Nothing changed" in printed.err


def test_a_dry_run_names_every_candidate_and_computes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tickets"
    shutil.copytree(starter.TASKS["tickets"], folder)
    document = said(capsys, "build", folder, "--dry-run", "--json")
    assert len(document["candidates"]) == 19
    assert document["seconds"] > 0 and document["memory_bytes"] > 0
    assert not (folder / ".smallworks").exists()


def test_generate_gives_a_label_with_its_probabilities(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = said(capsys, "generate", "The app crashes on start", "--model", bundle, "--json")
    assert document["text"] in ("bug", "feature", "question")
    assert sum(document["probabilities"].values()) == pytest.approx(1)


def test_evaluate_takes_the_task_beside_the_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "evaluate", bundle, "--json")["metrics"]["accuracy"]["n"] == 240


def test_evaluate_takes_any_labelled_file(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "new.jsonl"
    rows.write_text(
        '{"text": "crash on save", "label": "bug"}\n{"text": "how do I export?", "label": "question"}\n'
    )
    assert said(capsys, "evaluate", bundle, rows, "--json")["metrics"]["accuracy"]["n"] == 2


def test_compare_of_a_bundle_with_itself_finds_no_difference(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = said(capsys, "compare", bundle, bundle, "--json")
    assert document["difference"]["value"] == 0 and document["p_value"] == 1


def test_verify_fails_with_3_when_an_answer_moved(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from smallworks.bundle import freeze, open_bundle

    draft = tmp_path / "draft"
    shutil.copytree(bundle, draft)
    golden = (draft / "golden.jsonl").read_text().replace('"bug": 0.', '"bug": 0.4')
    (draft / "golden.jsonl").write_text(golden)
    moved = freeze(draft, open_bundle(bundle).manifest, into=tmp_path)
    assert run(["verify", str(bundle)]) == 0
    assert run(["verify", str(moved.path)]) == 3


def test_doctor_names_every_extra(capsys: pytest.CaptureFixture[str]) -> None:
    document = said(capsys, "doctor", "--json")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {e["name"] for e in document["extras"]} == set(extras) - {"all", "dev"}


def test_init_then_build_asks_for_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path / "mine"), "--kind", "classify"]) == 0
    assert run(["build", str(tmp_path / "mine")]) == 2
    assert "error:" in capsys.readouterr().err


def test_a_mistyped_option_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build", ".", "--onyl", "linear"]) == 2


def test_chat_speaks_with_the_starter_over_several_turns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["Hello", "And now?", "/reset", "Again", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path))
    assert run(["chat", "--max-tokens", "8", "--temperature", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 3


def test_chat_with_a_labelling_bundle_says_what_to_do(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["chat", str(bundle)]) == 2
    assert "smallworks generate" in capsys.readouterr().err


def test_a_gate_asks_for_the_target_of_the_task_beside_the_bundle(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = said(capsys, "gate", bundle, "--json")
    assert (document["metric"], document["estimate"]["n"]) == ("accuracy", 240)
    assert document["at_least"] and document["verdict"]["outcome"] == "pass"


def test_evaluate_says_how_far_its_probabilities_may_be_believed(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(capsys, "evaluate", bundle, "--json")["calibration"]
    assert found["error"]["low"] <= found["error"]["value"] <= found["error"]["high"]
    assert sum(b["right"]["n"] for b in found["bins"]) == 240
    assert run(["evaluate", str(bundle)]) == 0
    assert "calibration error 0." in capsys.readouterr().out


def test_a_gate_takes_a_bundle_against_the_records_of_another(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "records.jsonl"
    assert run(["evaluate", str(bundle), "--out", str(kept)]) == 0
    document = said(capsys, "gate", bundle, "--against", kept, "--json")
    assert (document["margin"], document["comparison"]["difference"]["value"]) == (0.02, 0)
