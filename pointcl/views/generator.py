"""From scans to views: points, geometry, and every per-point array carried along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from densecl.data.seeding import rng
from densecl.errors import UsageError
from pointcl.data.scan import Scan
from pointcl.sensors.pose import compose, move
from pointcl.sparse.points import SCAN_METRES
from pointcl.views import colour, crops, dropout, elastic, rigid
from pointcl.views.recipe import CloudRecipe, resolve_recipe
from pointcl.views.view import CloudView, Frame

WORLD_METRES: Frame = ("world", "m")
FRAMES = ("auto", "scan", "world")

Accept = Callable[[Scan, np.ndarray], bool]
"""(scan, rows of it that would be kept) -> whether a cuboid may be cropped or dropped so."""


class CloudViewGenerator:
    """Makes the views of a sample. A view depends on (seed, epoch, sources, view) alone.

    The canonical frame of a view is the frame of its scan, or the world. The world's axes are
    then kept but its origin moves to the sensor of the sample's first scan: city coordinates in
    the thousands of metres would leave float32 no millimetres.

    Args:
        recipe: "pointcontrast", "csc", "slidr", "fac", "none" (no change), or a dict of
            ``CloudRecipe`` fields with the recipe it starts from under ``base``.
        num_views: how many views a sample yields; view v is made from scan ``v % T``.
        seed: seed of every draw.
        frame: the canonical frame, whose z axis is turned about: "scan"; "world", which needs
            poses; "auto" = "world" for samples of several scans, else "scan".
        overrides: one dict per view, replacing values for that view only. Shorter lists leave the
            remaining views as they are.
        accept: called with a scan and the rows that a cuboid crop or drop would leave; where it
            says no, the cuboid is left out (SLidR: too few links to a picture are left). A
            function of a module, so that workers can import it.
        settings: recipe fields for all views (``angle=45``, ``flip_x=0.5``, ...).

    Raises:
        UsageError: an unknown recipe or setting, or a value out of range.
    """

    def __init__(
        self,
        recipe: str | Mapping[str, Any] = "pointcontrast",
        num_views: int = 2,
        seed: int = 0,
        *,
        frame: str = "auto",
        overrides: Sequence[Mapping[str, Any]] = (),
        accept: Accept | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(num_views, int) or num_views < 1:
            raise UsageError(f"views.num_views={num_views!r}", needed="1 or more")
        if frame not in FRAMES:
            raise UsageError(f"views.frame={frame!r}", needed=f"one of {', '.join(FRAMES)}")
        if len(overrides) > num_views:
            raise UsageError(
                f"views.overrides has {len(overrides)} entries for {num_views} views",
                fix="raise views.num_views or shorten the list",
            )
        base = resolve_recipe(recipe)
        self.recipes: list[CloudRecipe] = []
        for view in range(num_views):
            own = dict(overrides[view]) if view < len(overrides) else {}
            self.recipes.append(base[view % len(base)].override(**{**settings, **own}))
        self.num_views, self.seed, self.frame, self.accept = num_views, seed, frame, accept

    def __call__(self, scans: Scan | Sequence[Scan], epoch: int) -> list[CloudView]:
        """The views of a sample in ``epoch``, in order.

        Args:
            scans: one scan, or several of one place with known poses.
            epoch: which time the sample is seen.

        Raises:
            UsageError: a pose is needed and unknown.
        """
        sample = [scans] if isinstance(scans, Scan) else list(scans)
        if not sample:
            raise ValueError("a sample needs at least one scan")
        poses = self._canonical_poses(sample)
        sources = [scan.source for scan in sample]
        views = []
        for number, recipe in enumerate(self.recipes):
            random = rng(self.seed, epoch, *sources, number)
            place = number % len(sample)
            view = make_view(sample[place], poses[place], recipe, random, self.accept)
            view.scan, view.frame = place, self._frame_of(sample, place)
            views.append(view)
        return views

    def _in_world(self, sample: list[Scan]) -> bool:
        return self.frame == "world" or (self.frame == "auto" and len(sample) > 1)

    def _frame_of(self, sample: list[Scan], place: int) -> Frame:
        if self._in_world(sample):
            return WORLD_METRES
        # two scans without poses: their coordinates must never be compared
        return SCAN_METRES if place == 0 else (f"scan@{place}", "m")

    def _canonical_poses(self, sample: list[Scan]) -> list[np.ndarray]:
        """(4, 4) scan -> canonical, one per scan."""
        if not self._in_world(sample):
            return [np.eye(4) for _ in sample]
        poses = []
        for scan in sample:
            if scan.to_world is None:
                raise UsageError(
                    f"{scan.name} has no pose in the world",
                    needed=f"poses of all {len(sample)} scans of a sample, or one scan a sample"
                    if len(sample) > 1
                    else "its pose, for views.frame='world'",
                    fix="set views.frame='scan', or use a data set with poses",
                )
            poses.append(scan.to_world)
        near = rigid.translation(-poses[0][:3, 3])
        return [compose(pose, near) for pose in poses]


def make_view(
    scan: Scan,
    to_canonical: np.ndarray,
    recipe: CloudRecipe,
    random: np.random.Generator,
    accept: Accept | None = None,
) -> CloudView:
    """One view of one scan.

    Args:
        scan: what is shown; not changed.
        to_canonical: (4, 4) pose of the scan in the canonical frame.
        recipe: what happens to it.
        random: where the draws come from.
        accept: see ``CloudViewGenerator``.
    """
    rows = _sensor_rows(scan, recipe, random)
    points = move(to_canonical, scan.points[rows])
    if random.random() < recipe.crop_chance:
        keep = crops.cuboid_crop(
            points, recipe.crop, recipe.crop_aspect, recipe.crop_points, random
        )
        rows, points = _cut(scan, rows, points, keep, accept)
    if recipe.nearest is not None:
        keep = crops.nearest_crop(points, recipe.nearest, random)
        rows, points = rows[keep], points[keep]

    motion = _motion(points, recipe, random)
    still = move(motion, points)
    moved = _deform(still, recipe, random)

    place = np.arange(len(rows))
    if random.random() < recipe.drop_chance:
        keep = dropout.cuboid_drop(moved, recipe.drop, random)
        place, _ = _cut(scan, place, moved, keep, accept, rows)
    if recipe.max_points is not None:
        place = place[dropout.at_most(len(place), recipe.max_points, random)]
    rows = rows[place]
    view = CloudView(
        points=_float(moved[place]),
        index=torch.from_numpy(rows),
        geometry=rigid.inverse_geometry(motion),
        source=scan.source,
        name=scan.name,
        rigid=None if moved is still else _float(still[place]),
    )
    _carry(scan, rows, view, motion @ to_canonical, recipe, random)
    return view


def _sensor_rows(scan: Scan, recipe: CloudRecipe, random: np.random.Generator) -> np.ndarray:
    """Rows that are usable and pass what works on the sensor's own rays."""
    rows = crops.usable_rows(scan.points)
    if recipe.range != (0.0, np.inf):
        rows = rows[crops.within_range(scan.points[rows], *recipe.range)]
    if recipe.beam_dropout[1] > 0:
        if scan.ring is not None:
            beam = scan.ring[rows]
        else:
            beam = dropout.elevation_bins(scan.points[rows], recipe.beams)
        rows = rows[dropout.beam_dropout(beam, recipe.beam_dropout, random)]
    if recipe.point_dropout[1] > 0:
        rows = rows[dropout.point_dropout(len(rows), recipe.point_dropout, random)]
    return rows


def _cut(
    scan: Scan,
    rows: np.ndarray,
    points: np.ndarray,
    keep: np.ndarray,
    accept: Accept | None,
    raw: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and points that are kept, or all of them where ``accept`` says no."""
    raw = rows if raw is None else raw
    if accept is not None and not accept(scan, raw[keep]):
        return rows, points
    return rows[keep], points[keep]


def _motion(points: np.ndarray, recipe: CloudRecipe, random: np.random.Generator) -> np.ndarray:
    """(4, 4) canonical -> view."""
    angle, tilt = np.radians(recipe.angle), np.radians(recipe.tilt)
    steps = [rigid.centre(points)] if recipe.centre else []
    if recipe.axis == "any":
        steps.append(rigid.turn_any(angle, random))
    elif tilt:
        steps.append(rigid.turn_and_tilt(angle, tilt, random))
    else:
        steps.append(rigid.turn_about_z(angle, random))
    steps.append(rigid.flip((recipe.flip_x, recipe.flip_y), random))
    steps.append(rigid.scale(*recipe.scale, random))
    steps.append(rigid.shift(recipe.shift, random))
    return compose(*steps)


def _deform(points: np.ndarray, recipe: CloudRecipe, random: np.random.Generator) -> np.ndarray:
    """The points moved one by one; the same array where the recipe does not ask for it."""
    if random.random() < recipe.elastic_chance:
        for granularity, magnitude in recipe.elastic:
            points = points + elastic.elastic(points, granularity, magnitude, random)
    if recipe.jitter > 0:
        points = points + elastic.jitter(len(points), recipe.jitter, recipe.jitter_clip, random)
    return points


def _carry(
    scan: Scan,
    rows: np.ndarray,
    view: CloudView,
    motion: np.ndarray,
    recipe: CloudRecipe,
    random: np.random.Generator,
) -> None:
    if scan.intensity is not None:
        view.fields["intensity"] = _float(_intensity(scan.intensity[rows], recipe, random)[:, None])
    if scan.colour is not None:
        view.fields["colour"] = _float(_colour(scan.colour[rows] / 255.0, recipe, random))
    if scan.normal is not None:
        view.fields["normal"] = _float(rigid.turn_normals(motion, scan.normal[rows]))
    if scan.label is not None:
        view.label = _ids(scan.label[rows])
    if scan.instance is not None:
        view.instance = _ids(scan.instance[rows])
    view.regions = {name: _ids(ids[rows]) for name, ids in scan.regions.items()}


def _intensity(values: np.ndarray, recipe: CloudRecipe, random: np.random.Generator) -> np.ndarray:
    if recipe.intensity_gain > 0:
        values = colour.intensity_gain(values, recipe.intensity_gain, random)
    if recipe.intensity_noise > 0:
        values = colour.intensity_noise(values, recipe.intensity_noise, random)
    return values


def _colour(values: np.ndarray, recipe: CloudRecipe, random: np.random.Generator) -> np.ndarray:
    if random.random() < recipe.colour_contrast:
        values = colour.colour_contrast(values, random)
    if recipe.colour_shift > 0:
        values = colour.colour_shift(values, recipe.colour_shift, random)
    if recipe.colour_noise > 0:
        values = colour.colour_noise(values, recipe.colour_noise, random)
    return colour.grey(values) if random.random() < recipe.grey else values


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _ids(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))
