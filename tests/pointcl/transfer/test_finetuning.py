from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from densecl.errors import UsageError
from pointcl.transfer.clouds import LabelledScans, training_batch, voxeliser_of, whole_scans
from pointcl.transfer.finetuning import build_started, finetune, training_batch_of
from pointcl.transfer.initialisation import random_backbone


def test_a_function_of_height_is_learnt_and_shuffled_labels_are_not(layers, tiny_spec):
    spec = replace(tiny_spec, steps=30, lr=0.02)
    judged = LabelledScans(layers(3, seed=2))
    result, _ = finetune(spec, None, LabelledScans(layers(4, seed=1)), judged, seed=0)
    assert result["miou"] > 0.7
    assert result["curve"][-1][1] < result["curve"][0][1] / 2
    chance, _ = finetune(
        spec, None, LabelledScans(layers(4, seed=1, shuffled=True)), judged, seed=0
    )
    # a third of the points is of each class: answers by chance score 1 / 5
    assert chance["miou"] < 0.35


def test_runs_repeat_and_differ_by_their_seed(layers, tiny_spec):
    data = LabelledScans(layers(2, seed=1)), LabelledScans(layers(2, seed=2))
    runs = [finetune(tiny_spec, None, *data, seed=seed) for seed in (3, 3, 4)]
    states = [network.state_dict() for _, network in runs]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert runs[0][0]["confusion"] == runs[1][0]["confusion"]


def test_starting_weights_are_the_only_thing_in_which_two_rows_differ(layers, tiny_spec):
    one, two = build_started(tiny_spec, None, 5), build_started(tiny_spec, None, 5)
    state = random_backbone(tiny_spec.backbone, 99).state_dict()
    other = build_started(tiny_spec, state, 5)
    assert torch.equal(one.head.weight, other.head.weight)
    assert torch.equal(one.backbone.conv0p1s1.kernel, two.backbone.conv0p1s1.kernel)
    assert torch.equal(other.backbone.conv0p1s1.kernel, state["conv0p1s1.kernel"])
    assert not torch.equal(one.backbone.conv0p1s1.kernel, other.backbone.conv0p1s1.kernel)


def test_a_trained_segmentor_is_restored_and_scores_the_same(layers, tiny_spec):
    data = LabelledScans(layers(2, seed=1)), LabelledScans(layers(2, seed=2))
    result, network = tiny_spec.run(None, *data, seed=0, device="cpu")
    again = tiny_spec.restore(network.state_dict(), None, seed=9, device="cpu")
    assert tiny_spec.score(again, data[1], "cpu")["confusion"] == result["confusion"]
    assert {"miou", "iou", "confusion", "seconds", "feature_difference", "diverged"} <= set(result)


def test_the_head_may_learn_faster(layers, tiny_spec):
    data = LabelledScans(layers(2, seed=1)), LabelledScans(layers(2, seed=2))
    spec = replace(tiny_spec, optimizer="sgd", lr=1e-6, head_lr=1e5, steps=2, warmup=0)
    start = build_started(spec, None, 0)
    _, network = finetune(spec, None, *data, seed=0)
    moved = {
        part: max(
            (a - b).abs().max().item()
            for a, b in zip(
                getattr(start, part).parameters(), getattr(network, part).parameters(), strict=True
            )
        )
        for part in ("backbone", "head")
    }
    assert moved["head"] > 1e-3
    assert moved["backbone"] < 1e-4


def test_a_run_that_diverges_scores_zero_and_can_be_stored(layers, tiny_spec):
    import json

    data = LabelledScans(layers(2, seed=1)), LabelledScans(layers(2, seed=2))
    spec = replace(tiny_spec, optimizer="sgd", lr=1e30, steps=6, warmup=0)
    result, _ = finetune(spec, None, *data, seed=0)
    assert result["diverged"]
    assert result["miou"] == 0.0
    json.dumps(result, allow_nan=False)


def test_views_turn_each_scan_anew_and_labels_follow(layers, tiny_spec):
    scans = LabelledScans(layers(3))
    first, second = (training_batch_of(tiny_spec, scans, 0, step) for step in (0, 1))
    again = training_batch_of(tiny_spec, scans, 0, 0)
    assert torch.equal(first.cloud.points, again.cloud.points)
    assert not torch.equal(first.cloud.points[:50], second.cloud.points[:50])
    # heights are only scaled, so the labels can still be told by them
    labels = first.cloud.label
    height = first.cloud.points[:, 2]
    assert height[labels == 0].max() < height[labels == 2].min()
    rows = first.to_point_set({})
    picked = first.voxels.representative + torch.tensor([0, first.cloud.counts[0]])[rows.sample]
    assert torch.equal(rows.label, labels[picked])


def test_training_scans_are_cut_where_asked_and_whole_scans_never(layers, tiny_spec):
    scans = LabelledScans(layers(2))
    options = {"voxels": tiny_spec.voxels, "views": {}, "batch_size": 2, "seed": 0, "step": 0}
    cut = training_batch(scans, max_voxels=20, **options)
    assert torch.bincount(cut.voxels.tensor.sample).tolist() == [20, 20]
    positions, whole = next(whole_scans(scans, tiny_spec.voxels, 2))
    assert positions == [0, 1]
    assert len(whole.cloud.points) == 2 * 239  # but for the point without a return
    drawn = next(whole_scans(scans, {**tiny_spec.voxels, "representative": "random"}, 2))[1]
    assert torch.equal(drawn.cloud.points, whole.cloud.points)
    assert voxeliser_of(tiny_spec.voxels).channels == 4


def test_a_label_beyond_the_classes_is_refused_with_the_scan(layers, tiny_spec):
    scans = LabelledScans(layers(1))
    scans[0].label[3] = 7
    with pytest.raises(UsageError, match="0/000: labels 0 to 7"):
        finetune(tiny_spec, None, scans, scans)
