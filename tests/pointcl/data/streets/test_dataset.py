"""``LidarStreets`` as a data set: types, frames, names, clips, cameras, errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from densecl.data.streets.classes import CLASSES
from densecl.data.streets.splits import WORLD_VERSION
from densecl.errors import UsageError
from pointcl.data import LidarStreets as Exported
from pointcl.data import PosedPairs
from pointcl.data.streets import LIDAR_VERSION, LidarStreets
from pointcl.registry import DATASETS
from pointcl.sensors.pose import inverse, move

SMALL = {"beams": 16, "steps": 150, "cameras": (), "cache": False}


@pytest.fixture(scope="module")
def clips():
    return LidarStreets("val", 12, clip=2, gap=3, **SMALL)


@pytest.fixture(scope="module")
def scans(clips):
    return [clips[k] for k in range(12)]


def test_scans_have_the_promised_types(clips, scans):
    for k, scan in enumerate(scans):
        assert scan.name == clips.name(k)
        assert scan.source == k
        assert scan.points.dtype == np.float32
        assert scan.intensity.dtype == np.float32
        assert 0 <= scan.intensity.min() <= scan.intensity.max() <= 1
        assert scan.ring.dtype == np.int16
        assert set(np.unique(scan.ring)) == set(range(16))
        assert scan.label.dtype == scan.instance.dtype == np.int64
        assert np.isin(scan.label, [*range(1, 11), 255]).all()
        assert scan.compensated is False
        assert 1000 < len(scan) < 16 * 150


def test_points_are_in_firing_order_around_the_timestamp(scans):
    for scan in scans:
        assert (np.diff(scan.time) >= 0).all()
        assert -0.05 <= scan.time.min() < -0.045
        assert 0.045 < scan.time.max() <= 0.05
        # Clockwise: what was seen first lies behind on the left, half a turn later ahead.
        azimuth = np.arctan2(scan.points[:, 1], scan.points[:, 0])
        np.testing.assert_allclose(azimuth, -scan.time / 0.1 * 2 * np.pi, atol=1e-4)


def test_rings_go_down(scans):
    rise = np.arctan2(scans[0].points[:, 2], np.linalg.norm(scans[0].points[:, :2], axis=1))
    each = [rise[scans[0].ring == r] for r in range(16)]
    assert all(np.ptp(e) < 1e-4 for e in each)
    assert (np.diff([e[0] for e in each]) < 0).all()


def test_an_instance_has_one_class_in_all_scans_of_a_drive(clips, scans):
    known: dict[tuple[str, int], int] = {}
    again = 0
    for k, scan in enumerate(scans):
        for instance in np.unique(scan.instance[scan.instance >= 0]).tolist():
            labels = np.unique(scan.label[scan.instance == instance])
            assert len(labels) == 1
            key = (clips.sequences[k], instance)
            again += key in known
            assert known.setdefault(key, int(labels[0])) == labels[0]
    assert again > 100, "ids must last from scan to scan"


def test_the_ground_is_flat_in_the_world(scans):
    for scan in scans:
        road = move(scan.to_world, scan.points[scan.label == CLASSES.index("road")])
        assert np.abs(road[:, 2]).mean() < 0.02


def test_static_points_of_a_clip_meet_in_the_world():
    """Two scans, a third of a second apart, of one moving vehicle: walls stay in place."""
    data = LidarStreets("val", 6, clip=2, gap=3, compensate=True, **{**SMALL, "steps": 300})
    moved = []
    for first in (0, 2, 4):
        walls = []
        for scan in (data[first], data[first + 1]):
            kept = scan.label == CLASSES.index("building")
            walls.append((move(scan.to_world, scan.points[kept]), scan.instance[kept]))
        moved.append(np.linalg.norm(data[first].ego_to_world[:3, 3] - scan.ego_to_world[:3, 3]))
        (one, ids), (two, others) = walls
        gaps = []
        for instance in np.intersect1d(ids, others):
            a, b = one[ids == instance], two[others == instance]
            if min(len(a), len(b)) > 30:
                # How far points of one scan are from the plane of the other's nearest points.
                away = ((a[:, None] - b[None]) ** 2).sum(-1).argsort(1)[:, :3]
                p, q, r = b[away].transpose(1, 0, 2)
                normal = np.cross(q - p, r - p)
                size = np.linalg.norm(normal, axis=1)
                good = size > 0.05
                gaps.append(np.abs(((a - p) * normal).sum(1)[good] / size[good]))
        assert np.median(np.concatenate(gaps)) < 0.08
    assert max(moved) > 1.0


def test_compensation_brings_points_to_where_they_truly_are():
    options = {**SMALL, "cameras": ("front",), "camera_size": (24, 32)}
    raw = LidarStreets("test", 9, **options)
    mended = LidarStreets("test", 9, compensate=True, **options)
    errors = {"raw": [], "mended": []}
    for k in range(9):
        world = raw.true_pixels(k, "front").world
        for name, data in (("raw", raw), ("mended", mended)):
            scan = data[k]
            static = ~np.isin(scan.label, (8, 9, 10))
            gap = np.linalg.norm(move(scan.to_world, scan.points) - world, axis=1)
            errors[name].append(np.median(gap[static]))
            assert scan.compensated is (name == "mended")
    assert max(errors["mended"]) < 0.03
    assert np.median(errors["raw"]) > 0.1


def test_boxes_are_upright_in_the_frame_of_the_points(scans):
    inside = total = 0
    for scan in scans:
        owner = scan.boxes.contain(scan.points, margin=0.3)
        things = np.isin(scan.label, (8, 9, 10))
        rows = owner[things]
        own = np.where(rows >= 0, scan.boxes.instance[rows], -1)
        inside += (own == scan.instance[things]).sum()
        total += things.sum()
        assert set(scan.boxes.label) <= {"car", "pedestrian", "bicyclist"}
        assert (np.diff(scan.boxes.instance) > 0).all()
    assert total > 1000
    assert inside / total > 0.93


def test_names_count_turns_and_clips_stay_together(clips, scans):
    assert clips.name(0) == "val/town12/drive000/000000"
    assert clips.name(1) == "val/town12/drive000/000003"
    assert clips.name(6) == "val/town12/drive000/000022"
    assert clips.sequences[:3] == ["val/town12/drive000"] * 2 + ["val/town13/drive000"]
    assert len(set(clips.names)) == 12
    assert scans[1].timestamp - scans[0].timestamp == pytest.approx(0.3)
    assert scans[0].sequence == clips.sequences[0]
    longer = LidarStreets("val", 20, clip=2, gap=3, **SMALL)
    assert longer.names[:12] == clips.names


def test_posed_pairs_take_the_scans_of_a_drive_in_order(clips):
    pairs = PosedPairs(clips, max_gap=1)
    first, second = pairs[0]
    assert (first.name, second.name) == (clips.name(0), clips.name(1))
    for pair in pairs.pairs:
        one, two = (clips.recipe.instant(k) for k in (pair.first, pair.second))
        assert one.sequence == two.sequence
        assert 0 < two.time - one.time < 2.3


def test_cameras_fire_at_other_times_and_know_where(scans):
    data = LidarStreets("val", 3, **{**SMALL, "cameras": ("front", "back", "right")})
    for k in range(3):
        scan = data[k]
        assert [c.name for c in scan.cameras] == ["front", "back", "right"]
        for camera in scan.cameras:
            assert 0 < abs(camera.timestamp - scan.timestamp) < 0.11
            assert camera.key == f"{scan.sequence}/{camera.name}/{scan.name[-6:]}"
            gone = inverse(scan.ego_to_world) @ camera.ego_to_world
            late = camera.timestamp - scan.timestamp
            assert 2 < gone[0, 3] / late < 10, "ahead by its speed"
            assert camera.image().shape == (120, 160, 3)
        ways = {c.name: c.to_ego[:3, 2] for c in scan.cameras}
        assert ways["front"][0] > 0.9
        assert ways["back"][0] < -0.9
        assert ways["right"][1] < -0.8


def test_pictures_travel_to_workers(tmp_path):
    data = LidarStreets("val", 1, beams=8, steps=60, camera_size=(12, 16), cache=tmp_path)
    scan = pickle.loads(pickle.dumps(data[0]))
    np.testing.assert_array_equal(scan.cameras[0].image(), data[0].cameras[0].image())
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy[0].points, data[0].points)
    image = data[0].cameras[0].image()
    image[:] = 0
    assert data[0].cameras[0].image().any()


def test_fraction_subsets_are_nested_and_names_select(tmp_path):
    few = LidarStreets("train", 60, subset=0.1, **SMALL)
    more = LidarStreets("train", 60, subset=0.3, **SMALL)
    assert (len(few), len(more)) == (6, 18)
    assert set(few.indices) < set(more.indices)
    names = [more.name(3), more.name(0)]
    data = LidarStreets("train", 60, subset=names, **SMALL)
    assert [data.name(k) for k in range(2)] == names
    assert data[1].name == names[1]
    assert data[1].source == more.indices[0]
    assert len({d.fingerprint() for d in (few, more, data)}) == 3


def test_the_fingerprint_names_the_content(monkeypatch):
    options = {"length": 5, **SMALL}
    base = LidarStreets("val", **options)
    changes = (
        {"seed": 1},
        {"beams": 17},
        {"steps": 151},
        {"clip": 2},
        {"gap": 4},
        {"length": 6},
        {"cameras": ("left",)},
        {"compensate": True},
        {"subset": 0.5},
    )
    prints = {LidarStreets("val", **{**options, **c}).fingerprint() for c in changes}
    assert len(prints | {base.fingerprint()}) == 10
    assert base.fingerprint() == LidarStreets("val", **options).fingerprint()
    before = base.fingerprint()
    for name in ("WORLD_VERSION", "LIDAR_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(f"pointcl.data.streets.dataset.{name}", "other")
            assert base.fingerprint() != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "no split 'valid'"),
        ({"length": 0}, "length=0"),
        ({"beams": 1}, "beams=1"),
        ({"steps": 4}, "steps=4"),
        ({"clip": 0}, "clip=0"),
        ({"clip": 5, "gap": 6}, "gap=6"),
        ({"cameras": ("top",)}, "front, left, right, back"),
        ({"cameras": "front"}, "cameras='front'"),
        ({"cameras": ("left", "left")}, "different names"),
        ({"camera_size": (4, 160)}, r"\(4, 160\)"),
        ({"subset": 2.0}, "subset=2.0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        LidarStreets(**{**SMALL, **options})


def test_registered_with_classes_colours_and_version():
    data = DATASETS.build({"type": "LidarStreets", "split": "val", "length": 1, **SMALL})
    assert isinstance(data, LidarStreets)
    assert Exported is LidarStreets
    assert data.classes == CLASSES
    assert data.palette.shape == (11, 3)
    assert data.palette.dtype == np.uint8
    assert data.version == f"{WORLD_VERSION}.{LIDAR_VERSION}"
    assert data.absent == ("sky",)
    with pytest.raises(IndexError):
        data[1]


def test_its_own_check_finds_nothing_wrong():
    data = LidarStreets("val", 4, **{**SMALL, "cameras": ("front",), "camera_size": (24, 32)})
    report = data.check(count=4)
    assert report.total == 4
    assert report.seen["front"] > 0.05
