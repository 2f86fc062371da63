"""Points and the cells that show them, against loops, and a picture network that is linear."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from densecl.diagnostics.ridge import fit_ridge
from densecl.errors import UsageError
from densecl.models import ResNet
from densecl.transfer.cells import digest
from densecl.transfer.protocol_file import check_protocol
from pointcl.data.base import ScanDataset
from pointcl.data.scan import Scan
from pointcl.registry import DATASETS
from pointcl.sensors.camera import Camera
from pointcl.sensors.occlusion import Occlusion
from pointcl.sensors.projection import project
from pointcl.transfer.clouds import voxeliser_of
from pointcl.transfer.controls import POINTWISE, pointwise_row
from pointcl.transfer.image_correspondence import PicturedScans, PictureReader, shown_points
from pointcl.transfer.image_correspondence_task import ImageCorrespondenceSpec
from pointcl.transfer.initialisation import random_backbone
from pointcl.transfer.of_scans import SCANS
from pointcl.transfer.point_rows import voxels_of
from pointcl.views.links import Links

CELL, ROWS, COLUMNS = 8, 4, 6
SIZE = (CELL * ROWS, CELL * COLUMNS)
K = np.array([[40.0, 0, SIZE[1] / 2], [0, 40.0, SIZE[0] / 2], [0, 0, 1]])
MOUNT = np.eye(4)
MOUNT[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # right, down, forward -> x, y, z
MOUNT[2, 3] = 0.5
UNET = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 4}
TEACHER = {"type": "ResNet", "depth": 18, "width": 4}


def colours(seed=0):
    """(ROWS * COLUMNS, 3) uint8 of one length, far apart."""
    x = np.random.default_rng(seed).uniform(0.1, 1, (4000, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept = [0]
    while len(kept) < ROWS * COLUMNS:
        kept.append(int((x @ x[kept].T).max(1).argmin()))
    return np.round(x[kept] * 250).astype(np.uint8)


@DATASETS.register_module(force=True)
class Boards(ScanDataset):
    """A camera before a board of coloured cells; points on it have the colour of their cell.

    Args:
        length: scans.
        jitter: pixels off the centre of a cell, at most.
        each: points of a cell.
        mixed: points have the colour of another cell, another one in each scan.
        cameras: 0 to 2, of which the second sees the board mirrored.
        count: bare points far behind the camera.
    """

    def __init__(self, length=2, jitter=0.0, each=2, mixed=False, cameras=1, count=0):
        super().__init__([f"drive{k}" for k in range(length)])
        self.jitter, self.each, self.mixed = jitter, each, mixed
        self.cameras, self.count = cameras, count

    def name(self, index):
        return f"board{index}"

    def fingerprint(self):
        return repr((len(self), self.jitter, self.each, self.mixed, self.cameras, self.count))

    def load(self, index):
        random = np.random.default_rng((index, 4))
        cell = np.repeat(random.permutation(ROWS * COLUMNS), self.each)
        own = colours()
        picture = own[random.permutation(ROWS * COLUMNS)]
        image = cv2.resize(
            picture.reshape(ROWS, COLUMNS, 3), SIZE[::-1], interpolation=cv2.INTER_NEAREST
        )
        centre = (np.stack([cell % COLUMNS, cell // COLUMNS], 1) + 0.5) * CELL
        pixel = centre + random.uniform(-1, 1, centre.shape) * self.jitter
        ray = np.c_[pixel, np.ones(len(pixel))] @ np.linalg.inv(K).T
        points = (ray * 20.0) @ MOUNT[:3, :3].T + MOUNT[:3, 3]
        behind = random.uniform(-60, -40, (self.count, 3))
        colour = picture[random.permutation(ROWS * COLUMNS)[cell] if self.mixed else cell]
        colour = np.concatenate([colour, random.integers(0, 255, (self.count, 3), np.uint8)])
        cameras = tuple(
            Camera(f"camera{k}", (lambda k=k: image[:, ::-1] if k else image), SIZE, K, MOUNT)
            for k in range(self.cameras)
        )
        return Scan(
            np.concatenate([points, behind]).astype(np.float32),
            index,
            self.name(index),
            colour=colour.astype(np.uint8),
            intensity=random.random(len(colour)).astype(np.float32),
            sequence=self.sequences[index],
            cameras=cameras,
        )


class Averages(nn.Module):
    """A picture network whose features are the mean colours of cells: linear in what is shown."""

    input, stride, hash = ("RGB", (0.0,) * 3, (255.0,) * 3), CELL, "averages"

    def forward(self, images):
        return nn.functional.avg_pool2d(images, CELL)


def spec(features=("colour",), backbone=None, **settings):
    channels = sum({"colour": 3, "intensity": 1, "xyz": 3, "ones": 1}[f] for f in features)
    voxels = {
        "size": [0.01] * 3,
        "kind": "cartesian",
        "low": None,
        "high": None,
        "features": list(features),
        "representative": "first",
    }
    own = {"type": "Pointwise", "in_channels": channels, "width": None}
    given = {"teacher": "random", "teacher_backbone": TEACHER, "teacher_stride": CELL}
    return ImageCorrespondenceSpec(
        backbone or own, voxels, **{"mode": "nearest", **given, **settings}
    )


@pytest.fixture
def averages(monkeypatch):
    """Runs look at ``Averages``."""
    module = "pointcl.transfer.image_correspondence_task"
    monkeypatch.setattr(f"{module}.open_teacher", lambda *_: Averages())


def scored(run, train, judged):
    return run.run(None, run.select(train), run.select(judged), seed=0, device="cpu")[0]


def test_points_whose_features_lead_linearly_to_the_picture_find_their_cell(averages):
    run = spec(decay=1e-6)
    result = scored(run, Boards(3), Boards(4, jitter=3.4))
    assert result["recall_1"] == result["recall_2"] == 1
    assert result["points"] == 4 * ROWS * COLUMNS * 2
    assert set(result["items"]) == {f"board{k}" for k in range(4)}
    assert {"seconds", "feature_difference", "diverged"} <= set(result)
    assert "still_1" not in result
    mixed = scored(run, Boards(3, mixed=True), Boards(4, jitter=3.4, mixed=True))
    assert mixed["recall_1"] < 0.4


def test_chance_is_the_share_of_cells_about_the_place(averages):
    result = scored(spec(), Boards(1), Boards(1, each=1))
    cells = np.stack(np.meshgrid(np.arange(COLUMNS), np.arange(ROWS)), -1).reshape(-1, 2)
    away = np.linalg.norm(cells[:, None] - cells[None], axis=2)
    assert result["chance_1"] == pytest.approx((away <= 1).mean())
    assert result["chance_2"] == pytest.approx((away <= 2).mean())


def test_a_kept_run_scores_as_it_did(averages):
    run = spec(("colour", "intensity"), UNET, mode="trilinear")
    scans = run.select(Boards(2))
    result, mapped = run.run(None, scans, scans, seed=0, device="cpu")
    again = run.restore(mapped.state_dict(), None, seed=0, device="cpu")
    assert run.score(again, scans, "cpu")["items"] == result["items"]


def test_the_map_is_the_ridge_of_all_readings(averages):
    """Rebuilt from the pictures, without the reader."""
    run = spec(("colour", "intensity"), decay=0.3)
    data = Boards(2, jitter=3.0)
    mapped = run.fit(random_backbone(run.backbone, 0), run.select(data), 0, "cpu")
    rows, targets = [], []
    for index in range(2):
        scan = data[index]
        image = scan.cameras[0].image()[::CELL, ::CELL] / 255.0
        pixel = project(scan, scan.cameras[0], border=0.5, occlusion=Occlusion()).pixel
        for point in range(len(scan)):
            x, y = np.clip(pixel[point] / CELL - 0.5, 0, [COLUMNS - 1, ROWS - 1])
            left, top = min(int(x), COLUMNS - 2), min(int(y), ROWS - 2)
            a, b = x - left, y - top
            read = (1 - b) * ((1 - a) * image[top, left] + a * image[top, left + 1]) + b * (
                (1 - a) * image[top + 1, left] + a * image[top + 1, left + 1]
            )
            targets.append(read / np.linalg.norm(read))
            rows.append([*scan.colour[point] / 255.0, scan.intensity[point]])
    rows, targets = np.array(rows), np.array(targets)
    mean, std = rows.mean(0), rows.std(0)
    weight, bias = fit_ridge(torch.from_numpy((rows - mean) / std), torch.from_numpy(targets), 0.3)
    # features and pictures are single precision
    torch.testing.assert_close(mapped.readout.weight, weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mapped.readout.bias, bias, atol=1e-5, rtol=1e-4)
    found = mapped(torch.from_numpy(rows[:1]))
    expected = (rows[:1] - mean) / std @ weight.numpy().T + bias.numpy()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_places_are_in_cells_and_readings_are_unit_rows():
    random = np.random.default_rng(0)
    features = torch.from_numpy(random.normal(size=(5, 3, 4))).float()
    pixel = torch.tensor([[5.0, 5.0], [39.9, 29.9], [12.5, 20.0]])
    links = Links(
        torch.tensor([4, 0, 2]), torch.zeros(3, dtype=torch.int64), pixel, torch.tensor([0]), (6,)
    )
    shown = shown_points(links, features, (30, 40))
    assert shown.row.tolist() == [4, 0, 2]
    np.testing.assert_allclose(shown.place, [[0, 0], [3.49, 2.49], [0.75, 1.5]], atol=1e-6)
    torch.testing.assert_close(shown.read.norm(dim=1), torch.ones(3))
    corner = features[:, 2, 3] / features[:, 2, 3].norm()
    torch.testing.assert_close(shown.read[1], corner)
    mixed = features[:, 1:3, :2].mean(1) @ torch.tensor([0.25, 0.75])
    torch.testing.assert_close(shown.read[2], mixed / mixed.norm())


def reader(**options):
    return PictureReader(Averages(), **options)


def test_points_that_are_asked_are_those_the_camera_sees():
    data = Boards(1, each=3, jitter=3.0, count=20)
    scan = data[0]
    ahead = scan.points[:10] * np.float32(0.4)  # hides what lies behind
    scan = replace(
        scan,
        points=np.concatenate([scan.points, ahead]).astype(np.float32),
        colour=None,
        intensity=None,
    )
    scan.points[[0, 7]] = np.nan  # no return: the cloud has fewer rows than the scan
    batch = voxels_of(scan, voxeliser_of(spec(("ones",)).voxels))
    seen = project(scan, scan.cameras[0], border=0.5, occlusion=Occlusion())
    (shown,) = reader()(scan, batch, 1000, 0)
    assert batch.cloud.index[shown.row].tolist() == np.flatnonzero(seen.kept).tolist()
    pixel = (shown.place.numpy() + 0.5) * CELL
    np.testing.assert_allclose(pixel, seen.pixel[seen.kept], atol=1e-4)
    (all_of_them,) = reader(occlusion=False)(scan, batch, 1000, 0)
    assert len(all_of_them.row) > len(shown.row)
    halved = next(iter(reader(size=(SIZE[0] // 2, SIZE[1] // 2))(scan, batch, 1000, 0)))
    assert halved.features.shape[1:] == (ROWS // 2, COLUMNS // 2)
    np.testing.assert_allclose((halved.place.numpy() + 0.5) * 2 * CELL, pixel, atol=1e-3)


def test_the_draw_is_bounded_seeded_and_even_over_the_pictures():
    scan = Boards(1, each=3, cameras=2)[0]
    batch = voxels_of(scan, voxeliser_of(spec(("ones",)).voxels))
    pictures = list(reader()(scan, batch, 20, 0))
    assert [len(shown.row) for shown in pictures] == [10, 10]
    again = list(reader()(scan, batch, 20, 0))
    other = list(reader()(scan, batch, 20, 1))
    assert all(torch.equal(a.row, b.row) for a, b in zip(pictures, again, strict=True))
    assert not torch.equal(pictures[0].row, other[0].row)
    torch.testing.assert_close(pictures[1].features, pictures[0].features.flip(2))
    (second,) = reader(cameras=("camera1",))(scan, batch, 20, 0)
    torch.testing.assert_close(second.features, pictures[1].features)


def test_voxels_go_through_the_network_once_however_many_pictures_there_are(averages):
    run = spec(("colour", "intensity"), UNET)
    result = scored(run, Boards(1), Boards(2, cameras=2))
    assert result["points"] == 2 * 2 * ROWS * COLUMNS * 2
    assert len(result["items"]) == 2


def test_with_many_training_scans_each_gives_fewer_points(averages, monkeypatch):
    asked = []
    real = PictureReader.__call__

    def counted(self, scan, batch, most, draw):
        asked.append(most)
        return real(self, scan, batch, most, draw)

    monkeypatch.setattr(PictureReader, "__call__", counted)
    scored(spec(points=30, max_points=40), Boards(4), Boards(1))
    assert asked == [10, 10, 10, 10, 30]


def test_scans_without_pictures_are_refused(averages):
    with pytest.raises(UsageError, match="no scan with pictures"):
        PicturedScans(Boards(1, cameras=0))[0]
    with pytest.raises(UsageError, match="shows in a picture"):
        scored(spec(("ones",)), Nowhere(1), Boards(1))
    with pytest.raises(UsageError, match="shows in a picture"):
        scored(spec(("ones",)), Boards(1), Nowhere(1))


class Nowhere(Boards):
    """Scans of which the camera sees nothing."""

    def load(self, index):
        scan = super().load(index)
        return replace(scan, points=-scan.points)


def teacher_file(path, seed=0):
    """A file of torchvision's names."""
    torch.manual_seed(seed)
    path.parent.mkdir(exist_ok=True)
    state = dict(ResNet(depth=18, width=4).state_dict())
    torch.save({**state, "fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}, path)
    return str(path)


def test_the_teacher_counts_by_content_and_not_by_path(tmp_path):
    bare = {"teacher_backbone": None, "teacher_stride": 8}
    here, there = teacher_file(tmp_path / "a" / "x.pth"), teacher_file(tmp_path / "b" / "y.pth")
    other = teacher_file(tmp_path / "c" / "x.pth", seed=1)
    data = {part: {"type": "Boards", "length": 2} for part in ("train", "val")}
    protocols = [
        check_protocol(
            "toy", {"data": data, "image_correspondence": {"teacher": file, **bare}}, kind=SCANS
        )
        for file in (here, there, other)
    ]
    known = {"backbone": dict(UNET), "voxels": spec().voxels}
    tasks = [SCANS.task_for(protocol, known, 0, "cpu") for protocol in protocols]
    one, same, different = (digest(task.to_dict()) for task in tasks)
    assert one == same != different
    opened = {part: protocols[0].dataset(part) for part in ("train", "val")}
    one, same, different = (
        protocol.identity(task, opened) for protocol, task in zip(protocols, tasks, strict=True)
    )
    assert one.hash == same.hash != different.hash
    assert one.differences(different) == ["settings.teacher.sha256"]
    assert str(tmp_path) not in repr(one.to_dict())
    coarser = replace(tasks[0], teacher_stride=16)
    assert digest(coarser.to_dict()) != digest(tasks[0].to_dict())
    assert digest(replace(tasks[0], teacher_stride=None).to_dict()) == digest(
        replace(tasks[0], teacher_stride=32).to_dict()
    )


def test_a_random_teacher_is_that_of_the_draw():
    torch.manual_seed(1)
    first = spec().to_dict()
    state = torch.get_rng_state()
    again = spec().to_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert digest(first) == digest(again)
    assert spec(draw=1).to_dict()["teacher"] != first["teacher"]


@pytest.mark.parametrize(("given", "said"), [("no/such.pth", "no/such.pth"), ("", "not given")])
def test_a_missing_teacher_is_refused_when_the_run_is_made(given, said):
    section = {"teacher": given, "teacher_stride": 8}
    data = {part: {"type": "Boards"} for part in ("train", "val")}
    protocol = check_protocol("toy", {"data": data, "image_correspondence": section}, kind=SCANS)
    known = {"backbone": dict(UNET), "voxels": spec().voxels}
    with pytest.raises(UsageError, match=said) as caught:
        SCANS.task_for(protocol, known, 0, "cpu")
    assert "image_correspondence.teacher=FILE" in caught.value.fix


def test_training_scans_are_needed_but_no_classes_of_them():
    section = {"teacher": "random", "teacher_backbone": TEACHER}
    data = {"val": {"type": "Boards"}}
    known = {"backbone": dict(UNET), "voxels": spec().voxels}
    protocol = check_protocol("toy", {"data": data, "image_correspondence": section}, kind=SCANS)
    with pytest.raises(UsageError, match=r"data\.train is missing"):
        SCANS.task_for(protocol, known, 0, "cpu")
    data["train"] = data["val"]
    protocol = check_protocol("toy", {"data": data, "image_correspondence": section}, kind=SCANS)
    assert SCANS.task_for(protocol, known, 0, "cpu").opened.stride == 32
    assert not protocol.learns


def test_a_teacher_whose_input_nobody_tells_is_refused(monkeypatch):
    silent = SimpleNamespace(input=None, path="weights.pth")
    module = "pointcl.transfer.image_correspondence_task"
    monkeypatch.setattr(f"{module}.open_teacher", lambda *_: silent)
    with pytest.raises(UsageError, match=r"weights\.pth does not say how its input") as caught:
        spec()
    assert "densecl.weights.export" in caught.value.fix


@pytest.mark.parametrize("settings", [{"points": 0}, {"max_points": 0}, {"decay": 0.0}])
def test_settings_out_of_range_are_refused(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=rf"image_correspondence\.{name}"):
        spec(**settings)


def test_coordinates_and_intensity_are_a_row(averages):
    row = SCANS.control("points", spec(), Boards(1))
    assert row.name == POINTWISE
    result = scored(pointwise_row(spec(), True).task, Boards(2), Boards(1))
    assert 0 <= result["recall_1"] <= result["recall_2"] <= 1


def test_protocol_files_know_the_section():
    run = SCANS.runs["image_correspondence"]
    assert run.settings() is ImageCorrespondenceSpec
    assert run.fields() == {
        "teacher", "teacher_backbone", "teacher_stride", "size", "cameras", "occlusion", "strides",
        "mode", "points", "max_points", "decay", "draw",
    }  # fmt: skip
    assert (run.rate, run.learns) == ("", False)
