"""Dense contrastive pretraining: views, features, regions, pairs, loss.

Importing the package loads nothing else; ``load_backbone`` is fetched when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densecl.weights.load import load_backbone

__all__ = ["load_backbone"]


def __getattr__(name: str) -> Any:
    if name == "load_backbone":
        from densecl.weights.load import load_backbone

        return load_backbone
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
