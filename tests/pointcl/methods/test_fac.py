"""FAC (our specification): both terms against loops, its closed forms, and its degenerate cases."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from several import on_ranks

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, Furnished, Rooms

from densecl.distributed import is_distributed, rank
from densecl.errors import UsageError
from densecl.losses import normalise
from densecl.pairs import Pairs, PointSet
from pointcl.data.posed_pairs import PosedPairs
from pointcl.methods import FAC
from pointcl.methods.fac import masked_softmax
from pointcl.pairs.segments import BatchSegments, draw_of_each, some_of_each
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews
from pointcl.views.segmented import SegmentedViews


def build(seed=0, **options) -> FAC:
    torch.manual_seed(seed)
    return FAC(dict(UNET), **{"dim": 8, "anchors": 3, "negatives": 10**6, **options})


def batch_of(dataset, indices, *, size=0.5, recipe="pointcontrast", epoch=0):
    views = VoxelViews(CloudViewGenerator(recipe, seed=0), Voxeliser(VoxelGrid(size)))
    return views.collate([views(dataset[i], epoch) for i in indices])


def rooms(count=2, **options):
    return batch_of(Furnished(count, count=400), range(count), **options)


def table(ids, sample, foreground, other=None):
    """Segments from plain lists."""
    first = torch.tensor(ids)
    second = first if other is None else torch.tensor(other)
    every = torch.arange(len(sample))
    return BatchSegments(
        (first, second),
        torch.tensor(sample),
        torch.tensor(foreground),
        (torch.isin(every, first), torch.isin(every, second)),
    )


def points(features, sample=None):
    rows = torch.zeros(len(features), dtype=torch.int64) if sample is None else sample
    return PointSet({"loss": features}, rows)


def six(extra=0):
    """(0, 0, 1, 1, none, none), each group with a direction of its own."""
    ids = [0, 0, 1, 1, -1, -1] + [0] * extra
    rows = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 1, 2, 2] + [0] * extra]
    return points(rows), table(ids, [0, 0], [True, True])


def grouping(method, src, segments, dst=None):
    pairs = method.draw(segments)
    return method.group(src, src if dst is None else dst, segments, pairs).item()


def test_the_numbers_of_six_points():
    method = build(temperature=0.07)
    src, segments = six()
    expected = math.log(1 + 4 * math.exp(-1 / 0.07))
    assert expected == pytest.approx(2.50e-6, abs=5e-9)
    assert grouping(method, src, segments) == pytest.approx(expected, rel=1e-9)
    same = points(torch.ones(6, 1, dtype=torch.float64))
    assert grouping(method, same, segments) == pytest.approx(math.log(5), rel=1e-12)


def test_more_points_of_the_own_segment_change_nothing():
    method = build(temperature=0.07)
    src, segments = six()
    only = replace(segments, foreground=torch.tensor([True, False]))
    few = grouping(method, src, only)
    src, segments = six(extra=50)
    only = replace(segments, foreground=torch.tensor([True, False]))
    assert grouping(method, src, only) == pytest.approx(few, rel=1e-12)

    def faulty(count):  # a plain InfoNCE has them in its denominator
        return math.log((math.exp(1 / 0.07) * (1 + count) + 4) / math.exp(1 / 0.07))

    assert faulty(50) > faulty(1) > 0.5


def test_grouping_is_the_loop_over_anchors():
    draw = torch.Generator().manual_seed(0)
    sample = torch.tensor([0] * 8 + [1] * 6)
    first = [0, 0, 1, 2, -1, -1, 2, 0, 3, 3, -1, 4, 4, -1]
    second = [1, 0, 0, 0, -1, 2, 2, -1, 4, 3, 3, 3, -1, -1]
    segments = table(first, [0, 0, 0, 1, 1], [True, False, True, True, False], second)
    src, dst = (
        points(normalise(torch.randn(14, 4, dtype=torch.float64, generator=draw)), sample)
        for _ in "ab"
    )
    method = build(temperature=0.3)
    pairs = method.draw(segments)
    assert len(pairs) == 3 * 3  # three anchors of each of the segments 0, 2 and 3
    total = 0.0
    f, g = src.fields["loss"], dst.fields["loss"]
    for i, j in zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True):
        assert first[i] == second[j] in (0, 2, 3)
        positive = math.exp(float(f[i] @ g[j]) / 0.3)
        others = [
            math.exp(float(f[i] @ g[n]) / 0.3)
            for n in range(14)
            if sample[n] == sample[i] and second[n] != first[i]
        ]
        total -= math.log(positive / (positive + sum(others)))
    loss = method.group(src, dst, segments, pairs)
    assert loss.item() == pytest.approx(total / len(pairs), rel=1e-10)


def test_anchors_are_drawn_equally_from_small_and_large_segments():
    ids = torch.tensor([0] * 1000 + [1] * 2 + [-1] * 10 + [2] * 50)
    ids = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))]
    draw = torch.rand(3, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows = draw_of_each(ids, torch.arange(3), draw)
    assert ids[rows].tolist() == [0] * 400 + [1] * 400 + [2] * 400
    small = rows[400:800]
    assert 150 < int((small == small.min()).sum()) < 250  # either of two, uniformly
    by_point = torch.bincount(ids[ids >= 0]) / int((ids >= 0).sum())
    assert by_point[1] < 0.01  # what drawing points would give the small one


def test_a_draw_of_almost_one_stays_within_the_segment():
    draw = torch.tensor([[0.0, 1 - 1e-17], [0.0, 1 - 1e-17]], dtype=torch.float64)
    rows = draw_of_each(torch.tensor([1, 0, 1, -1]), torch.tensor([0, 1]), draw)
    assert rows.tolist() == [1, 1, 0, 2]


def test_at_most_so_many_negatives_of_each_scan():
    sample = torch.tensor([0] * 5 + [2] * 40 + [3])
    rows = some_of_each(sample, 7)
    assert sample[rows].bincount().tolist() == [5, 0, 7, 1]
    assert (rows.diff() > 0).all()
    assert torch.equal(some_of_each(sample, 100), torch.arange(46))
    src, segments = six()
    method = build(temperature=1.0, negatives=1)
    # one row of three kinds: the own segment, which leaves no negative, or an orthogonal one
    found = {round(grouping(method, src, segments), 6) for _ in range(30)}
    assert len(found) > 1


def segment_world(seed=0):
    """Pooled features of seven segments of one scan and three of another, some unseen."""
    draw = torch.Generator().manual_seed(seed)
    first, second = normalise(torch.randn(2, 10, 8, dtype=torch.float64, generator=draw)).unbind()
    sample = [0] * 7 + [1] * 3
    foreground = [True, True, True, True, True, False, False, True, False, False]
    seen = [0, 1, 2, 3, 5, 6, 7, 8]  # view 0 lacks 4 and 9
    other = [0, 1, 2, 4, 5, 6, 7, 9]  # view 1 lacks 3 and 8
    return first, second, table(seen, sample, foreground, other)


def correspondence_by_loop(method, first, second, segments):
    """anchor -> {partner: weight}, from the definition."""
    with torch.no_grad():
        ours, theirs = (normalise(method.online["correspondence"](x)) for x in (first, second))
    sample = segments.sample.tolist()
    here, there = (present.tolist() for present in segments.present)
    size, tau = len(sample), method.correspondence_temperature
    found = {}
    for s in range(size):
        if not (segments.foreground[s] and here[s] and there[s]):
            continue
        within = {
            t: math.exp(float(ours[s] @ ours[t]) / tau)
            for t in range(size)
            if sample[t] == sample[s] and here[t] and t != s
        }
        across = {
            t: math.exp(float(ours[s] @ theirs[t]) / tau)
            for t in range(size)
            if sample[t] == sample[s] and there[t]
        }
        strength = {
            t: max(
                within.get(t, 0.0) / sum(within.values()) if within else 0.0,
                across[t] / sum(across.values()),
            )
            for t in across
            if segments.foreground[t]
        }
        best = sorted(strength, key=lambda t: -strength[t])[: method.top]
        total = sum(strength[t] for t in best)
        found[s] = {t: len(best) * strength[t] / total for t in best}
    return found


def test_partners_and_weights_are_those_of_the_definition():
    first, second, segments = segment_world()
    method = build(top=2).double()
    pairs = method.correspond(first, second, segments)
    found = {}
    for s, t, w in zip(pairs.src.tolist(), pairs.dst.tolist(), pairs.weight.tolist(), strict=True):
        found.setdefault(s, {})[t] = w
    expected = correspondence_by_loop(method, first, second, segments)
    assert found.keys() == expected.keys() == {0, 1, 2, 7}
    for s in expected:
        assert found[s] == pytest.approx(expected[s], rel=1e-9)
    assert found[7] == pytest.approx({7: 1.0})  # alone in its scan


def test_the_correspondence_loss_is_the_loop():
    first, second, segments = segment_world()
    method = build(top=2, temperature=0.2).double()
    pairs = method.correspond(first, second, segments)
    expected = correspondence_by_loop(method, first, second, segments)
    total = 0.0
    for s, partners in expected.items():
        scores = {t: math.exp(float(first[s] @ second[t]) / 0.2) for t in range(10)}
        near = sum(w * scores[t] for t, w in partners.items())
        # 5 and 6 of the first scan, 9 of the second: 8 is not seen in view 1
        behind = sum(scores[t] for t in ((5, 6) if s < 7 else (9,)))
        total -= math.log(near / (near + behind))
    loss = method.attract(first, second, segments, pairs)
    assert loss.item() == pytest.approx(total / 4, rel=1e-9)


def test_foreground_segments_that_are_no_partners_are_ignored():
    first, second, segments = segment_world()
    method = build(top=1).double()
    pairs = method.correspond(first, second, segments)
    chosen = set(pairs.dst.tolist())
    left = [t for t in (0, 1, 2, 4) if t not in chosen]
    assert left
    before = method.attract(first, second, segments, pairs).item()
    changed = second.clone()
    changed[left] = -changed[left]
    assert method.attract(first, changed, segments, pairs).item() == pytest.approx(before)
    changed[5] = -changed[5]  # a background segment does count
    assert method.attract(first, changed, segments, pairs).item() != pytest.approx(before)


def test_the_siamese_network_learns_and_the_backbone_not_through_it():
    first, second, segments = segment_world()
    first, second = first.requires_grad_(), second.requires_grad_()
    method = build(top=3).double()
    pairs = method.correspond(first, second, segments)
    pairs.weight.square().sum().backward()
    assert first.grad is None
    assert all(p.grad.abs().sum() > 0 for p in method.online["correspondence"].parameters())


def test_gradcheck_of_both_terms():
    first, second, segments = segment_world()
    method = build(top=2, temperature=0.5).double()
    pairs = method.correspond(first, second, segments)
    fixed = replace(pairs, weight=pairs.weight.detach())
    inputs = [first[:, :3].clone().requires_grad_(), second[:, :3].clone().requires_grad_()]
    assert torch.autograd.gradcheck(lambda a, b: method.attract(a, b, segments, fixed), inputs)
    small = six()[1]
    drawn = method.draw(small)
    rows = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def group(a, b):
        return method.group(points(a), points(b), small, drawn)

    inputs = [rows.clone().requires_grad_(), rows.flip(0).clone().requires_grad_()]
    assert torch.autograd.gradcheck(group, inputs)


@pytest.mark.parametrize("empty", ["no foreground", "no segments", "nothing shared"])
def test_without_a_foreground_segment_the_loss_is_an_attached_zero(empty):
    batch = rooms()
    for view in batch.views:
        regions = view.cloud.regions
        if empty == "nothing shared" and view is batch.views[1]:
            regions["segment"] = torch.where(regions["segment"] < 0, -1, regions["segment"] + 10)
            regions["foreground"] = regions["foreground"] + 0
        elif empty != "nothing shared":
            regions["foreground"] = torch.full_like(regions["foreground"], -1)
            if empty == "no segments":
                regions["segment"] = torch.full_like(regions["segment"], -1)
    method = build()
    output = method(batch)
    sum(output.losses.values()).backward()
    assert [value.item() for value in output.losses.values()] == [0.0, 0.0]
    assert float(output.telemetry["empty_fraction"]) == 1.0
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()


def test_without_background_the_correspondence_is_zero_and_the_grouping_is_not():
    batch = rooms()
    for view in batch.views:
        regions = view.cloud.regions
        regions["segment"] = regions["foreground"].clone()
    output = build()(batch)
    assert output.losses["correspondence"].item() == 0.0
    assert output.losses["grouping"].item() > 0.0


def test_a_voxel_is_in_the_segment_of_most_of_its_points():
    batch = rooms(size=1.0)
    found = BatchSegments.of(batch)
    names = {}
    for view, ids in zip(batch.views, found.ids, strict=True):
        votes = [{} for _ in range(len(ids))]
        for point, voxel in enumerate(view.voxels.point_to_voxel.tolist()):
            own = int(view.cloud.regions["segment"][point])
            votes[voxel][own] = votes[voxel].get(own, 0) + 1
        for voxel, vote in enumerate(votes):
            own = int(ids[voxel])
            most = max(vote.values())
            best = [k for k, v in vote.items() if v == most]
            if own < 0:
                assert best == [-1]
                continue
            scan = int(found.sample[own])
            assert scan == int(view.voxels.tensor.sample[voxel])
            assert names.setdefault(own, (scan, min(k for k in best if k >= 0))) in {
                (scan, k) for k in best
            }
    assert len(set(names.values())) == len(names) == len(found)
    assert all(bool(found.foreground[own]) == (k >= 2) for own, (_, k) in names.items())


def test_ids_of_two_scans_are_two_segments():
    found = BatchSegments.of(rooms(3))
    assert found.sample.unique().tolist() == [0, 1, 2]
    assert len(found) == len(BatchSegments.of(rooms(1))) + sum(
        len(BatchSegments.of(batch_of(Furnished(3, count=400), [k]))) for k in (1, 2)
    )


def test_pairs_lie_in_one_foreground_segment():
    method, batch = build(anchors=20), rooms()
    src, dst, pairs = method.positives(batch)
    a, b = src.regions["segment"][pairs.src], dst.regions["segment"][pairs.dst]
    assert torch.equal(a, b)
    found = BatchSegments.of(batch)
    assert torch.equal(a.unique(), found.usable)
    assert a.bincount()[found.usable].unique().tolist() == [20]
    assert (src.label[pairs.src] == 3).float().mean() > 0.8


def test_views_of_two_scans_are_refused():
    dataset = PosedPairs(Furnished(4, views=2, count=400))
    with pytest.raises(UsageError, match="two scans"):
        build()(batch_of(dataset, [0, 1]))


def test_scans_without_segments_are_refused_with_two_ways_out():
    with pytest.raises(UsageError, match=r"(?s)segment.*views\.segments.*WithSegments"):
        build()(batch_of(Rooms(2, count=400), range(2)))


def test_segments_are_computed_on_the_way_with_a_warning_and_once():
    views = SegmentedViews(CloudViewGenerator("none"), {"type": "Dbscan", "ground": "none"})
    calls = []
    inner = views.segmentation
    views.segmentation = lambda scan: calls.append(scan.name) or inner(scan)
    scan = Rooms(2, count=400)[0]
    with pytest.warns(UserWarning, match=r"CPU time.*pointcl segments"):
        first = views(scan, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = views(scan, 1)
    assert calls == [scan.name]
    for view in (*first, *second):
        assert torch.equal(view.regions["segment"], first[0].regions["segment"])
        assert set(view.regions) == {"segment", "foreground"}
    assert "segment" not in scan.regions
    own = Furnished(2)[0]
    assert torch.equal(views(own, 0)[0].regions["segment"], torch.tensor(own.regions["segment"]))
    assert len(calls) == 1


def test_only_so_many_scans_are_remembered():
    views = SegmentedViews(CloudViewGenerator("none"), {"type": "Dbscan", "ground": "none"}, kept=2)
    dataset = Rooms(3, count=400)
    views.warned = True
    for k in (0, 1, 0, 2):
        views(dataset[k], 0)
    assert [source for source, _ in views.known] == [0, 2]


def test_both_views_go_through_the_one_network_that_is_handed_over():
    batch, method = rooms(), build().eval()
    with torch.no_grad():
        before = [method.embed(view).fields["loss"] for view in batch.views]
        for parameter in method.backbone_for_export().parameters():
            parameter.mul_(1.3).add_(0.01)
        after = [method.embed(view).fields["loss"] for view in batch.views]
    assert not any(torch.allclose(a, b) for a, b in zip(before, after, strict=True))
    names = {name.split(".")[1] for name in method.state_dict()}
    assert names == {"backbone", "head", "correspondence"}


def test_gradient_reaches_every_weight():
    method = build()
    output = method(rooms())
    sum(output.losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in method.parameters())
    assert all(p.grad.abs().sum() > 0 for p in method.online["correspondence"].parameters())
    assert output.telemetry["foreground_per_scan"] > 2


def test_every_weight_takes_part_when_pairs_are_shuffled():
    """Several processes wait for a gradient of every parameter."""
    method = build(shuffle_pairs=True)
    sum(method(rooms()).losses.values()).backward()
    assert all(p.grad is not None for p in method.parameters())


def test_the_second_term_may_be_left_out_of_the_sum():
    torch.manual_seed(3)
    whole = build().eval()(rooms()).losses
    torch.manual_seed(3)
    part = build(correspondence_weight=0.0).eval()(rooms()).losses
    assert part["correspondence"].item() == 0.0 < whole["correspondence"].item()


def test_shuffled_pairs_are_of_other_segments():
    batch = rooms()
    seen = []
    method = build(shuffle_pairs=True)
    group = method.group
    method.group = lambda src, dst, segments, pairs: (
        seen.append((segments, pairs)) or group(src, dst, segments, pairs)
    )
    method(batch)
    segments, pairs = seen[0]
    assert (segments.ids[0][pairs.src] != segments.ids[1][pairs.dst]).float().mean() > 0.5


def test_a_softmax_over_nothing_is_nothing():
    scores = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    found = masked_softmax(scores, torch.tensor([[True, True], [False, False]]))
    assert found[1].tolist() == [0.0, 0.0]
    assert found[0].sum().item() == pytest.approx(1.0)
    found.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert masked_softmax(torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.bool)).shape == (0, 0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", 0.0),
        ("anchors", 0),
        ("negatives", 0),
        ("top", 0),
        ("correspondence_temperature", -1.0),
        ("correspondence_weight", -0.1),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(option, value):
    with pytest.raises(UsageError, match=option):
        build(**{option: value})


class Fixed(FAC):
    """Draws that do not depend on the process."""

    def uniform(self, rows, columns, device):
        return torch.linspace(0, 0.99, columns, dtype=torch.float64).expand(rows, columns)


CASES = {"even": (2, False), "uneven": (1, False), "a process without foreground": (1, True)}
"""Scans of the first process, and whether its first scan has no foreground."""


def losses_and_gradients(case):
    first, bare = case
    torch.manual_seed(0)
    method = Fixed({**UNET, "norm": "in"}, dim=6, anchors=4, negatives=10**6).double()
    shares = [list(range(first)), list(range(first, 4))]
    mine = shares[rank()] if is_distributed() else list(range(4))
    batch = batch_of(Furnished(4, count=250), mine, size=0.6)
    for view in batch.views:
        tensor = view.voxels.tensor
        view.voxels = replace(view.voxels, tensor=tensor.with_features(tensor.features.double()))
        if bare and 0 in mine:
            own = view.cloud.sample == mine.index(0)
            view.cloud.regions["foreground"][own] = -1
    output = method(batch)
    loss = sum(output.losses.values())
    loss.backward()
    gradients = {}
    for name, parameter in method.named_parameters():
        gradients[name] = parameter.grad.clone()
        if is_distributed():
            dist.all_reduce(gradients[name])
            gradients[name] /= dist.get_world_size()
    return loss.detach(), gradients, len(output.pairs)


def work(cases):
    return {name: losses_and_gradients(case) for name, case in cases.items()}


@pytest.fixture(scope="module")
def ranks():
    return on_ranks(work, CASES)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_gradient_of_one(ranks, name):
    loss, gradients, count = losses_and_gradients(CASES[name])
    assert sum(found[name][2] for found in ranks) == count > 20
    if CASES[name][1]:
        assert ranks[0][name][2] == 0
    # segments are pooled in float32
    mean = sum(found[name][0] for found in ranks) / 2
    torch.testing.assert_close(mean, loss, rtol=1e-6, atol=1e-8)
    assert max(g.abs().max() for g in gradients.values()) > 1e-4
    for found in ranks:
        torch.testing.assert_close(found[name][1], gradients, rtol=1e-4, atol=1e-6)


def test_an_empty_pair_list_draws_nothing():
    none = Pairs.empty(4, 4)
    assert len(none) == 0
    segments = table([-1, -1], [], [])
    pairs = build().draw(replace(segments, foreground=torch.zeros(0, dtype=torch.bool)))
    assert len(pairs) == 0
