"""Dense retrieval: label a picture's cells by their nearest labelled training cells."""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "Bank": "bank",
    "MappedRows": "bank_file",
    "Neighbours": "search",
    "RetrievalSpec": "task",
    "build_bank": "bank",
    "open_bank": "bank_file",
    "top_k": "search",
    "write_bank": "bank_file",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
