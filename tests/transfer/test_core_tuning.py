"""Core-tuning as an option of fine-tuning."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from methods.finetune import reference_faults as faults

from densecl.errors import UsageError
from densecl.methods.finetune.pixel_contrast import CoreTuning
from densecl.transfer import finetuning
from densecl.transfer.cells import Cell, digest
from densecl.transfer.finetuning import FinetuneSpec, build_started, finetune
from densecl.transfer.images import LabelledImages
from densecl.transfer.segmentation import logits_and_maps


@pytest.fixture
def data(blocks):
    return LabelledImages(blocks(6, seed=1)), LabelledImages(blocks(4, seed=2))


@pytest.fixture
def contrast():
    return {"level": 1, "dim": 8, "memory": 4}


def test_hashes_of_plain_runs_are_those_of_before_it_was_an_option():
    spec = FinetuneSpec(
        backbone={"type": "ResNet", "depth": 18, "width": 32},
        num_classes=11,
        head="upernet",
        channels=32,
        steps=150,
        batch_size=8,
        crop=(96, 128),
        photometric={
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "hue": 0.2,
            "jitter": 0.8,
        },
        class_weights="root",
        optimizer="adamw",
        weight_decay=0.01,
        amp="bf16",
        lr=0.003,
    )
    assert digest(spec.to_dict()) == "ee95e12860975148234e"
    cell = Cell("scratch", spec, "random", 0, "5%", ("a", "b"), ("train", "val"))
    assert digest({**cell.identity(), "torch": ""}) == "c4890d714a98d623df08"


def test_every_setting_is_part_of_the_hash_given_or_not(tiny_spec):
    plain = replace(tiny_spec, contrast={})
    assert plain.to_dict()["contrast"] == CoreTuning().__dict__
    assert plain.to_dict() == replace(tiny_spec, contrast={"eta": 0.1}).to_dict()
    assert plain.to_dict() != replace(tiny_spec, contrast={"eta": 0.2}).to_dict()
    assert "contrast" not in tiny_spec.to_dict()


def gradients(spec, data, monkeypatch):
    """Gradients of the first step, by parameter."""
    found = {}

    def one_step(segmentor, settings, loss_of, on_step):
        segmentor.train(True)
        loss_of(0).backward()
        found.update({n: p.grad for n, p in segmentor.named_parameters()})
        return [], False

    monkeypatch.setattr(finetuning, "train_steps", one_step)
    finetune(spec, None, *data, seed=3)
    return found


def test_without_weight_the_gradients_are_those_of_plain_fine_tuning(
    tiny_spec, data, contrast, monkeypatch
):
    plain = gradients(tiny_spec, data, monkeypatch)
    silent = gradients(replace(tiny_spec, contrast={**contrast, "eta": 0.0}), data, monkeypatch)
    spoken = gradients(replace(tiny_spec, contrast=contrast), data, monkeypatch)
    assert len(plain) > 60
    for name, value in plain.items():
        assert torch.equal(silent[name], value), name
    early = [name for name in plain if name.startswith(("backbone.conv1", "backbone.layer1"))]
    assert any(not torch.equal(spoken[name], plain[name]) for name in early)
    # level 1 is the second map: what lies behind it hears of the contrast nothing
    late = [name for name in plain if name.startswith(("backbone.layer3", "decode_head"))]
    assert all(torch.equal(spoken[name], plain[name]) for name in late)


def test_without_weight_the_whole_run_is_plain_fine_tuning(tiny_spec, data, contrast):
    plain, one = finetune(tiny_spec, None, *data, seed=3)
    silent, two = finetune(
        replace(tiny_spec, contrast={**contrast, "eta": 0.0}), None, *data, seed=3
    )
    assert plain.curve == silent.curve
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_the_head_is_trained_and_gone_when_training_ends(tiny_spec, data, contrast, monkeypatch):
    seen = []
    build = finetuning._pixel_contrast

    def watched(*arguments):
        head = build(*arguments)
        seen.append((head, head.project.layers[0].weight.detach().clone()))
        return head

    monkeypatch.setattr(finetuning, "_pixel_contrast", watched)
    spec = replace(tiny_spec, contrast=contrast)
    result, segmentor = finetune(spec, None, *data, seed=3)
    ((head, before),) = seen
    assert not torch.equal(head.project.layers[0].weight, before)
    assert int(head.memory.count.sum()) > 0
    plain, _ = build_started(tiny_spec, None, 3, 3)
    assert set(segmentor.state_dict()) == set(plain.state_dict())
    again = spec.restore(segmentor.state_dict(), None, seed=3, device="cpu")
    assert spec.score(again, data[1], "cpu")["confusion"] == result.confusion


def test_same_seed_gives_the_same_run(tiny_spec, data, contrast):
    spec = replace(tiny_spec, contrast=contrast)
    first, _ = finetune(spec, None, *data, seed=3)
    torch.rand(3)
    second, _ = finetune(spec, None, *data, seed=3)
    assert first.curve == second.curve
    assert first.confusion == second.confusion
    assert finetune(tiny_spec, None, *data, seed=3)[0].curve != first.curve


def check_one_forward(loss_of):
    """A step passes the batch once: every batch norm has counted one batch."""
    spec = FinetuneSpec(
        backbone={"type": "ResNet", "depth": 18, "width": 4}, num_classes=3, channels=8
    )
    segmentor, _ = build_started(spec, None, 0, 0)
    segmentor.train(True)
    loss_of(segmentor, torch.randn(2, 3, 32, 32))
    counts = {
        int(value)
        for name, value in segmentor.state_dict().items()
        if name.endswith("num_batches_tracked")
    }
    assert counts == {1}


def plain_loss(segmentor, inputs):
    logits, maps = logits_and_maps(segmentor, inputs)
    return logits.sum() + maps[1].sum()


def test_the_batch_passes_once(tiny_spec, data, contrast):
    check_one_forward(plain_loss)
    _, segmentor = finetune(replace(tiny_spec, contrast=contrast), None, *data)
    assert segmentor.backbone.bn1.num_batches_tracked == tiny_spec.steps


def test_fault_5_the_batch_passes_twice():
    with pytest.raises(AssertionError):
        check_one_forward(lambda *given: faults.loss_with_a_second_forward(*given, plain_loss))


def test_a_map_that_is_not_there_and_an_unknown_setting_are_refused(tiny_spec, data):
    with pytest.raises(UsageError, match=r"contrast.level = 4"):
        finetune(replace(tiny_spec, contrast={"level": 4}), None, *data)
    with pytest.raises(UsageError, match="temperature"):
        replace(tiny_spec, contrast={"temprature": 0.1})


def test_it_learns_with_the_contrast_too(tiny_spec, data):
    spec = replace(
        tiny_spec, steps=60, head="upernet", lr=0.1, crop=(64, 64), contrast={"level": 2, "dim": 16}
    )
    result, _ = finetune(spec, None, *data)
    assert not result.diverged
    assert result.miou > 0.5
