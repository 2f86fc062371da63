"""Labels of a video's first frame, carried through the others by the features alone."""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "Neighbourhood": "affinity",
    "PropagationSpec": "task",
    "boundary_f": "scores",
    "boundary_map": "scores",
    "carry_labels": "affinity",
    "propagate_video": "video",
    "region_similarity": "scores",
    "score_video": "scores",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
