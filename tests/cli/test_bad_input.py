"""Mistakes of users through the command line: exit 2, one error with the value, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from smallworks import cli, files

TEXTS = [
    ("The export crashes.", "bug"),
    ("Please add a dark mode.", "feature"),
    ("How do I log in?", "question"),
]
ROWS = [{"text": f"{text} Case {n}.", "label": label} for n in range(20) for text, label in TEXTS]
TASK = """
[task]
name = "tickets"
kind = "classify"
instruction = "Name the kind."
{task}
[data]
train = "{train}"
{data}
[targets]
metric = "accuracy"
{targets}
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def refuses(self, *values: str) -> None:
        """Exit 2; whatever was remarked before, stderr ends with one error line that has these values."""
        *before, last = [line for line in self.err.splitlines() if line.strip()]
        assert self.code == 2, (self.code, self.err, self.out)
        assert last.startswith("error: "), self.err
        assert not [line for line in before if "error:" in line or "Traceback" in line], self.err
        assert [value for value in values if value not in last] == [], last
        assert self.out == ""


Run = Callable[..., Said]


@pytest.fixture
def outside(tmp_path: Path) -> Run:
    """`smallworks …` in a process of its own, offline, in the test's folder."""

    def run(*arguments: object, most_file_bytes: int | None = None) -> Said:
        command = [sys.executable, "-m", "smallworks.cli", *map(str, arguments)]
        environment = {**os.environ, "SMALLWORKS_HOME": str(tmp_path / "home")}
        limit = _limit(most_file_bytes) if most_file_bytes else None
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            preexec_fn=limit,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outside: Run
) -> Run:
    """The same in this process; a server, which changes logs and signals, has one of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path / "home"))

    def here(*arguments: object) -> Said:
        if arguments[0] == "serve":
            return outside(*arguments)
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return here


def _limit(most: int) -> Callable[[], None]:
    """Writes past so many bytes of a file fail, in the process and its children, as on a full disk."""
    resource = pytest.importorskip("resource")
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Path]:
    """A task folder with these rows; `task`, `data` and `targets` are more lines of its file."""

    def write(
        rows: Sequence[object] = ROWS,
        *,
        train: str = "train.jsonl",
        task: str = "",
        data: str = "",
        targets: str = "",
    ) -> Path:
        folder = tmp_path / "tickets"
        folder.mkdir()
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
        (folder / "task.toml").write_text(TASK.format(train=train, task=task, data=data, targets=targets))
        return folder

    return write


def digest(text: str) -> str:
    """Sixteen made-up words, so that a model of few rows is not small."""
    whole = hashlib.sha512(text.encode()).hexdigest()
    return " ".join(whole[at : at + 8] for at in range(0, 128, 8))


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["build", "evaluate", "verify", "serve"])
def test_a_folder_that_is_not_there_is_named(outside: Run, command: str) -> None:
    outside(command, "nowhere").refuses("nowhere")


def test_a_data_file_that_is_not_there_is_named(run: Run, task: Callable[..., Path]) -> None:
    folder = task(train="rows.csv")
    before = _files(folder)
    run("build", folder, "--only", "linear").refuses("rows.csv")
    assert _files(folder) == before


@pytest.mark.parametrize(
    "lines, values",
    [
        ({"data": 'input = "txet"'}, ["'txet'", "'text'"]),
        ({"data": 'output = "lable"'}, ["'lable'", "'label'"]),
        ({"task": 'labels = ["bug", "feature", "question", "praise"]'}, ["'praise'"]),
        ({"task": 'labels = ["bug", "feature"]'}, ["'question'"]),
        ({"targets": "at_lest = 0.9"}, ["'at_lest'", "'at_least'"]),
        ({"targets": "at_least = 90"}, ["90"]),
    ],
)
def test_a_task_file_that_does_not_fit_its_rows_is_refused(
    run: Run, task: Callable[..., Path], lines: dict[str, str], values: list[str]
) -> None:
    folder = task(**lines)
    before = _files(folder)
    run("build", folder, "--only", "linear").refuses(*values)
    assert _files(folder) == before


@pytest.mark.parametrize(
    "rows, values",
    [
        (ROWS[:1], ["1"]),
        ([], ["train.jsonl"]),
        ([*ROWS[:7], '{"text": "cut off', *ROWS[8:]], ["train.jsonl", "8"]),
        ([*ROWS[:7], "[1, 2]", *ROWS[8:]], ["train.jsonl", "8"]),
    ],
    ids=["one row", "no row", "broken line", "line of another shape"],
)
def test_rows_that_cannot_be_used_are_named(
    run: Run, task: Callable[..., Path], rows: list[object], values: list[str]
) -> None:
    folder = task(rows)
    before = _files(folder)
    run("build", folder, "--only", "linear").refuses(*values)
    assert _files(folder) == before


@pytest.mark.parametrize("base", ["owner/model", "/no/such/model", "./model.gguf"])
def test_a_base_that_cannot_be_reached_is_named(run: Run, task: Callable[..., Path], base: str) -> None:
    folder = task()
    before = _files(folder)
    run("build", folder, "--base", base).refuses(base)
    run("generate", "hello", "--model", base).refuses(base)
    assert _files(folder) == before


def test_a_candidate_that_does_not_exist_is_offered_its_neighbour(
    run: Run, task: Callable[..., Path]
) -> None:
    run("build", task(), "--only", "liner").refuses("'liner'", "'linear'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from smallworks import compress, starter

    return compress.quantize(starter.MODEL, tmp_path_factory.mktemp("whole") / "whole.gguf", "q8_0")


@pytest.mark.parametrize("cut", [2, 2_000])
def test_a_truncated_gguf_is_refused(
    run: Run, task: Callable[..., Path], whole: Path, tmp_path: Path, cut: int
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(whole.read_bytes()[: -whole.stat().st_size // 2 if cut > 2 else cut])
    folder = task()
    before = _files(folder)
    run("generate", "hello", "--model", broken).refuses("broken.gguf")
    run("build", folder, "--base", broken, "--only", "lm-zero").refuses("broken.gguf")
    assert _files(folder) == before


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small frozen bundle of the linear engine."""
    import numpy as np

    from smallworks.bundle import Manifest, freeze
    from smallworks.engines.linear import LinearHead, save
    from smallworks.types import Choices, PromptSpec

    labels = ("bug", "feature")
    save(LinearHead(labels, (), (), np.zeros(2)), tmp_path / "draft" / "linear")
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=labels))
    manifest = Manifest(
        task="t", kind="classify", candidate="linear", engine="linear", prompt=spec, model="linear"
    )
    return freeze(tmp_path / "draft", manifest, into=tmp_path / "bundles").path


@pytest.mark.parametrize("command", ["verify", "serve", "evaluate", "generate"])
def test_a_file_that_does_not_match_its_checksum_is_named(run: Run, bundle: Path, command: str) -> None:
    weights = bundle / "linear" / "linear.safetensors"
    weights.unlink()  # it may share its bytes with the draft
    weights.write_bytes(b"other bytes")
    arguments = ["hello", "--model", bundle] if command == "generate" else [bundle]
    run(command, *arguments).refuses("linear/linear.safetensors", files.hash_file(weights)[:12])


def test_a_port_that_is_in_use_is_named_with_another(run: Run, bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run("serve", bundle, "--port", port).refuses(str(port), "--port")


@pytest.mark.slow
@pytest.mark.parametrize("most", [600, 45_000])
def test_a_full_disk_ends_the_build_and_leaves_nothing_half_written(
    outside: Run, task: Callable[..., Path], most: int
) -> None:
    folder = task([{"text": f"{row['text']} {digest(row['text'])}", "label": row["label"]} for row in ROWS])
    before = _files(folder)
    outside("build", folder, "--only", "majority,linear", "--json", most_file_bytes=most).refuses(
        str(folder), "space"
    )
    written = _files(folder) - before
    assert [path for path in written if path.name.startswith(".")] == []
    assert not (folder / "report.html").exists()
    whole = outside("build", folder, "--only", "majority,linear", "--json")
    assert whole.code == 0, whole.err
