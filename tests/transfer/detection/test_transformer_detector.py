"""Deformable DETR: its attention against loops, and what our protocol's fields mean for it."""

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
from densecl.models.mmseg import has_compiled_operators
from densecl.transfer.detection import DetectionSpec, finetuning
from densecl.transfer.detection.architectures import DETECTORS
from densecl.transfer.detection.detectors import (
    build_detector,
    detect,
    detection_loss,
    ensure_mmdet,
)
from densecl.transfer.protocol_file import read_protocol

TINY = {"type": "ResNet", "depth": 18, "width": 8}
KIND = "deformable-detr"
SHAPES = ((3, 4), (2, 2))
stubbed = pytest.mark.skipif(has_compiled_operators(), reason="mmcv has compiled operators")


def tiny(classes=2, seed=0, **more):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_detector(KIND, TINY, classes, **{"channels": 16, "strides": (8, 16), **more})


@pytest.fixture
def run(spec) -> DetectionSpec:
    return replace(spec, detector=KIND)


def attention_inputs(seed=0, batch=2, queries=3, heads=2, points=2, width=2):
    """Values of two maps, places inside, near the border and far outside, weights."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.rand(size, generator=generator, dtype=torch.float64)

    value = draw(batch, sum(h * w for h, w in SHAPES), heads, width)
    locations = draw(batch, queries, heads, len(SHAPES), points, 2) * 1.6 - 0.3
    weights = draw(batch, queries, heads, len(SHAPES), points)
    return value, locations, weights


def standing_in(value, locations, weights):
    """What mmcv does with tensors on a GPU, on whatever device they are."""
    ensure_mmdet()
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    shapes = torch.tensor(SHAPES)
    starts = torch.tensor([0, SHAPES[0][0] * SHAPES[0][1]])
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)


def slow_attention(value, locations, weights):
    """Each output is a weighted sum of bilinear readings of maps with zeros around."""
    batch, queries, heads, levels, points, _ = locations.shape
    out = np.zeros((batch, queries, heads, value.shape[-1]))
    for b, q, m, level, p in np.ndindex(batch, queries, heads, levels, points):
        height, width = SHAPES[level]
        start = sum(h * w for h, w in SHAPES[:level])
        x, y = locations[b, q, m, level, p] * (width, height) - 0.5  # cell j's centre is at j + 0.5
        for i in range(height):
            for j in range(width):
                share = max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j))
                read = share * value[b, start + i * width + j, m]
                out[b, q, m] += weights[b, q, m, level, p] * read
    return out.reshape(batch, queries, -1)


@stubbed
@pytest.mark.parametrize("seed", range(3))
def test_the_attention_that_stands_in_is_the_loop_over_cells(seed):
    inputs = attention_inputs(seed)
    expected = slow_attention(*(each.numpy() for each in inputs))
    np.testing.assert_allclose(standing_in(*inputs).numpy(), expected, atol=1e-12)  # float64 sums


@stubbed
def test_the_attention_that_stands_in_has_its_gradient():
    # no place lies on a cell's centre line, where bilinear reading has a kink
    inputs = [each.requires_grad_() for each in attention_inputs(batch=1, queries=2)]
    assert torch.autograd.gradcheck(standing_in, inputs)


@stubbed
def test_the_attention_on_a_gpu_is_the_one_on_the_cpu():
    ensure_mmdet()
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    value, locations, weights = (each.requires_grad_() for each in attention_inputs())
    pull = torch.rand(2, 3, 4, dtype=torch.float64)
    found = standing_in(value, locations, weights)
    ours = torch.autograd.grad(found, (value, locations, weights), pull)
    plain = multi_scale_deformable_attn_pytorch(value, torch.tensor(SHAPES), locations, weights)
    theirs = torch.autograd.grad(plain, (value, locations, weights), pull)
    torch.testing.assert_close((found, *ours), (plain, *theirs))


@pytest.mark.parametrize(("classes", "queries", "most"), [(2, 50, 100), (3, 7, 21), (1, 4, 4)])
def test_it_finds_as_many_boxes_as_it_can_ask_for_within_the_image(classes, queries, most):
    detector = tiny(classes, options={"num_queries": queries}).train(False)
    samples = [finetuning.sample_of((60, 50), None)] * 2
    with torch.no_grad():
        results = detect(detector, torch.randn(2, 3, 60, 50), samples)
    assert len(results) == 2
    for each in results:
        assert each.bboxes.shape == (most, 4)
        assert (each.bboxes >= 0).all()
        assert (each.bboxes <= torch.tensor([50, 60, 50, 60])).all()
        assert set(each.labels.tolist()) <= set(range(classes))


def test_maps_are_brought_to_one_width_and_extra_levels_follow():
    detector = tiny(channels=32, strides=(4, 16), extra_levels=2)
    maps = detector.extract_feat(torch.zeros(1, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (32, 16, 16),
        (32, 4, 4),
        (32, 2, 2),
        (32, 1, 1),
    ]
    assert type(detector.neck).__name__ == "ChannelMapper"
    assert detector.level_embed.shape == (4, 32)
    assert detector.encoder.layers[0].self_attn.num_levels == 4
    assert detector.decoder.layers[0].cross_attn.num_levels == 4


def test_it_is_small_unless_asked_for_more():
    detector = tiny()
    assert (len(detector.encoder.layers), len(detector.decoder.layers)) == (2, 2)
    assert detector.query_embedding.weight.shape == (50, 32)
    options = {
        "num_queries": 9,
        "encoder.num_layers": 1,
        "decoder.num_layers": 3,
        "encoder.layer_cfg.self_attn_cfg.num_points": 1,
    }
    detector = tiny(options=options)
    assert (len(detector.encoder.layers), len(detector.decoder.layers)) == (1, 3)
    assert detector.query_embedding.weight.shape == (9, 32)
    assert detector.encoder.layers[0].self_attn.num_points == 1
    assert detector.decoder.layers[0].cross_attn.num_points == 4
    # each decoder layer moves the boxes of the one before by weights of its own
    assert len({id(each) for each in detector.bbox_head.reg_branches}) == 3


@pytest.mark.parametrize("convs", [0, 1, 3])
def test_convs_are_the_hidden_layers_of_the_boxes_head(convs):
    branch = tiny(convs=convs).bbox_head.reg_branches[0]
    layers = [each for each in branch if isinstance(each, torch.nn.Linear)]
    assert [each.out_features for each in layers] == [16] * convs + [4]


def test_it_has_no_anchors_whose_scale_could_matter():
    first, second = tiny(anchor_scale=1.0), tiny(anchor_scale=16.0)
    theirs = second.state_dict()
    assert first.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in first.state_dict().items())
    assert not any(name.endswith("prior_generator") for name, _ in first.named_modules())
    configs = [DETECTORS[KIND](2, 16, 1, [8, 16], scale, {}) for scale in (1.0, 16.0)]
    assert configs[0] == configs[1]


@pytest.mark.parametrize(("channels", "heads"), [(4, 1), (16, 2), (48, 6), (64, 8), (68, 4)])
def test_heads_divide_the_channels(channels, heads):
    detector = tiny(channels=channels)
    assert detector.encoder.layers[0].self_attn.num_heads == heads
    assert detector.decoder.layers[0].self_attn.num_heads == heads


def test_a_width_without_sines_and_cosines_is_refused():
    with pytest.raises(UsageError, match=r"18 channels(.|\n)*multiple of 4"):
        tiny(channels=18)


def loss_of(detector, item):
    """Of one fixed image with the boxes of ``item``."""
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    detector.train(True)
    return detection_loss(detector, image, [finetuning.sample_of((64, 64), item)])


def test_an_ignored_box_is_background_to_the_matching():
    detector = tiny()
    boxes, black = [[0, 0, 16, 16], [0, 16, 64, 64]], np.zeros((64, 64, 3), np.uint8)
    second = np.array([False, True])
    alone = loss_of(detector, boxed(black, boxes[:1], [0]))
    for flag in ("ignore", "crowd"):
        beside = loss_of(detector, boxed(black, boxes, [0, 1], **{flag: second}))
        assert torch.equal(beside, alone)
        # nor is a query kept free of loss: one that finds the ignored box is wrong
        asked = loss_of(detector, boxed(black, boxes, [0, 1]))
        assert not torch.isclose(asked, alone)
    nothing = loss_of(detector, boxed(black, [], []))
    only = loss_of(detector, boxed(black, boxes[1:], [1], ignore=np.ones(1, bool)))
    assert torch.equal(only, nothing)


def test_background_alone_has_a_loss_that_lowers_every_score():
    detector = tiny()
    black = np.zeros((64, 64, 3), np.uint8)
    ignored = boxed(black, [[0, 0, 64, 64]], [0], ignore=np.ones(1, bool))
    loss = loss_of(detector, ignored)
    loss.backward()
    assert torch.isfinite(loss)
    assert detector.backbone.conv1.weight.grad.isfinite().all()
    for branch in detector.bbox_head.cls_branches:
        assert (branch.bias.grad > 0).all()


def test_each_box_takes_one_query_and_all_others_are_background():
    detector = tiny()
    seen = []
    assign = detector.bbox_head.assigner.assign

    def spy(*args, **kwargs):
        result = assign(*args, **kwargs)
        seen.append(result.gt_inds)
        return result

    detector.bbox_head.assigner.assign = spy
    black = np.zeros((64, 64, 3), np.uint8)
    boxes = [[0, 0, 16, 16], [0, 16, 64, 64], [30, 30, 40, 40]]
    loss_of(detector, boxed(black, boxes, [0, 1, 1], ignore=np.array([False, False, True])))
    assert len(seen) == 2  # decoder layers
    for matched in seen:
        assert sorted(matched.tolist()) == [0] * 48 + [1, 2]


def test_it_starts_with_the_pretrained_features_and_heads_of_the_seed(run):
    torch.manual_seed(0)
    weights = build_backbone(run.backbone).state_dict()
    first, _ = finetuning.build_started(run, None, 3)
    second, difference = finetuning.build_started(run, weights, 3)
    third, _ = finetuning.build_started(run, None, 4)
    assert difference < 1e-4
    mine, theirs, others = (each.state_dict() for each in (first, second, third))
    heads = [name for name in mine if not name.startswith("backbone.")]
    assert all(torch.equal(mine[name], theirs[name]) for name in heads)
    assert not torch.equal(mine["query_embedding.weight"], others["query_embedding.weight"])
    assert torch.equal(theirs["backbone.conv1.weight"], weights["conv1.weight"])


def test_a_shipped_protocol_can_ask_for_it():
    changes = [f"detection.detector={KIND}", "detection.strides=[8,16,32]", "detection.steps=6000"]
    protocol = read_protocol("retinanet_streets-10pct", changes)
    given = {
        "backbone": TINY,
        "mean": (123.675, 116.28, 103.53),
        "std": (58.395, 57.12, 57.375),
        "channel_order": "RGB",
    }
    task = protocol.kind.task_for(protocol, given, 3, "cpu")
    detector = finetuning.detector_of(task)
    assert type(detector).__name__ == "DeformableDETR"
    assert (detector.num_feature_levels, detector.encoder.embed_dims) == (4, 64)
    assert task.steps == 6000


def test_a_run_can_be_repeated_and_restored(run):
    run = replace(run, steps=4)
    train, val = run.select(Squares(4)), run.select(Squares(3, seed=1))
    result, trained = run.run(None, train, val, seed=1, device="cpu")
    again, _ = run.run(None, train, val, seed=1, device="cpu")
    for each in (result, again):
        each.pop("seconds")
    assert result == again
    json.dumps(result, allow_nan=False)
    restored = run.restore(trained.state_dict(), None, seed=1, device="cpu")
    scores = run.score(restored, val, "cpu")
    assert all(scores[key] == result[key] for key in ("ap", "ap50", "ap75", "items"))
    assert finetuning.step_flops(run) > 0


def test_it_learns_to_find_the_squares(run):
    run = replace(run, steps=100)
    train, val = run.select(Squares(12)), run.select(Squares(6, seed=1))
    result, trained = run.run(None, train, val, seed=0, device="cpu")
    losses = result["curves"]["training loss"]["y"]
    assert losses[-1] < 0.4 * losses[0]
    assert result["ap50"] > 0.3
    assert run.score(trained, train, "cpu")["ap50"] > 0.5


@pytest.mark.slow
def test_it_learns_four_frames_of_the_streets_by_heart():
    from densecl.data import StreetsBoxes

    run = DetectionSpec(
        {"type": "ResNet", "depth": 18, "width": 16},
        num_classes=3,
        detector=KIND,
        strides=(8, 16, 32),
        steps=150,
        batch_size=4,
        crop=(120, 160),
        scale=(1.0, 1.0),
        hflip=0.0,
    )
    frames = run.select(StreetsBoxes("train", length=4, side=6, cache=False))
    result, _ = run.run(None, frames, frames, seed=0, device="cpu")
    losses = result["curves"]["training loss"]["y"]
    assert losses[-1] < 0.4 * losses[0]
    assert result["ap50"] > 0.4
