from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from camera_worlds import PICTURES, PaintedRooms, camera_views
from point_worlds import Rooms

from densecl.data.views import build_loader
from densecl.errors import UsageError
from densecl.regions import SegmentStore, Slic
from pointcl.data.posed_pairs import PosedPairs
from pointcl.sensors.projection import project
from pointcl.sparse import VoxelGrid
from pointcl.views import CameraPictures, Links
from pointcl.views.camera_views import EnoughLinks
from pointcl.views.superpixels import Superpixels

GRID = VoxelGrid(0.4, low=(-3.0, -3.0, -3.0), high=(2.5, 3.0, 3.0))


@pytest.fixture(scope="module")
def scans():
    dataset = PaintedRooms(length=3)
    return [dataset[i] for i in range(3)]


def test_each_link_leads_from_a_voxel_to_the_pixel_where_its_point_was_seen(scans):
    """Everything at once: a turn, a flip, a cuboid, voxels, a range, a crop, a mirror."""
    views = camera_views(grid=GRID, min_links=4)
    dropped = mirrored = 0
    for epoch in range(3):
        batch = views.collate([views(scan, epoch) for scan in scans])
        view, pictures = batch.views[0], batch.pictures
        links, geometry = pictures.links, pictures.views.geometry
        begin = np.cumsum([0, *view.cloud.counts])
        # back from the picture as it is to the camera's own pixels
        for row, image, pixel in zip(links.point, links.image, links.pixel, strict=True):
            b = int(links.scan[image])
            raw = int(view.cloud.index[row])
            assert begin[b] <= row < begin[b + 1]
            own = project(scans[b], scans[b].cameras[int(image) - 2 * b], border=0.5)
            assert own.kept[raw]
            matrix = geometry.matrix[image]
            at = matrix[:, :2] @ pixel + matrix[:, 2]
            assert np.abs(at.numpy() - own.pixel[raw]).max() < 1e-3
            mirrored += int(matrix[0, 0] < 0)
            voxel = int(view.voxels.point_to_voxel[row])
            place = view.voxels.grid.positions(view.cloud.points[row][None]).floor()[0]
            assert place.tolist() == view.voxels.tensor.coordinates[voxel, 1:].tolist()
        dropped += sum(len(scan) for scan in scans) - len(view.cloud.points)
        # and none is lost that could be there
        for b, scan in enumerate(scans):
            for k, camera in enumerate(scan.cameras):
                own, image = project(scan, camera, border=0.5), 2 * b + k
                rows = np.arange(begin[b], begin[b + 1])
                rows = rows[view.voxels.point_to_voxel[rows].numpy() >= 0]
                rows = rows[own.kept[view.cloud.index[rows].numpy()]]
                back = torch.linalg.inv(geometry.matrix[image][:, :2].double()).numpy()
                shift = geometry.matrix[image][:, 2].numpy()
                at = (own.pixel[view.cloud.index[rows].numpy()] - shift) @ back.T
                height, width = pictures.views.size
                inside = ((at >= 0) & (at < (width, height))).all(1)
                found = links.point[links.image == image]
                assert sorted(found.tolist()) == rows[inside].tolist()
    assert dropped > 20
    assert mirrored > 20


def test_projecting_the_turned_cloud_would_find_other_pixels(scans):
    """The fault that links made before the augmentation avoid."""
    views = camera_views(min_links=4, crop=False)
    sample = views(scans[0], 0)
    links, cloud = sample.pictures.links, sample.views[0]
    turned = PaintedRooms(length=1)[0]
    turned.points = cloud.points.numpy()
    for name in turned.rows():
        if name != "regions":
            setattr(turned, name, None)
    wrong = Links.from_projections(
        [project(turned, camera, border=0.5) for camera in turned.cameras], len(cloud)
    )
    right = {(p, i) for p, i in zip(links.point.tolist(), links.image.tolist(), strict=True)}
    found = {(p, i) for p, i in zip(wrong.point.tolist(), wrong.image.tolist(), strict=True)}
    assert len(right & found) < 0.8 * len(right)


def test_superpixels_ride_along_with_their_picture(scans):
    views = camera_views(min_links=4)
    cut = Slic(segments=12, sigma=1.0)
    for scan in scans:
        pictures = views(scan, 0).pictures
        for k, view in enumerate(pictures.views):
            raw = cut(scan.cameras[k].image()).ids
            height, width = view.maps["region"].shape
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            at = view.geometry.to_canonical(torch.stack([x, y], -1).reshape(-1, 2) + 0.5)
            column, row = at.floor().long().unbind(1)
            expected = torch.from_numpy(raw)[row, column].reshape(height, width)
            assert (view.maps["region"] == expected).float().mean() > 0.999  # ties of rounding


def test_a_cuboid_that_leaves_a_camera_too_few_links_is_put_back(scans):
    scan = scans[0]
    count = CameraPictures(**PICTURES).links(scan, scan.cameras).per_image()
    kept = {}
    for least in (0, int(count.min()) + 1):
        views = camera_views({"base": "slidr", "drop": (0.9, 0.9)}, min_links=least)
        kept[least] = [len(views(scan, epoch).views[0]) for epoch in range(4)]
    few, enough = kept.values()
    assert max(few) < len(scan)
    assert enough == [len(scan)] * 4


def test_a_cuboid_is_judged_by_every_picture():
    links = Links(
        torch.tensor([0, 1, 2, 3, 3]), torch.tensor([0, 0, 0, 1, 0]),
        torch.ones(5, 2), torch.zeros(2, dtype=torch.int64), (5,),
    )  # fmt: skip
    rows = {"all": [0, 1, 2, 3, 4], "one of the second": [1, 3], "none of the second": [0, 1, 2]}
    judged = {name: EnoughLinks(links, 1)(None, np.array(r)) for name, r in rows.items()}
    assert judged == {"all": True, "one of the second": True, "none of the second": False}
    assert not EnoughLinks(links, 2)(None, np.arange(5))


def test_thinned_clouds_keep_the_links_of_the_points_that_stay(scans):
    views = camera_views(voxels=60, min_links=4)
    batch = views.collate([views(scan, 0) for scan in scans])
    assert (batch.views[0].voxels.tensor.sites.counts == 60).all()
    links = batch.pictures.links
    assert links.num_points == len(batch.views[0].cloud.points)
    assert len(links) > 10


def test_cameras_are_chosen_by_name_and_draw_what_they_drew_among_all(scans):
    scan = scans[0]
    both = camera_views(min_links=4)(scan, 1).pictures
    one = camera_views(min_links=4, cameras=["camera1"])(scan, 1).pictures
    assert one.links.num_images == 1
    assert torch.equal(one.views[0].image, both.views[1].image)
    assert torch.equal(one.links.pixel, both.links.pixel[both.links.image == 1])


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(workers):
    dataset = PaintedRooms(length=4)
    views = camera_views(min_links=4)

    def batches(number):
        loader = build_loader(dataset, views, 2, number, collate=views.collate)
        return [batch for _, batch in zip(range(3), loader, strict=False)]

    for one, other in zip(batches(0), batches(workers), strict=True):
        assert torch.equal(one.pictures.views.image, other.pictures.views.image)
        assert torch.equal(one.pictures.links.pixel, other.pictures.links.pixel)
        assert torch.equal(one.views[0].cloud.points, other.views[0].cloud.points)


def test_bad_samples_are_named_with_a_way_out(scans):
    views = camera_views()
    with pytest.raises(UsageError, match="room0/0 has no camera"):
        views(Rooms(1)[0], 0)
    with pytest.raises(UsageError, match="no camera 'rear'"):
        camera_views(cameras=["rear"])(scans[0], 0)
    with pytest.raises(UsageError, match="2 scans") as caught:
        views(PosedPairs(PaintedRooms(length=4, views=2))[0], 0)
    assert "PosedPairs" in caught.value.fix


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"cameras": "camera0"}, "cameras"),
        ({"cameras": []}, "cameras"),
        ({"superpixels": "slic"}, "superpixels"),
        ({"superpixels": {"type": "Slick"}}, "Slick"),
        ({"superpixels": {"type": "Slic", "segment": 3}}, "segment"),
        ({"store": True}, "store"),
        ({"hflop": 1.0}, "hflop"),
    ],
)
def test_wrong_settings_are_named(options, named):
    with pytest.raises(UsageError, match=named):
        CameraPictures(**{**PICTURES, **options})


def counted(superpixels, monkeypatch):
    """How often pictures are cut, as a list that grows."""
    done = []
    ids = Slic.ids
    monkeypatch.setattr(Slic, "ids", lambda self, image: done.append(1) or ids(self, image))
    return done


def test_superpixels_are_computed_once_and_then_read(scans, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSECL_CACHE", str(tmp_path))
    camera = scans[0].cameras[0]
    method = {"type": "Slic", "segments": 9}
    superpixels = Superpixels(method)
    assert not list(tmp_path.iterdir())  # nothing is made before it is needed
    done = counted(superpixels, monkeypatch)
    first = superpixels(camera, camera.image())
    assert np.array_equal(first, superpixels(camera, camera.image()))
    assert np.array_equal(first, Superpixels(method)(camera, camera.image()))
    assert len(done) == 1
    # another picture under the same key, as of two data sets, has an entry of its own
    other = 255 - camera.image()
    superpixels(camera, other), superpixels(camera, camera.image())
    superpixels(camera, other)
    assert len(done) == 2


def test_a_damaged_entry_is_computed_again(scans, tmp_path, monkeypatch):
    camera = scans[0].cameras[0]
    superpixels = Superpixels({"type": "Slic", "segments": 9}, tmp_path / "store")
    done = counted(superpixels, monkeypatch)
    first = superpixels(camera, camera.image())
    path = SegmentStore.open(tmp_path / "store").path(camera.key)
    path.write_bytes(path.read_bytes()[:-3])
    assert np.array_equal(superpixels(camera, camera.image()), first)
    assert len(done) == 2
    assert superpixels(camera, camera.image()) is not None
    assert len(done) == 2


def test_a_store_that_was_built_before_is_used_by_key(scans, tmp_path):
    camera = scans[0].cameras[0]
    method = Slic(segments=9)
    store = SegmentStore.create(tmp_path / "s", kind="image", method=method.describe())
    image = camera.image()
    store.put(camera.key, method(image), method.identify(image))
    with pytest.raises(UsageError, match="segments = 9, asked for 10"):
        Superpixels({"type": "Slic", "segments": 10}, tmp_path / "s")
    found = Superpixels({"type": "Slic", "segments": 9}, tmp_path / "s")(camera, image)
    assert np.array_equal(found, method(image).ids)
