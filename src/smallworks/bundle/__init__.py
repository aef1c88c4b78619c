"""The format on disk: a candidate frozen in a folder named by its content hash."""

from smallworks.bundle.manifest import Base, Calibration, Manifest, Remote, Stage
from smallworks.bundle.store import Bundle, freeze, open_bundle

__all__ = ["Base", "Bundle", "Calibration", "Manifest", "Remote", "Stage", "freeze", "open_bundle"]
