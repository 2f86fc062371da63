from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from densecl.diagnostics.alignment import alignment, uniformity
from densecl.diagnostics.norms import norm_outliers
from densecl.diagnostics.picture_share import picture_share
from densecl.diagnostics.spectrum import effective_rank
from densecl.errors import UsageError
from densecl.pairs import PointSet, match_by_distance, purity
from densecl.transfer.columns import columns_of
from densecl.transfer.features import FrozenInput
from densecl.transfer.initialisation import random_backbone
from densecl.transfer.measures.task import MeasuresSpec
from densecl.transfer.measures.views import evenly
from densecl.transfer.protocol_file import read_protocol
from densecl.transfer.run import run_table
from densecl.transfer.study import Protocol, RowSpec
from densecl.transfer.subsets import Subset
from densecl.transfer.untrained import Restored
from densecl.views import ViewGenerator
from densecl.views.view import ViewBatch


@pytest.fixture
def spec(tiny_backbone):
    reading = FrozenInput(tiny_backbone, strides=(16,), batch=3)
    return MeasuresSpec(reading, size=(48, 64), max_pictures=6)


@pytest.fixture
def items(spec, blocks):
    return spec.select(blocks(8, seed=3))


@pytest.fixture
def views(spec, blocks, tiny_backbone):
    """Both views of the pictures that are measured, made the long way."""
    backbone = random_backbone(tiny_backbone, 5).eval()
    generator = ViewGenerator("mocov2", size=(48, 64), min_overlap=0.3)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.input.mean, spec.input.std))
    sets = []
    for side in (0, 1):
        batch = ViewBatch.collate(
            [generator(blocks(8, seed=3)[k], epoch=0)[side] for k in evenly(8, 6)]
        )
        with torch.no_grad():
            features = backbone((batch.image.float() - mean) / std).maps[16]
        sets.append(PointSet.from_view({"z": features}, batch))
    return sets


def test_the_numbers_are_those_of_the_pure_functions_on_two_views(spec, items, views):
    result, _ = replace(spec, purity=True).run(None, None, items, seed=5, device="cpu")
    src, dst = views
    a, b = src.fields["z"], dst.fields["z"]
    pairs = match_by_distance(src, dst, radius=0.7)
    close = pytest.approx
    assert result["alignment"] == close(alignment(a[pairs.src], b[pairs.dst]), rel=1e-4)
    even = uniformity(a, src.sample)
    for name in ("image", "batch", "all"):
        assert result[f"uniformity_{name}"] == close(getattr(even, name), rel=1e-4)
    assert result["effective_rank"] == close(float(effective_rank(a)), rel=1e-4)
    assert result["picture"] == close(picture_share(a, src.sample), rel=1e-4)
    assert result["norm_ratio"] == close(norm_outliers(a).ratio, rel=1e-4)
    judged = purity(pairs, src, dst)
    assert result["purity_geometric"] == judged.share
    assert result["chance_geometric"] == judged.chance
    pooled = [s.to_map("z").mean((2, 3)) for s in (src, dst)]
    assert result["alignment_pooled"] == close(alignment(*pooled), rel=1e-4)
    assert result["uniformity_pooled"] == close(
        uniformity(pooled[0], torch.arange(6)).batch, rel=1e-4
    )
    same = result["matchings"]["same"]
    assert same["alignment"] == close(alignment(a, b), rel=1e-4)
    assert same["pairs"] == len(a)
    assert result["net_same"] == close(same["alignment"] - same["chance"])
    per_picture = [each.get("alignment", 0.0) for each in result["items"].values()]
    counts = torch.bincount(src.sample[pairs.src], minlength=6).numpy()
    assert np.average(per_picture, weights=counts) == close(result["alignment"], rel=1e-4)
    within = [each["uniformity_image"] for each in result["items"].values()]
    assert np.mean(within) == close(result["uniformity_image"], rel=1e-4)


@pytest.mark.parametrize("judged", [False, True])
def test_a_result_has_a_number_for_every_column_and_is_plain(spec, items, judged):
    spec = replace(spec, purity=judged)
    result, measured = spec.run(None, None, items, seed=0, device="cpu")
    columns = columns_of(spec)
    assert columns[0].key == "net_geometric"
    assert columns[0].better == "lower"
    assert all(isinstance(result[column.key], float) for column in columns)
    assert len({column.key for column in columns}) == len(columns)
    assert any("purity" in column.key for column in columns) == judged
    json.dumps(result, allow_nan=False)
    assert result["seconds"]["evaluate"] > 0
    assert measured.state_dict() == {}
    curve = result["curves"]["spectrum"]
    assert math.fsum(curve["y"]) == pytest.approx(1)
    assert curve["y"] == sorted(curve["y"], reverse=True)


def test_restored_weights_score_alike_and_other_weights_differently(spec, items, tiny_backbone):
    state = random_backbone(tiny_backbone, 11).state_dict()
    result, measured = spec.run(state, None, items, seed=0, device="cpu")
    again = spec.restore(measured.state_dict(), state, seed=3, device="cpu")
    scored = spec.score(again, items, "cpu")
    other, _ = spec.run(None, None, items, seed=0, device="cpu")
    for column in spec.columns:
        assert scored[column.key] == result[column.key]
    assert other["alignment"] != result["alignment"]


def test_the_batch_of_the_forward_changes_nothing(spec, items):
    results = [
        replace(spec, input=replace(spec.input, batch=size)).run(
            None, None, items, seed=0, device="cpu"
        )[0]
        for size in (1, 4)
    ]
    for column in spec.columns:
        # float32 convolutions of another batch round differently
        assert results[0][column.key] == pytest.approx(results[1][column.key], rel=1e-3, abs=1e-5)


def test_views_are_the_same_for_every_row_and_follow_the_draw(spec, items):
    results = [
        replace(spec, draw=draw).run(None, None, items, seed=seed, device="cpu")[0]
        for draw, seed in ((0, 0), (0, 0), (1, 0))
    ]
    assert results[0]["net_geometric"] == results[1]["net_geometric"]
    assert results[0]["net_geometric"] != results[2]["net_geometric"]


def test_cells_beyond_the_limit_are_sampled(spec, items):
    few, _ = replace(spec, cells=20).run(None, None, items, seed=0, device="cpu")
    every, _ = spec.run(None, None, items, seed=0, device="cpu")
    assert (few["cells"], every["cells"]) == (20, 6 * 12)
    assert few["alignment"] == every["alignment"]
    assert few["uniformity_all"] != every["uniformity_all"]
    assert few["uniformity_all"] == pytest.approx(every["uniformity_all"], abs=1)


def test_collapsed_features_show_in_every_measure(spec, items, monkeypatch):
    flat = torch.arange(1.0, 5.0).view(1, 4, 1, 1)
    monkeypatch.setattr(
        FrozenInput, "maps", lambda self, backbone, images: flat.expand(len(images), 4, 3, 4)
    )
    result = spec.score(Restored(torch.nn.Identity()), items, "cpu")
    for key in ("alignment", "net_geometric", "net_feature", "uniformity_all", "uniformity_image"):
        assert result[key] == pytest.approx(0, abs=1e-6)
    assert result["effective_rank"] == 0
    assert result["feature_std"] == pytest.approx(0, abs=1e-6)
    assert result["position"] == pytest.approx(0, abs=1e-3)
    assert result["picture"] == 0
    assert (result["outliers"], result["norm_ratio"]) == (0, 1)


def test_pictures_without_labels_are_measured_but_not_judged(spec, blocks):
    class Bare(type(blocks(1))):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.frames[0].maps.clear()
            return sample

    items = spec.select(Bare(6, seed=1))
    assert spec.run(None, None, items, seed=0, device="cpu")[0]["alignment"] > 0
    with pytest.raises(UsageError, match="needs labels"):
        replace(spec, purity=True).run(None, None, items, seed=0, device="cpu")


def test_too_few_pictures_cells_and_pairs_are_refused(spec, items, blocks):
    with pytest.raises(UsageError, match="3 pictures"):
        spec.run(None, None, spec.select(blocks(3)), seed=0, device="cpu")
    small = replace(spec, size=(16, 16))
    with pytest.raises(UsageError, match="map of"):
        small.run(None, None, items, seed=0, device="cpu")
    apart = replace(spec, builders={"near": {"type": "distance", "radius": 1e-6}})
    with pytest.raises(UsageError, match="no pair by 'near'"):
        apart.run(None, None, items, seed=0, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_pictures": 3}, "max_pictures = 3"),
        ({"cells": 1}, "cells = 1"),
        ({"cells": 6}, "more cells than pictures"),
        ({"decay": 0.0}, "decay"),
        ({"builders": {}}, "builders"),
        ({"views": {"recipe": "mocov9"}}, "mocov9"),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_anything_runs(spec, change, message):
    with pytest.raises(UsageError, match=message):
        replace(spec, **change)


def test_a_size_of_the_pictures_is_refused(spec):
    with pytest.raises(UsageError, match=r"measures\.size"):
        replace(spec, input=replace(spec.input, resize=(32, 32)))


def test_every_setting_is_hashed(spec):
    base = json.dumps(spec.to_dict(), sort_keys=True)
    for change in (
        {"draw": 1},
        {"cells": 9},
        {"outlier": 3.0},
        {"size": (48, 48)},
        {"builders": {"same": {"type": "same"}}},
        {"input": replace(spec.input, strides=(32,))},
    ):
        assert json.dumps(replace(spec, **change).to_dict(), sort_keys=True) != base
    assert spec.at(0.5, 99) is spec


def test_the_figure_shows_every_row_and_says_that_colours_differ(spec, items, tiny_backbone):
    trained = {
        name: spec.restore({}, None, seed=seed, device="cpu")
        for name, seed in (("random", 0), ("other", 1))
    }
    (stem, figure), *rest = spec.pictures(trained, items, "cpu").items()
    assert (stem, rest) == ("components", [])
    assert figure.dtype == np.uint8
    only = spec.pictures({"random": trained["random"]}, items, "cpu")["components"]
    assert figure.shape[0] == only.shape[0] > 5 * 120
    assert figure.shape[1] > only.shape[1]
    # the first columns are the same picture and the same row, whatever stands beside them
    assert np.array_equal(figure[40:, : only.shape[1]], only[40:])


def test_positions_are_spread_and_never_repeat():
    assert evenly(3, 10) == [0, 1, 2]
    assert evenly(9, 3) == [0, 4, 8]
    assert evenly(1, 1) == [0]


def test_a_picture_without_a_pair_has_no_alignment(spec, items):
    views = {"recipe": "mocov2", "scale": (0.02, 0.03), "min_overlap": 0.0}
    result, _ = replace(spec, views=views).run(None, None, items, seed=0, device="cpu")
    known = ["alignment" in each for each in result["items"].values()]
    assert 0 < sum(known) < 6
    json.dumps(result, allow_nan=False)


def test_a_table_of_it_needs_no_labels_and_judges_the_right_way_round(
    spec, blocks, tiny_backbone, tmp_path
):
    # features that are the same everywhere agree no better than chance
    off = ("layer3.0.bn2", "layer3.1.bn2", "layer3.0.downsample.1")
    state = random_backbone(tiny_backbone, 0).state_dict()
    flat = {name: value * (not name.startswith(off)) for name, value in state.items()}
    rows = [RowSpec("random"), RowSpec("dead", init=flat)]
    table = run_table(
        rows,
        Protocol(spec, (0.0,), reference="random"),
        [Subset("all", ())],
        (0, 1, 2),
        tmp_path,
        train=None,
        val=blocks(8, seed=3),
        log=lambda line: None,
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["columns"][0]["key"] == "net_geometric"
    assert table.columns == spec.columns
    random, dead = table.rows
    assert random.mean < dead.mean == 0
    assert table.difference(dead).mean > 0
    assert table.difference(dead).verdict == "worse"


@pytest.mark.parametrize("name", ["measures_streets", "measures_folder"])
def test_shipped_protocols_describe_a_run_that_learns_from_no_label(name, tiny_backbone):
    protocol = read_protocol(name)
    assert protocol.run == "measures"
    assert not protocol.learns
    assert "train" not in protocol.data
    spec = MeasuresSpec(FrozenInput(tiny_backbone), **protocol.settings)
    assert spec.purity == (name == "measures_streets")
    assert spec.columns[0].key == "net_geometric"
