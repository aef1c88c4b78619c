"""Heavy work in a process of its own: results, progress, errors that stay ours, deaths that are explained."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smallworks import child
from smallworks.errors import ChildError, DataError, MissingExtra, UserError

Run = Callable[..., Any]
SITE = """\
import importlib.util, sys
spec = importlib.util.spec_from_file_location("smallworks.work", {path!r})
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[spec.name])
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a body of `main(request, progress)` as if it were a worker of ours."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.format(path=str(site / "work.py")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))

    def run_body(body: str, request: dict[str, Any] | None = None, **options: Any) -> Any:
        (site / "work.py").write_text("def main(request, progress):\n    " + body.replace("\n", "\n    "))
        if count := options.pop("ranks", 0):
            return child.run_ranks("smallworks.work", request or {}, count, **options)
        return child.run("smallworks.work", request or {}, **options)

    return run_body


def test_a_result_comes_back(run: Run) -> None:
    request = {"path": Path("a") / "b", "text": "é漢🎉\n", "n": [1, 2.5, None]}
    assert run("return request", request) == {**request, "path": str(Path("a") / "b")}


def test_progress_is_told_while_it_runs(run: Run) -> None:
    told: list[Any] = []
    run("for i in range(3): progress('fit', i, 3, 'é')\nreturn {}", progress=lambda *step: told.append(step))
    assert told == [("fit", 0, 3, "é"), ("fit", 1, 3, "é"), ("fit", 2, 3, "é")]


def test_a_library_that_prints_does_not_break_the_protocol(run: Run, tmp_path: Path) -> None:
    body = (
        "import os, sys, subprocess\n"
        "print('{\"result\": 0}')\n"
        "os.write(1, b'\\xff{\"error\": {}}\\n')\n"
        "subprocess.run([sys.executable, '-c', 'print(7)'])\n"
        "return {'right': True}"
    )
    assert run(body, log=tmp_path / "log.txt") == {"right": True}
    assert '{"result": 0}' in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ("DataError('Row 7 is \\'é\\'.', fix='Mend it.')", DataError),
        ("MissingExtra('trl', extra='train', wanted_for='Tuning')", MissingExtra),
        ("UserError('What.', fix='Fix.')", UserError),
    ],
)
def test_our_errors_come_back_as_they_were(run: Run, raised: str, kind: type[UserError]) -> None:
    with pytest.raises(UserError) as caught:
        run(f"from smallworks import errors\nraise errors.{raised}")
    assert type(caught.value) is kind
    assert caught.value.what and caught.value.fix and caught.value.exit_code == 2


def test_a_crash_is_explained_by_its_last_line(run: Run) -> None:
    with pytest.raises(ChildError) as caught:
        run("raise RuntimeError('the weights are gone')")
    assert "RuntimeError: the weights are gone" in caught.value.what
    assert "'smallworks.work'" in caught.value.what and caught.value.fix


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_killed_child_is_told_from_a_crashed_one(run: Run) -> None:
    with pytest.raises(ChildError, match="out of memory"):
        run("import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(ChildError, match="exit code 7"):
        run("import os\nos._exit(7)")


def test_a_request_that_nobody_read_is_no_broken_pipe(run: Run, tmp_path: Path) -> None:
    (tmp_path / "site" / "sitecustomize.py").write_text("raise SystemExit('dead on arrival')")
    with pytest.raises(ChildError):
        run("return {}", {"long": "x" * 1_000_000})


@pytest.mark.parametrize(
    "raised", ["OSError(28, os.strerror(28))", "ValueError('IoError: ' + os.strerror(28))"]
)
def test_a_disk_that_fills_up_is_the_users_to_mend(run: Run, raised: str) -> None:
    with pytest.raises(UserError, match="disk is full") as caught:
        run(f"import os\nraise {raised}")
    assert caught.value.exit_code == 2


def test_a_log_that_cannot_be_written_does_not_hold_the_child(run: Run, tmp_path: Path) -> None:
    body = "import sys\nsys.stderr.write('noise\\n' * 50_000)\nreturn {'done': True}"
    assert run(body, log=tmp_path / "absent" / "log.txt") == {"done": True}


def test_a_parent_that_stops_takes_its_child_along(run: Run, tmp_path: Path) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    body = "import os, time\nprogress(str(os.getpid()), 0, 0, '')\ntime.sleep(60)"
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(body, progress=lambda step, *_: (seen.append(step), stop()))
    assert not _alive(int(seen[0]))


def test_a_module_in_the_users_folder_does_not_shadow_a_library(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "safetensors.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    assert run("import safetensors\nreturn {'file': safetensors.__file__}")["file"].endswith("__init__.py")


def test_only_our_own_modules_are_run() -> None:
    with pytest.raises(ChildError, match="modules of smallworks only"):
        child.run("json.tool", {})


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_peak_of_whoever_started_a_process_is_not_its_own() -> None:
    large = bytearray(os.urandom(1)) * 300_000_000
    del large
    asked = "from smallworks.child import peak_memory; print(peak_memory())"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert 1_000_000 < int(told.stdout) < 250_000_000


def test_a_script_of_another_python_speaks_the_protocol_and_sees_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "work.py"
    (tmp_path / "beside.py").write_text("")
    script.write_text(
        "import importlib.util, json, os, sys\n"
        "asked = json.load(sys.stdin)\n"
        "if asked.get('fail'): raise SystemExit('no such wheel')\n"
        "print(json.dumps({'progress': ['fit', 1, 2, 'half']}))\n"
        "seen = [name for name in ('beside', 'shadow') if importlib.util.find_spec(name)]\n"
        "print(json.dumps({'result': [asked, seen, os.environ['HF_HUB_OFFLINE']]}))\n"
    )
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "shadow.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    told: list[Any] = []
    python = Path(sys.executable)
    said = child.run_script(python, script, {"n": 1}, progress=lambda *step: told.append(step))
    assert said == [{"n": 1}, [], "1"] and told == [("fit", 1, 2, "half")]
    with pytest.raises(ChildError, match=r"'work' ended with exit code 1: no such wheel"):
        child.run_script(python, script, {"fail": True})


def test_several_children_know_who_they_are_and_the_first_one_answers(run: Run, tmp_path: Path) -> None:
    body = (
        "import os\n"
        "names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')\n"
        "open(request['folder'] + '/' + os.environ['LOCAL_RANK'], 'w').close()\n"
        "return [os.environ[name] for name in names]"
    )
    assert run(body, {"folder": str(tmp_path)}, ranks=3) == ["0", "0", "3"]
    assert all((tmp_path / str(number)).is_file() for number in range(3))


def test_a_child_that_dies_takes_the_waiting_others_with_it_and_is_the_one_that_is_told(run: Run) -> None:
    body = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit('out of luck')\ntime.sleep(300)"
    with pytest.raises(ChildError, match="out of luck"):
        run(body, ranks=2)


def test_an_error_of_ours_in_several_children_keeps_its_class(run: Run) -> None:
    body = "from smallworks.errors import DataError\nraise DataError('Row 3 is bad.', fix='Mend it.')"
    with pytest.raises(DataError, match="Row 3 is bad"):
        run(body, ranks=2)


def started(monkeypatch: pytest.MonkeyPatch, most: int = 9) -> list[subprocess.Popen[str]]:
    """The processes that are started from now on; no more than `most` can be."""
    found: list[subprocess.Popen[str]] = []
    start = child._start

    def one(*how: Any) -> subprocess.Popen[str]:
        if len(found) == most:
            raise OSError("Resource temporarily unavailable")
        found.append(start(*how))
        return found[-1]

    monkeypatch.setattr(child, "_start", one)
    return found


def test_a_child_that_cannot_be_started_leaves_no_other_behind(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = started(monkeypatch, most=1)
    with pytest.raises(OSError, match="unavailable"):
        run("return {}", ranks=2)
    assert len(found) == 1 and found[0].poll() is not None


def test_ctrl_c_while_the_others_still_work_ends_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            if timeout is None:
                raise KeyboardInterrupt
            super().join(timeout)

    found = started(monkeypatch)
    monkeypatch.setattr(child, "threading", SimpleNamespace(Thread=Stopped))
    with pytest.raises(KeyboardInterrupt):
        run("import os, time\nif os.environ['RANK'] == '1': time.sleep(60)\nreturn {}", ranks=2)
    assert len(found) == 2 and all(one.poll() is not None for one in found)


def test_a_failure_after_the_first_one_answered_is_told(run: Run, tmp_path: Path) -> None:
    body = (
        "import os, sys, time\nif os.environ['RANK'] == '0': return {}\n"
        "time.sleep(1)\nsys.exit('out of luck')"
    )
    with pytest.raises(ChildError, match="out of luck"):
        run(body, ranks=2)
