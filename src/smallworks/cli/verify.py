"""`smallworks verify`: prove that a bundle is what was frozen, and answers as its golden rows say."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from smallworks.cli import talk
from smallworks.recipes import examine


def verify(bundle: Path, /, *, json: bool = False) -> int:
    """Check every checksum, then replay the golden rows; exit 3 when the engine disagrees.

    Parameters
    ----------
    bundle
        The bundle's folder.
    json
        One JSON document on stdout.
    """
    opened, parity = examine.verify(bundle)
    if json:
        talk.print_json(
            {
                "bundle": opened.id,
                "files": len(opened.manifest.files),
                "parity": asdict(parity) if parity else None,
            }
        )
    else:
        talk.out.print(f"{len(opened.manifest.files)} files match their checksums", highlight=False)
        if parity is None:
            talk.out.print("no golden rows in this bundle", highlight=False)
        else:
            talk.out.print(
                f"token ids equal on {parity.ids_equal} of {parity.rows} golden rows, answers on "
                f"{parity.texts_equal}; label probabilities differ by at most {parity.worst:.4f} "
                f"(allowed {parity.tolerance})",
                highlight=False,
                soft_wrap=True,
            )
    holds = parity is None or parity.holds
    if not holds:
        talk.remark(
            "[red]The engine here does not agree with the reference.[/red] Rebuild, or serve another form."
        )
    return 0 if holds else 3
