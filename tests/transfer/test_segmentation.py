from __future__ import annotations

import itertools
import logging

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope, Registry
from torch.nn import functional

from densecl.errors import UsageError
from densecl.models.mmseg_config import mmseg_config
from densecl.transfer.segmentation import (
    build_mmseg_backbone,
    build_segmentor,
    logits_and_maps,
    logits_of,
    predict,
    segmentation_loss,
)


@pytest.mark.parametrize(("stride", "cells"), [(None, 2), (32, 2), (16, 4), (8, 8)])
def test_output_stride_sets_the_size_of_the_logits(tiny_backbone, stride, cells):
    segmentor = build_segmentor("fcn", tiny_backbone, 5, 8, output_stride=stride)
    segmentor.eval()
    logits = logits_of(segmentor, torch.zeros(1, 3, 64, 64))
    assert logits.shape == (1, 5, cells, cells)


def test_upernet_reads_every_map(tiny_backbone):
    segmentor = build_segmentor("upernet", tiny_backbone, 5, 8)
    assert type(segmentor).__name__ == "EncoderDecoder"
    assert list(segmentor.decode_head.in_channels) == [4, 8, 16, 32]
    segmentor.eval()
    assert logits_of(segmentor, torch.zeros(1, 3, 64, 64)).shape == (1, 5, 16, 16)


@pytest.mark.parametrize(
    ("stride", "dilations"),
    [(None, (1, 3, 6, 9)), (32, (1, 3, 6, 9)), (16, (1, 6, 12, 18)), (8, (1, 12, 24, 36))],
)
def test_deeplab_refines_the_last_map_by_the_first(tiny_backbone, stride, dilations):
    segmentor = build_segmentor("deeplabv3plus", tiny_backbone, 5, 32, output_stride=stride)
    head = segmentor.decode_head
    assert type(head).__name__ == "DepthwiseSeparableASPPHead"
    assert head.dilations == dilations
    assert (head.in_channels, head.c1_bottleneck.conv.in_channels) == (32, 4)
    assert head.c1_bottleneck.conv.out_channels == 6
    segmentor.eval()
    # logits at stride 4, whatever the stride of the last map
    assert logits_of(segmentor, torch.zeros(1, 3, 64, 96)).shape == (1, 5, 16, 24)


def test_deeplab_takes_dilations_of_ones_own(tiny_backbone):
    options = {"dilations": (1, 2), "c1_channels": 3}
    segmentor = build_segmentor("deeplabv3plus", tiny_backbone, 5, 8, head_options=options)
    assert segmentor.decode_head.dilations == (1, 2)
    assert segmentor.decode_head.c1_bottleneck.conv.out_channels == 3
    fine = {**tiny_backbone, "strides": (1, 1, 1, 1)}
    assert build_segmentor("deeplabv3plus", fine, 5, 8, head_options=options)
    with pytest.raises(UsageError, match="on a map of stride 4"):
        build_segmentor("deeplabv3plus", fine, 5, 8)


def test_the_maps_beside_the_logits_are_those_they_came_from(tiny_backbone):
    segmentor = build_segmentor("upernet", tiny_backbone, 3, 8)
    segmentor.eval()
    inputs = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, maps = logits_and_maps(segmentor, inputs)
        assert [each.shape[1] for each in maps] == [4, 8, 16, 32]
        assert torch.equal(logits, segmentor.decode_head.forward(segmentor.backbone(inputs)))
        assert torch.equal(logits, logits_of(segmentor, inputs))


def test_mmseg_backbones_are_taken_as_they_are():
    cfg = {
        "type": "mmseg.SwinTransformer",
        "embed_dims": 16,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 1, 1, 1),
        "window_size": 4,
        "out_indices": (0, 1, 2, 3),
    }
    segmentor = build_segmentor("upernet", cfg, 3, 8)
    segmentor.eval()
    assert logits_of(segmentor, torch.zeros(1, 3, 64, 64)).shape[1] == 3
    with pytest.raises(UsageError, match="output_stride=8 with backbone"):
        mmseg_config(cfg, output_stride=8)


def test_loss_is_cross_entropy_over_labelled_pixels(tiny_backbone):
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (2, 8, 8), generator=generator)
    labels[:, :3] = 255
    full = functional.interpolate(logits, (8, 8), mode="bilinear", align_corners=False).double()
    expected = [
        -full[b].log_softmax(0)[labels[b, i, j], i, j]
        for b in range(2)
        for i in range(8)
        for j in range(8)
        if labels[b, i, j] != 255
    ]
    found = segmentation_loss(segmentor, logits.bfloat16().float(), labels)
    # bfloat16 logits are off by up to 1 %, which the mean nearly removes
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), abs=5e-3)
    assert found.dtype == torch.float32


def test_loss_of_unlabelled_batch_is_a_finite_attached_zero(tiny_backbone):
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(segmentor, logits, torch.full((1, 8, 8), 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_prediction_has_the_size_asked_for(tiny_backbone):
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    segmentor.eval()
    with torch.no_grad():
        inputs = torch.randn(2, 3, 32, 48)
        classes = predict(segmentor, inputs, (40, 50))
        full = functional.interpolate(
            logits_of(segmentor, inputs), (40, 50), mode="bilinear", align_corners=False
        )
    assert classes.shape == (2, 40, 50)
    assert torch.equal(classes, full.argmax(1))


def test_building_does_not_depend_on_the_active_scope(tiny_backbone):
    class Foreign(torch.nn.Module):
        def __init__(self, **options):
            raise AssertionError("the backbone of another library was built")

    elsewhere = Registry("model", parent=MODELS, scope="elsewhere")
    elsewhere.register_module(name="ResNet", module=Foreign)
    try:
        with DefaultScope.overwrite_default_scope("elsewhere"):
            segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
            build_mmseg_backbone(mmseg_config(tiny_backbone))
    finally:
        del MODELS.children["elsewhere"]
    assert type(segmentor.backbone).__module__.startswith("mmseg.")


def test_building_is_quiet(tiny_backbone, caplog, capfd):
    with caplog.at_level(logging.INFO):
        build_segmentor("fcn", tiny_backbone, 3, 8)
    assert "init" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "VGG"}, "backbone type 'VGG'"),
        ({"stem": "small"}, "backbone stem 'small'"),
        ({"norm": "instance"}, "backbone norm 'instance'"),
    ],
)
def test_backbones_without_a_mirror_are_refused(tiny_backbone, change, message):
    with pytest.raises(UsageError, match=message):
        build_segmentor("fcn", tiny_backbone | change, 3, 8)


def test_unknown_head_and_stride_are_refused(tiny_backbone):
    with pytest.raises(UsageError, match="head 'unet'"):
        build_segmentor("unet", tiny_backbone, 3, 8)
    with pytest.raises(UsageError, match="output_stride=4"):
        build_segmentor("fcn", tiny_backbone, 3, 8, output_stride=4)


def test_weighted_loss_equals_a_loop_and_ignores_unlabelled_pixels(tiny_backbone):
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(0, 3, (2, 4, 5), generator=generator)
    labels[0, 0] = 255
    weights = torch.tensor([0.5, 1.0, 3.0])
    total, mass = 0.0, 0.0
    for b, i, j in itertools.product(range(2), range(4), range(5)):
        truth = int(labels[b, i, j])
        if truth == 255:
            continue
        scores = logits[b, :, i, j].double()
        total += float(weights[truth]) * float(scores.logsumexp(0) - scores[truth])
        mass += float(weights[truth])
    found = segmentation_loss(segmentor, logits, labels, weights)
    assert float(found) == pytest.approx(total / mass, rel=1e-5)  # float32 sums
    nothing = segmentation_loss(segmentor, logits, torch.full_like(labels, 255), weights)
    assert float(nothing) == 0.0
