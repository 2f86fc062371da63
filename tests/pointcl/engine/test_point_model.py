"""What stands between the loader and a point method: devices, and pictures where it takes some."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, Rooms, config

from densecl.engine.check import complete
from densecl.views.geometry import Affine
from densecl.views.view import View, ViewBatch
from pointcl.engine.domain import POINTS
from pointcl.methods import PointContrast
from pointcl.sparse import VoxelGrid
from pointcl.views import (
    CloudViewGenerator,
    Links,
    PictureBatch,
    PointBatch,
    Voxeliser,
    VoxelViews,
)


class WithPictures(PointContrast):
    takes_pictures = True

    def forward(self, batch):
        self.seen = batch
        return super().forward(batch)


@pytest.fixture
def batch():
    views = VoxelViews(CloudViewGenerator("pointcontrast"), Voxeliser(VoxelGrid(0.5)))
    made = views.collate([views(Rooms(2)[k], 0) for k in range(2)])
    whole = Affine.from_crop((0, 0, 8, 6), (6, 8))
    pictures = [
        View(torch.full((3, 6, 8), 100 + k, dtype=torch.uint8), whole, k, (6, 8)) for k in range(2)
    ]
    links = Links(
        torch.tensor([0, 5]),
        torch.tensor([0, 1]),
        torch.zeros(2, 2),
        torch.arange(2),
        made.views[0].cloud.counts,
    )
    return PointBatch(made.views, PictureBatch(ViewBatch.collate(pictures), links))


def model_of(cls):
    sections = complete(config(input={"mean": (90.0,) * 3, "std": (5.0,) * 3}), POINTS)
    torch.manual_seed(0)
    return POINTS.build_model(cls(dict(UNET)), sections)


def test_pictures_arrive_normalised_and_clouds_as_they_were(batch):
    model = model_of(WithPictures)
    output = model(batch)
    image = model.method.seen.pictures.views.image
    torch.testing.assert_close(image[:, 0, 0, 0], torch.tensor([2.0, 2.2]))
    assert model.method.seen.pictures.links.point.tolist() == [0, 5]
    assert torch.equal(model.method.seen.views[0].cloud.points, batch.views[0].cloud.points)
    assert len(output.pairs) > 0


def test_a_method_that_takes_no_pictures_has_no_normalisation(batch):
    model = model_of(PointContrast)
    assert model.norm is None
    assert model.prepare(PointBatch(batch.views)).pictures is None


def test_a_batch_counts_its_scans(batch):
    model = model_of(PointContrast)
    assert model.batch_size(batch) == len(batch) == len(batch.views[0]) == 2
    assert model.sample == "scan"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_batch_trains_on_a_gpu_as_on_the_cpu(batch):
    cpu, gpu = model_of(PointContrast).eval(), model_of(PointContrast).eval().to("cuda")
    for model in (cpu, gpu):
        model.method.max_pairs = 10**6
        model.method.match = "points"
    assert gpu.prepare(batch).views[0].voxels.tensor.device.type == "cuda"
    rows = [m.method.embed(m.prepare(batch).views[0]).fields["loss"].cpu() for m in (cpu, gpu)]
    # float32 sums in another order.
    torch.testing.assert_close(rows[1], rows[0], rtol=1e-3, atol=1e-4)
