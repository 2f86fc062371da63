"""Labelled scans, the batches that fine-tuning sees, and whole scans to score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from densecl.data.seeding import derive_seed, rng
from densecl.errors import UsageError
from densecl.transfer.selection import Selection, batch_positions
from pointcl.data.scan import Scan
from pointcl.engine.domain import build_grid
from pointcl.views.batch import VoxelBatch
from pointcl.views.generator import make_view
from pointcl.views.recipe import CloudRecipe, resolve_recipe
from pointcl.views.view import CloudBatch
from pointcl.views.voxels import Voxeliser

_VIEW, _THIN = 41, 42  # streams of one seed

VOXELS: dict[str, Any] = {
    "size": None,
    "kind": "cartesian",
    "low": None,
    "high": None,
    "origin": "zero",
    "features": ("ones",),
    "representative": "first",
    "intensity_scale": 1.0,
}
"""What decides the input of a backbone: the fields of a ``voxels`` section but the cut to a number
of voxels, which is a matter of training."""
QUIET = ("origin", "intensity_scale")
"""Fields that are left out where they say what they say by default."""


def input_fields(section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``VOXELS`` in a ``voxels`` section, defaults filled in."""
    full = {name: section.get(name, default) for name, default in VOXELS.items()}
    return {k: v for k, v in full.items() if k not in QUIET or v != VOXELS[k]}


class LabelledScans(Selection[Scan]):
    """The scans of a data set at the indices given, with a label for each point, without cameras.

    Args:
        dataset: yields ``Scan``.
        indices, cache_bytes: see ``Selection``.

    Raises:
        UsageError: the selection is empty.
    """

    what = "scan"

    def read(self, index: int) -> Scan:
        """One scan.

        Raises:
            UsageError: it carries no labels.
        """
        scan = self.dataset[index]
        if not isinstance(scan, Scan) or scan.label is None:
            raise UsageError(
                f"{self.dataset.name(index)} carries no labels",
                needed="single scans with a class id for each point (Scan.label)",
                fix="use a labelled data set or split for transfer",
            )
        return replace(scan, cameras=(), boxes=None)

    def size_of(self, item: Scan) -> int:
        """Bytes of all its arrays."""
        return item.points.nbytes + sum(rows.nbytes for rows in item.rows().values())


def voxeliser_of(voxels: Mapping[str, Any], max_voxels: int | None = None, seed: int = 0):
    """What cuts clouds into the voxels that a ``voxels`` section describes."""
    grid = build_grid({"voxels": voxels})
    features, chosen = tuple(voxels["features"]), voxels["representative"]
    scale = voxels.get("intensity_scale", VOXELS["intensity_scale"])
    return Voxeliser(grid, features, chosen, max_voxels, seed, scale)


def training_batch(
    scans: LabelledScans,
    *,
    voxels: Mapping[str, Any],
    views: Mapping[str, Any],
    batch_size: int,
    max_voxels: int | None,
    seed: int,
    step: int,
) -> VoxelBatch:
    """The batch of one step: whole scans, each in a view of its own.

    Args:
        scans: to draw from.
        voxels: see ``VOXELS``.
        views: recipe of the views, see ``CloudRecipe``; may name a ``base``.
        batch_size: scans.
        max_voxels: of a scan; None = all.
        seed: of the run.
        step: from 0.
    """
    recipe = resolve_recipe(views)[0]
    voxeliser = voxeliser_of(voxels, max_voxels, derive_seed(seed, _THIN))
    clouds = []
    for slot, position in enumerate(batch_positions(len(scans), batch_size, step, seed)):
        scan = scans[position]
        view = make_view(scan, np.eye(4), recipe, rng(seed, _VIEW, step, slot))
        clouds += voxeliser.thin([view], [scan.source, slot], step)
    return voxeliser(CloudBatch.collate(clouds))


def whole_scans(
    scans: LabelledScans, voxels: Mapping[str, Any], size: int = 1
) -> Iterator[tuple[list[int], VoxelBatch]]:
    """All scans as they are, at most ``size`` at a time: their positions, and their voxels.

    A point that is not finite or lies at (0, 0, 0) is in none of the clouds; the cloud's ``index``
    leads from its rows to those of the scan. Of several points of a voxel the first stands for it
    where training draws one.
    """
    voxeliser = voxeliser_of(voxels)
    for start in range(0, len(scans), size):
        positions = list(range(start, min(start + size, len(scans))))
        views = [
            make_view(scans[position], np.eye(4), CloudRecipe(), rng(0)) for position in positions
        ]
        yield positions, voxeliser(CloudBatch.collate(views))


def class_counts(scans: LabelledScans, num_classes: int, ignore: int) -> np.ndarray:
    """(L,) labelled points of each class.

    Raises:
        UsageError: a label that is no class.
    """
    count = np.zeros(num_classes, np.int64)
    for position in range(len(scans)):
        label = np.asarray(scans[position].label)
        label = label[label != ignore]
        if label.size and not 0 <= label.min() <= label.max() < num_classes:
            raise UsageError(
                f"{scans.name(position)}: labels {label.min()} to {label.max()}",
                needed=f"0 to {num_classes - 1}, or {ignore} = ignore",
                fix="correct the data set's classes or learning_map",
            )
        count += np.bincount(label, minlength=num_classes)
    return count


def scan_names(scans: LabelledScans) -> Sequence[str]:
    """Names of all scans, in order."""
    return [scans.name(position) for position in range(len(scans))]
