"""What every section of serve.toml has in common: frozen, strict, with paths beside the file.

A slice of the server declares its section in its own module, as a class of this one; config.py names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo


def _beside(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return Path(folder or "") / path.expanduser()


FilePath = Annotated[Path, AfterValidator(_beside)]
"""A path; one in a file is relative to that file."""
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["DATABASE_URL"])]
"""The name of the environment variable that holds a secret. The key in the file ends in `_env`."""


class Section(BaseModel):
    """`Field(examples=[…])` gives the fix of a wrong value; a key in `_env` is never shown with its value."""

    # Built when a file has the section: most servers have none.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @classmethod
    def usual(cls) -> Self:
        """All defaults, for a section that no file has: nothing to validate, and no schema to build."""
        return cls.model_construct()

    def check(self) -> str:
        """What it comes to in a few words, once all was tried that needs no listening.

        Raises UserError for what would keep the server from starting.
        """
        return "on"
