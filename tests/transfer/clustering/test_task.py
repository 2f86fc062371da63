from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from densecl.diagnostics.segmentation_metrics import mean_iou
from densecl.errors import UsageError
from densecl.transfer.clustering.matching import greedy, hungarian, join_clusters, purity
from densecl.transfer.clustering.task import OverclusteringSpec, nearest
from densecl.transfer.features import FrozenInput
from densecl.transfer.images import LabelledImages

PAINT = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220]], np.uint8)
PLAIN = {"components": None, "mask": None, "seeds": (0, 1)}


def blocky(count, cells=(4, 5), side=4, seed=None):
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        label = np.kron(generator.integers(0, 3, cells), np.ones((side, side), int)).astype(
            np.uint8
        )
        pairs.append((PAINT[label], label))
    return pairs


def run(spec, evaluation):
    return spec.run(None, None, LabelledImages(evaluation), seed=0, device="cpu")


@pytest.mark.parametrize("matching", ["greedy", "hungarian"])
def test_colours_that_tell_the_class_score_one(matching, colours, painted):
    spec = OverclusteringSpec(colours(), 3, clusters=None, matching=matching, **PLAIN)
    result, trained = run(spec, painted(blocky(4)))
    assert result["miou"] == result["purity"] == 1.0
    assert result[spec.columns[1].key] == 1.0
    assert all(item == {"miou": 1.0} for item in result["items"].values())
    assert trained.state_dict() == {}
    json.dumps(result, allow_nan=False)


def test_a_blind_backbone_scores_one_class_alone(colours, painted):
    pairs = [(np.full_like(image, 99), label) for image, label in blocky(4, seed=0)]
    spec = OverclusteringSpec(colours(), 3, clusters=None, matching="hungarian", **PLAIN)
    result, _ = run(spec, painted(pairs))
    labels = np.concatenate([label.ravel() for _, label in pairs])
    shares = np.bincount(labels, minlength=3) / labels.size
    # one cluster: its IoU with a class is the class's share of the pixels
    assert sorted(result["iou"]) == pytest.approx([0.0, 0.0, shares.max()])
    assert result["purity"] == pytest.approx(shares.max())


def test_ignored_pixels_do_not_name_clusters(colours, painted):
    pairs = blocky(3, seed=1)
    plain, _ = run(OverclusteringSpec(colours(), 3, clusters=3, **PLAIN), painted(pairs))
    holes = [(image, np.where(label == 2, 255, label).astype(np.uint8)) for image, label in pairs]
    result, _ = run(OverclusteringSpec(colours(), 3, clusters=3, **PLAIN), painted(holes))
    assert result["iou"] == [1.0, 1.0, None]
    assert result["miou"] == plain["miou"] == 1.0
    assert np.sum(result["confusion"]) == 2 * sum((label != 255).sum() for _, label in holes)


def test_scores_are_those_of_slow_counts_averaged_over_seeds(colours, painted):
    generator = np.random.default_rng()
    pairs = [
        (generator.integers(0, 256, (12, 16, 3)).astype(np.uint8), label)
        for label in generator.choice([0, 1, 2, 255], (3, 12, 16)).astype(np.uint8)
    ]
    spec = OverclusteringSpec(colours(), 3, clusters=5, components=2, mask=(7, 9), seeds=(4, 5))
    result, trained = run(spec, painted(pairs))
    items = LabelledImages(painted(pairs))
    rows, shapes = spec._reduced(trained.backbone, items)
    found = []
    for seed in spec.seeds:
        counts = np.zeros((3, 5), int)
        for (_, label), clusters in zip(pairs, spec._cluster(rows, shapes, seed), strict=True):
            for r in range(7):
                for c in range(9):
                    true = label[int((r + 0.5) / 7 * 12), int((c + 0.5) / 9 * 16)]
                    if true != 255:
                        counts[true, clusters[int((r + 0.5) / 7 * 3), int((c + 0.5) / 9 * 4)]] += 1
        scores = [mean_iou(join_clusters(counts, match(counts))) for match in (greedy, hungarian)]
        found.append([*scores, purity(counts)])
    expected = np.mean(found, axis=0)
    assert [result["miou"], result["miou_hungarian"], result["purity"]] == pytest.approx(expected)


def test_more_clusters_than_cells(colours, painted):
    result, _ = run(OverclusteringSpec(colours(16), 3, clusters=50), painted(blocky(2)))
    assert 0 <= result["miou"] <= 1
    assert result["purity"] <= 1


def test_an_id_without_a_class_is_refused(colours, painted):
    with pytest.raises(ValueError, match="label 2"):
        run(OverclusteringSpec(colours(), 2, clusters=3, mask=None), painted(blocky(3, seed=0)))


def test_real_maps_are_restored_and_score_the_same(blocks, tiny_backbone):
    spec = OverclusteringSpec(
        FrozenInput(tiny_backbone, strides=(8, 16)), 3, clusters=6, seeds=(0,)
    )
    result, trained = run(spec, blocks(4))
    again = spec.restore(trained.state_dict(), None, seed=0, device="cpu")
    scores = spec.score(again, LabelledImages(blocks(4)), "cpu")
    assert scores == {key: result[key] for key in scores}


def test_settings_decide_columns_and_hash(tiny_backbone):
    base = FrozenInput(tiny_backbone)
    many = OverclusteringSpec(base, 3)
    few = OverclusteringSpec(base, 3, clusters=None, matching="hungarian")
    assert [column.key for column in many.columns] == ["miou", "miou_hungarian", "purity"]
    assert [column.key for column in few.columns] == ["miou", "miou_greedy", "purity"]
    assert many.columns[0].title != few.columns[0].title
    assert many.to_dict() != few.to_dict()
    assert many.to_dict()["fitted_on"] == "the scored pictures"
    assert many.at(0.1, 3) == many


def test_features_that_are_not_finite_are_refused(blocks, tiny_backbone):
    spec = OverclusteringSpec(FrozenInput(tiny_backbone), 3, clusters=2)
    state = spec.input.open(None, 0, "cpu").state_dict()
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], float("inf"))
    with pytest.raises(UsageError, match="not finite"):
        spec.run(state, None, LabelledImages(blocks(1)), seed=0, device="cpu")


def test_nearest_takes_the_id_at_each_centre():
    ids = np.arange(12).reshape(3, 4)
    assert nearest(ids, (3, 4)).tolist() == ids.tolist()
    assert nearest(ids, (1, 2)).tolist() == [[5, 7]]
    assert nearest(np.array([[1, 2]]), (2, 4)).tolist() == [[1, 1, 2, 2]] * 2


def test_pictures_paint_matched_clusters(colours, painted):
    pairs = blocky(5)
    spec = OverclusteringSpec(colours(), 3, clusters=None, matching="hungarian", **PLAIN)
    _, trained = run(spec, painted(pairs))
    figures = spec.pictures(
        {"row": trained, "again": trained}, LabelledImages(painted(pairs)), "cpu"
    )
    (figure,) = figures.values()
    # truth and both predictions hold the same colours
    thirds = (figure.shape[1] - 3 * 4) // 4
    truth, one, two = (figure[20:, i * (thirds + 4) : i * (thirds + 4) + thirds] for i in (1, 2, 3))
    assert np.array_equal(truth, one)
    assert np.array_equal(truth, two)
