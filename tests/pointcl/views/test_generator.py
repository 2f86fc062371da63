from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from densecl.errors import UsageError
from pointcl.sensors.pose import move
from pointcl.views import RECIPES, CloudBatch, CloudViewGenerator, collate_clouds
from pointcl.views.generator import make_view
from pointcl.views.recipe import resolve_recipe

WILD = {
    "range": (2.0, 70.0),
    "beam_dropout": (0.1, 0.3),
    "point_dropout": (0.0, 0.2),
    "crop_chance": 1.0,
    "crop_points": 50,
    "nearest": 200,
    "centre": True,
    "angle": 180.0,
    "tilt": 20.0,
    "flip_x": 0.5,
    "flip_y": 0.5,
    "scale": (0.8, 1.25),
    "shift": 3.0,
    "drop_chance": 1.0,
    "max_points": 150,
}
DEFORMED = {**WILD, "elastic": ((4.0, 0.4), (16.0, 1.6)), "elastic_chance": 1.0, "jitter": 0.02}
EVERY = [*RECIPES, WILD, DEFORMED]


def same(a, b) -> bool:
    ends = [(a.points, b.points), (a.index, b.index), (a.geometry.matrix, b.geometry.matrix)]
    ends += [(a.fields[name], b.fields[name]) for name in a.fields]
    return all(torch.equal(x, y) for x, y in ends)


@pytest.mark.parametrize("recipe", EVERY, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_canonical_coordinates_are_the_raw_points(make_scan, recipe, seed):
    scan = make_scan(seed, n=12_000 if recipe == "fac" else 400)
    for epoch in range(3):
        for view in CloudViewGenerator(recipe, seed=seed)(scan, epoch):
            assert 0 < len(view) <= len(scan)
            raw = torch.from_numpy(scan.points[view.index.numpy()])
            # metres; the view's own float32 rounding at 100 m is a hundredth of it
            assert (view.canonical() - raw).abs().max() < 1e-4
            assert view.points.dtype == torch.float32


@pytest.mark.parametrize("recipe", EVERY, ids=str)
def test_canonical_coordinates_of_posed_scans_are_the_same_place_of_the_world(make_scan, recipe):
    count = 12_000 if recipe == "fac" else 400
    scans = [make_scan(k, n=count, source=k, pose=True) for k in range(2)]
    origin = scans[0].to_world[:3, 3]
    for number, view in enumerate(CloudViewGenerator(recipe, num_views=3)(scans, 0)):
        scan = scans[number % 2]
        assert (view.scan, view.source) == (number % 2, scan.source)
        assert view.frame == ("world", "m")
        place = move(scan.to_world, scan.points[view.index.numpy()]) - origin
        # the second scan may lie a kilometre from the first here
        assert np.abs(view.canonical().double().numpy() - place).max() < 1e-3


def test_nothing_is_changed_by_the_empty_recipe(make_scan):
    scan = make_scan()
    (view,) = CloudViewGenerator("none", num_views=1)(scan, 0)
    rows = [n for n in range(len(scan)) if n not in (3, 7)]
    assert view.index.tolist() == rows
    assert torch.equal(view.points, torch.from_numpy(scan.points[rows]))
    assert torch.equal(view.fields["colour"], torch.from_numpy(scan.colour[rows] / 255).float())
    assert view.rigid is None


@pytest.mark.parametrize("recipe", ["slidr", DEFORMED], ids=str)
def test_every_per_point_array_follows_its_row(make_scan, recipe):
    scan = make_scan()
    for view in CloudViewGenerator(recipe)(scan, 1):
        rows = view.index.numpy()
        assert len(set(rows.tolist())) == len(rows)
        assert not {3, 7} & set(rows.tolist())
        assert np.array_equal(view.fields["intensity"][:, 0], scan.intensity[rows])
        assert np.array_equal(view.label, scan.label[rows])
        assert np.array_equal(view.instance, scan.instance[rows])
        assert np.array_equal(view.regions["segment"], scan.regions["segment"][rows])


def test_normals_turn_as_differences_of_points_do(make_scan):
    scan = make_scan(pose=True)
    for frame in ("scan", "world"):
        generator = CloudViewGenerator(
            {"angle": 180.0, "tilt": 30.0, "flip_x": 1.0, "scale": (0.5, 2.0)}, 1, frame=frame
        )
        (view,) = generator(scan, 0)
        base = view.geometry.matrix[:, :3].double().inverse()
        start = torch.from_numpy(scan.normal[view.index.numpy()]).double()
        if frame == "world":
            start = start @ torch.from_numpy(scan.to_world[:3, :3]).T
        expected = start @ base.T
        expected /= expected.norm(dim=1, keepdim=True)
        assert (view.fields["normal"] - expected).abs().max() < 1e-5


def test_a_deformed_view_keeps_the_points_before(make_scan):
    scan = make_scan()
    (view,) = CloudViewGenerator("none", 1, jitter=0.02, jitter_clip=0.03)(scan, 0)
    away = (view.points - view.rigid).abs()
    assert 0.025 < away.max() <= 0.03 + 1e-5
    assert torch.equal(view.rigid, torch.from_numpy(scan.points[view.index.numpy()]))


def test_views_depend_on_seed_epoch_source_and_view_alone(make_scan):
    scan = make_scan()
    first, second = CloudViewGenerator("csc", seed=1)(scan, 4)
    assert not same(first, second)
    again = CloudViewGenerator("csc", num_views=3, seed=1)(scan, 4)
    assert same(first, again[0])
    assert same(second, again[1])
    assert not same(first, CloudViewGenerator("csc", seed=2)(scan, 4)[0])
    assert not same(first, CloudViewGenerator("csc", seed=1)(scan, 5)[0])
    assert not same(first, CloudViewGenerator("csc", seed=1)(make_scan(source=6), 4)[0])


class Views(Dataset):
    def __init__(self, scans, generator):
        self.scans, self.generator = scans, generator

    def __len__(self):
        return len(self.scans)

    def __getitem__(self, index):
        return self.generator(self.scans[index], 0)


def test_batches_do_not_depend_on_the_number_of_workers(make_scan):
    data = Views(
        [make_scan(k, n=50 + 40 * k, source=k) for k in range(4)], CloudViewGenerator(DEFORMED)
    )
    streams = [
        list(DataLoader(data, batch_size=2, num_workers=n, collate_fn=collate_clouds))
        for n in (0, 2)
    ]
    assert len(streams[0]) == 2
    for ours, theirs in zip(*streams, strict=True):
        assert len(ours) == 2
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(b, CloudBatch)
            assert a.counts == b.counts
            assert same(a, b)


def small_enough(scan, rows):
    return len(rows) >= 380


def test_a_cuboid_that_is_not_accepted_is_left_out(make_scan):
    scan = make_scan()
    seen = []

    def accept(scan, rows):
        assert len(set(rows.tolist())) == len(rows)
        seen.append(len(rows))
        return small_enough(scan, rows)

    recipe = {"drop_chance": 1.0, "drop": (0.1, 0.9)}
    sizes = [
        len(CloudViewGenerator(recipe, 1, seed=seed, accept=accept)(scan, 0)[0])
        for seed in range(30)
    ]
    assert sizes == [n if n >= 380 else 398 for n in seen]
    assert 0 < sum(n < 380 for n in seen) < 30
    pickle.loads(pickle.dumps(CloudViewGenerator(recipe, accept=small_enough)))


def test_no_points_are_a_view_too(make_scan):
    scan = make_scan()
    scan.points[:] = np.nan
    for recipe in EVERY:
        for view in CloudViewGenerator(recipe)(scan, 0):
            assert len(view) == 0
            assert view.points.shape == (0, 3)
            assert view.canonical().shape == (0, 3)
            assert view.fields["normal"].shape == (0, 3)


def test_the_scan_is_not_changed(make_scan):
    scan, copy = make_scan(), make_scan()
    CloudViewGenerator(DEFORMED)(scan, 0)
    assert np.array_equal(scan.points, copy.points, equal_nan=True)
    for name, value in scan.rows().items():
        assert np.array_equal(value, copy.rows()[name])


def test_overrides_concern_one_view(make_scan):
    generator = CloudViewGenerator("none", 2, overrides=[{"max_points": 10}])
    assert [len(view) for view in generator(make_scan(), 0)] == [10, 398]


def test_scans_without_a_common_frame_are_named_apart(make_scan):
    scans = [make_scan(k, source=k) for k in range(2)]
    views = CloudViewGenerator("none", frame="scan")(scans, 0)
    assert [view.frame for view in views] == [("scan", "m"), ("scan@1", "m")]
    with pytest.raises(UsageError, match=r"drive/000000\.bin has no pose"):
        CloudViewGenerator("none")(scans, 0)
    with pytest.raises(UsageError, match="no pose"):
        CloudViewGenerator("none", frame="world")(scans[0], 0)
    with pytest.raises(ValueError, match="at least one scan"):
        CloudViewGenerator("none")([], 0)


def test_a_view_is_a_function_of_its_random_numbers(make_scan):
    (recipe,) = resolve_recipe(DEFORMED)
    a, b = (make_view(make_scan(), np.eye(4), recipe, np.random.default_rng(3)) for _ in range(2))
    assert same(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "pointcontrst"}, "did you mean 'pointcontrast'"),
        ({"recipe": {"base": "sdlir"}}, "did you mean 'slidr'"),
        ({"recipe": 3}, "unknown view recipe 3"),
        ({"angles": 3}, "did you mean 'angle'"),
        ({"num_views": 0}, "views.num_views=0"),
        ({"frame": "ego"}, "views.frame='ego'"),
        ({"overrides": [{}] * 3}, "3 entries for 2 views"),
        ({"angle": 190}, "views.angle=190"),
        ({"tilt": 5.0}, "axis='any'"),
        ({"axis": "y"}, "views.axis='y'"),
        ({"flip_x": 1.5}, "views.flip_x=1.5"),
        ({"drop": (0.3, 0.2)}, "views.drop"),
        ({"crop": (0.0, 0.5)}, "views.crop"),
        ({"scale": (0.0, 1.0)}, "views.scale"),
        ({"range": (5.0, 5.0)}, "views.range"),
        ({"jitter": -1.0}, "views.jitter"),
        ({"jitter": float("nan")}, "views.jitter"),
        ({"elastic": (0.2, 0.4)}, "views.elastic"),
        ({"nearest": 0}, "views.nearest"),
        ({"max_points": True}, "views.max_points"),
        ({"centre": 1}, "views.centre"),
        ({"jitter_clip": 0.0}, "views.jitter_clip"),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        CloudViewGenerator(**options)


def test_lists_of_a_config_are_accepted():
    generator = CloudViewGenerator("none", scale=[0.5, 2], elastic=[[0.2, 0.4]])
    assert generator.recipes[0].scale == (0.5, 2)
    assert generator.recipes[0].elastic == ((0.2, 0.4),)
