from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from densecl.transfer.fitted import Fitted, Probed
from densecl.transfer.probe import Readout


@dataclass(frozen=True)
class Shift(Fitted):
    """Fits the mean of what it is given to a layer of one weight."""

    by: float = 0.0

    def select(self, dataset, indices=None):
        return dataset

    def open(self, init, seed, device):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, init + seed)
        return layer.eval()

    def fit(self, backbone, train, seed, device):
        assert not backbone.training
        mean = float(backbone.weight) * sum(train) / len(train) + self.by
        one = torch.ones(1)
        return Probed(backbone, Readout(one[None], mean * one, 0 * one, one))

    def restore(self, state, init, *, seed, device):
        return Probed(self.open(init, seed, device), Readout(**state))

    def score(self, trained, items, device):
        return {"sum": float(trained.readout.bias) + sum(items)}


def test_a_run_fits_to_what_it_learns_from_and_scores_what_is_held_out():
    task = Shift(by=0.5)
    result, _ = task.run(3.0, [1, 3], [10, 20], seed=1, device="cpu")
    assert result["sum"] == 4 * 2 + 0.5 + 30
    assert result["feature_difference"] == 0.0
    assert result["diverged"] is False
    assert set(result["seconds"]) == {"train", "evaluate"}
    assert task.steps == 0


def test_what_was_fitted_is_restored_from_its_state_beside_the_starting_weights():
    task = Shift()
    result, trained = task.run(3.0, [1, 3], [10], seed=1, device="cpu")
    again = task.restore(trained.state_dict(), 3.0, seed=1, device="cpu")
    assert set(trained.state_dict()) == {"weight", "bias", "mean", "std"}
    assert torch.equal(again.backbone.weight, trained.backbone.weight)
    assert task.score(again, [10], "cpu") == {"sum": result["sum"]}
