from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from densecl.data.sample import Frame
from densecl.pairs import PointSet, match_by_region, pool_points
from pointcl.pairs import (
    by_scan,
    match_by_projection,
    number_regions,
    points_at_links,
    read_pixels,
    read_regions,
)
from pointcl.sparse import VoxelGrid, to_point_set, voxelise
from pointcl.views import Links, PictureBatch, PictureGenerator

SIZE, SHAPE = (32, 48), (8, 12)


def batch(counts=(50, 0, 30), pictures=(2, 1, 3), n=(80, 0, 60), seed=0):
    """Raw clouds, links of a batch (some outside their view) and maps of random features."""
    g = torch.Generator().manual_seed(seed)
    parts = []
    for count, images, links in zip(counts, pictures, n, strict=True):
        pixel = torch.rand(links, 2, generator=g) * torch.tensor([56.0, 40.0]) - 4
        parts.append(
            Links(
                torch.randint(max(count, 1), (links,), generator=g),
                torch.randint(max(images, 1), (links,), generator=g),
                pixel,
                torch.zeros(images, dtype=torch.int64),
                (count,),
            )
        )
    links = Links.cat(parts)
    features = torch.randn(sum(pictures), 5, *SHAPE, generator=g)
    pixels = PointSet.from_map({"f": features}, geometry=None, size=SIZE)
    return links, pixels, features


def cloud(counts=(50, 0, 30), keep=None, seed=1):
    """The rows of the clouds, or some of them, in a random order."""
    g = torch.Generator().manual_seed(seed)
    sample = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    index = torch.cat([torch.arange(count) for count in counts])
    points = PointSet(
        {"f": torch.randn(len(sample), 5, generator=g)},
        sample,
        num_samples=len(counts),
        index=index,
    )
    order = torch.randperm(len(sample), generator=g)
    return points.select(order if keep is None else order[:keep])


def link_by_link(points, pixels, links):
    """The pairs and counts, one link after the other."""
    starts = [sum(links.counts[:b]) for b in range(len(links.counts))]
    seen, count = set(), dict.fromkeys(["paired", "no_row", "outside", "not_valid", "repeated"], 0)
    for point, image, (x, y) in zip(
        links.point.tolist(), links.image.tolist(), links.pixel.tolist(), strict=True
    ):
        rows = [
            row
            for row, (b, i) in enumerate(
                zip(points.sample.tolist(), points.index.tolist(), strict=True)
            )
            if i >= 0 and starts[b] + i == point
        ]
        inside = 0 <= x < SIZE[1] and 0 <= y < SIZE[0]
        if not rows:
            count["no_row"] += 1
        elif not inside:
            count["outside"] += 1
        else:
            row = rows[0]
            i, j = int(y // (SIZE[0] / SHAPE[0])), int(x // (SIZE[1] / SHAPE[1]))
            cell = (image * SHAPE[0] + i) * SHAPE[1] + j
            if not (points.valid_mask()[row] and pixels.valid_mask()[cell]):
                count["not_valid"] += 1
            elif (row, cell) in seen:
                count["repeated"] += 1
            else:
                seen.add((row, cell))
                count["paired"] += 1
    return sorted(seen), count


@pytest.mark.parametrize("keep", [None, 45, 0])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_one_link_at_a_time(keep, seed):
    links, pixels, _ = batch(seed=seed)
    points = cloud(keep=keep, seed=seed)
    g = torch.Generator().manual_seed(seed)
    points.valid = torch.rand(len(points), generator=g) > 0.1
    pixels.valid = torch.rand(len(pixels), generator=g) > 0.1
    # every third link twice, so that some pairs repeat
    twice = Links(
        torch.cat([links.point, links.point[::3]]),
        torch.cat([links.image, links.image[::3]]),
        torch.cat([links.pixel, links.pixel[::3]]),
        links.scan,
        links.counts,
    )
    pairs, counts = match_by_projection(points, pixels, twice, SIZE)
    expected, expected_counts = link_by_link(points, pixels, twice)
    assert list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True)) == expected
    assert counts == expected_counts
    assert sum(counts.values()) == len(twice)
    assert keep != 45 or min(counts.values()) > 0
    assert (pairs.num_src, pairs.num_dst) == (len(points), len(pixels))


def test_pairs_lie_in_the_links_own_scan():
    links, pixels, _ = batch()
    points = cloud()
    pairs, _ = match_by_projection(points, pixels, links, SIZE)
    assert len(pairs) > 50
    assert torch.equal(points.sample[pairs.src], links.scan[pixels.sample[pairs.dst]])
    assert torch.equal(points.sample[pairs.src], by_scan(pixels, links).sample[pairs.dst])


def test_the_order_of_rows_and_of_links_does_not_matter():
    links, pixels, _ = batch()
    points = cloud()
    g = torch.Generator().manual_seed(5)
    rows = torch.randperm(len(points), generator=g)
    order = torch.randperm(len(links), generator=g)
    pairs, counts = match_by_projection(points, pixels, links, SIZE)
    moved, again = match_by_projection(points.select(rows), pixels, links.filter(order), SIZE)
    back = sorted(zip(rows[moved.src].tolist(), moved.dst.tolist(), strict=True))
    assert back == list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))
    assert counts == again


def test_by_row_and_by_index_agree_where_the_rows_are_the_clouds():
    links, pixels, _ = batch()
    sample = torch.arange(3).repeat_interleave(torch.tensor([50, 0, 30]))
    index = torch.cat([torch.arange(50), torch.arange(30)])
    points = PointSet({}, sample, num_samples=3, index=index)
    by_index, by_row = (
        match_by_projection(points, pixels, links, SIZE, by=by) for by in ("index", "row")
    )
    assert torch.equal(by_index[0].src, by_row[0].src)
    assert torch.equal(by_index[0].dst, by_row[0].dst)
    assert by_index[1] == by_row[1]


def test_voxels_keep_the_links_of_all_their_points_by_row():
    g = torch.Generator().manual_seed(0)
    clouds = [torch.rand(50, 3, generator=g), torch.rand(0, 3), torch.rand(30, 3, generator=g)]
    grid = VoxelGrid(0.4)
    voxels = voxelise(clouds, grid)
    points = to_point_set(voxels.tensor, grid, voxels=voxels)
    links, pixels, _ = batch()
    _, by_index = match_by_projection(points, pixels, links, SIZE)
    pairs, by_row = match_by_projection(
        points, pixels, links.renumber(voxels.point_to_voxel), SIZE, by="row", repeated=True
    )
    assert by_row["no_row"] == 0 < by_index["no_row"]
    assert len(pairs) == by_row["paired"] > by_index["paired"]
    assert by_row["repeated"] == 0
    with pytest.raises(ValueError, match="renumber the links"):
        match_by_projection(points, pixels, links, SIZE, by="row")


def test_a_point_in_two_pictures_has_two_pairs():
    links = Links(
        torch.tensor([3, 3]),
        torch.tensor([0, 1]),
        torch.tensor([[0.0, 0.0], [47.9, 31.9]]),
        torch.zeros(2, dtype=torch.int64),
        (5,),
    )
    pixels = PointSet.from_map({"f": torch.zeros(2, 1, *SHAPE)}, geometry=None, size=SIZE)
    pairs, counts = match_by_projection(cloud((5,)), pixels, links, SIZE)
    assert pairs.dst.tolist() == [0, 2 * 96 - 1]
    assert counts["paired"] == 2


def test_cells_are_those_of_the_maps_coordinates():
    links, pixels, _ = batch()
    inside = ((links.pixel >= 0) & (links.pixel < torch.tensor([48.0, 32.0]))).all(1)
    links = links.filter(inside)
    pairs, _ = match_by_projection(cloud(), pixels, links, SIZE)
    # the centre of the cell is at most half a cell, 2 pixels, from the link
    centre = pixels.coord[pairs.dst]
    points = cloud()
    start = torch.tensor([0, 50, 50])[points.sample] + points.index
    nearest = [
        (links.pixel[(links.point == p) & (links.image == s)] - c).abs().amax(1).min()
        for p, s, c in zip(start[pairs.src], pixels.sample[pairs.dst], centre, strict=True)
    ]
    assert max(nearest) <= 2


def test_no_links_no_points_no_pixels():
    links, pixels, _ = batch()
    points = cloud()
    none = links.filter(torch.zeros(len(links), dtype=torch.bool))
    pairs, counts = match_by_projection(points, pixels, none, SIZE)
    assert len(pairs) == 0
    assert set(counts.values()) == {0}
    empty = Links.from_projections([], 0)
    nothing = PointSet.from_map({"f": torch.zeros(0, 1, *SHAPE)}, geometry=None, size=SIZE)
    bare = PointSet({}, torch.zeros(0, dtype=torch.int64), num_samples=1, index=torch.arange(0))
    assert len(match_by_projection(bare, nothing, empty, SIZE)[0]) == 0
    assert read_pixels(empty, SHAPE, SIZE).apply(torch.zeros(0, 3)).shape == (0, 3)


def test_sets_that_are_not_those_of_the_links_are_refused():
    links, pixels, _ = batch()
    points = cloud()
    cases = [
        (replace(points, index=None), pixels, "index", "renumber the links and give by='row'"),
        (points, pixels.select(torch.arange(96)), "index", "complete"),
        (points, pixels, "rows", "by must be"),
        (cloud((50, 30)), pixels, "index", "points of 2 scans"),
        (replace(points, index=points.index + 1), pixels, "index", "goes beyond"),
    ]
    for a, b, by, message in cases:
        with pytest.raises(ValueError, match=message):
            match_by_projection(a, b, links, SIZE, by=by)
    fewer = PointSet.from_map({"f": torch.zeros(2, 1, *SHAPE)}, geometry=None, size=SIZE)
    with pytest.raises(ValueError, match="2 pictures, links to 6"):
        match_by_projection(points, fewer, links, SIZE)


def inner(links):
    inside = ((links.pixel >= 0) & (links.pixel < torch.tensor([48.0, 32.0]))).all(1)
    return links.filter(inside)


def test_reading_agrees_with_grid_sample():
    links, _, features = batch()
    links = inner(links)
    rows = features.permute(0, 2, 3, 1).reshape(-1, 5)
    reading = read_pixels(links, SHAPE, SIZE)
    ours = reading.apply(rows)
    place = links.pixel / torch.tensor([48.0, 32.0]) * 2 - 1
    theirs = F.grid_sample(
        features[links.image], place[:, None, None], padding_mode="border", align_corners=False
    )[:, :, 0, 0]
    # bilinear weights in float32 on values of order one
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert bool(reading.covered(1e-5).all())


def test_reading_at_cell_centres_is_the_cell():
    features = torch.randn(2, 3, *SHAPE, dtype=torch.float64)
    pixels = PointSet.from_map({"f": features}, geometry=None, size=SIZE)
    links = Links(
        torch.arange(len(pixels)),
        pixels.sample,
        pixels.coord,
        torch.zeros(2).long(),
        (len(pixels),),
    )
    rows = pixels.fields["f"].requires_grad_()
    out = read_pixels(links, SHAPE, SIZE).apply(rows)
    assert torch.allclose(out, rows, atol=1e-6)
    out.sum().backward()
    assert torch.allclose(rows.grad, torch.ones_like(rows), atol=1e-5)


def test_reading_a_ramp_gives_the_position():
    # a map that holds its own cell centres is linear: bilinear reading gives the link back
    pixels = PointSet.from_map({"f": torch.zeros(6, 1, *SHAPE)}, geometry=None, size=SIZE)
    links = inner(batch()[0])
    at = read_pixels(links, SHAPE, SIZE).apply(pixels.coord)
    clamped = links.pixel.clamp(min=2.0).minimum(torch.tensor([46.0, 30.0]))
    assert torch.allclose(at, clamped, atol=1e-4)


def test_regions_are_read_at_the_pixel():
    links = inner(batch()[0])
    g = torch.Generator().manual_seed(3)
    maps = torch.randint(-1, 20, (6, *SIZE), generator=g)
    ids = read_regions(links, maps)
    for k, (image, (x, y)) in enumerate(
        zip(links.image.tolist(), links.pixel.tolist(), strict=True)
    ):
        assert ids[k] == maps[image, int(y), int(x)]
    assert (ids == -1).any()
    with pytest.raises(ValueError, match="outside"):
        read_regions(batch()[0], maps)
    with pytest.raises(ValueError, match="for 6 pictures"):
        read_regions(links, maps[:5])


def test_regions_of_the_batch_do_not_run_into_each_other():
    maps = torch.tensor([[[0, 1], [2, -1]], [[0, 0], [1, 2]]])
    assert number_regions(maps).tolist() == [[[0, 1], [2, -1]], [[3, 3], [4, 5]]]
    assert number_regions(maps, 150)[1].tolist() == [[150, 150], [151, 152]]
    with pytest.raises(ValueError, match="region id 2 in a picture of at most 2"):
        number_regions(maps, 2)
    assert number_regions(torch.zeros(0, 2, 2, dtype=torch.int64)).shape == (0, 2, 2)


def test_superpixels_pool_points_and_pixels_to_matching_rows():
    # three points in superpixels 0, 0 and 2 of one picture; superpixel 1 has no point
    points = PointSet(
        {"f": torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])}, torch.zeros(3).long(), num_samples=1
    )
    maps = torch.tensor([[[0, 0, 1], [2, 2, 1]]])
    links = Links(
        torch.arange(3),
        torch.zeros(3).long(),
        torch.tensor([[0.5, 0.5], [1.9, 0.1], [1.0, 1.5]]),
        torch.zeros(1).long(),
        (3,),
    )
    features = torch.tensor([[[1.0, 1, 9], [0, 0, 9]], [[0, 0, 9], [1, 1, 9]]])[None]
    pixels = PointSet.from_map(
        {"f": features}, geometry=None, size=(2, 3), maps={"superpixel": maps}
    )
    k = pool_points(points_at_links(points, links, {"superpixel": maps}), "superpixel")
    q = pool_points(pixels, "superpixel")
    assert k.regions["superpixel"].tolist() == [0, 2]
    assert torch.allclose(k.fields["f"], torch.tensor([[0.5, 0.5], [0.6, 0.8]]))
    pairs = match_by_region(k, q, region="superpixel")
    assert pairs.src.tolist() == [0, 1]
    assert torch.allclose(q.fields["f"][pairs.dst], torch.tensor([[1.0, 0], [0, 1]]))


def test_a_point_of_two_pictures_counts_in_both_superpixels():
    points = PointSet({"f": torch.eye(2)}, torch.zeros(2).long(), num_samples=1)
    links = Links(
        torch.tensor([0, 1, 0]),
        torch.tensor([0, 0, 1]),
        torch.full((3, 2), 0.5),
        torch.zeros(2).long(),
        (2,),
    )
    maps = torch.zeros(2, 1, 1, dtype=torch.int64)
    rows = points_at_links(points, links, {"superpixel": maps})
    assert rows.sample.tolist() == [0, 0, 1]
    pooled = pool_points(rows, "superpixel")
    assert pooled.fields["f"].tolist() == [[0.5, 0.5], [1, 0]]
    assert pooled.sample.tolist() == [0, 1]


def test_pixels_by_scan_share_their_samples_with_the_points():
    links, pixels, _ = batch()
    scans = by_scan(pixels, links)
    assert scans.num_samples == 3
    assert torch.equal(scans.sample, torch.tensor([0, 0, 1, 2, 2, 2]).repeat_interleave(96))
    assert torch.equal(scans.fields["f"], pixels.fields["f"])


def test_from_camera_to_feature_map_and_back():
    # crop, mirror, collate, features, pairs: the pair's cell shows the point's camera pixel
    g = torch.Generator().manual_seed(0)
    image = torch.zeros(90, 160, 3, dtype=torch.uint8).numpy()
    items, places = [], []
    for source in range(2):
        places.append(torch.rand(300, 2, generator=g) * torch.tensor([160.0, 90.0]))
        links = Links(
            torch.arange(300),
            torch.arange(300) % 2,
            places[-1],
            torch.zeros(2).long(),
            (300,),
        )
        generator = PictureGenerator((48, 80), min_links=20)
        items.append(generator([Frame(image)] * 2, links, epoch=0, source=source))
    pictures = PictureBatch.collate(items)
    pixels = PointSet.from_view({"f": torch.zeros(4, 1, 12, 20)}, pictures.views)
    points = PointSet(
        {},
        torch.arange(2).repeat_interleave(300),
        num_samples=2,
        index=torch.arange(300).repeat(2),
    )
    pairs, counts = match_by_projection(points, pixels, pictures.links, (48, 80))
    assert counts["paired"] == len(pictures.links) > 100
    at = torch.cat(places)[pairs.src]
    # a cell is 4 view pixels; in the camera its half edges are as long as these
    half = pixels.cell[pairs.dst].abs().sum(1) / 2
    assert bool(((pixels.coord[pairs.dst] - at).abs() <= half + 1e-3).all())
