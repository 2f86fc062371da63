from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from densecl.diagnostics.segmentation_metrics import confusion_matrix, mean_iou
from densecl.errors import UsageError
from densecl.transfer.finetuning import (
    build_started,
    evaluate,
    finetune,
    learning_rate,
    make_optimizer,
    to_input,
)
from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import random_backbone


@pytest.fixture
def data(blocks):
    return LabelledImages(blocks(6, seed=1)), LabelledImages(blocks(4, seed=2))


def test_same_seed_gives_the_same_run_bit_for_bit(tiny_spec, data):
    first, one = finetune(tiny_spec, None, *data, seed=3)
    torch.rand(5)  # the global state must not matter
    second, two = finetune(tiny_spec, None, *data, seed=3)
    assert first.curve == second.curve
    assert first.confusion == second.confusion
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    assert finetune(tiny_spec, None, *data, seed=4)[0].curve != first.curve


def test_it_learns_what_colour_tells(tiny_spec, data):
    spec = replace(tiny_spec, steps=100, head="upernet", lr=0.1, crop=(64, 64))
    before, _ = finetune(replace(spec, steps=1, lr=0.0), None, *data)
    after, _ = finetune(spec, None, *data)
    assert after.miou > 0.65
    assert after.miou > before.miou + 0.3
    assert after.curve[-1][1] < after.curve[0][1]


def test_deeplab_fits_what_it_is_shown(tiny_spec, blocks):
    shown = LabelledImages(blocks(2, seed=1))
    spec = replace(
        tiny_spec, steps=60, head="deeplabv3plus", channels=16, lr=0.1, crop=(64, 64), hflip=0.0
    )
    before, _ = finetune(replace(spec, steps=1, lr=0.0), None, shown, shown)
    after, _ = finetune(spec, None, shown, shown)
    assert after.miou > 0.6
    assert after.miou > before.miou + 0.3


def test_starting_weights_are_the_ones_given(tiny_spec, data):
    state = random_backbone(tiny_spec.backbone, 11).state_dict()
    spec = replace(tiny_spec, steps=1, lr=0.0)
    result, segmentor = finetune(spec, state, *data)
    assert torch.equal(segmentor.backbone.conv1.weight, state["conv1.weight"])
    assert result.feature_difference < 1e-4
    _, scratch = finetune(spec, None, *data, init_seed=11)
    assert torch.equal(scratch.backbone.conv1.weight, state["conv1.weight"])


def test_rows_of_a_pair_share_head_and_crops(tiny_spec, data):
    state = random_backbone(tiny_spec.backbone, 11).state_dict()
    one, _ = build_started(tiny_spec, None, 0, 7)
    two, _ = build_started(tiny_spec, state, 0, 7)
    other, _ = build_started(tiny_spec, state, 0, 8)
    weights = [s.decode_head.convs[0].conv.weight for s in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(one.backbone.conv1.weight, two.backbone.conv1.weight)


def test_score_equals_the_metric_of_the_predictions(tiny_spec, data):
    result, segmentor = finetune(tiny_spec, None, *data)
    total = np.zeros((3, 3), np.int64)
    for position in range(len(data[1])):
        image, label = data[1][position]
        with torch.no_grad():
            x = to_input(image[None], tiny_spec, torch.device("cpu"))
            logits = segmentor.encode_decode(x, [{"img_shape": label.shape}])
        total += confusion_matrix(logits.argmax(1)[0].numpy(), label, 3)
    assert result.miou == mean_iou(total)
    assert result.confusion == total.tolist()
    assert not segmentor.training


def test_evaluation_does_not_depend_on_the_batch(tiny_spec, blocks):
    _, segmentor = finetune(tiny_spec, None, *[LabelledImages(blocks(3))] * 2)
    images = LabelledImages(blocks(5))
    scores = [
        evaluate(segmentor, replace(tiny_spec, eval_batch=size), images) for size in (1, 2, 16)
    ]
    # equal but for pixels whose two best logits tie to the last bit
    for score in scores[1:]:
        assert np.abs(score - scores[0]).sum() <= 4


def test_images_of_several_sizes_are_scored(tiny_spec, blocks):
    class Mixed(type(blocks(1))):
        def __getitem__(self, index):
            self.size = (32, 48) if index % 2 else (16, 32)
            return super().__getitem__(index)

    dataset = Mixed(5)
    _, segmentor = finetune(tiny_spec, None, *[LabelledImages(blocks(2))] * 2)
    labelled = sum(int((dataset[i].frames[0].maps["label"] != 255).sum()) for i in range(5))
    assert evaluate(segmentor, tiny_spec, LabelledImages(dataset)).sum() == labelled


def test_labels_are_scored_at_their_own_size(tiny_spec, blocks):
    spec = replace(tiny_spec, resize=(16, 24))
    images = LabelledImages(blocks(2), resize=spec.resize)
    result, _ = finetune(spec, None, images, images)
    assert np.sum(result.confusion) == 2 * 31 * 48


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_schedule_warms_up_and_falls(tiny_spec, schedule):
    spec = replace(tiny_spec, schedule=schedule, steps=20, warmup=4, lr=1.0)
    rates = [learning_rate(spec, step) for step in range(20)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == 1.0
    assert all(a > b for a, b in itertools.pairwise(rates[4:]))
    half = {"poly": 0.5**0.9, "cosine": 0.5}[schedule]
    assert rates[12] == pytest.approx(half)
    assert 0 < rates[-1] < 0.1


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norms_and_biases_are_not_decayed_and_the_head_has_its_rate(tiny_spec, optimizer):
    spec = replace(tiny_spec, optimizer=optimizer, weight_decay=0.1, head_lr=10.0)
    segmentor, _ = build_started(spec, None, 0, 0)
    seen = {}
    for group in make_optimizer(segmentor, spec).param_groups:
        for parameter in group["params"]:
            seen[id(parameter)] = (group["weight_decay"], group["multiplier"])
    for name, parameter in segmentor.named_parameters():
        decay = 0.1 if parameter.ndim > 1 else 0.0
        assert seen.pop(id(parameter)) == (decay, 1.0 if name.startswith("backbone") else 10.0)
    assert not seen


def test_input_is_normalised_and_ordered(tiny_spec):
    image = np.zeros((1, 2, 2, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    x = to_input(image, tiny_spec, torch.device("cpu"))
    expected = (np.array([10, 20, 30]) - tiny_spec.mean) / tiny_spec.std
    assert x[0, :, 0, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    x = to_input(image, replace(tiny_spec, channel_order="BGR"), torch.device("cpu"))
    expected = (np.array([30, 20, 10]) - tiny_spec.mean) / tiny_spec.std
    assert x[0, :, 0, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_bf16_is_close_to_float32(tiny_spec, data):
    full, _ = finetune(tiny_spec, None, *data)
    half, _ = finetune(replace(tiny_spec, amp="bf16"), None, *data)
    # 8 bits of mantissa, four steps
    assert half.curve[0][1] == pytest.approx(full.curve[0][1], rel=0.05)
    assert half.curve != full.curve


def test_divergence_scores_zero_and_says_so(tiny_spec, data):
    result, _ = finetune(replace(tiny_spec, lr=1e30, warmup=0, steps=8), None, *data)
    assert result.diverged
    assert result.miou == 0
    assert len(result.curve) < 8
    json.dumps(result.to_dict()["iou"], allow_nan=False)


def test_gradient_clipping_bounds_the_step(tiny_spec, data):
    spec = replace(tiny_spec, steps=1, warmup=0, lr=1.0, weight_decay=0.0, grad_clip=1e-3)
    started, _ = build_started(spec, None, 0, 0)
    _, trained = finetune(spec, None, *data)
    moved = [
        (a - b).square().sum()
        for a, b in zip(started.parameters(), trained.parameters(), strict=True)
    ]
    # float32 cancellation in weights of size one
    assert math.sqrt(sum(moved).item()) == pytest.approx(1e-3, rel=0.01)


def test_weights_of_another_normalisation_are_refused(tiny_spec, data, monkeypatch):
    foreign = random_backbone(tiny_spec.backbone, 0)
    foreign.channel_order = "BGR"
    monkeypatch.setattr("densecl.transfer.finetuning.starting_backbone", lambda *arguments: foreign)
    with pytest.raises(UsageError, match="channel_order BGR"):
        finetune(tiny_spec, None, *data)


def test_result_is_plain_data(tiny_spec, data):
    result, _ = finetune(tiny_spec, None, *data)
    json.dumps(result.to_dict(), allow_nan=False)
    assert [step for step, _ in result.curve] == [2, 4]


def test_unlabelled_evaluation_is_refused(tiny_spec, blocks):
    class Void(type(blocks(1))):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.frames[0].maps["label"][:] = 255
            return sample

    with pytest.raises(UsageError, match="no labelled pixel"):
        finetune(tiny_spec, None, LabelledImages(blocks(2)), LabelledImages(Void(2)))
