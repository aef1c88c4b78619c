"""`smallworks guard`: a policy is checked and tried, and a wrong one is refused with the fix."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from smallworks.cli import run

POLICY = """
[[rule]]
name = "keys"
regex = 'sk-[a-z0-9]{8}'

[[rule]]
name = "personal"
personal = "all"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def test_a_policy_is_checked(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guard", str(policy)]) == 0
    out = capsys.readouterr().out
    assert "keys" in out and "personal" in out


def test_texts_are_tried_and_shown_as_they_have_become(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = policy.with_name("texts.jsonl")
    texts.write_text('{"text": "Mail ann@x.org"}\nuse sk-abcd1234\n"plain"\n', encoding="utf-8")
    assert run(["guard", str(policy), str(texts), "--show", "--cost"]) == 0
    said = capsys.readouterr().out
    assert "3 texts, 1 blocked." in said and "µs a text" in said
    assert "1: Mail <EMAIL_1>\n2: [blocked by 'keys']\n3: plain\n" in said


def test_stdin_and_json(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("use sk-abcd1234\nfine\n"))
    assert run(["guard", str(policy), "-", "--where", "out", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [rule["rule"] for rule in document["rules"]] == ["keys", "personal"]
    assert [one["blocked"] for one in document["texts"]] == ["keys", None]


@pytest.mark.parametrize(
    ("text", "words"),
    [("[[rule]]\nname = 'a'\nregex = 'x'\nregx = 'x'", "regx"), ("[[rule]]\nname = 'a'\nregex = '('", "'a'")],
)
def test_a_wrong_policy_is_the_users_mistake(
    policy: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    policy.write_text(text, encoding="utf-8")
    assert run(["guard", str(policy)]) == 2
    assert words in capsys.readouterr().err


def test_a_cost_without_texts_and_a_file_that_is_not_there_are_refused(policy: Path) -> None:
    assert run(["guard", str(policy), "--cost"]) == 2
    assert run(["guard", str(policy), str(policy.with_name("none"))]) == 2
    assert run(["guard", str(policy.with_name("none.toml"))]) == 2
