from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.errors import UsageError
from pointcl.models import build_backbone
from pointcl.sparse import VoxelGrid, voxelise
from pointcl.transfer.segmentation import Segmentor, lovasz_softmax, voxel_loss


def jaccard_extension(errors, truth):
    """The Lovasz extension of the Jaccard loss by its definition: sum over sorted errors of the
    error times what adding its row to the set of wrong rows changes in the loss."""
    order = np.argsort(-errors, kind="stable")
    wrong, total, before = set(), 0.0, 0.0
    foreground = set(np.flatnonzero(truth))
    for row in order:
        wrong.add(row)
        kept = len(foreground - wrong)
        union = len(foreground | wrong)
        now = 1 - kept / union
        total += errors[row] * (now - before)
        before = now
    return total


def test_lovasz_is_the_extension_of_the_jaccard_loss_averaged_over_present_classes():
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.normal(size=(13, 4)))
    labels = torch.from_numpy(random.choice([0, 1, 3], 13))
    probabilities = scores.softmax(1)
    terms = []
    for c in (0, 1, 3):
        truth = (labels == c).numpy()
        errors = np.abs(truth - probabilities[:, c].numpy())
        terms.append(jaccard_extension(errors, truth))
    assert lovasz_softmax(probabilities, labels).item() == pytest.approx(np.mean(terms), abs=1e-12)


def test_lovasz_of_a_hard_prediction_is_one_minus_the_iou():
    labels = torch.tensor([0, 0, 0, 1, 1])
    hard = torch.eye(2, dtype=torch.float64)[torch.tensor([0, 0, 1, 1, 1])]
    assert lovasz_softmax(hard, labels).item() == pytest.approx(1 - (2 / 3 + 2 / 3) / 2)
    assert lovasz_softmax(hard[:0], labels[:0]).item() == 0


def test_lovasz_has_the_right_gradient():
    torch.manual_seed(0)
    scores = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(1), labels), scores)


def test_cross_entropy_leaves_out_the_ignored_and_weighs_classes():
    torch.manual_seed(1)
    scores, labels = torch.randn(6, 3), torch.tensor([0, 2, 255, 1, 1, 255])
    weights = torch.tensor([1.0, 2.0, 5.0])
    log = scores.log_softmax(1)
    rows = [(0, 0), (1, 2), (3, 1), (4, 1)]
    plain = -sum(log[r, c] for r, c in rows) / 4
    weighed = -sum(log[r, c] * weights[c] for r, c in rows) / sum(weights[c] for _, c in rows)
    torch.testing.assert_close(voxel_loss(scores, labels), plain)
    torch.testing.assert_close(voxel_loss(scores, labels, weights=weights), weighed)
    more = voxel_loss(scores, labels, loss="ce+lovasz")
    kept = labels != 255
    torch.testing.assert_close(more, plain + lovasz_softmax(scores[kept].softmax(1), labels[kept]))


def test_no_labelled_voxel_is_a_loss_of_zero_with_gradient():
    scores = torch.randn(3, 2, requires_grad=True)
    for loss in ("ce", "ce+lovasz"):
        value = voxel_loss(scores, torch.full((3,), 255), loss=loss)
        value.backward()
        assert value.item() == 0
        assert not scores.grad.any()


def test_points_get_the_class_of_their_voxel_and_lost_ones_that_of_the_largest_bias():
    network = Segmentor(build_backbone({"type": "Pointwise", "in_channels": 1, "width": None}), 3)
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[-1.0], [0.0], [1.0]]))
        network.head.bias.copy_(torch.tensor([0.0, 0.5, 0.0]))
    points = torch.tensor([[0.1, 0.1, 0.1], [5.0, 0.0, 0.0], [1.1, 0.1, 0.1], [0.2, 0.1, 0.1]])
    value = torch.tensor([[9.0], [9.0], [-9.0], [0.0]])
    grid = VoxelGrid(1.0, high=(4.0, 4.0, 4.0))
    voxels = voxelise([points], grid, [value])
    found = network.predict(voxels.tensor, voxels.point_to_voxel)
    assert found.tolist() == [2, 1, 0, 2]


def test_a_backbone_without_a_feature_for_each_voxel_is_refused():
    backbone = build_backbone({"type": "MinkResNet", "depth": 14, "in_channels": 1, "width": 4})
    with pytest.raises(UsageError, match="stride 1") as error:
        Segmentor(backbone, 3)
    assert "probe" in str(error.value)
