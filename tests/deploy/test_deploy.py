"""What lies in deploy/ fits the server: its metrics exist, its files parse, its commands are ours."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from smallworks.cli import COMMANDS, app
from smallworks.server import create_app
from smallworks.server.cache import CacheConfig
from smallworks.server.config import load

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
METRIC = re.compile(r"\b((?:smallworks|process)_[a-z_]+)")


def expressions() -> Iterator[str]:
    board = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def exposed() -> set[str]:
    """Every name of a sample that /metrics may show."""
    registry = create_app({}, default="none", cache=CacheConfig()).state.meters.registry
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {m.name + ending for m in registry.collect() for ending in endings[m.type]}


def test_every_metric_of_the_dashboard_exists() -> None:
    named = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert len(named) > 12 and named - exposed() == set()


def test_every_bracket_of_the_dashboard_closes() -> None:
    for expression in expressions():
        for pair in ("()", "{}", "[]"):
            assert expression.count(pair[0]) == expression.count(pair[1]), expression


def test_the_compose_file_mounts_what_is_there() -> None:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"smallworks", "prometheus", "grafana"}
    made_by_hand = {"../bundles", "./metrics.key"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith(".") and source not in made_by_hand:
                assert (DEPLOY / source).exists(), source
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == ["smallworks:8000"]


def test_every_yaml_file_parses() -> None:
    files = [*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml")]
    assert len(files) >= 4 and all(yaml.safe_load(file.read_text()) for file in files)


def test_the_configuration_is_one_that_the_server_takes() -> None:
    config = load(DEPLOY / "serve.toml")
    assert config.keys and config.plain and config.traces and not config.traces.content


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_an_image_runs_as_nobody_special_and_ends_on_sigterm(name: str) -> None:
    text = (DEPLOY / name).read_text()
    lines = [line.split(None, 1) for line in text.replace("\\\n", " ").splitlines() if line[:1].isupper()]
    last = dict(lines)
    assert last["USER"] == "smallworks" and last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["ENTRYPOINT"]) == ["smallworks"]
    assert json.loads(last["CMD"])[0] == "serve"
    copied = [rest.split()[:-1] for word, rest in lines if word == "COPY" and "--from" not in rest]
    root = DEPLOY.parent
    assert all((root / source).exists() for sources in copied for source in sources)


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "smallworks.service").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_calls_commands_that_exist() -> None:
    known = {name for argument in app()["serve"].assemble_argument_collection() for name in argument.names}
    for line in unit()["ExecStart"] + unit()["ExecStartPre"]:
        program, command, *options = shlex.split(line)
        assert program.endswith("/smallworks") and command in COMMANDS
        assert {option for option in options if option.startswith("--")} <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit_and_finds_it_little_exposed(tmp_path: Path) -> None:
    command = tmp_path / "smallworks"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    copy = tmp_path / "smallworks.service"
    text = (DEPLOY / "smallworks.service").read_text()
    copy.write_text(text.replace("/opt/smallworks/bin/smallworks", str(command)))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    exposure = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(copy)]
    assert subprocess.run(exposure, capture_output=True).returncode == 0
