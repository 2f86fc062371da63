from __future__ import annotations

import engine_dummy
import numpy as np
import torch
from engine_dummy import config, weights

from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain

PROBE = {
    "every": 2,
    "data": {"type": "RandomImages", "seed": 1},
    "val": {"type": "RandomImages", "seed": 2},
    "images": 6,
    "val_images": 5,
}


def test_weights_statistics_and_generators_do_not_notice_the_probe(tmp_path, monkeypatch):
    original = engine_dummy.RandomImages.__getitem__

    def greedy(self, index):
        if self.seed:
            torch.rand(3), np.random.rand()
        return original(self, index)

    monkeypatch.setattr(engine_dummy.RandomImages, "__getitem__", greedy)
    probed = pretrain(config(probe=PROBE), work_dir=tmp_path / "a").checkpoint
    plain = pretrain(config(), work_dir=tmp_path / "b").checkpoint
    a, b = weights(probed), weights(plain)
    assert [name for name in b.flat if not torch.equal(a.flat[name], b.flat[name])] == []
    assert torch.equal(a.rng, b.rng)


def test_scores_are_logged_at_their_interval_and_found_again(tmp_path):
    runs = []
    for name in "ab":
        pretrain(config(probe=PROBE), work_dir=tmp_path / name)
        lines = read_scalars(tmp_path / name)
        runs.append({line["step"]: line["probe_miou"] for line in lines if "probe_miou" in line})
    assert sorted(runs[0]) == [2, 4, 6]
    assert runs[0] == runs[1]


def test_the_probe_reads_what_the_features_hold(tmp_path):
    # The left half is four times darker: any linear filter shows it.
    pretrain(config(probe=PROBE), work_dir=tmp_path)
    assert read_scalars(tmp_path)[-1]["probe_accuracy"] > 0.8
