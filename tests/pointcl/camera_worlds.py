"""Rooms with cameras at the sensor, for the tests of distillation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import torch
from point_worlds import UNET, Rooms

from densecl.engine.model import InputNorm
from densecl.weights.schema import MEAN, STD
from pointcl.registry import DATASETS
from pointcl.sensors.camera import Camera
from pointcl.sparse import VoxelGrid
from pointcl.views import CameraPictures, CameraViews, CloudViewGenerator, Voxeliser

SIZE = (40, 56)
TEACHER = {"type": "ResNet", "depth": 18, "width": 8}
METHOD = {
    "backbone": dict(UNET),
    "teacher": "random",
    "teacher_backbone": dict(TEACHER),
    "teacher_stride": 8,
    "dim": 6,
}
PICTURES = {
    "size": (32, 48),
    "superpixels": {"type": "Slic", "segments": 12, "sigma": 1.0},
    "store": False,
    "min_links": 16,
}


def picture(seed: int, number: int) -> np.ndarray:
    """Blotches of colour, other ones in every room and camera."""
    random = np.random.default_rng((seed, number, 3))
    coarse = random.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


def mount(yaw: float) -> np.ndarray:
    """Pose of a camera a metre above the sensor that looks along ``yaw``."""
    c, s = np.cos(yaw), np.sin(yaw)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[s, 0, c], [-c, 0, s], [0, -1, 0]])
    pose[2, 3] = 1.0
    return pose


@DATASETS.register_module(force=True)
class PaintedRooms(Rooms):
    """Rooms whose scans have pictures.

    Args:
        cameras: how many, a third of a turn apart.
        options: of ``Rooms``.
    """

    def __init__(self, cameras: int = 2, **options) -> None:
        super().__init__(**options)
        self.cameras = cameras

    def __getitem__(self, index: int):
        scan = super().__getitem__(index)
        focal = np.array([[30.0, 0, SIZE[1] / 2], [0, 30.0, SIZE[0] / 2], [0, 0, 1]])
        cameras = [
            Camera(
                f"camera{k}",
                partial(picture, index, k),
                SIZE,
                focal,
                mount(2 * np.pi / 3 * k),
                key=f"{scan.name}/camera{k}",
            )
            for k in range(self.cameras)
        ]
        return replace(scan, cameras=tuple(cameras))


def camera_views(recipe="slidr", grid=None, features=("ones",), voxels=None, **pictures):
    """What a loader cuts samples with."""
    voxeliser = Voxeliser(grid or VoxelGrid(0.4), features, max_voxels=voxels)
    clouds = CloudViewGenerator(recipe, num_views=1, seed=0)
    return CameraViews(clouds, voxeliser, CameraPictures(**{**PICTURES, **pictures}))


def batch_of(indices, dataset=None, epoch=0, double=False, **options):
    """A batch as the method gets it: pictures normalised."""
    dataset = dataset or PaintedRooms(length=4)
    views = camera_views(**options)
    return ready(views.collate([views(dataset[i], epoch) for i in indices]), double)


def ready(batch, double=False):
    """The batch with float pictures, and voxels and pictures in float64 if asked."""
    pictures = batch.pictures.views
    image = InputNorm(MEAN, STD)(pictures.image)
    if double:
        image = image.double()
        for view in batch.views:
            tensor = view.voxels.tensor
            rows = tensor.features.double()
            view.voxels = replace(view.voxels, tensor=tensor.with_features(rows))
    return replace(batch, pictures=replace(batch.pictures, views=replace(pictures, image=image)))


def build(cls, seed=0, **options):
    """A small method with a random teacher."""
    torch.manual_seed(seed)
    return cls(**{**METHOD, "backbone": dict(UNET), **options})
