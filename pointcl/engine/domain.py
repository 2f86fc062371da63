"""Points as a kind of data that ``densecl.engine`` trains on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from densecl.engine.domain import Domain
from densecl.engine.model import PretrainModel
from densecl.engine.names import check_arguments, registered
from densecl.engine.schema import SECTIONS, Field, choice, optional, quiet, real, whole
from densecl.errors import UsageError
from densecl.methods.base import Method
from pointcl.engine.model import PointModel
from pointcl.engine.pictures import picture_norm, split_views
from pointcl.engine.segments import split_segments
from pointcl.models import config_of
from pointcl.registry import BACKBONES, DATASETS, METHODS, REGIONS
from pointcl.sparse import VoxelGrid
from pointcl.sparse.grid import SYSTEMS
from pointcl.sparse.voxelise import REPRESENTATIVES
from pointcl.views.voxels import WIDTHS, Voxeliser


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_triple(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 3 and all(map(_is_real, value))


SIZE = Field(
    0.05,
    lambda v: (_is_real(v) and v > 0) or (_is_triple(v) and min(v) > 0),
    "a size above 0, or three",
)
BOUND = optional(Field(None, _is_triple, "three numbers, in the units of the grid"))
FEATURES = Field(
    ("ones",),
    lambda v: isinstance(v, (tuple, list)) and len(v) > 0 and all(n in WIDTHS for n in v),
    f"a list of some of {', '.join(map(repr, WIDTHS))}",
)
SHARED = ("input", "loader", "schedule", "train", "checkpoint", "log", "health")


class _Points(Domain):
    program, configs = "pointcl", "pointcl"
    methods, datasets = METHODS, DATASETS
    sections = {  # noqa: RUF012
        **{name: SECTIONS[name] for name in SHARED},
        "voxels": {
            "size": SIZE,
            "kind": choice("cartesian", *SYSTEMS),
            "low": BOUND,
            "high": BOUND,
            "origin": quiet(choice("zero", "zero", "low")),
            "features": FEATURES,
            "representative": choice("first", *REPRESENTATIVES),
            "max_voxels": optional(whole(None, 1)),
            "intensity_scale": quiet(real(1.0, 0.0, above=True)),
        },
        "probe": {
            **{name: SECTIONS["probe"][name] for name in ("every", "data", "val", "ridge")},
            "scans": whole(16, 1),
            "val_scans": whole(16, 1),
            "points": whole(1000, 1),
        },
    }
    matters = ("voxels",)

    def check(self, config: Mapping[str, Any]) -> None:
        from pointcl.views import CameraPictures, CloudViewGenerator
        from pointcl.views.segmented import SegmentedViews

        channels = build_voxeliser(config).channels
        backbone = config["method"].get("backbone")
        if isinstance(backbone, Mapping):
            cls = registered(BACKBONES, backbone.get("type"), "method.backbone.type")
            check_arguments("method.backbone", backbone, cls)
            _check_channels(backbone, cls, config["voxels"]["features"], channels)
        for name, section in config["data"].items():
            if isinstance(section, Mapping) and "type" in section:
                registry = REGIONS if name == "method" else DATASETS
                cls = registered(registry, section["type"], f"data.{name}.type")
                check_arguments(f"data.{name}", section, cls)
        if "seed" in config["views"]:
            raise UsageError("views.seed is given", fix="set the top-level seed")
        clouds, pictures = split_views(config)
        segments = split_segments(config, clouds)
        generator = CloudViewGenerator(**clouds)
        if segments is not None:
            SegmentedViews(generator, segments)
        if pictures is not None:
            CameraPictures(**pictures)

    def build_views(self, config: Mapping[str, Any]) -> Any:
        from pointcl.views import CameraPictures, CameraViews, CloudViewGenerator, VoxelViews
        from pointcl.views.segmented import SegmentedViews

        seed = config["seed"]
        clouds, pictures = split_views(config)
        segments = split_segments(config, clouds)
        generator: Any = CloudViewGenerator(**clouds, seed=seed)
        if segments is not None:
            generator = SegmentedViews(generator, segments)
        voxeliser = build_voxeliser(config)
        if pictures is None:
            return VoxelViews(generator, voxeliser)
        return CameraViews(generator, voxeliser, CameraPictures(**pictures, seed=seed))

    def survey(self, dataset: Any, config: Mapping[str, Any]) -> None:
        from pointcl.data.base import ScanDataset

        while not isinstance(dataset, ScanDataset) and hasattr(dataset, "dataset"):
            dataset = dataset.dataset
        if isinstance(dataset, ScanDataset):
            dataset.check(count=SURVEYED, images="pictures" in config["views"])

    def build_model(self, method: Method, config: Mapping[str, Any]) -> PretrainModel:
        return PointModel(method, picture_norm(method, config))

    def probe_rows(
        self, model: PretrainModel, dataset: Any, part: str, config: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        from pointcl.engine.probe import labelled_points

        probe = config["probe"]
        count = probe["scans" if part == "data" else "val_scans"]
        backbone = model.method.backbone_for_export()
        return labelled_points(backbone, dataset, count, probe["points"], config, model.device)

    def describe(self, config: Mapping[str, Any], backbone: nn.Module) -> dict[str, Any]:
        voxels = config["voxels"]
        return {
            "backbone": config_of(backbone),
            # The keys that every checkpoint has; pictures are no input of the backbone.
            **{"channel_order": None, "mean": None, "std": None},
            "voxels": {
                **{name: _listed(value) for name, value in voxels.items()},
                "size": list(build_grid(config).sizes),
            },
        }


SURVEYED = 4
"""Scans that are read before a run starts."""


def build_grid(config: Mapping[str, Any]) -> VoxelGrid:
    """The grid of the ``voxels`` section.

    Raises:
        UsageError: an empty range, or an origin at the low corner of none.
    """
    section = config["voxels"]
    low, high = (None if section[n] is None else tuple(section[n]) for n in ("low", "high"))
    size = section["size"]
    size = tuple(size) if isinstance(size, (tuple, list)) else size
    if section.get("origin", "zero") == "zero":
        return VoxelGrid(size, section["kind"], low, high)
    if low is None:
        raise UsageError("voxels.origin = 'low' without voxels.low", fix="set voxels.low")
    return VoxelGrid(size, section["kind"], low, high, origin=low)


def build_voxeliser(config: Mapping[str, Any]) -> Voxeliser:
    """What makes voxels as the ``voxels`` section says."""
    section = config["voxels"]
    return Voxeliser(
        build_grid(config),
        tuple(section["features"]),
        section["representative"],
        section["max_voxels"],
        config["seed"],
        section.get("intensity_scale", 1.0),
    )


def _check_channels(backbone: Mapping[str, Any], cls: type, features: Any, channels: int) -> None:
    parameter = inspect.signature(cls).parameters.get("in_channels")
    if parameter is None:
        return
    given = backbone.get("in_channels", parameter.default)
    if given != channels:
        raise UsageError(
            f"voxels.features = {list(features)} are {channels} numbers a voxel, but "
            f"method.backbone.in_channels = {given}",
            fix=f"set method.backbone.in_channels={channels}, or change voxels.features",
        )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


POINTS: Domain = _Points()
