"""The machine that a model is to run on: this one, one that is described, or one whose `doctor` was kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallworks.engines.speed import Speed
from smallworks.errors import UserError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30}
RAM_SHARE = 0.75
"""Of a computer's memory, what is free for a model beside its system."""
GPU_SHARE = 0.9
"""Of a GPU's memory, what is free beside its driver and a display."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A kind of machine: its memory in bytes, the share of it that one program may take, can it train."""

    memory: int
    share: float
    trains: bool


DEVICES: Mapping[str, Device] = {
    "phone": Device(memory=8 * 10**9, share=0.4, trains=False),
    "laptop": Device(memory=16 * 10**9, share=0.6, trains=True),
    "board": Device(memory=8 * 10**9, share=0.75, trains=False),
}
"""Round figures for a machine that is not at hand; `--ram` and `--machine` say it exactly."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`memory` is the bytes that are free for a model; `speed` None where nothing was measured."""

    name: str
    memory: int
    speed: Speed | None = None
    trains: bool = True
    note: str = ""


def here(memory: int, speed: Speed) -> Machine:
    return Machine(name="this machine", memory=memory, speed=speed)


def described(
    *, gpu: str | None = None, ram: str | None = None, device: str | None = None, machine: Path | None = None
) -> Machine | None:
    """The machine that one of these describes, or None. Raises UserError for two, or one not understood."""
    given = {"--gpu": gpu, "--ram": ram, "--device": device, "--machine": machine}
    named = [f"{option} {value}" for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise UserError(f"{' and '.join(named)} describe two machines.", fix="Give one of them.")
    if gpu is not None:
        size = size_of(gpu, option="--gpu")
        return _unmeasured(f"a GPU of {size / 1e9:g} GB", size, GPU_SHARE)
    if ram is not None:
        size = size_of(ram, option="--ram")
        return _unmeasured(f"a machine of {size / 1e9:g} GB", size, RAM_SHARE)
    if device is not None:
        if device not in DEVICES:
            raise UserError(f"--device '{device}' is not known.", fix=f"Valid: {', '.join(DEVICES)}.")
        kind = DEVICES[device]
        return _unmeasured(f"a {device}", kind.memory, kind.share, trains=kind.trains)
    return None if machine is None else recorded(machine)


def _unmeasured(name: str, size: int, share: float, *, trains: bool = True) -> Machine:
    note = f"{share:.0%} of {size / 1e9:g} GB taken as free; its speed is not known: no times"
    return Machine(name=name, memory=int(share * size), trains=trains, note=note)


def recorded(path: Path) -> Machine:
    """The machine whose `smallworks doctor --json` was written to `path`."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))["measured"]
        return Machine(name=f"the machine of '{path.name}'", memory=said["memory_bytes"], speed=_speed(said))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--machine '{path}' does not hold what `smallworks doctor --json` prints.",
            fix=f"Run there: smallworks doctor --json > {path.name}",
        ) from error


def _speed(said: Mapping[str, Any]) -> Speed:
    return Speed(bandwidth=float(said["bandwidth"]), flops=float(said["flops"]), threads=int(said["threads"]))


def size_of(text: str, *, option: str) -> int:
    """'8 GB', '512MB' or '6 GiB' as bytes."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE)
    unit = (found[2] or "").lower() if found else ""
    if not found or unit not in UNITS or float(found[1]) * UNITS[unit] < 10**6:
        raise UserError(f"{option} '{text}' is not a size of memory.", fix=f'Write {option} "8 GB".')
    return int(float(found[1]) * UNITS[unit])
