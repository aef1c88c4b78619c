"""A policy file is read whole or refused with the rule, the key and the fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smallworks.errors import UserError
from smallworks.guard import Guards, check, load
from smallworks.guard.policy import parse
from smallworks.guard.rule import Length, Personal, Words

ROOT = Path(__file__).parents[2]


def rule(text: str) -> str:
    return f'[[rule]]\nname = "r"\n{text}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rules"),
        ("[[rule]]\nregex = 'a'", "name"),
        (rule(""), "looks for nothing"),
        (rule("regex = 'a'\nwords = ['b']"), "exactly one of"),
        (rule("regex = 'a'\nactoin = 'block'"), "Did you mean 'action'"),
        (rule("regex = 'a'\naction = 'blok'"), "Did you mean 'block'"),
        (rule("regex = 'a'\naction = 'replace'"), "'with' and action 'replace'"),
        (rule("regex = 'a'\nrestore = true"), "nothing to restore"),
        (rule("personal = ['EMIAL']"), "Did you mean 'EMAIL'"),
        (rule("max_characters = 0"), "no whole number from 1"),
        (rule("max_tokens = 10\nwhere = 'out'"), "where"),
        (rule("injection = 'all'"), "untrusted"),
        (rule("words_file = 'absent.txt'"), "cannot be read"),
        (rule("classifier = 'absent'\nlabels = ['a']\nat_least = 2"), "up to 1"),
        (rule("regex = 'a'") + "\n" + rule("regex = 'b'"), "Two rules"),
        ("[[rule]]\nname = 'a, b'\nregex = 'a'", "plain name"),
        ("rules = 1", "Did you mean 'rule'"),
        ("rule = ", "no TOML"),
    ],
)
def test_what_is_wrong_is_said_with_the_fix(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        parse(text, tmp_path)


@pytest.mark.parametrize(
    "pattern", ["(a", "a*", r"(a)\1", "(?=a)b", "(?<!a)b", "[[:alpha:]]", "a{,3}", "a{2000}", "(?x) a"]
)
def test_a_pattern_that_cannot_be_kept_is_refused_at_the_start(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'r'"):
        Guards(parse(rule(f"regex = '''{pattern}'''"), tmp_path))


def test_a_missing_bundle_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        check(parse(rule("classifier = 'absent'\nlabels = ['a']"), tmp_path))


def test_files_are_beside_the_policy_and_words_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("bad boy\n\nbad  boy\ncafé\n", encoding="utf-8")
    path = tmp_path / "policy.toml"
    path.write_text(rule("words_file = 'words.txt'"), encoding="utf-8")
    (only,) = load(path).rules
    assert only.looks == Words(("bad boy", "café")) and (only.action, only.where) == ("block", "both")


def test_every_example_in_the_docs_can_be_loaded() -> None:
    page = (ROOT / "docs" / "guards.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n# policy\.toml\n(.*?)```", page, re.DOTALL)
    policy = parse(examples[0], ROOT)
    assert {type(one.looks) for one in policy.rules} >= {Length, Personal, Words}
    check(policy)


def test_the_policy_of_the_benchmark_has_twenty_rules() -> None:
    assert len(load(ROOT / "benchmarks" / "guard_policy.toml").rules) == 20
