from __future__ import annotations

from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import random_backbone
from densecl.transfer.probe import ProbeSpec, linear_probe


def test_a_frozen_run_is_the_probe_and_is_restored_from_the_map_alone(blocks, tiny_backbone):
    spec = FrozenSpec(tiny_backbone, ProbeSpec(3, iterations=10))
    train, evaluation = LabelledImages(blocks(4, seed=1)), LabelledImages(blocks(3, seed=2))
    result, probed = spec.run(None, train, evaluation, seed=5, device="cpu")
    backbone = random_backbone(tiny_backbone, 5)
    alone = linear_probe(backbone, train, evaluation, spec.probe)
    assert result["miou"] == alone.miou
    assert result["confusion"] == alone.confusion.tolist()
    assert set(probed.state_dict()) == {"weight", "bias", "mean", "std"}
    again = spec.restore(probed.state_dict(), backbone.state_dict(), seed=0, device="cpu")
    assert spec.score(again, evaluation, "cpu")["confusion"] == alone.confusion.tolist()


def test_the_grid_is_of_the_decay_and_steps_do_not_matter(tiny_backbone):
    spec = FrozenSpec(tiny_backbone, ProbeSpec(3))
    assert spec.at(0.5).probe.decay == 0.5
    assert spec.at(0.5, 99) == spec.at(0.5)
    assert spec.at(0.5).to_dict() != spec.to_dict()


def test_channels_are_flipped_for_a_backbone_that_wants_bgr(blocks, tiny_backbone):
    images = LabelledImages(blocks(3, seed=1))
    grey = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "iterations": 5}
    rgb, bgr = (ProbeSpec(3, channel_order=order, **grey) for order in ("RGB", "BGR"))
    state = random_backbone(tiny_backbone, 0).state_dict()
    swapped = {**state, "conv1.weight": state["conv1.weight"].flip(1)}
    one, _ = FrozenSpec(tiny_backbone, rgb).run(state, images, images, seed=0, device="cpu")
    two, _ = FrozenSpec(tiny_backbone, bgr).run(swapped, images, images, seed=0, device="cpu")
    assert one["confusion"] == two["confusion"]
