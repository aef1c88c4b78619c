"""Energy is what the counters of the processor packages say, over a wrap too, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.evaluate.energy import joules, read


def powercap(root: Path, used: dict[str, int], wrap: int = 1000) -> Path:
    """A folder as Linux shows it: a package, and its core as a zone of its own."""
    for zone, microjoules in used.items():
        folder = root / zone
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text("core\n" if zone.count(":") == 2 else f"package-{zone[-1]}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text(f"{wrap}\n")
    return root


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    before = read(powercap(tmp_path, {"intel-rapl:0": 100, "intel-rapl:0:0": 50, "intel-rapl:1": 900}))
    after = read(powercap(tmp_path, {"intel-rapl:0": 300, "intel-rapl:0:0": 90, "intel-rapl:1": 100}))
    assert joules(before, after) == pytest.approx((200 + 200) * 1e-6)  # the second began again at 1000


def test_a_machine_that_tells_nothing_has_no_energy(tmp_path: Path) -> None:
    assert read(tmp_path / "none") is None
    half = powercap(tmp_path, {"intel-rapl:0": 100})
    assert joules(None, read(half)) is None
    (half / "intel-rapl:0" / "energy_uj").unlink()
    assert read(half) is None
