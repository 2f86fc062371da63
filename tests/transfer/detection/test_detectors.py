"""mmdetection's detectors with our operators and our weights."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

pytest.importorskip("mmdet", reason="mmdetection is not installed")

from densecl.errors import UsageError
from densecl.models.build import build_backbone
from densecl.models.mmseg import EXTENSION, has_compiled_operators
from densecl.transfer.detection import detectors
from densecl.transfer.detection.detectors import (
    backbone_config,
    build_detector,
    detect,
    ensure_mmdet,
    transplant,
)
from densecl.transfer.detection.mmcv_operators import OPERATORS, install_operators
from densecl.transfer.detection.operators import nms, roi_align, sigmoid_focal_loss

TINY = {"type": "ResNet", "depth": 18, "width": 8}
KINDS = ("retinanet", "fcos", "faster-rcnn")
stubbed = pytest.mark.skipif(has_compiled_operators(), reason="mmcv has compiled operators")


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 30
    return torch.cat([low, low + torch.rand(count, 2, generator=generator) * 20], dim=1)


def test_mmcvs_own_nms_is_ours():
    ensure_mmdet()
    from mmcv.ops import batched_nms
    from mmcv.ops import nms as mmcv_nms

    boxes, scores = random_boxes(50), torch.rand(50)
    kept, index = mmcv_nms(boxes, scores, 0.3)
    assert index.tolist() == nms(boxes, scores, 0.3).tolist()
    torch.testing.assert_close(kept, torch.cat([boxes, scores[:, None]], dim=1)[index])
    classes = torch.arange(50) % 3
    _, index = batched_nms(boxes, scores, classes, {"type": "nms", "iou_threshold": 0.3})
    assert index.tolist() == nms(boxes, scores, 0.3, classes=classes).tolist()
    assert len(mmcv_nms(boxes[:0], scores[:0], 0.3)[1]) == 0


@pytest.mark.parametrize("aligned", [True, False])
def test_mmcvs_own_roi_align_is_ours_with_its_gradient(aligned):
    ensure_mmdet()
    from mmcv.ops import RoIAlign

    features = torch.randn(2, 3, 8, 9, dtype=torch.float64, requires_grad=True)
    boxes = random_boxes(6).double()
    image = torch.tensor([0, 1, 1, 0, 1, 0])
    layer = RoIAlign((3, 2), 0.25, 2, aligned=aligned)
    found = layer(features, torch.cat([image[:, None].double(), boxes], dim=1))
    other = features.detach().clone().requires_grad_()
    ours = roi_align(other, boxes, image, (3, 2), scale=0.25, sampling=2, aligned=aligned)
    torch.testing.assert_close(found, ours)
    pull = torch.randn_like(ours)
    found.backward(pull)
    ours.backward(pull)
    torch.testing.assert_close(features.grad, other.grad)


@stubbed
def test_max_pooling_is_refused():
    ensure_mmdet()
    from mmcv.ops import RoIAlign

    with pytest.raises(UsageError, match="pool_mode"):
        RoIAlign(2, pool_mode="max")(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5))


def test_mmcvs_own_focal_loss_is_ours_with_its_gradient():
    ensure_mmdet()
    from mmcv.ops import sigmoid_focal_loss as mmcv_focal_loss

    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    target, weight = torch.tensor([0, 3, 2, 1, 3]), torch.rand(3, dtype=torch.float64)
    found = mmcv_focal_loss(logits, target, 2.0, 0.25, weight, "none")
    other = logits.detach().clone().requires_grad_()
    ours = sigmoid_focal_loss(other, target, weight=weight)
    torch.testing.assert_close(found, ours)
    found.sum().backward()
    ours.sum().backward()
    torch.testing.assert_close(logits.grad, other.grad)


def test_compiled_operators_are_left_alone(monkeypatch):
    real = ModuleType(EXTENSION)
    monkeypatch.setitem(sys.modules, EXTENSION, real)
    assert install_operators() == []
    assert not any(hasattr(real, name) for name in OPERATORS)
    monkeypatch.delitem(sys.modules, EXTENSION)
    assert install_operators() == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_detector_finds_lies_within_the_image(kind):
    from densecl.transfer.detection.finetuning import sample_of

    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = build_detector(kind, TINY, 2, channels=8, strides=(8, 16), anchor_scale=2.0)
    detector.train(False)
    with torch.no_grad():
        results = detect(detector, torch.randn(2, 3, 60, 50), [sample_of((60, 50), None)] * 2)
    assert len(results) == 2
    boxes = results[0].bboxes
    assert boxes.shape[0] <= 100
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([50, 60, 50, 60])).all()
    named = {name.split(".")[0] for name, _ in detector.named_parameters()}
    assert {"backbone", "neck"} < named


def test_stages_that_share_a_stride_give_one_map():
    backbone = {**TINY, "strides": (1, 2, 2, 1)}
    detector = build_detector("retinanet", backbone, 2, channels=8, extra_levels=2)
    assert detector.backbone.out_indices == (0, 1, 3)
    assert detector.bbox_head.prior_generator.strides == [(s, s) for s in (4, 8, 16, 32, 64)]
    maps = detector.extract_feat(torch.zeros(1, 3, 64, 64))
    assert [each.shape[-1] for each in maps] == [16, 8, 4, 2, 1]


def test_anchors_stand_on_the_centres_of_their_cells():
    detector = build_detector("retinanet", TINY, 2, channels=8, anchor_scale=2.0)
    anchors = detector.bbox_head.prior_generator.grid_priors([(2, 3)] * 5, device="cpu")[0]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres[::9].tolist() == [[2, 2], [6, 2], [10, 2], [2, 6], [6, 6], [10, 6]]
    square = anchors[3]  # the middle one of three ratios, the smallest of three sizes
    assert (square[2:] - square[:2]).tolist() == [8, 8]


def test_options_override_by_mmdetections_names():
    detector = build_detector(
        "retinanet", TINY, 2, channels=8, options={"test_cfg.score_thr": 0.2, "neck.num_outs": 4}
    )
    assert detector.test_cfg.score_thr == 0.2
    assert detector.test_cfg.max_per_img == 100


@pytest.mark.parametrize("more", [{}, {"stem": "v1c"}, {"norm": "gn"}, {"strides": (1, 2, 2, 1)}])
def test_the_detectors_backbone_gives_the_pretrained_features(more):
    backbone = {**TINY, **more}
    source = build_backbone(backbone)
    detector = build_detector("fcos", backbone, 2, channels=8)
    image = torch.randn(1, 3, 64, 64)
    source.train(False)
    assert transplant(source, detector.backbone, backbone) < 1e-4
    detector.train(False)
    with torch.no_grad():
        found, expected = detector.backbone(image), source(image).maps
    for ours, theirs in zip(expected.values(), found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_swin_transformer_starts_with_its_features():
    backbone = {
        "type": "mmseg.SwinTransformer",
        "embed_dims": 8,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 1, 1, 1),
        "window_size": 4,
    }
    detector = build_detector("fcos", backbone, 2, channels=8)
    assert transplant(build_backbone(backbone), detector.backbone, backbone) < 1e-4


def test_weights_of_another_shape_or_meaning_are_refused(monkeypatch):
    source = build_backbone(TINY)
    other = build_detector("fcos", {**TINY, "width": 4}, 2, channels=8)
    with pytest.raises(UsageError, match="does not fit"):
        transplant(source, other.backbone, TINY)
    fine = build_detector("fcos", TINY, 2, channels=8)
    swapped = {"conv1.weight": lambda value: value.flip(1)}
    state = source.state_dict
    monkeypatch.setattr(
        source,
        "state_dict",
        lambda: {k: swapped.get(k, lambda v: v)(v) for k, v in state().items()},
    )
    with pytest.raises(UsageError, match="other features"):
        transplant(source, fine.backbone, TINY)


def test_what_cannot_be_built_is_refused_in_words():
    with pytest.raises(UsageError, match="detector 'yolo'"):
        build_detector("yolo", TINY, 2)
    with pytest.raises(UsageError, match=r"strides \[2\]"):
        build_detector("fcos", TINY, 2, strides=(2, 8))
    with pytest.raises(UsageError, match="small"):
        build_detector("fcos", {**TINY, "stem": "small"}, 2)
    with pytest.raises(UsageError, match="VisionTransformer"):
        backbone_config({"type": "mmseg.VisionTransformer"})


def test_a_missing_mmdetection_is_said_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmdet.models", None)
    with pytest.raises(UsageError, match=r"mmdetection does not import(.|\n)*densecl\[det,seg\]"):
        ensure_mmdet()

    def refuse():
        raise UsageError("mmsegmentation is not installed")

    monkeypatch.setattr(detectors, "ensure_mmseg", refuse)
    with pytest.raises(UsageError, match=r"detection: mmseg(.|\n)*densecl\[det,seg\]"):
        ensure_mmdet()
