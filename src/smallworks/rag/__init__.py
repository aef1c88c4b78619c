"""Passages out of the user's documents: a folder indexed in one file, searched by words and by vectors."""

from smallworks.rag.document import Block, Document, Passage
from smallworks.rag.ingest import Ingested, fingerprint, index, paths
from smallworks.rag.search import Hit, Index

__all__ = ["Block", "Document", "Hit", "Index", "Ingested", "Passage", "fingerprint", "index", "paths"]
