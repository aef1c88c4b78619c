"""Heavy work in a process of its own: progress while it runs, one JSON result, errors with their fix.

A worker is a module of ours with `main(request, progress) -> dict`. The parent never loads what the
worker loads, the worker's peak memory is its own, and a kill leaves the parent standing.

The protocol is one JSON object a line on the child's stdout: {"progress": […]}, {"result": …} or
{"error": …}. Whatever else a library prints goes to stderr, which is kept for the error message.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from smallworks import errors
from smallworks.seams import Progress, silent

TAIL_LINES = 12
SAVING = 20.0
"""Seconds that a child which is told to end may take to save."""
FULL = os.strerror(errno.ENOSPC)


def run(
    module: str, request: Mapping[str, Any], *, progress: Progress = silent, log: Path | None = None
) -> Any:
    """Run `module.main(request, progress)` in a child; return its result.

    Raises what the worker raised when that is one of our errors, ChildError otherwise. Ctrl-C
    reaches the child too, which may save before it ends.
    """
    # -P: a datasets.py in the user's folder must not stand in for the library of that name.
    command = [sys.executable, "-P", "-m", "smallworks.child", module]
    return _run(command, module, request, _environment(), progress, log)


def run_script(python: Path, script: Path, request: Mapping[str, Any], *, progress: Progress = silent) -> Any:
    """Run a script that speaks the protocol by another Python, which has nothing of ours; return its result.

    Raises what `run` raises. Nothing is fetched from the hub.
    """
    # -I: neither the folder of the script nor PYTHONPATH is looked into, where names of libraries are ours.
    command, offline = [str(python), "-I", str(script)], {"HF_HUB_OFFLINE": "1"}
    return _run(command, script.stem, request, {**_environment(), **offline}, progress, None)


def _run(
    command: list[str],
    module: str,
    request: Mapping[str, Any],
    environment: Mapping[str, str],
    progress: Progress,
    log: Path | None,
) -> Any:
    process = _start(command, environment)
    try:
        return _attend(process, module, request, progress, log)
    except BaseException:
        _end([process])
        raise


def run_ranks(
    module: str,
    request: Mapping[str, Any],
    count: int,
    *,
    progress: Progress = silent,
    log: Path | None = None,
) -> Any:
    """Run it in `count` children, each told its place as torchrun would; the first one's result.

    Where they meet the request says. Raises what `run` raises, of whichever child failed first, also after
    the first one has answered; the others then end too.
    """
    command = [sys.executable, "-P", "-m", "smallworks.child", module]
    shared = {**_environment(), **_loopback(), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    processes: list[subprocess.Popen[str]] = []
    failures: list[BaseException] = []

    def attend(process: subprocess.Popen[str]) -> None:
        try:
            _attend(process, module, request, silent, log)
        except BaseException as error:
            failures.append(error)
            _end(processes, patience=0)

    try:
        for rank in range(count):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(_start(command, {**shared, **place}))
        threads = [threading.Thread(target=attend, args=(other,), daemon=True) for other in processes[1:]]
        for thread in threads:
            thread.start()
        result = _attend(processes[0], module, request, progress, log)
        for thread in threads:
            thread.join()
    except BaseException as error:
        alone = isinstance(error, errors.SmallworksError) and not isinstance(error, errors.UserError)
        told = failures[0] if alone and failures else error  # before the others are ended, which fails them
        _end(processes, patience=0 if alone else SAVING)
        raise told from None
    if failures:
        raise failures[0]
    return result


def _loopback() -> dict[str, str]:
    """Gloo and NCCL listen on this machine's own interface alone, where its name is known."""
    import socket

    name = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}"} if name else {}


def _start(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )


def _end(processes: Sequence[subprocess.Popen[str]], *, patience: float = SAVING) -> None:
    """Ask them to end, which may save, and kill what is there after so many seconds."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + patience
    for process in processes:
        try:
            process.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _attend(
    process: subprocess.Popen[str],
    module: str,
    request: Mapping[str, Any],
    progress: Progress,
    log: Path | None,
) -> Any:
    """Ask, listen to the end, and return the result or raise what went wrong."""
    assert process.stdin and process.stdout and process.stderr
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    reader = threading.Thread(target=_keep, args=(process.stderr, tail, log), daemon=True)
    reader.start()
    # A child that died early has its own last words, which say more than a broken pipe.
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(json.dumps(request, default=str))
    outcome = _listen(process.stdout, progress)
    process.wait()
    reader.join(timeout=5)
    if "error" in outcome:
        raise _revive(outcome["error"])
    if "result" not in outcome or process.returncode != 0:
        raise _died(module, process.returncode, tail)
    return outcome["result"]


def peak_memory() -> int:
    """Peak resident bytes of this process so far."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # Where Linux tells: what getrusage says begins with the peak of whoever started this process.
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _listen(stream: IO[str], progress: Progress) -> dict[str, Any]:
    outcome: dict[str, Any] = {}
    for line in stream:
        try:
            message = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(message, dict):
            continue
        if "progress" in message:
            step, done, total, note = message["progress"]
            progress(step, done, total, note)
        elif "result" in message or "error" in message:
            outcome = message
    return outcome


def _keep(stream: IO[str], tail: deque[str], log: Path | None) -> None:
    """Read to the end whatever becomes of the log: a child that nobody reads stands still."""
    for line in stream:
        tail.append(line.rstrip())
        if log:
            try:
                with log.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                tail.append(f"'{log}' cannot be written: {error.strerror or error}")
                log = None


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
    }


def _revive(error: Mapping[str, str]) -> errors.SmallworksError:
    kind = getattr(errors, error["type"], errors.ChildError)
    revived: errors.SmallworksError = kind.__new__(kind)
    errors.SmallworksError.__init__(revived, error["what"], fix=error["fix"])
    return revived


def _died(module: str, code: int | None, tail: deque[str]) -> errors.ChildError:
    last = next((line for line in reversed(tail) if line.strip()), "no output")
    cause = "was killed (out of memory?)" if code in (-9, 137) else f"ended with exit code {code}"
    return errors.ChildError(
        f"The child process '{module}' {cause}: {last}",
        fix="Run the same command again: finished steps are kept and the rest resumes.",
    )


def _worker(module: str) -> int:
    # The protocol owns the real stdout; prints of libraries are sent to stderr instead.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def say(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message, default=str) + "\n")
        channel.flush()

    def progress(step: str, done: float, total: float, note: str) -> None:
        say({"progress": [step, done, total, note]})

    request = json.loads(sys.stdin.read())
    try:
        say({"result": importlib.import_module(module).main(request, progress)})
    except errors.SmallworksError as error:
        say(_told(error))
    except Exception as error:
        if FULL not in str(error):  # torch, safetensors and the system each have a class of their own for it
            raise
        fix = "Free some space, then run the same command again: it resumes."
        say(_told(errors.DiskError(f"The disk is full: {error}.", fix=fix)))
    return 0


def _told(error: errors.SmallworksError) -> dict[str, Any]:
    return {"error": {"type": type(error).__name__, "what": error.what, "fix": error.fix}}


if __name__ == "__main__":
    if not sys.argv[1].startswith("smallworks."):
        sys.exit("smallworks.child runs modules of smallworks only.")
    sys.exit(_worker(sys.argv[1]))
