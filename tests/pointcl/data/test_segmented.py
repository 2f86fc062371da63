from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch

from densecl.errors import UsageError
from densecl.regions import EntryError, Items, SegmentStore, build
from pointcl.data.scan import Scan
from pointcl.data.segmented import WithSegments
from pointcl.regions import Dbscan, voxel_regions
from pointcl.registry import DATASETS


@DATASETS.register_module(force=True)
class Boxed:
    """Scans of three boxes in the air, made from their number."""

    classes = ("box",)

    def __init__(self, length=4, shift=0.0, skips=()):
        self.length, self.shift, self.skips = length, shift, skips
        self.sequences = [""] * length

    def __len__(self):
        return self.length

    def name(self, index):
        return f"scan/{index}"

    def fingerprint(self):
        return f"boxed-{self.length}"

    def __getitem__(self, index):
        index += index in self.skips
        random = np.random.default_rng(index)
        label = random.integers(0, 3, 300)
        points = random.uniform(-0.2, 0.2, (300, 3)) + np.eye(3)[label] * 4 + self.shift
        return Scan(points.astype(np.float32), index, self.name(index), label=label)


METHOD = Dbscan(ground="none", share=0.5, eps=0.25)


@pytest.fixture
def store(tmp_path):
    made = SegmentStore.create(tmp_path / "store", kind="cloud", method=METHOD.describe())
    build(made, Items(Boxed()), METHOD, stream=io.StringIO())
    return made


def test_scans_carry_the_ids_of_the_store(store):
    dataset = WithSegments({"type": "Boxed"}, store.folder, {"type": "Dbscan", "eps": 0.25})
    for index in range(4):
        scan = dataset[index]
        found = METHOD(Boxed()[index])
        assert (scan.regions["segment"] == found.ids).all()
        large = np.append(found.scores["foreground"] >= 0.5, False)[found.ids]
        assert (scan.regions["foreground"] == np.where(large, found.ids, -1)).all()
        assert large.any()
    assert (len(dataset), dataset.name(2)) == (4, "scan/2")
    assert (dataset.classes, dataset.sequences) == (("box",), [""] * 4)
    copy = pickle.loads(pickle.dumps(dataset))
    assert (copy[1].regions["segment"] == dataset[1].regions["segment"]).all()


def test_the_foreground_may_be_left_out_or_be_stricter(store):
    assert set(WithSegments(Boxed(), store.folder, foreground=None)[0].regions) == {"segment"}
    strict = WithSegments(Boxed(), store.folder, foreground=0.999)[0]
    assert (strict.regions["foreground"] == -1).all()


def test_the_fingerprint_tells_data_settings_and_use_apart(store, tmp_path):
    other = SegmentStore.create(
        tmp_path / "other", kind="cloud", method=Dbscan(ground="none").describe()
    )
    build(other, Items(Boxed()), Dbscan(ground="none"), stream=io.StringIO())
    prints = {
        WithSegments(Boxed(), store.folder).fingerprint(),
        WithSegments(Boxed(3), store.folder).fingerprint(),
        WithSegments(Boxed(), store.folder, foreground=0.7).fingerprint(),
        WithSegments(Boxed(), other.folder).fingerprint(),
    }
    assert len(prints) == 4


def test_views_and_voxels_carry_the_segments(store):
    from pointcl.sparse import VoxelGrid
    from pointcl.views import CloudViewGenerator
    from pointcl.views.voxels import Voxeliser, VoxelViews

    dataset = WithSegments(Boxed(), store.folder)
    views = VoxelViews(CloudViewGenerator("pointcontrast"), Voxeliser(VoxelGrid(0.1)))
    batch = views.collate([views(dataset[index], 0) for index in range(2)])
    for view in batch.views:
        start = 0
        for index, rows in enumerate(view.cloud.index.split(view.cloud.counts)):
            ids = torch.from_numpy(dataset[index].regions["segment"])
            own = view.cloud.regions["segment"][start : start + len(rows)]
            assert (own == ids[rows]).all()
            start += len(rows)
        of_voxels = voxel_regions(
            view.cloud.regions["segment"], view.voxels.point_to_voxel, len(view.voxels.tensor)
        )
        # the boxes are metres apart, so no voxel holds two segments
        points = view.to_point_set({"one": view.voxels.tensor.features})
        assert (of_voxels == points.regions["segment"])[points.regions["segment"] >= 0].all()


def test_a_scan_that_changed_stops_the_run_and_only_its_size_may_be_compared(store):
    dataset = WithSegments(Boxed(shift=1.0), store.folder)
    with pytest.raises(EntryError, match=r"is not what it was(.|\n)*pointcl segments build"):
        dataset[0]
    assert WithSegments(Boxed(shift=1.0), store.folder, check="shape")[0].regions


def test_scans_of_another_length_are_refused(store):
    class Cut(Boxed):
        def __getitem__(self, index):
            scan = super().__getitem__(index)
            return Scan(scan.points[:-1], index, scan.name)

    with pytest.raises(EntryError, match="of 300 points, the scan has 299"):
        WithSegments(Cut(), store.folder, check="shape")[0]


def test_what_is_not_segmented_is_told_before_the_run(store):
    with pytest.raises(EntryError, match="lacks 1 of 5 scans, the first is scan/4"):
        WithSegments(Boxed(5), store.folder)
    # where the data set gives the next readable scan, that one must be there
    store.path("scan/1").unlink()
    assert len(WithSegments(Boxed(skips=(1,)), store.folder)) == 4


def test_wrong_stores_and_settings_are_refused(store, tmp_path):
    with pytest.raises(UsageError, match=r"eps = 0.25, asked for 0.5"):
        WithSegments(Boxed(), store.folder, {"eps": 0.5})
    with pytest.raises(UsageError, match="content"):
        WithSegments(Boxed(), store.folder, check="name")
    with pytest.raises(UsageError, match="did you mean 'Boxed'"):
        WithSegments({"type": "Boxd"}, store.folder)
    with pytest.raises(UsageError, match="length"):
        WithSegments({"type": "Boxed", "lenght": 4}, store.folder)
    images = SegmentStore.create(tmp_path / "i", kind="image", method={"type": "Slic"})
    with pytest.raises(UsageError, match="segments of images"):
        WithSegments(Boxed(), images.folder)
