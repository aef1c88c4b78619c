"""Every failure that a user may see carries a fix, and every class of failure is drawn in the tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest

from smallworks import errors
from smallworks.errors import MissingExtra, SmallworksError, nearest

OURS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, SmallworksError)
}
STRAYS = {"server/failures.py": "failures that only a client over HTTP can see, each with its status"}
"""Modules that may add classes to the tree. This list only shrinks."""


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every making of one of our errors, raised at once or later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in OURS:
                yield name, node


def test_every_error_is_made_with_a_fix(trees: Mapping[str, ast.Module]) -> None:
    bare = []
    for path, tree in trees.items():
        for name, call in calls(tree):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            needed = {"extra", "wanted_for"} if name == "MissingExtra" else {"fix"}
            empty = [k for k in needed if isinstance(v := given.get(k), ast.Constant) and not v.value]
            if not needed <= given.keys() or empty:
                bare.append(f"{path}:{call.lineno}: {name} without {sorted(needed)}")
    assert bare == []


def test_what_happened_is_a_sentence_with_its_value(trees: Mapping[str, ast.Module]) -> None:
    """A constant first argument names no value; a few conditions have none."""
    dull = []
    for path, tree in trees.items():
        for name, call in calls(tree):
            what = call.args[0] if call.args else None
            if (
                name != "MissingExtra"
                and isinstance(what, ast.Constant)
                and not str(what.value).endswith(".")
            ):
                dull.append(f"{path}:{call.lineno}: {what.value!r}")
    assert dull == []


def test_no_failure_is_swallowed(trees: Mapping[str, ast.Module]) -> None:
    handlers = [
        (f"{path}:{node.lineno}", node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
    ]
    assert [where for where, node in handlers if node.type is None] == []
    silent = [where for where, node in handlers if isinstance(node.body[0], ast.Pass)]
    assert silent == []


def test_user_errors_are_never_plain_exceptions(trees: Mapping[str, ast.Module]) -> None:
    plain = {"Exception", "RuntimeError", "BaseException", "SystemExit"}
    raised = [
        f"{path}:{node.lineno}: {node.exc.func.id}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        if node.exc.func.id in plain
    ]
    assert raised == []


def test_the_tree_draws_every_class() -> None:
    assert errors.__doc__ is not None
    assert [name for name in OURS if name not in errors.__doc__] == []


def test_classes_live_in_the_tree_alone(trees: Mapping[str, ast.Module]) -> None:
    strays = {
        path
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and path != "errors.py"
        if any(getattr(base, "id", "") in OURS for base in node.bases)
    }
    assert strays == set(STRAYS)


@pytest.mark.parametrize(
    ("name", "code", "exit_code"),
    [
        ("DataError", "data_error", 2),
        ("UpstreamError", "upstream_error", 1),
        ("ChildError", "child_error", 1),
    ],
)
def test_a_failure_has_a_name_for_machines_and_an_exit_code(name: str, code: str, exit_code: int) -> None:
    error = OURS[name]("It broke at '7'.", fix="Mend it.")
    assert (error.code, error.exit_code, str(error)) == (code, exit_code, "It broke at '7'. Mend it.")


def test_a_missing_library_names_its_extra() -> None:
    error = MissingExtra("torch", extra="train", wanted_for="Tuning")
    assert (
        str(error) == 'Tuning needs torch, which is not installed. Install it with: pip install -e ".[train]"'
    )


def test_the_nearest_name_is_offered_or_all_are() -> None:
    assert nearest("acuracy", ["accuracy", "macro_f1"]) == "Did you mean 'accuracy'?"
    assert nearest("zzz", ["b", "a"]) == "Valid: a, b."
