"""Scans with the pictures of their cameras, links and superpixels: what distillation is given."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.data.sample import Frame
from densecl.errors import UsageError
from pointcl.data.scan import Scan
from pointcl.sensors.camera import Camera
from pointcl.sensors.occlusion import Occlusion
from pointcl.sensors.projection import project
from pointcl.views.batch import PointBatch
from pointcl.views.generator import CloudViewGenerator
from pointcl.views.links import Links
from pointcl.views.pictures import PictureBatch, PictureGenerator, Pictures
from pointcl.views.superpixels import Superpixels
from pointcl.views.view import CloudView
from pointcl.views.voxels import Voxeliser, VoxelViews

SLIC: Mapping[str, Any] = {"type": "Slic", "segments": 150}


@dataclass
class CameraSample:
    """One scan as its workers hand it over.

    Attributes:
        views: of its cloud.
        pictures: of its cameras; links count the points of the first view.
    """

    views: list[CloudView]
    pictures: Pictures


class CameraPictures:
    """What is made of the cameras of a scan; the ``pictures`` of the views section.

    Args:
        size: (H, W) of the pictures, in pixels.
        cameras: names of the cameras to use, in this order; None = all that a scan has.
        superpixels: config of a segmentation of images, or None = none are needed.
        store: of the superpixels, see ``Superpixels``.
        min_links: a dropped cuboid is put back where a camera would be left with fewer links, and
            a crop is drawn again, see ``PictureGenerator``.
        near: metres of depth below which a point has no pixel.
        border: pixels along the edges of a picture that no point may lie in; 0.5 is SLidR's rule.
        occlusion: whether to leave out points that the camera cannot see; SLidR keeps them, and
            pooling is to bear it.
        seed: of every draw.
        crop, min_share, settings: of ``PictureGenerator``.

    Raises:
        UsageError: an unknown setting, or a value out of range.

    Source: Sautier et al. 2022 (SLidR), section 3 and its reference code.
    """

    def __init__(
        self,
        size: Sequence[int] = (224, 416),
        cameras: Sequence[str] | None = None,
        *,
        superpixels: Mapping[str, Any] | None = SLIC,
        store: str | Path | bool | None = None,
        min_links: int = 1024,
        near: float = 1.0,
        border: float = 0.5,
        occlusion: bool = False,
        seed: int = 0,
        crop: bool = True,
        min_share: float = 0.75,
        **settings: Any,
    ) -> None:
        if isinstance(cameras, str) or cameras == [] or cameras == ():
            raise UsageError(
                f"views.pictures.cameras={cameras!r}", needed="a list of names, or None for all"
            )
        size = tuple(size) if isinstance(size, list) else size
        self.cut = PictureGenerator(
            size, crop, seed, min_links=min_links, min_share=min_share, **settings
        )
        self.cameras = None if cameras is None else tuple(cameras)
        self.superpixels = None if superpixels is None else Superpixels(superpixels, store)
        self.min_links, self.near, self.border = min_links, near, border
        self.occlusion = Occlusion() if occlusion else None

    def chosen(self, scan: Scan) -> list[int]:
        """Numbers of the cameras of a scan that are used.

        Raises:
            UsageError: it lacks one, or has none at all.
        """
        if not scan.cameras:
            raise UsageError(
                f"{scan.name} has no camera",
                needed="scans with pictures and calibrations",
                fix="choose a data set with cameras, or a method that needs none",
            )
        names = [camera.name for camera in scan.cameras]
        if self.cameras is None:
            return list(range(len(names)))
        lacking = [name for name in self.cameras if name not in names]
        if lacking:
            raise UsageError(f"{scan.name} has no camera {lacking[0]!r}", needed=f"some of {names}")
        return [names.index(name) for name in self.cameras]

    def links(self, scan: Scan, cameras: Sequence[Camera]) -> Links:
        """Links of the points of a scan, as they were read, to the pictures of the cameras."""
        projections = [
            project(scan, camera, near=self.near, border=self.border, occlusion=self.occlusion)
            for camera in cameras
        ]
        return Links.from_projections(projections, len(scan))

    def frame(self, camera: Camera) -> Frame:
        """The picture of a camera with its superpixels (map ``region``)."""
        image = camera.image()
        if self.superpixels is None:
            return Frame(image)
        return Frame(image, {"region": self.superpixels(camera, image)})


class CameraViews(VoxelViews):
    """Views of a scan with the pictures of its cameras; in a loader in the place of ``VoxelViews``.

    Links are made of the points as they were read. They follow their points through turns, dropped
    cuboids and thinning, and their pixels through crops and flips of the pictures; they are never
    projected again, as the turned cloud no longer stands where the camera saw it.

    Args:
        views: cuts the view of the cloud.
        voxeliser: how it becomes voxels.
        pictures: what is made of the cameras.
    """

    def __init__(
        self, views: CloudViewGenerator, voxeliser: Voxeliser, pictures: CameraPictures
    ) -> None:
        super().__init__(views, voxeliser)
        self.pictures = pictures

    def __call__(  # type: ignore[override]
        self, scans: Scan | Sequence[Scan], epoch: int
    ) -> CameraSample:
        """View and pictures of one scan.

        Raises:
            UsageError: several scans, a scan without cameras, or an unreadable picture.
        """
        if not isinstance(scans, Scan):
            raise UsageError(
                f"a sample of {len(scans)} scans for a method that looks at cameras",
                needed="single scans",
                fix="take the data set itself, without PosedPairs around it",
            )
        numbers = self.pictures.chosen(scans)
        cameras = [scans.cameras[number] for number in numbers]
        links = self.pictures.links(scans, cameras)
        generator = copy.copy(self.views)
        assert isinstance(generator, CloudViewGenerator)
        generator.accept = EnoughLinks(links, self.pictures.min_links)
        views = self.voxeliser.thin(generator(scans, epoch), [scans.source], epoch)
        frames = [self.pictures.frame(camera) for camera in cameras]
        pictures = self.pictures.cut(
            frames,
            links.keep_points(views[0].index),
            epoch=epoch,
            source=scans.source,
            cameras=numbers,
        )
        return CameraSample(views, pictures)

    def collate(self, items: Sequence[CameraSample]) -> PointBatch:  # type: ignore[override]
        """The batch of B scans; links of points that lie in no voxel are left out."""
        batch = super().collate([item.views for item in items])
        pictures = PictureBatch.collate([item.pictures for item in items])
        voxel = batch.views[0].voxels.point_to_voxel
        links = pictures.links.filter(voxel[pictures.links.point] >= 0)
        return PointBatch(batch.views, replace(pictures, links=links))


class EnoughLinks:
    """Whether every picture keeps links enough when only some points are kept.

    Args:
        links: of one scan.
        least: how many a picture needs.

    Source: the reference code of SLidR, which undoes the whole cuboid otherwise.
    """

    def __init__(self, links: Links, least: int) -> None:
        self.links, self.least = links, least

    def __call__(self, scan: Scan, rows: np.ndarray) -> bool:
        """Judge the rows of the scan that would be kept."""
        kept = torch.zeros(self.links.num_points, dtype=torch.bool)
        kept[torch.from_numpy(rows)] = True
        return bool((self._counts(kept) >= self.least).all())

    def _counts(self, kept: Tensor) -> Tensor:
        return self.links.filter(kept[self.links.point]).per_image()
