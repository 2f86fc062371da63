from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import asdict, dataclass

import numpy as np
import pytest

from densecl.errors import UsageError
from densecl.regions import Items, Segments, SegmentStore, build
from pointcl.data.scan import Scan
from pointcl.regions import (
    PRESETS,
    Dbscan,
    NormalGraph,
    Supervoxels,
    build_segmentation,
    dbscan,
    ground,
    segment_cloud,
    with_segments,
)
from pointcl.registry import REGIONS


@dataclass
class Streets:
    """Scans of two boxes, made from their number."""

    length: int = 6
    changed: tuple[int, ...] = ()

    def __len__(self):
        return self.length

    def name(self, index):
        return f"drive/{index}"

    def __getitem__(self, index):
        random = np.random.default_rng((index, index in self.changed))
        points = random.uniform(-0.5, 0.5, (100, 3)) + random.choice([-4, 4], (100, 1)) * [1, 0, 0]
        return Scan(points.astype(np.float32), index, self.name(index))


def tree_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fill(folder, method, source, **options):
    store = SegmentStore.create(folder, kind="cloud", method=method.describe())
    return store, build(store, Items(source), method, stream=io.StringIO(), **options)


@pytest.mark.parametrize(
    "method", [Dbscan(), Supervoxels(voxel=0.2, seed=1.0), NormalGraph(max_gap=1.0)]
)
def test_a_segmentation_gives_the_same_in_any_process_and_survives_a_journey(method, street):
    points, _ = street
    colour = (np.abs(points) * 20).clip(0, 255).astype(np.uint8)
    scan = Scan(points, 0, "a", colour=colour)
    found = method(scan)
    again = pickle.loads(pickle.dumps(method))(scan)
    assert (found.ids == again.ids).all()
    assert found.num_regions > 1
    assert found.scores["foreground"].shape == (found.num_regions,)
    assert (segment_cloud(scan, plain(method)).ids == found.ids).all()


def plain(method):
    return {"type": type(method).__name__, **asdict(method)}


def test_clusters_are_of_what_is_above_the_ground(street):
    points, label = street
    found = Dbscan(eps=0.5)(Scan(points, 0, "a"))
    above = ~ground(points)
    assert (found.ids[~above] == -1).all()
    own = dbscan(points[above], 0.5, 5, eps_per_metre=0.03)
    assert found.num_regions == own.max() + 1
    for kind in (1, 2, 3, 4):
        ids = found.ids[(label == kind) & (found.ids >= 0)]
        assert len(np.unique(ids)) == 1
    # cars and post may be objects, the long wall may not
    score = found.scores["foreground"]
    main = [found.ids[(label == k) & (found.ids >= 0)][0] for k in (1, 2, 3, 4)]
    assert [bool(score[k] >= 0.5) for k in main] == [True, True, False, True]


def test_cars_that_touch_are_one_cluster(random):
    one = random.uniform(0, 1, (500, 3)) * [4, 1.8, 1.2]
    for gap, clusters in ((0.6, 2), (0.05, 1)):
        points = np.concatenate([one, one + np.array([0, 1.8 + gap, 0])]).astype(np.float32)
        found = Dbscan(ground="none", eps=0.4)(Scan(points, 0, "a"))
        assert found.num_regions == clusters


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_segmentations(preset, random):
    points = random.uniform(0, 0.5, (400, 3)).astype(np.float32)
    points[:200, 2] = 0.0
    assert segment_cloud(Scan(points, 0, "a"), preset).num_regions > 0


def test_all_are_registered():
    REGIONS.import_from_location()
    assert {"Dbscan", "Supervoxels", "NormalGraph"} <= set(REGIONS.module_dict)


@pytest.mark.parametrize("method", [Dbscan(), Supervoxels(), NormalGraph()])
def test_empty_and_broken_scans_have_no_segments(method):
    assert method(Scan(np.zeros((0, 3), np.float32), 0, "a")).ids.shape == (0,)
    broken = method(Scan(np.full((5, 3), np.nan, np.float32), 0, "a"))
    assert broken.ids.tolist() == [-1] * 5
    assert broken.scores["foreground"].shape == (0,)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "Dbscan", "eps": 0}, "eps = 0"),
        ({"type": "Dbscan", "min_points": 2.5}, "min_points = 2.5"),
        ({"type": "Dbscan", "ground": "grass"}, "ground = 'grass'"),
        ({"type": "Dbscan", "epz": 1}, "did you mean 'eps'"),
        ({"type": "DBScan"}, "did you mean 'Dbscan'"),
        ({"type": "Supervoxels", "seed": 0.05}, "seed = 0.05"),
        ({"type": "NormalGraph", "max_gap": 0}, "max_gap = 0"),
        ({"type": "NormalGraph", "share": "all"}, "share = 'all'"),
        ("underwater", "outdoors, indoors"),
    ],
)
def test_bad_settings_are_refused(config, message):
    with pytest.raises(UsageError, match=message):
        build_segmentation(config)


def test_the_key_of_a_store_knows_the_release_of_patchwork():
    assert "pypatchworkpp" not in Dbscan().describe()
    assert "pypatchworkpp" in Dbscan(ground="patchwork++").describe()


def test_all_that_is_read_is_in_the_identity(street):
    points, _ = street
    count = len(points)
    scans = [
        Scan(points, 0, "a"),
        Scan(points + np.float32(1), 0, "a"),
        Scan(points, 0, "a", intensity=np.ones(count, np.float32)),
        Scan(points, 0, "a", colour=np.ones((count, 3), np.uint8)),
        Scan(points, 0, "a", normal=np.ones((count, 3), np.float32)),
    ]
    assert len({Dbscan().identify(scan) for scan in scans}) == len(scans)
    assert Dbscan().identify(Scan(points, 5, "b", label=np.zeros(count))) == Dbscan().identify(
        scans[0]
    )


def test_a_scan_carries_its_segments_and_its_foreground():
    scan = Scan(np.zeros((4, 3), np.float32), 0, "a", regions={"own": np.zeros(4, int)})
    segments = Segments(np.array([1, 0, -1, 1]), {"foreground": np.array([0.2, 0.7])})
    found = with_segments(scan, segments)
    assert found.regions["segment"].tolist() == [1, 0, -1, 1]
    assert found.regions["foreground"].tolist() == [1, -1, -1, 1]
    assert found.regions["segment"].dtype == np.int64
    assert set(found.regions) == {"own", "segment", "foreground"}
    assert set(scan.regions) == {"own"}
    assert set(with_segments(scan, segments, None).regions) == {"own", "segment"}
    with pytest.raises(ValueError, match="4 points"):
        with_segments(scan, Segments(np.zeros(3, int)))


def test_changed_scans_are_cut_again(tmp_path):
    method = Dbscan(ground="none")
    fill(tmp_path / "a", method, Streets())
    store, report = fill(tmp_path / "a", method, Streets(changed=(3,)))
    assert (report.computed, report.present, report.replaced) == (1, 5, ["drive/3"])
    fresh, _ = fill(tmp_path / "b", method, Streets(changed=(3,)), workers=2)
    assert tree_of(store.folder) == tree_of(fresh.folder)


@dataclass(frozen=True, kw_only=True)
class Slowly(Dbscan):
    """As ``Dbscan``, but slow enough to be killed."""

    def __call__(self, item):
        time.sleep(0.01)
        return super().__call__(item)


def build_apart(folder, pipe):
    pipe.send("begun")
    fill(folder, Slowly(ground="none"), Streets(30))


def test_a_build_that_was_killed_goes_on_to_the_same_bytes(tmp_path):
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=build_apart, args=(tmp_path / "killed", there))
    process.start()
    assert here.recv() == "begun"
    while not (tmp_path / "killed" / "store.json").exists():
        time.sleep(0.001)
    store = SegmentStore.open(tmp_path / "killed")
    while len(store) < 6:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert 6 <= len(store) < 30
    assert not store.verify().damaged
    _, report = fill(tmp_path / "killed", Slowly(ground="none"), Streets(30))
    assert report.present >= 6
    assert report.computed + report.present == 30
    whole, _ = fill(tmp_path / "whole", Slowly(ground="none"), Streets(30))
    assert tree_of(store.folder) == tree_of(whole.folder)
