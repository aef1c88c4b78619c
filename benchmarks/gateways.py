"""Gateways under test, each alone on one core and in front of the same mock upstream on another. No claim.

Peers are installed from the registries into folders of their own under $SMALLWORKS_HOME/peers, once; what
cannot be installed or started is named with the reason.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.claim import Say, Skipped
from benchmarks.command import SMALLWORKS, environment
from benchmarks.relay_load import Ask, Line
from smallworks import settings

START_SECONDS = 120.0
INSTALL_SECONDS = 1200
POLICY = Path(__file__).with_name("guard_policy.toml")
REDIS = "redis://127.0.0.1:6379/9"
TENSORZERO = """
import asyncio, sys
from tensorzero.tensorzero import _start_http_gateway

async def main():
    stores = {"clickhouse_url": None, "postgres_url": None, "valkey_url": sys.argv[2] or None}
    gateway = await _start_http_gateway(config_file=sys.argv[1], async_setup=True, **stores)
    print(f"Serving at {gateway.base_url}", file=sys.stderr, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""
"""What its `patch_openai_client` does, with a store: that function passes on none."""
TENSORZERO_LIMITS = """
[rate_limiting]
enabled = true
[[rate_limiting.rules]]
always = true
model_inferences_per_minute = 100_000_000
tokens_per_minute = 100_000_000_000
scope = []
"""
Start = Callable[[ExitStack, Path, int], Ask]


@functools.cache
def cores() -> tuple[int, int]:
    """The core of the server under test, and the one of all others. Raises Skipped where there is but one."""
    own = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(own) < 2:
        raise Skipped("it needs two cores that processes can be bound to")
    return own[0], own[1]


@contextmanager
def arena(say: Say, wanted: dict[str, Start]) -> Iterator[tuple[dict[str, Ask], dict[str, str]]]:
    """The gateways that run, 'direct' among them, and why the others do not."""
    _, others = cores()
    running: dict[str, Ask] = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {others})
        stack.callback(os.sched_setaffinity, 0, before)
        command = [sys.executable, "-m", "benchmarks.mock_upstream"]
        mock = stack.enter_context(_process(command, Path(scratch), others, stdout=subprocess.PIPE))
        assert mock.stdout
        port = int(mock.stdout.readline())
        running["direct"] = Ask(port=port)
        for name, start in wanted.items():
            try:
                ask = start(stack, Path(scratch), port)
                _wait(ask)
                running[name] = ask
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                missing[name] = str(error).splitlines()[-1][:300]
                say(f"{name}: {missing[name]}")
        yield running, missing


def smallworks(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    """With a key, its limits counted in the process, metrics and a guard policy of twenty rules."""
    return _smallworks(stack, scratch, upstream, f'[guards]\npolicy = "{POLICY}"\n', limits=True)


def smallworks_bare(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    """Without keys, limits and guards; metrics are always on."""
    return _smallworks(stack, scratch, upstream, "")


def smallworks_limits(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    """With a key, whose limits are counted in Redis for all replicas; metrics."""
    store = stack.enter_context(redis("bench-relay:*"))
    section = f'[limits]\nstore = "{store}"\nprefix = "bench-relay:"\n'
    return _smallworks(stack, scratch, upstream, section, limits=True)


def _smallworks(
    stack: ExitStack, scratch: Path, upstream: int, sections: str, *, limits: bool = False
) -> Ask:
    from smallworks.server import KeyFile

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
    headers, config, keyed = {}, folder / "serve.toml", ""
    server = f'[[upstream]]\nmodels = ["mock"]\n[[upstream.server]]\nurl = "http://127.0.0.1:{upstream}/v1"\n'
    if limits:
        with KeyFile(folder / "keys.sqlite", create=True) as keys:
            _, text = keys.add("bench", requests_per_minute=10**8, tokens_per_minute=10**11, at_once=1000)
        headers, keyed = {"authorization": f"Bearer {text}"}, 'keys = "keys.sqlite"\n'
    config.write_text(f"port = 0\n{keyed}{sections}{server}")
    return Ask(port=_said(stack, [*SMALLWORKS, "serve", "--config", str(config)], folder), headers=headers)


@contextmanager
def redis(keys: str) -> Iterator[str]:
    """Database 9 of the Redis on this machine, without those keys before and after. Raises RuntimeError."""
    try:
        from redis import Redis, RedisError
    except ImportError as error:
        raise RuntimeError("no client of Redis: pip install 'smallworks[redis]'") from error
    with Redis.from_url(REDIS, socket_connect_timeout=2) as client:
        try:
            client.delete("none", *client.scan_iter(keys))
        except RedisError as error:
            raise RuntimeError(f"no Redis at {REDIS}: {error}") from error
        yield REDIS
        client.delete("none", *client.scan_iter(keys))


def bare(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    return Ask(port=_said(stack, [sys.executable, "-m", "benchmarks.relay_bare", str(upstream)], scratch))


def litellm(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    """Its proxy, one worker, with a master key and no database."""
    program = programs("litellm", "litellm[proxy]") / "litellm"
    config, port = scratch / "litellm.yaml", free_port()
    where = f'{{model: openai/mock, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}'
    config.write_text(
        f"model_list:\n  - model_name: mock\n    litellm_params: {where}\n"
        "general_settings: {master_key: sk-bench}\n"
    )
    command = [str(program), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    stack.enter_context(_process(command, scratch, cores()[0], LITELLM_LOCAL_MODEL_COST_MAP="True"))
    return Ask(port=port, headers={"authorization": "Bearer sk-bench"})


def tensorzero(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    """The gateway embedded in its Python package, without observability and limits.

    It has the Rust routes of the container but not its layer for API keys, and its migrations for
    PostgreSQL are the container's as well: keys cannot be had from the registries.
    """
    return _tensorzero(stack, scratch, upstream, "", "")


def tensorzero_limits(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    """With limits of requests and tokens a minute, counted in Redis for all replicas, for all together."""
    store = stack.enter_context(redis("tensorzero_ratelimit:*"))
    return _tensorzero(stack, scratch, upstream, TENSORZERO_LIMITS, store)


def _tensorzero(stack: ExitStack, scratch: Path, upstream: int, sections: str, store: str) -> Ask:
    program = programs("tensorzero", "tensorzero", "openai") / "python"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
    config = folder / "tensorzero.toml"
    config.write_text(
        "[gateway]\nobservability.enabled = false\ndisable_pseudonymous_usage_analytics = true\n"
        '[models.mock]\nrouting = ["m"]\n[models.mock.providers.m]\ntype = "openai"\nmodel_name = "mock"\n'
        f'api_base = "http://127.0.0.1:{upstream}/v1/"\napi_key_location = "none"\n{sections}'
    )
    port = _said(stack, [str(program), "-c", TENSORZERO, str(config), store], folder)
    return Ask(port=port, path="/openai/v1/chat/completions", model="tensorzero::model_name::mock")


def portkey(stack: ExitStack, scratch: Path, upstream: int) -> Ask:
    """Its open gateway on Node, which has no keys of its own."""
    folder, port = _peers() / "portkey", free_port()
    script = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not (shutil.which("node") and shutil.which("npm")):
        raise RuntimeError("node and npm are not installed")
    if not script.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _install(["npm", "install", "--prefix", str(folder), "@portkey-ai/gateway"])
    command = ["node", str(script), f"--port={port}", "--headless"]
    stack.enter_context(_process(command, scratch, cores()[0]))
    where = f"http://127.0.0.1:{upstream}/v1"
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": where, "authorization": "Bearer x"}
    return Ask(port=port, headers=headers)


PEERS: dict[str, Start] = {"litellm": litellm, "tensorzero": tensorzero, "portkey": portkey}
LIMITED: dict[str, Start] = {
    "smallworks, nothing on": smallworks_bare,
    "smallworks, limits in Redis": smallworks_limits,
    "tensorzero, limits in Redis": tensorzero_limits,
}
"""Set up alike, for whoever compares like with like."""


def _peers() -> Path:
    return settings.load().home / "peers"


def programs(name: str, *packages: str) -> Path:
    """The programs of an environment of its own. Raises RuntimeError where a package cannot be installed."""
    folder = _peers() / name
    programs = folder / "bin"
    if not (folder / ".ready").is_file():
        venv.create(folder, with_pip=True, clear=True)
        _install([str(programs / "python"), "-m", "pip", "install", "-q", *packages])
        (folder / ".ready").touch()
    return programs


def _install(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(
            f"cannot be installed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
        )


@contextmanager
def _process(
    command: list[str], scratch: Path, core: int, *, stdout: int = subprocess.DEVNULL, **more: str
) -> Iterator[subprocess.Popen[str]]:
    """Bound to a core; what it says on stderr is left in a file beside it."""
    told = scratch / f"{len(list(scratch.glob('*.err')))}.err"
    bound = functools.partial(os.sched_setaffinity, 0, {core})
    path = {"PYTHONPATH": str(Path(__file__).parents[1]), **more}
    with (
        told.open("w") as stderr,
        subprocess.Popen(
            command,
            stdout=stdout,
            stderr=stderr,
            text=True,
            env={**environment(scratch), **path},
            cwd=scratch,
            preexec_fn=bound,
        ) as process,
    ):
        process.told = told  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _said(stack: ExitStack, command: list[str], scratch: Path) -> int:
    """The port that a server says on stderr once it listens."""
    process = stack.enter_context(_process(command, scratch, cores()[0]))
    told: Path = process.told  # type: ignore[attr-defined]
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"Serving at http://[^\s:]+:(\d+)", told.read_text()):
            return int(found[1])
        time.sleep(0.05)
    last = (told.read_text().strip() or "it said nothing").splitlines()[-1]
    raise RuntimeError(f"did not start within {START_SECONDS:g} s: {last}")


def _wait(ask: Ask) -> None:
    """Until it answers as it should. Raises RuntimeError with what it said last."""
    until = time.monotonic() + START_SECONDS
    last = "it does not listen"
    while time.monotonic() < until:
        try:
            line = Line(replace(ask))
            try:
                line.once()
            finally:
                line.close()
            return
        except (OSError, RuntimeError) as error:
            last = str(error)
        time.sleep(0.2)
    raise RuntimeError(f"does not answer: {last}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
