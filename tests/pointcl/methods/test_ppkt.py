from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from camera_worlds import batch_of, build

from densecl.errors import UsageError
from pointcl.methods import PPKT
from pointcl.methods.ppkt import some_of
from pointcl.pairs.projection import read_pixels


def at_centres(batch):
    """The same batch with every link at the centre of the pixel in which it lies."""
    links = batch.pictures.links
    return replace(
        batch,
        pictures=replace(batch.pictures, links=replace(links, pixel=links.pixel.floor() + 0.5)),
    )


@pytest.mark.parametrize("align_corners", [True, False])
def test_it_is_the_loop_over_points_and_their_pixels_of_the_enlarged_maps(align_corners):
    batch = at_centres(batch_of([0, 1], double=True))
    method = build(PPKT, align_corners=align_corners).double().eval()
    pictures, links = batch.pictures.views, batch.pictures.links
    with torch.no_grad():
        output = method(batch)
        voxels = method.online["head"](method.encode(batch.views[0]).maps[1].features)
        maps = method.online["picture_head"](method.teacher(pictures.image))
        maps = F.interpolate(maps, pictures.size, mode="bilinear", align_corners=align_corners)
    voxels, maps = F.normalize(voxels, dim=1), F.normalize(maps, dim=1)
    query, key = [], []
    for point, image, (x, y) in zip(links.point, links.image, links.pixel.tolist(), strict=True):
        query.append(voxels[int(batch.views[0].voxels.point_to_voxel[point])])
        key.append(maps[int(image), :, int(y), int(x)])
    total = 0.0
    for i, row in enumerate(query):
        scores = [float(row @ other) / 0.07 for other in key]
        total += math.log(sum(map(math.exp, scores))) - scores[i]
    assert len(query) > 100
    assert output.losses["pixels"].item() == pytest.approx(total / len(query), rel=1e-6)
    assert len(output.pairs) == len(query)


def test_reading_with_aligned_corners_is_that_of_an_enlarged_map():
    batch = at_centres(batch_of([0, 1]))
    links, size = batch.pictures.links, batch.pictures.views.size
    maps = torch.randn(links.num_images, 3, 4, 6)
    whole = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    reading = read_pixels(links, (4, 6), size, align_corners=True)
    found = reading.apply(maps.permute(0, 2, 3, 1).flatten(0, 2))
    x, y = links.pixel.long().unbind(1)
    torch.testing.assert_close(found, whole[links.image, :, y, x], rtol=1e-5, atol=1e-5)
    # the same map with cells that tile the picture is another one
    tiled = read_pixels(links, (4, 6), size).apply(maps.permute(0, 2, 3, 1).flatten(0, 2))
    assert (tiled - found).abs().max() > 0.1
    single = read_pixels(links, (1, 1), size, align_corners=True)
    assert torch.equal(single.apply(maps[:, :, 0, 0]), maps[links.image, :, 0, 0])


def test_some_links_are_drawn_from_those_of_the_whole_batch():
    batch = batch_of([0, 1])
    links = batch.pictures.links
    torch.manual_seed(0)
    chosen = some_of(links, 40)
    assert len(chosen) == 40
    every = set(zip(links.point.tolist(), links.image.tolist(), strict=True))
    drawn = list(zip(chosen.point.tolist(), chosen.image.tolist(), strict=True))
    assert len(set(drawn)) == 40  # none twice
    assert set(drawn) <= every
    assert set(chosen.image.tolist()) == set(links.image.tolist())
    assert torch.equal(some_of(links, 10**6).pixel, links.pixel)
    output = build(PPKT, max_pairs=40)(batch)
    assert len(output.rows) == 40
    assert output.telemetry["pairs_per_scan"] == 20
    assert output.telemetry["links_per_scan"] == len(links) / 2


def test_shuffled_pairs_meet_strangers():
    batch = batch_of([0, 1])
    torch.manual_seed(0)
    right = build(PPKT).eval()(batch).telemetry
    torch.manual_seed(0)
    wrong = build(PPKT, shuffle_pairs=True).eval()(batch).telemetry
    assert float(wrong["negative_similarity"]) == pytest.approx(
        float(right["negative_similarity"]), rel=1e-4
    )
    assert float(wrong["positive_similarity"]) != pytest.approx(
        float(right["positive_similarity"]), rel=1e-4
    )


def test_voxels_are_counted_with_the_pixels_that_show_them():
    batch = batch_of([0, 1])
    points, pixels, pairs = build(PPKT).positives(batch)
    links, voxels = batch.pictures.links, batch.views[0].voxels
    height, width = batch.pictures.views.size
    expected = set()
    for point, image, (x, y) in zip(links.point, links.image, links.pixel.tolist(), strict=True):
        row = (int(image) * height + int(y)) * width + int(x)
        expected.add((int(voxels.point_to_voxel[point]), row))
    assert set(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True)) == expected
    assert len(pixels) == links.num_images * height * width
    assert len(points) == len(voxels.tensor.features)


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="max_pairs"):
        build(PPKT, max_pairs=0)
