from __future__ import annotations

import pytest
import torch

from densecl.errors import UsageError
from densecl.models.resnet import ResNet
from densecl.transfer.control_rows import PERMUTED, REESTIMATED, Controls, Shared
from densecl.transfer.features import FrozenInput
from densecl.transfer.finetuning import FinetuneSpec
from densecl.transfer.of_images import PICTURES
from densecl.transfer.protocol_file import check_protocol
from densecl.transfer.retrieval.task import RetrievalSpec

BACKBONE = {"type": "ResNet", "depth": 18, "width": 4}
SMALL = {"size": (48, 64), "cache": False}
DATA = {
    part: {"type": "Streets", "split": split, "length": 3, **SMALL}
    for part, split in (("train", "train"), ("val", "val"), ("unlabelled", "pretrain"))
}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save(ResNet(depth=18, width=4).state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


def controls(weights, task, *, log=print, shared=None, data=DATA, run="retrieval"):
    protocol = check_protocol("toy", {"data": data, run: {}})
    return Controls(
        PICTURES, protocol, task, "m", {0: weights, 1: weights}, None, log, shared=shared
    )


def rows(maker, *names):
    return {row.name: row for row in maker.rows(names)}


TASK = RetrievalSpec(FrozenInput(BACKBONE), 11)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_shared_controls_are_the_same_weights_and_are_made_once(weights, monkeypatch):
    made = []
    real = type(PICTURES).random_reestimated

    def counted(self, task, unlabelled):
        def weights(seed):
            made.append(seed)
            return states(seed)

        states = real(self, task, unlabelled)
        return weights

    monkeypatch.setattr(type(PICTURES), "random_reestimated", counted)
    shared = Shared()
    alone = rows(controls(weights, TASK), "batchnorm", "permuted")
    first = rows(controls(weights, TASK, shared=shared), "batchnorm", "permuted")
    other = RetrievalSpec(FrozenInput(BACKBONE), 11, k=5)
    second = rows(controls(weights, other, shared=shared), "batchnorm", "permuted")
    assert list(alone) == list(first) == [REESTIMATED, f"m{PERMUTED}"]
    # what identifies them is known without making them
    prints = {first[name].fingerprint_for(0) for name in first}
    assert len(prints) == 2
    assert prints == {second[name].fingerprint_for(0) for name in second}
    assert not made
    for name in first:
        assert same(first[name].init_for(0), alone[name].init_for(0))
        assert first[name].init_for(0) is second[name].init_for(0)
        assert not same(first[name].init_for(0), first[name].init_for(1))


@pytest.mark.parametrize(
    "other",
    [
        FrozenInput({**BACKBONE, "width": 8}),
        FrozenInput(BACKBONE, mean=(1.0, 2.0, 3.0)),
        FrozenInput(BACKBONE, channel_order="BGR"),
        FrozenInput(BACKBONE, resize=(32, 32)),
    ],
)
def test_another_input_is_another_control(weights, other):
    shared = Shared()
    one = rows(controls(weights, TASK, shared=shared), "batchnorm")[REESTIMATED]
    two = rows(controls(weights, RetrievalSpec(other, 11), shared=shared), "batchnorm")
    assert one.fingerprint_for(0) != two[REESTIMATED].fingerprint_for(0)
    assert one.fingerprint_for(0) != one.fingerprint_for(1)


def test_other_unlabelled_data_are_another_control(weights):
    shared = Shared()
    more = {**DATA, "unlabelled": {**DATA["unlabelled"], "length": 2}}
    one, two = (
        rows(controls(weights, TASK, shared=shared, data=data), "batchnorm")[REESTIMATED]
        for data in (DATA, more)
    )
    assert one.fingerprint_for(0) != two.fingerprint_for(0)
    assert not same(one.init_for(0), two.init_for(0))


def test_what_cannot_be_made_is_said_and_left_out(weights):
    lines = []
    without = {part: DATA[part] for part in ("train", "val")}
    maker = controls(weights, TASK, log=lines.append, data=without)
    assert rows(maker, "batchnorm", "scratch-long") == {}
    assert lines == ["no batchnorm row: the protocol names no unlabelled data"]
    task = FinetuneSpec(BACKBONE, 11, steps=2)
    assert rows(controls(weights, task, log=lines.append, run="finetune"), "scratch-long") == {}
    assert lines[1:] == ["no scratch-long row: m does not say what its pretraining spent"]
    with pytest.raises(UsageError, match="control 'points'"):
        rows(maker, "points")
