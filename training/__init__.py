"""Scripts that make the artefacts shipped with Smallworks; not part of the installed package."""
