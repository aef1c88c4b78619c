"""Nothing that runs a stranger's code, reaches out unasked, or tells of a developer's machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

REFUSED_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
REFUSED_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "torch.load", "torch.jit.load"}
REFUSED_KEYWORDS = {"trust_remote_code", "shell", "allow_pickle"}
NETWORK = {
    "socket",
    "requests",
    "httpx",
    "httpx2",
    "urllib.request",
    "http.client",
    "aiohttp",
    "huggingface_hub",
}
NETWORK_ALLOWED = {
    "engines/llamacpp_server.py": "the engine's own server, on loopback",
    "engines/http.py": "an engine that is a remote server",
    "server/run.py": "the door that listens",
}
"""Modules that may import a network library when they are imported. This list only shrinks."""
ENVIRONMENT = {
    "settings.py": "the one place that reads it",
    "child.py": "a child inherits it",
}
"""Modules that may touch os.environ. This list only shrinks."""
PRIVATE = re.compile("|".join(["/wor" + "k/", "/tmp" + "/w", "/home/[a-z]+/", "/Users" + "/[A-Za-z]+/"]))


def dotted(node: ast.expr) -> str:
    """'torch.load' of the expression torch.load; empty for anything but names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def imports(nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: functions' bodies and type-only blocks left out."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            continue
        waiting += ast.iter_child_nodes(node)


def test_no_pickle_in_any_guise(trees: Mapping[str, ast.Module]) -> None:
    found = [
        f"{path}:{line}: {name}"
        for path, tree in trees.items()
        for line, name in imports(ast.walk(tree))
        if name.partition(".")[0] in REFUSED_MODULES
    ]
    assert found == []


def test_no_call_runs_a_strangers_code(trees: Mapping[str, ast.Module]) -> None:
    found = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            if dotted(node.func) in REFUSED_CALLS:
                found.append(f"{path}:{node.lineno}: {dotted(node.func)}")
            found += [
                f"{path}:{node.lineno}: {keyword.arg}"
                for keyword in node.keywords
                if keyword.arg in REFUSED_KEYWORDS
                and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
            ]
    assert found == []


def test_importing_us_loads_no_network_library(trees: Mapping[str, ast.Module]) -> None:
    found = {
        path: name
        for path, tree in trees.items()
        for _, name in imports(at_import(tree))
        if any(name == refused or name.startswith(f"{refused}.") for refused in NETWORK)
    }
    assert {path: name for path, name in found.items() if path not in NETWORK_ALLOWED} == {}
    assert [path for path in NETWORK_ALLOWED if path not in found] == []


def test_the_environment_is_read_in_one_place(trees: Mapping[str, ast.Module]) -> None:
    names = {"os.environ", "os.getenv", "os.putenv", "os.environb"}
    found = {
        path
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and dotted(node) in names
    }
    assert found == set(ENVIRONMENT)


def test_no_file_tells_of_a_developers_machine(tracked: list[Path], root: Path) -> None:
    found = []
    for path in tracked:
        content = path.read_bytes()
        if b"\0" not in content[:4096]:
            text = content.decode("utf-8", "replace")
            found += [f"{path.relative_to(root)}: {m.group()}" for m in PRIVATE.finditer(text)][:3]
    assert found == []
