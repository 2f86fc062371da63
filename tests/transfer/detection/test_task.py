"""Detection as a run of a table."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from boxed_squares import Squares, boxed

pytest.importorskip("mmdet", reason="mmdetection is not installed")

from densecl.errors import UsageError
from densecl.models.build import build_backbone
from densecl.transfer import Protocol, RowSpec, run_table
from densecl.transfer.detection import finetuning
from densecl.transfer.detection.average_precision import average_precision
from densecl.transfer.of_images import PICTURES
from densecl.transfer.subsets import Subset, draw_for


def toy_weights(spec, seed=0):
    torch.manual_seed(seed)
    return build_backbone(spec.backbone).state_dict()


@pytest.fixture(scope="module")
def data():
    return Squares(12), Squares(6, seed=1)


@pytest.mark.parametrize("detector", ["fcos", "faster-rcnn"])
def test_a_detector_finds_the_squares(spec, data, detector):
    spec = replace(spec, detector=detector)
    train, val = (spec.select(each) for each in data)
    result, trained = spec.run(None, train, val, seed=0, device="cpu")
    assert result["ap50"] > 0.4
    assert result["ap50"] >= result["ap"] > 0.1
    assert not trained.training
    assert not result["diverged"]
    losses = result["curves"]["training loss"]["y"]
    assert losses[-1] < 0.75 * losses[0]
    json.dumps(result, allow_nan=False)


def test_one_run(spec, data):
    train, val = (spec.select(each) for each in data)
    spec = replace(spec, detector="fcos", steps=6)
    init = toy_weights(spec)
    result, trained = spec.run(init, train, val, seed=1, device="cpu")
    again, _ = spec.run(init, train, val, seed=1, device="cpu")
    assert {k: v for k, v in result.items() if k != "seconds"} == {
        k: v for k, v in again.items() if k != "seconds"
    }
    other, _ = spec.run(init, train, val, seed=2, device="cpu")
    assert other["curves"] != result["curves"]
    assert result["feature_difference"] < 1e-4
    assert set(result["items"]) == {val.name(k) for k in range(6)}
    assert set(result["items"][val.name(0)]) == {"ap", "ap50", "ap75"}
    assert result.keys() >= {column.key for column in spec.columns}

    restored = spec.restore(trained.state_dict(), init, seed=1, device="cpu")
    scores = spec.score(restored, val, "cpu")
    for key in ("ap", "ap50", "ap75", "ap_per_class", "items"):
        assert scores[key] == result[key]


def test_rows_of_a_pair_start_with_the_same_heads(spec):
    first, _ = finetuning.build_started(spec, None, 3)
    second, _ = finetuning.build_started(spec, toy_weights(spec), 3)
    theirs = second.state_dict()
    for name, value in first.state_dict().items():
        if not name.startswith("backbone."):
            assert torch.equal(value, theirs[name]), name
    assert not torch.equal(
        first.state_dict()["backbone.conv1.weight"], theirs["backbone.conv1.weight"]
    )
    third, _ = finetuning.build_started(spec, None, 4)
    assert not torch.equal(
        first.state_dict()["bbox_head.retina_cls.weight"],
        third.state_dict()["bbox_head.retina_cls.weight"],
    )


def test_the_outer_random_state_is_kept_and_not_read(spec, data):
    spec = replace(spec, detector="faster-rcnn", steps=2, curve_every=1)
    train, val = spec.select(data[0]), spec.select(data[1], [0])
    curves = []
    for outer in (7, 8):
        torch.manual_seed(outer)
        expected = torch.rand(1)
        torch.manual_seed(outer)
        # it samples anchors at random
        result, _ = spec.run(None, train, val, seed=0, device="cpu")
        assert torch.equal(torch.rand(1), expected)
        curves.append(result["curves"])
    assert curves[0] == curves[1]


def test_a_run_that_diverges_scores_zero(spec, data):
    train, val = (spec.select(each) for each in data)
    spec = replace(spec, detector="fcos", steps=4, optimizer="sgd", lr=1e30, grad_clip=None)
    result, _ = spec.run(None, train, val, seed=0, device="cpu")
    assert result["diverged"]
    assert [result[column.key] for column in spec.columns] == [0.0, 0.0, 0.0]
    json.dumps(result, allow_nan=False)


def test_predictions_are_in_the_images_own_pixels(spec, data):
    """The same detector on an image and on its copy of twice the size that is resized back."""
    spec = replace(spec, detector="fcos", steps=25)
    train, val = (spec.select(each) for each in data)
    _, detector = spec.run(None, train, val, seed=0, device="cpu")

    class Doubled(Squares):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            image = item.image.repeat(2, axis=0).repeat(2, axis=1)
            return replace(item, image=image, boxes=item.boxes * 2, area=item.area * 4)

    cpu = torch.device("cpu")
    plain = finetuning.predict(detector, spec, val, cpu)
    doubled = replace(spec, resize=(64, 64))
    large = finetuning.predict(detector, doubled, doubled.select(Doubled(6, seed=1)), cpu)
    truth = [finetuning.truth_of(val[k]) for k in range(6)]
    halved = [replace(each, boxes=each.boxes / 2) for each in large]
    score = average_precision(truth, plain, 2).ap(0.5)
    assert score > 0.3
    # the copy is a little smoother once it is shrunk again
    assert average_precision(truth, halved, 2).ap(0.5) == pytest.approx(score, abs=0.15)


def test_images_of_several_sizes_are_scored(spec):
    class Mixed(Squares):
        def __getitem__(self, index):
            self.size = ((64, 64), (50, 70))[index % 2]
            return super().__getitem__(index)

    spec = replace(spec, detector="fcos")
    detector, _ = finetuning.build_started(spec, None, 0)
    found = finetuning.predict(detector, spec, spec.select(Mixed(5)), torch.device("cpu"))
    assert len(found) == 5
    for number, each in enumerate(found):
        height, width = ((64, 64), (50, 70))[number % 2]
        assert (each.boxes <= np.array([width, height, width, height])).all()


def test_nothing_to_find_is_refused(spec):
    class Empty(Squares):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return replace(item, ignore=np.ones(len(item.boxes), bool))

    detector, _ = finetuning.build_started(spec, None, 0)
    with pytest.raises(UsageError, match="no box that is to be found"):
        spec.score(detector, spec.select(Empty(2)), "cpu")


def test_an_ignored_box_is_no_background(spec):
    from densecl.transfer.detection.detectors import detection_loss

    network, _ = finetuning.build_started(spec, None, 0)
    network.train(True)
    torch.nn.init.zeros_(network.bbox_head.retina_cls.bias)  # background is not yet expected
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    boxes, black = [[0, 0, 16, 16], [0, 16, 64, 64]], np.zeros((64, 64, 3), np.uint8)
    alone = boxed(black, boxes[:1], [0])
    beside = boxed(black, boxes, [0, 1], ignore=np.array([False, True]))
    crowd = boxed(black, boxes, [0, 1], crowd=np.array([False, True]))
    nothing, only = boxed(black, [], []), boxed(black, boxes[1:], [1], ignore=np.ones(1, bool))
    losses = []
    for each in (alone, beside, crowd, nothing, only):
        sample = finetuning.sample_of((64, 64), each)
        losses.append(detection_loss(network, image, [sample]).item())
    # three quarters of the anchors, all background, are left out
    assert losses[1] < 0.8 * losses[0]
    assert losses[2] == losses[1]
    assert losses[4] < 0.8 * losses[3]


@pytest.mark.parametrize("detector", ["retinanet", "fcos", "faster-rcnn"])
def test_images_without_a_box_have_a_loss_with_a_gradient(spec, detector):
    from densecl.transfer.detection.detectors import detection_loss

    network, _ = finetuning.build_started(replace(spec, detector=detector), None, 0)
    network.train(True)
    black = np.zeros((64, 64, 3), np.uint8)
    ignored = boxed(black, [[0, 0, 64, 64]], [0], ignore=np.ones(1, bool))
    items = [boxed(black, [], []), ignored]
    samples = [finetuning.sample_of((64, 64), item) for item in items]
    loss = detection_loss(network, torch.randn(2, 3, 64, 64), samples)
    loss.backward()
    assert torch.isfinite(loss)
    assert network.backbone.conv1.weight.grad.isfinite().all()


def test_pictures(spec, data):
    val = spec.select(data[1])
    rows = {name: finetuning.build_started(spec, None, k)[0] for k, name in enumerate("ab")}
    (name, sheet), *more = spec.pictures(rows, val, "cpu").items()
    assert name == "detections"
    assert not more
    assert sheet.dtype == np.uint8
    # truth and two rows, four lines
    assert sheet.shape[1] == 3 * 240 + 2 * 4
    assert sheet.shape[0] > 4 * 240


def test_a_table_of_the_streets(spec, tmp_path):
    from densecl.data import StreetsBoxes

    train, val = (StreetsBoxes(split, length=6, side=6, cache=False) for split in ("train", "val"))
    spec = replace(spec, detector="fcos", num_classes=3, steps=2, crop=(64, 64), batch_size=2)
    protocol = Protocol(spec, (1e-3, 3e-3), selection="first", pairing="zip")
    subsets = draw_for(train, [0.5], [0, 1])[0.5]
    rows = [RowSpec("scratch"), RowSpec("toy", lambda seed: toy_weights(spec, seed))]
    table = run_table(
        rows, protocol, subsets, [0, 1], tmp_path, train=train, val=val, log=lambda line: None
    )
    assert table.complete
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["complete"]
    text = (tmp_path / "table.md").read_text()
    assert "AP50" in text
    assert "mIoU" not in text
    assert json.loads((tmp_path / "items.json").read_text())["rows"].keys() == {"scratch", "toy"}
    for row in table.rows:
        assert len(row.scores) == 2
        assert row.feature_difference < 1e-4


def test_operations_of_a_step_grow_with_the_batch(spec):
    one = finetuning.step_flops(spec)
    assert finetuning.step_flops(replace(spec, batch_size=8)) == 2 * one
    assert finetuning.step_flops(replace(spec, detector="faster-rcnn")) > one / 4
    # the stem alone: 49 x 3 products for each of 8 channels at half the resolution
    assert one > 3 * 4 * 2 * 49 * 3 * 8 * 32 * 32
    # what the row with the pretraining's compute added is measured with
    assert PICTURES.step_cost(spec, None) == one


def test_every_field_is_part_of_the_hash(spec):
    plain = spec.to_dict()
    assert plain["detector"] == "retinanet"
    assert spec.at(0.5, 7).to_dict() == {**plain, "lr": 0.5, "steps": 7}
    json.dumps(plain)


def test_a_data_set_without_boxes_is_refused(spec):
    with pytest.raises(UsageError, match="carries no boxes"):
        spec.select([1, 2], [0])[0]
    assert Subset("x", ("squares0/001",)).indices(Squares(2)) == [1]
