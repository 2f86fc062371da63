import numpy as np
import pytest
import torch

from pointcl.sensors.projection import Projection, Reason
from pointcl.sparse import VoxelGrid, voxelise
from pointcl.views import CloudViewGenerator, Links


def links_of(num_points, num_images, n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Links(
        torch.randint(max(num_points, 1), (n,), generator=g),
        torch.randint(num_images, (n,), generator=g),
        torch.rand(n, 2, generator=g) * 50,
        torch.zeros(num_images, dtype=torch.int64),
        (num_points,),
    )


def projection(pixel, kept):
    reason = np.where(kept, Reason.KEPT, Reason.BEHIND).astype(np.int8)
    return Projection(np.array(pixel, float), np.ones(len(kept)), reason, (40, 60), True)


def test_from_projections_takes_what_was_kept():
    nan = np.nan
    first = projection([[1, 2], [nan, nan], [3.25, 4]], [True, False, True])
    second = projection([[nan, nan], [5, 6], [7, 8]], [False, True, False])
    links = Links.from_projections([first, second], 3)
    assert links.point.tolist() == [0, 2, 1]
    assert links.image.tolist() == [0, 0, 1]
    assert links.pixel.tolist() == [[1, 2], [3.25, 4], [5, 6]]
    assert (links.num_points, links.num_images, links.num_scans) == (3, 2, 1)
    assert links.per_image().tolist() == [2, 1]


def test_from_projections_without_points_or_pictures():
    assert len(Links.from_projections([projection(np.zeros((0, 2)), [])], 0)) == 0
    none = Links.from_projections([], 7)
    assert (len(none), none.num_images, none.num_points) == (0, 0, 7)
    with pytest.raises(ValueError, match="of 0 points, not 3"):
        Links.from_projections([projection(np.zeros((0, 2)), [])], 3)


def test_cat_numbers_points_pictures_and_scans_after_those_before():
    parts = [links_of(10, 2, 6, 0), links_of(0, 1, 0, 1), links_of(5, 3, 4, 2)]
    batch = Links.cat(parts)
    assert batch.counts == (10, 0, 5)
    assert (batch.num_points, batch.num_images, batch.num_scans) == (15, 6, 3)
    assert batch.scan.tolist() == [0, 0, 1, 2, 2, 2]
    assert torch.equal(batch.point, torch.cat([parts[0].point, parts[2].point + 10]))
    assert torch.equal(batch.image, torch.cat([parts[0].image, parts[2].image + 3]))
    assert torch.equal(batch.pixel, torch.cat([parts[0].pixel, parts[2].pixel]))
    assert torch.equal(batch.scan[batch.image], torch.tensor([0] * 6 + [2] * 4))


def test_cat_of_cats_is_one_cat():
    a, b, c = (links_of(4 + k, 2, 5, k) for k in range(3))
    one, two = Links.cat([a, b, c]), Links.cat([Links.cat([a, b]), c])
    assert all(torch.equal(getattr(one, n), getattr(two, n)) for n in ("point", "image", "scan"))
    assert one.counts == two.counts


def test_renumber_follows_each_point():
    links = links_of(6, 2, 30)
    new_row = torch.tensor([2, -1, 0, 0, 1, -1])
    moved = links.renumber(new_row)
    expected = [(int(new_row[p]), int(i)) for p, i in zip(links.point, links.image, strict=True)]
    expected = [entry for entry in expected if entry[0] >= 0]
    assert list(zip(moved.point.tolist(), moved.image.tolist(), strict=True)) == expected
    assert moved.counts == (3,)
    assert torch.equal(moved.pixel, links.pixel[new_row[links.point] >= 0])


def test_renumber_to_voxels_keeps_the_links_of_all_points():
    g = torch.Generator().manual_seed(0)
    clouds = [torch.rand(40, 3, generator=g), torch.rand(0, 3), torch.rand(25, 3, generator=g)]
    voxels = voxelise(clouds, VoxelGrid(0.4))
    batch = Links.cat([links_of(40, 2, 60, 1), links_of(0, 2, 0), links_of(25, 1, 30, 2)])
    moved = batch.renumber(voxels.point_to_voxel)
    assert len(moved) == 90
    assert moved.counts == tuple(torch.bincount(voxels.tensor.sample, minlength=3).tolist())
    assert torch.equal(voxels.tensor.sample[moved.point], moved.scan[moved.image])


def test_renumber_refuses_rows_that_mix_the_scans():
    batch = Links.cat([links_of(2, 1, 3), links_of(2, 1, 3)])
    with pytest.raises(ValueError, match="scan 0 start at 2, not at 0"):
        batch.renumber(torch.tensor([2, 3, 0, 1]))
    with pytest.raises(ValueError, match="for 4 points"):
        batch.renumber(torch.tensor([0, 1]))


def test_keep_points_by_mask_and_by_rows():
    links = links_of(6, 2, 30)
    mask = torch.tensor([True, False, True, True, False, False])
    by_mask, by_rows = links.keep_points(mask), links.keep_points(torch.tensor([0, 2, 3]))
    assert torch.equal(by_mask.point, by_rows.point)
    assert by_mask.counts == (3,)
    shuffled = links.keep_points(torch.tensor([3, 0, 2]))
    assert torch.equal(torch.tensor([3, 0, 2])[shuffled.point], links.point[mask[links.point]])
    assert len(links.keep_points(torch.zeros(6, dtype=torch.bool))) == 0
    with pytest.raises(ValueError, match="kept twice"):
        links.keep_points(torch.tensor([1, 1]))


def test_links_survive_the_augmentation_of_the_cloud():
    from pointcl.data.scan import Scan

    points = np.random.default_rng(0).uniform(-20, 20, (500, 3)).astype(np.float32)
    view = CloudViewGenerator("slidr", num_views=1, drop_chance=1.0, drop=(0.1, 0.3))(
        Scan(points, 0, "s"), epoch=0
    )[0]
    links = links_of(500, 2, 300)
    kept = links.keep_points(view.index)
    assert kept.counts == (len(view),)
    assert len(view) < 500
    back = view.canonical()[kept.point]
    original = torch.from_numpy(points)[view.index[kept.point]]
    # float32 at 20 m, through two rotations
    assert torch.allclose(back, original, atol=1e-4)
    alive = torch.isin(links.point, view.index)
    assert torch.equal(view.index[kept.point], links.point[alive])


def test_filter_by_mask_and_by_index():
    links = links_of(6, 2, 10)
    mask = links.image == 1
    assert torch.equal(links.filter(mask).point, links.point[mask])
    assert torch.equal(links.filter(torch.tensor([3, 1])).pixel, links.pixel[[3, 1]])
    with pytest.raises(ValueError, match="for 10 links"):
        links.filter(torch.ones(9, dtype=torch.bool))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("point", torch.tensor([0, 6]), "point must be < num_points = 6"),
        ("image", torch.tensor([0, 2]), "image must be < number of pictures = 2"),
        ("image", torch.tensor([0]), "as many rows"),
        ("pixel", torch.tensor([[0, 1.0], [np.nan, 2]]), "finite"),
        ("pixel", torch.zeros(2, 3), "finite"),
        ("scan", torch.tensor([0, 1]), "scan must be < num_scans = 1"),
    ],
)
def test_bounds_are_checked(name, value, message):
    fields = {
        "point": torch.tensor([0, 5]),
        "image": torch.tensor([0, 1]),
        "pixel": torch.zeros(2, 2),
        "scan": torch.zeros(2, dtype=torch.int64),
    }
    with pytest.raises(ValueError, match=message):
        Links(**{**fields, name: value}, counts=(6,))
