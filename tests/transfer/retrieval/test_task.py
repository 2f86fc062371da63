from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from densecl.errors import UsageError
from densecl.transfer.features import FrozenInput
from densecl.transfer.images import LabelledImages
from densecl.transfer.retrieval import task
from densecl.transfer.retrieval.bank import Bank, MemoryRows, bank_rows
from densecl.transfer.retrieval.task import RetrievalSpec, Retrieved, vote

PAINT = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220]], np.uint8)


def blocky(count, cells=(1, 20), side=4, seed=None):
    """Pictures whose cells have one class each, told by the colour.

    In a row of cells, bilinear votes change their mind exactly where one cell ends.
    """
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        label = np.kron(generator.integers(0, 3, cells), np.ones((side, side), int)).astype(
            np.uint8
        )
        pairs.append((PAINT[label], label))
    return pairs


def run(spec, train, evaluation, seed=0):
    return spec.run(
        None, LabelledImages(train), LabelledImages(evaluation), seed=seed, device="cpu"
    )


def vote_by_loop(features, labels, queries, k, temperature):
    out = []
    for query in queries.tolist():
        cosines = [sum(a * b for a, b in zip(query, row, strict=True)) for row in features.tolist()]
        order = sorted(range(len(cosines)), key=lambda i: (-cosines[i], i))[:k]
        weights = [math.exp((cosines[i] - cosines[order[0]]) / temperature) for i in order]
        total = [0.0] * labels.shape[1]
        for weight, i in zip(weights, order, strict=True):
            for c in range(labels.shape[1]):
                total[c] += weight / sum(weights) * float(labels[i, c])
        out.append(total)
    return torch.tensor(out)


@pytest.mark.parametrize("k", [1, 4, 30])
def test_votes_equal_a_loop_also_where_the_bank_is_smaller_than_k(k):
    features = functional.normalize(torch.randn(9, 5), dim=1)
    labels = torch.softmax(torch.randn(9, 3), dim=1)
    queries = functional.normalize(torch.randn(6, 5), dim=1)
    found = vote(Bank(MemoryRows(features), MemoryRows(labels)), queries, k, 0.02)
    expected = vote_by_loop(features, labels, queries, k, 0.02)
    assert torch.allclose(found, expected, atol=1e-4)  # float32 cosines divided by 0.02


def test_a_memory_of_the_queries_themselves_answers_right(colours, painted):
    pairs = blocky(3)
    spec = RetrievalSpec(colours(), 3, k=1)
    result, trained = run(spec, painted(pairs), painted(pairs))
    assert result["miou"] == result["miou_hungarian"] == 1.0
    assert len(trained.bank) == 60
    assert result["items"] == {f"painted/{i}": {"miou": 1.0} for i in range(3)}
    json.dumps(result, allow_nan=False)


def test_ignored_pixels_change_nothing(colours, painted):
    train, evaluation = blocky(3, seed=1), blocky(4, seed=2)
    spec = RetrievalSpec(colours(), 3, k=5)
    plain, _ = run(spec, painted(train), painted(evaluation))
    # a whole picture of class-2 colours that nobody labelled, and holes in labelled cells
    unlabelled = (np.broadcast_to(PAINT[2], (8, 20, 3)).copy(), np.full((8, 20), 255, np.uint8))
    holes = []
    for image, label in train:
        label = label.copy()
        label[::2, 1::4] = 255
        holes.append((image, label))
    more, trained = run(spec, painted([unlabelled, *holes]), painted(evaluation))
    assert len(trained.bank) == 60
    assert more["confusion"] == plain["confusion"]
    # as if 255 were class 0: the answers change
    wrong = (unlabelled[0], np.zeros((8, 20), np.uint8))
    other, _ = run(spec, painted([wrong, *train]), painted(evaluation))
    assert other["confusion"] != plain["confusion"]


def test_ignored_pixels_are_not_scored(colours, painted):
    train, evaluation = blocky(3), blocky(2)
    image, label = evaluation[1]
    spoilt = [evaluation[0], (image, np.full_like(label, 255))]
    spec = RetrievalSpec(colours(), 3, k=1)
    result, _ = run(spec, painted(train), painted(spoilt))
    assert np.sum(result["confusion"]) == label.size
    assert list(result["items"]) == ["painted/0"]


def test_a_class_that_nobody_has_is_no_score_and_one_that_the_memory_lacks_scores_zero(
    colours, painted
):
    pairs = blocky(2)
    spec = RetrievalSpec(colours(), 4, k=1)
    result, _ = run(spec, painted(pairs), painted(pairs))
    assert result["iou"] == [1.0, 1.0, 1.0, None]
    assert result["miou"] == 1.0
    without = [(image, np.where(label == 2, 255, label).astype(np.uint8)) for image, label in pairs]
    result, _ = run(spec, painted(without), painted(pairs))
    assert result["iou"][2] == 0.0


def test_permuted_labels_score_well_under_hungarian_matching_alone(colours, painted):
    pairs = blocky(4, seed=3)
    permuted = [(image, (label + 1) % 3) for image, label in pairs]
    spec = RetrievalSpec(colours(), 3, k=1)
    result, _ = run(spec, painted(permuted), painted(pairs))
    assert result["miou"] == 0.0
    assert result["miou_hungarian"] == 1.0


def test_a_picture_smaller_than_a_cell_is_one_row_and_one_answer(colours, painted):
    small = [(np.broadcast_to(PAINT[1], (3, 2, 3)).copy(), np.ones((3, 2), np.uint8))]
    result, trained = run(RetrievalSpec(colours(16), 3), painted(small), painted(small))
    assert len(trained.bank) == 1
    assert result["confusion"] == [[0, 0, 0], [0, 6, 0], [0, 0, 0]]


def test_pictures_of_different_sizes_go_together(colours, painted):
    train = [*blocky(2), *blocky(1, (2, 3)), *blocky(2, (3, 3))]
    evaluation = [*blocky(1, (3, 2)), *blocky(2), *blocky(1, (1, 1))]
    result, _ = run(RetrievalSpec(colours(), 3, k=1), painted(train), painted(evaluation))
    assert np.sum(result["confusion"]) == sum(label.size for _, label in evaluation)


def test_the_memory_is_bounded_and_shared_out(colours, painted):
    _, trained = run(RetrievalSpec(colours(), 3, memory=7), painted(blocky(3)), painted(blocky(1)))
    assert len(trained.bank) == 7


def test_labels_larger_than_the_picture_are_answered_by_bilinear_votes(colours, painted):
    image = np.stack([np.broadcast_to(PAINT[c], (4, 4, 3)) for c in (0, 1)], axis=1).reshape(
        4, 8, 3
    )
    label = np.kron([[0, 1]], np.ones((10, 10), int)).astype(np.uint8)
    spec = RetrievalSpec(colours(), 3, k=1)
    _, trained = run(spec, painted([(image, label)]), painted([(image, label)]))
    ((_, predicted),) = spec.predict(trained, LabelledImages(painted([(image, label)])))
    assert predicted.shape == label.shape
    assert (predicted == label).all()


def test_batches_and_lookups_do_not_change_the_answers(blocks, tiny_backbone, monkeypatch):
    train, evaluation = blocks(4, seed=1), blocks(5, seed=2)
    base = {"num_classes": 3, "k": 3}
    one, _ = run(RetrievalSpec(FrozenInput(tiny_backbone, strides=(4,)), **base), train, evaluation)
    monkeypatch.setattr(task, "QUERIES", 1)
    two, _ = run(
        RetrievalSpec(FrozenInput(tiny_backbone, strides=(4,), batch=1), **base), train, evaluation
    )
    assert one["confusion"] == two["confusion"]
    assert one["items"] == two["items"]


def test_a_large_memory_goes_through_a_file_and_gives_the_same(
    blocks, tiny_backbone, monkeypatch, tmp_path
):
    spec = RetrievalSpec(FrozenInput(tiny_backbone, strides=(8, 16), grid=8), 3, k=3)
    one, kept = run(spec, blocks(3, seed=1), blocks(2, seed=2))
    monkeypatch.setattr(task, "IN_MEMORY", 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    two, mapped = run(spec, blocks(3, seed=1), blocks(2, seed=2))
    assert type(mapped.bank.features).__name__ == "MappedRows"
    assert one["confusion"] == two["confusion"]
    assert all(torch.equal(mapped.state_dict()[k], v) for k, v in kept.state_dict().items())


def test_a_run_is_restored_from_the_memory_alone(blocks, tiny_backbone, tmp_path):
    spec = RetrievalSpec(FrozenInput(tiny_backbone, strides=(16,)), 3, k=3, memory=20)
    result, trained = run(spec, blocks(3, seed=1), blocks(2, seed=2), seed=4)
    torch.save(dict(trained.state_dict()), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = spec.restore(state, None, seed=4, device="cpu")
    scores = spec.score(again, LabelledImages(blocks(2, seed=2)), "cpu")
    assert scores == {key: result[key] for key in scores}


def test_the_seed_decides_what_enters_the_memory(blocks, tiny_backbone):
    spec = RetrievalSpec(FrozenInput(tiny_backbone, strides=(4,)), 3, memory=12)
    state = spec.input.open(None, 0, "cpu").state_dict()
    train = LabelledImages(blocks(3, seed=1))
    banks = [
        spec.run(state, train, train, seed=seed, device="cpu")[1].bank.features.tensor
        for seed in (0, 0, 1)
    ]
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(banks[0], banks[2])


def test_settings_decide_the_hash_and_there_is_no_grid(tiny_backbone):
    spec = RetrievalSpec(FrozenInput(tiny_backbone), 3)
    assert spec.at(0.5) == spec.at(0.1, 99) == spec
    assert spec.steps == 0
    assert spec.to_dict()["input"]["backbone"] == tiny_backbone
    assert RetrievalSpec(FrozenInput(tiny_backbone), 3, memory=5).to_dict() != spec.to_dict()
    assert [column.key for column in spec.columns] == ["miou", "miou_hungarian"]


def test_features_that_are_not_finite_are_refused(blocks, tiny_backbone):
    spec = RetrievalSpec(FrozenInput(tiny_backbone), 3)
    state = spec.input.open(None, 0, "cpu").state_dict()
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], float("nan"))
    with pytest.raises(UsageError, match="not finite"):
        spec.run(state, LabelledImages(blocks(1)), LabelledImages(blocks(1)), seed=0, device="cpu")


def test_pictures_show_every_row(colours, painted):
    pairs = blocky(6)
    spec = RetrievalSpec(colours(), 3, k=1)
    _, trained = run(spec, painted(pairs), painted(pairs))
    rows, labels = bank_rows(torch.ones(3, 1, 1), np.zeros((1, 1), np.uint8), 3, most=1)
    blind = Retrieved(trained.backbone, Bank(MemoryRows(rows), MemoryRows(labels)))
    figures = spec.pictures(
        {"good": trained, "blind": blind}, LabelledImages(painted(pairs)), "cpu"
    )
    (figure,) = figures.values()
    assert figure.dtype == np.uint8
    wide = spec.pictures({"good": trained}, LabelledImages(painted(pairs)), "cpu")["predictions"]
    assert figure.shape[1] > wide.shape[1]
