"""Where a bundle's pinned weights are, and what is said when they are others."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.bundle.manifest import Base
from smallworks.engines.opening import base_path
from smallworks.errors import BundleError


def test_a_bundle_on_another_starter_is_told_which_version_it_takes() -> None:
    with pytest.raises(BundleError, match="The starter of this Smallworks") as refused:
        base_path(Base(source="starter", ref="starter", sha256="0" * 64))
    assert "Install the version that built it" in refused.value.fix
    assert "smallworks build TASK" in refused.value.fix


def test_changed_weights_of_a_folder_are_to_be_restored(tiny_folder: Path) -> None:
    with pytest.raises(BundleError, match="has checksum") as refused:
        base_path(Base(source="folder", ref=str(tiny_folder), sha256="0" * 64))
    assert "Restore the weights" in refused.value.fix
