from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from densecl.transfer.untrained import Restored, Untrained


@dataclass(frozen=True)
class Sum(Untrained):
    power: int = 2

    def select(self, dataset, indices=None):
        return dataset

    def restore(self, state, init, *, seed, device):
        assert state == {}
        layer = nn.Linear(1, 1)
        nn.init.constant_(layer.weight, init + seed)
        return Restored(layer)

    def score(self, trained, items, device):
        return {"sum": float(trained.backbone.weight) ** self.power * sum(items)}


def test_a_run_restores_from_the_starting_weights_and_scores_what_is_held_out():
    result, trained = Sum().run(3.0, "never read", [1, 2], seed=1, device="cpu")
    assert result["sum"] == pytest.approx(16 * 3)
    assert float(trained.backbone.weight) == 4
    assert result["feature_difference"] == 0.0
    assert result["diverged"] is False
    assert set(result["seconds"]) == {"evaluate"}


def test_it_has_no_grid_no_steps_and_nothing_to_keep():
    run = Sum(power=3)
    assert run.at(0.1) is run
    assert run.at(0.1, steps=5).steps == 0
    assert run.to_dict() == {"power": 3}
    assert Restored(nn.Identity()).state_dict() == {}


def test_a_run_without_a_score_cannot_be_made():
    class Half(Untrained):
        def select(self, dataset, indices=None):
            return dataset

        def restore(self, state, init, *, seed, device):
            return Restored(torch.nn.Identity())

    with pytest.raises(TypeError, match="score"):
        Half()
