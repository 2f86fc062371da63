from __future__ import annotations

import copy
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, Rooms

from densecl.errors import UsageError
from densecl.losses import normalise
from densecl.pairs import Pairs, PointSet
from pointcl.data.posed_pairs import PosedPairs
from pointcl.methods import PointContrast
from pointcl.methods.pointcontrast import Candidates, NotNear, Unlisted
from pointcl.models import build_backbone
from pointcl.pairs.selection import one_per_row
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews


def build(seed=0, **options) -> PointContrast:
    torch.manual_seed(seed)
    return PointContrast(dict(UNET), **{"dim": 8, **options})


def batch_of(dataset, indices, *, recipe="pointcontrast", size=0.4, grid=None, **options):
    generator = CloudViewGenerator(recipe, seed=0)
    views = VoxelViews(generator, Voxeliser(grid or VoxelGrid(size), **options))
    return views.collate([views(dataset[i], 0) for i in indices])


def singles(count=2, **options):
    return batch_of(Rooms(count), range(count), **options)


def posed(count=2, **options):
    dataset = PosedPairs(Rooms(2 * count, views=2))
    return batch_of(dataset, range(count), **options)


def rows_of(method, batch):
    method.eval()
    with torch.no_grad():
        return [method.embed(view) for view in batch.views]


def info_nce_by_loop(query, key, temperature):
    """Eq. 2: each matched row against its own key and those of all other pairs."""
    query, key = np.asarray(query, np.float64), np.asarray(key, np.float64)
    total = 0.0
    for i in range(len(query)):
        scores = [query[i] @ key[j] / temperature for j in range(len(key))]
        total -= math.log(math.exp(scores[i]) / sum(map(math.exp, scores)))
    return total / len(query)


@pytest.mark.parametrize(("temperature", "expected"), [(0.07, 1.00152e-4), (0.4, 0.164171)])
def test_the_published_numbers_of_two_pairs(temperature, expected):
    """Similarities [[.9, .1], [.2, .8]]: cross entropy with the diagonal as target."""
    from densecl.losses import info_nce

    sim = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    loss = info_nce(
        sim, eye, eye, temperature=temperature, allowed=lambda q, k: q[:, None] != k[None]
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert info_nce_by_loop(sim, eye, temperature) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [singles, posed])
def test_point_info_nce_is_the_loop_over_pairs_of_voxels_at_one_place(make, monkeypatch):
    batch = make()
    method = build(temperature=0.3).eval()
    src, dst = rows_of(method, batch)
    pairs = []
    for i in range(len(src)):  # every pair of voxels, by its canonical places
        gap = (dst.coord - src.coord[i]).double().norm(dim=1)
        near = (gap < 1.5 * 0.4) & (dst.sample == src.sample[i])
        pairs.append(near.nonzero().flatten().tolist())
    draw = torch.rand(len(src), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(torch, "rand", lambda *a, **k: draw[: a[0]])
    chosen = [(i, found[int(draw[i] * len(found))]) for i, found in enumerate(pairs) if found]
    src_rows, dst_rows = zip(*chosen, strict=True)
    expected = info_nce_by_loop(
        src.fields["loss"][list(src_rows)], dst.fields["loss"][list(dst_rows)], 0.3
    )
    with torch.no_grad():
        output = method(batch)
    assert output.losses["info_nce"].item() == pytest.approx(expected, rel=1e-5)
    assert len(output.pairs) == sum(map(len, pairs))
    assert output.telemetry["pairs_per_scan"] == len(output.pairs) / 2


def test_hardest_is_the_loop_when_everything_is_a_candidate():
    batch = singles()
    method = build(loss="hardest", candidates=10**6, max_pairs=10**6, margins=(0.2, 1.3)).eval()
    src, dst = rows_of(method, batch)
    _, _, pairs = method.positives(batch)
    f0, f1 = (points.fields["loss"].double().numpy() for points in (src, dst))
    listed = set(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))
    positive = [max(((f0[i] - f1[j]) ** 2).sum() - 0.2, 0) for i, j in listed]
    loss = np.mean(positive)
    for side in range(2):
        terms = []
        for i, j in listed:
            row, others = (f0[i], f1) if side == 0 else (f1[j], f0)
            gap = ((others - row) ** 2).sum(1)
            hard = int(gap.argmin())
            if ((i, hard) if side == 0 else (hard, j)) not in listed:
                terms.append(max(1.3 - math.sqrt(gap[hard] + 1e-7), 0) ** 2)
        loss += 0.5 * np.mean(terms)
    with torch.no_grad():
        output = method(batch)
    assert output.losses["hardest"].item() == pytest.approx(loss, rel=1e-5)
    assert 0 < float(output.telemetry["hardest_kept"]) <= 1


def shuffled_list(pairs, seed=0):
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    return pairs.filter(order)


def faulty_one_per_row(pairs, draw):
    """The published selection: it takes the pairs to be grouped by their first row."""
    rows, count = pairs.src.unique(return_counts=True)
    start = count.cumsum(0) - count
    return Pairs(
        rows,
        pairs.dst[start + (draw[rows] * count).long()],
        num_src=pairs.num_src,
        num_dst=pairs.num_dst,
    )


def test_one_partner_is_drawn_of_the_own_ones_whatever_the_order_of_the_pairs():
    pairs = Pairs(torch.tensor([0, 0, 3]), torch.tensor([5, 7, 2]), num_src=4, num_dst=8)
    draw = torch.full((4,), 0.6, dtype=torch.float64)
    assert one_per_row(pairs, draw=draw).dst.tolist() == [7, 2]
    _, _, many = build().positives(singles())
    draw = torch.rand(many.num_src, dtype=torch.float64)
    one, other = (one_per_row(p, draw=draw) for p in (many, shuffled_list(many)))
    assert torch.equal(one.dst, other.dst)
    wrong = faulty_one_per_row(shuffled_list(many), draw)
    assert not bool(many.contains(wrong.src, wrong.dst).all())  # the fault picks strangers


def test_the_loss_does_not_depend_on_the_order_of_the_pairs(monkeypatch):
    batch, method = singles(), build().eval()
    torch.manual_seed(0)
    first = method(batch).losses["info_nce"]
    match = method.pair
    monkeypatch.setattr(method, "pair", lambda *a: shuffled_list(match(*a)))
    torch.manual_seed(0)
    assert method(batch).losses["info_nce"].item() == pytest.approx(first.item(), rel=1e-5)


def test_without_pairs_the_loss_is_an_attached_zero_and_no_pair_is_made_up():
    """The published code puts the pair (0, 0) where nothing matches, and pulls strangers."""
    batch = singles()
    batch.views[1].cloud.geometry.matrix[..., 3] += 100.0
    for loss in ("info_nce", "hardest"):
        method = build(loss=loss)
        output = method(batch)
        assert len(output.pairs) == 0
        assert float(output.telemetry["empty_fraction"]) == 1.0
        output.losses[loss].backward()
        if loss == "info_nce":
            assert output.losses[loss].item() == 0.0
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
        assert method.online["head"].weight.grad is not None


def test_a_batch_with_an_empty_scan_trains_on_the_others():
    class WithEmpty(Rooms):
        def __getitem__(self, index):
            scan = super().__getitem__(index)
            return scan if index else type(scan)(scan.points[:0], 0, "empty")

    dataset = WithEmpty(3, bare=True)
    output = build()(batch_of(dataset, range(3)))
    assert float(output.telemetry["empty_fraction"]) == pytest.approx(1 / 3)
    assert torch.isfinite(output.losses["info_nce"])


def test_negatives_come_from_other_scans_too():
    """Matched rows of one scan are contrasted with the keys of all scans of the batch."""
    method = build(temperature=1.0).eval()
    both, alone = singles(2), batch_of(Rooms(2), [0])
    torch.manual_seed(0)
    together = method(both).losses["info_nce"].item()
    torch.manual_seed(0)
    assert together > method(alone).losses["info_nce"].item() + 0.3  # about log 2 more


def test_the_same_spot_is_spared_on_request_and_other_scans_never_are():
    coord = torch.tensor([[0.0, 0, 0], [0.03, 0, 0], [5.0, 0, 0], [0.0, 0, 0]])
    sample = torch.tensor([0, 0, 0, 1])
    rows = torch.arange(4)
    rule = NotNear(coord, sample, coord, sample, radius=0.1)
    expected = [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
    assert rule(rows, rows).int().tolist() == expected
    batch = singles()
    losses = {}
    for spare in (0.0, 1.0):
        torch.manual_seed(0)
        losses[spare] = build(spare=spare).eval()(batch).losses["info_nce"].item()
    assert losses[1.0] < losses[0.0] - 0.01  # fewer negatives


def test_sparing_measures_centimetres_far_from_the_origin():
    coord = torch.tensor([[800.0, 600.0, 1.0], [800.03, 600.0, 1.0], [800.4, 600.0, 1.0]] * 20)
    sample = torch.zeros(60, dtype=torch.int64)
    rows = torch.arange(60)
    near = ~NotNear(coord, sample, coord, sample, radius=0.1)(rows, rows)
    exact = (coord.double()[:, None] - coord.double()).norm(dim=2) < 0.1
    assert torch.equal(near, exact)


def test_a_listed_positive_is_recognised_among_shuffled_candidates():
    pairs = Pairs(torch.tensor([4, 4, 1]), torch.tensor([2, 0, 3]), num_src=5, num_dst=4)
    end, candidate = torch.tensor([1, 4]), torch.tensor([3, -1, 2, 0, 1])
    found = Unlisted(pairs, end, candidate)(torch.arange(2), torch.arange(5))
    assert found.int().tolist() == [[0, 1, 1, 1, 1], [1, 1, 0, 0, 1]]


def test_candidates_of_one_process_are_its_own_rows():
    points = PointSet({"loss": torch.randn(6, 3)}, torch.zeros(6, dtype=torch.int64))
    points.coord = torch.randn(6, 3)
    rows = torch.tensor([4, 0])
    found = Candidates.gather(points, rows)
    assert torch.equal(found.feature, points.fields["loss"][rows])
    assert (found.row.tolist(), found.start) == ([4, 0], 0)


def test_at_most_so_many_pairs_enter_the_loss():
    method = build(max_pairs=7, temperature=1.0).eval()
    # 7 keys in all: no term can exceed log(1 + 6 e^2).
    assert method(singles()).losses["info_nce"].item() <= math.log(1 + 6 * math.exp(2))


@pytest.mark.parametrize("make", [singles, posed])
def test_pairs_lie_at_one_place_of_the_room(make):
    """Independent of the augmentation: the two ends are the same surface, within the radius."""
    src, dst, pairs = build().positives(make())
    assert len(pairs) > 100
    assert ((src.coord[pairs.src] - dst.coord[pairs.dst]).norm(dim=1) < 1.5 * 0.4).all()
    same = src.label[pairs.src] == dst.label[pairs.dst]
    assert same.float().mean() > 0.8  # by chance 0.3


def test_pairs_of_shared_points_hold_the_same_raw_rows():
    batch = singles()
    src, dst, pairs = build(match="points").positives(batch)
    held = [[set() for _ in range(len(points))] for points in (src, dst)]
    for view, voxels in zip(batch.views, held, strict=True):
        for row, voxel in enumerate(view.voxels.point_to_voxel.tolist()):
            key = (int(view.cloud.sample[row]), int(view.cloud.index[row]))
            voxels[voxel].add(key)
    shared = [(i, j) for i, a in enumerate(held[0]) for j, b in enumerate(held[1]) if a & b]
    assert shared == list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


def test_both_views_go_through_the_one_network_that_is_handed_over():
    """Change the exported backbone: the rows of both views change, and nothing else is kept."""
    batch, method = singles(), build()
    before = rows_of(method, batch)
    with torch.no_grad():
        for parameter in method.backbone_for_export().parameters():
            parameter.mul_(1.3).add_(0.01)
    after = rows_of(method, batch)
    for a, b in zip(before, after, strict=True):
        assert not torch.allclose(a.fields["loss"], b.fields["loss"])
    assert method.export_branch == "online"
    names = {name.split(".")[1] for name in method.state_dict()}
    assert names == {"backbone", "head"}


def test_gradient_reaches_both_views_and_every_weight():
    method = build()
    seen = []
    embed = method.embed

    def watched(view):
        points = embed(view)
        points.fields["loss"].retain_grad()
        seen.append(points.fields["loss"])
        return points

    method.embed = watched
    method(singles()).losses["info_nce"].backward()
    assert all(rows.grad is not None and rows.grad.abs().sum() > 0 for rows in seen)
    assert all(p.grad is not None for p in method.parameters())


def test_gradcheck_of_the_loss_through_the_head():
    batch = singles(1)
    method = build(max_pairs=12).double().eval()
    src, dst, pairs = method.positives(batch)
    pairs = one_per_row(pairs)
    draw = torch.Generator().manual_seed(0)
    inputs = [torch.randn(len(p), 3, dtype=torch.float64, generator=draw) for p in (src, dst)]
    weight = torch.randn(3, 4, dtype=torch.float64, generator=draw).requires_grad_()

    for contrast in (method.info_nce, method.hardest):

        def loss(w, contrast=contrast):
            torch.manual_seed(0)
            sets = [
                points.with_fields(loss=normalise(rows @ w))
                for points, rows in zip((src, dst), inputs, strict=True)
            ]
            return contrast(*sets, pairs)[0]

        assert torch.autograd.gradcheck(loss, [weight])


def test_shuffled_pairs_are_other_pairs():
    batch, method = singles(), build(shuffle_pairs=True).eval()
    output = method(batch)
    assert len(output.pairs) > 0
    torch.manual_seed(0)
    plain = build().eval()(batch).telemetry["positive_similarity"]
    assert output.telemetry["positive_similarity"] < plain


def test_scans_without_a_common_frame_are_refused():
    class Two(Rooms):
        def __getitem__(self, index):
            return [super(Two, self).__getitem__(k) for k in (0, 1)]

    with pytest.raises(UsageError, match="no pose"):
        batch_of(Two(2, views=2, bare=True), [0])
    views = VoxelViews(CloudViewGenerator("none", frame="scan"), Voxeliser(VoxelGrid(0.25)))
    batch = views.collate([views(Two(2, views=2, bare=True)[0], 0)])
    with pytest.raises(UsageError, match="common frame"):
        build()(batch)


def test_shared_points_of_two_scans_are_refused():
    with pytest.raises(UsageError, match="share no raw point"):
        build(match="points").positives(posed(1))


def test_scans_that_smear_by_their_own_motion_are_refused_in_pairs():
    """Two sweeps without ego-motion compensation meet at the wrong places."""
    dataset = PosedPairs(Rooms(4, views=2, compensated=False))
    with pytest.raises(UsageError, match="compensate"):
        batch_of(dataset, [0])
    batch_of(Rooms(2, compensated=False), [0])  # one scan meets itself


def test_a_radius_in_voxels_needs_voxels_of_one_size():
    grid = VoxelGrid((0.25, 5.0, 0.25), "cylindrical")
    with pytest.raises(UsageError, match="cylindrical"):
        build()(singles(grid=grid))
    assert len(build(radius_metres=0.4)(singles(grid=grid)).pairs) > 100


def test_a_backbone_without_a_map_at_stride_one_is_refused():
    encoder = build_backbone({"type": "MinkResNet", "depth": 18, "in_channels": 1})
    with pytest.raises(UsageError, match="stride 1"):
        PointContrast(encoder)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("loss", "nce"),
        ("match", "index"),
        ("radius", 0.0),
        ("radius_metres", -1.0),
        ("temperature", 0.0),
        ("max_pairs", 0),
        ("candidates", 0),
        ("margins", (0.1,)),
        ("margins", (0.1, 0.0)),
        ("spare", -0.1),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(option, value):
    with pytest.raises(UsageError, match=option.removesuffix("_metres")):
        build(**{option: value})


def test_a_batch_moves_to_its_own_device_unchanged():
    batch = singles()
    method = build().eval()
    torch.manual_seed(0)
    one = method(batch).losses["info_nce"]
    torch.manual_seed(0)
    other = method(copy.deepcopy(batch).to("cpu")).losses["info_nce"]
    assert torch.equal(one, other)
