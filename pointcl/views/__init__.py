"""Views of clouds: augmented points with the exact map back and the rows they came from.

Names load on first use.
"""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "CameraPictures": "camera_views",
    "CameraSample": "camera_views",
    "CameraViews": "camera_views",
    "CloudBatch": "view",
    "CloudRecipe": "recipe",
    "CloudView": "view",
    "CloudViewGenerator": "generator",
    "Links": "links",
    "PointBatch": "batch",
    "PictureBatch": "pictures",
    "PictureGenerator": "pictures",
    "Pictures": "pictures",
    "RECIPES": "recipe",
    "Superpixels": "superpixels",
    "VoxelBatch": "batch",
    "VoxelViews": "voxels",
    "Voxeliser": "voxels",
    "collate_clouds": "view",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
