"""CSC against loops over voxels and cells, its options, and the faults of the published code."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from several import on_ranks

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, Rooms

from densecl.distributed import is_distributed, rank
from densecl.errors import UsageError
from densecl.losses import normalise
from pointcl.data.posed_pairs import PosedPairs
from pointcl.methods import CSC, PointContrast
from pointcl.methods.csc import empty_cells, places_in_view
from pointcl.pairs.partitions import Partition
from pointcl.pairs.selection import at_most, one_per_row
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews

RADII = (0.8, 2.5)


class Rough(Rooms):
    """Rooms without perfect planes, on which rounding decides what is above."""

    def __getitem__(self, index):
        scan = super().__getitem__(index)
        noise = np.random.default_rng((index, 3)).normal(0, 0.05, scan.points.shape)
        return replace(scan, points=(scan.points + noise).astype(np.float32))


def build(seed=0, **options) -> CSC:
    torch.manual_seed(seed)
    return CSC(dict(UNET), **{"dim": 8, "radii_metres": RADII, **options})


def batch_of(dataset, indices, *, recipe="csc", size=0.4, grid=None):
    views = VoxelViews(CloudViewGenerator(recipe, seed=0), Voxeliser(grid or VoxelGrid(size)))
    return views.collate([views(dataset[i], 0) for i in indices])


def singles(count=2, **options):
    return batch_of(Rough(count, count=400), range(count), **options)


def posed(count=2, **options):
    return batch_of(PosedPairs(Rough(2 * count, views=2, count=400)), range(count), **options)


def rows_of(method, batch):
    method.eval()
    with torch.no_grad():
        return [method.embed(view) for view in batch.views]


def forward(method, batch):
    """The output, with the draws of partners of ``torch.manual_seed(1)``."""
    torch.manual_seed(1)
    with torch.no_grad():
        return method.eval()(batch)


def chosen_pairs(method, batch):
    src, dst, pairs = method.positives(batch)
    torch.manual_seed(1)
    return src, dst, at_most(one_per_row(pairs), method.max_pairs, points=src)


def cell_of(kind, offset, sectors=(2, 2)):
    """One offset in plain words."""
    dx, dy, dz = map(float, offset)
    away = math.sqrt(dx * dx + dy * dy + dz * dz)
    if kind == "fast":
        if away <= RADII[0] or dz == 0:
            return -1
        return 2 * (away > RADII[1]) + (dz < 0)
    if away < RADII[0]:
        return -1
    first = int(math.degrees(math.atan2(dy, dx)) % 360 // (360 / sectors[0]))
    second = int(math.degrees(math.atan2(dy, dz)) % 180 // (180 / sectors[1]))
    return ((away >= RADII[1]) * sectors[0] + first) * sectors[1] + second


def by_loop(query, key, place, kind, num_cells, temperature=0.4, factor=None):
    """Mean over anchors and cells of one scan, in float64."""
    query, key = query.double().numpy(), key.double().numpy()
    place = place.double().numpy()
    total = 0.0
    for i in range(len(query)):
        scores = [math.exp(query[i] @ key[j] / temperature) for j in range(len(key))]
        cells = [cell_of(kind, place[j] - place[i]) for j in range(len(key))]
        for p in range(num_cells):
            around = sum(s for j, s in enumerate(scores) if j != i and cells[j] == p)
            weight = 1.0 if factor is None else factor[p]
            total -= weight * math.log(scores[i] / (scores[i] + around))
    return total / (len(query) * num_cells)


@pytest.mark.parametrize("make", [singles, posed])
@pytest.mark.parametrize("kind", ["fast", "generic"])
def test_the_loss_is_the_loop_over_scans_anchors_and_cells(make, kind):
    batch, method = make(), build(partition=kind, max_pairs=40)
    src, dst = rows_of(method, batch)
    _, _, chosen = chosen_pairs(method, batch)
    scan = src.sample[chosen.src]
    expected = 0.0
    for b in range(2):
        rows = scan == b
        i, j = chosen.src[rows], chosen.dst[rows]
        expected += by_loop(
            src.fields["loss"][i], dst.fields["loss"][j], src.coord[i], kind,
            method.partition.num_cells,
        )  # fmt: skip
    output = forward(method, batch)
    assert output.losses["partition"].item() == pytest.approx(expected / 2, rel=1e-5)
    assert float(output.telemetry["empty_fraction"]) == 0.0
    assert 0.0 <= float(output.telemetry["empty_cells"]) < 1.0


def test_inner_cells_count_twice_on_request():
    batch = singles(1)
    plain, twice = build(max_pairs=40), build(max_pairs=40, weight_inner=True)
    src, dst = rows_of(plain, batch)
    _, _, chosen = chosen_pairs(plain, batch)
    ends = src.fields["loss"][chosen.src], dst.fields["loss"][chosen.dst]
    expected = by_loop(*ends, src.coord[chosen.src], "fast", 4, factor=(2, 2, 1, 1))
    assert forward(twice, batch).losses["partition"].item() == pytest.approx(expected, rel=1e-5)
    assert forward(plain, batch).losses["partition"].item() < expected


def test_negatives_are_of_the_own_scan_and_anchors_are_counted_by_scan(monkeypatch):
    method, batch, seen = build(max_pairs=50), singles(3), []
    contrast = method.contrast

    def watched(query, key, around):
        seen.append((contrast(query, key, around), len(query), len(key), len(around.coord)))
        return seen[-1][0]

    monkeypatch.setattr(method, "contrast", watched)
    loss = forward(method, batch).losses["partition"]
    assert [sizes for _, *sizes in seen] == [[50, 50, 50]] * 3
    assert loss.item() == pytest.approx(sum(float(value) for value, *_ in seen) / 3, rel=1e-6)


def emptied(batch, number):
    """The batch with one scan whose views do not meet."""
    batch.views[1].cloud.geometry.matrix[number, :, 3] += 100.0
    return batch


def test_a_scan_without_pairs_stays_in_the_divisor_or_not():
    """The published code divides by the batch size, skipped scans included."""
    whole = {}
    for divisor in ("scans", "matched"):
        output = forward(build(divisor=divisor), emptied(singles(3), 1))
        whole[divisor] = output.losses["partition"].item()
        assert float(output.telemetry["empty_fraction"]) == pytest.approx(1 / 3)
    assert whole["matched"] == pytest.approx(whole["scans"] * 3 / 2, rel=1e-6)


def test_without_pairs_the_loss_is_an_attached_zero_and_no_pair_is_made_up():
    for divisor in ("scans", "matched"):
        method, batch = build(divisor=divisor), emptied(emptied(singles(2), 0), 1)
        output = method(batch)
        output.losses["partition"].backward()
        assert output.losses["partition"].item() == 0.0
        assert len(output.pairs) == 0
        assert method.online["head"].weight.grad is not None


def cells_above(view, places, points):
    """Cells of the pairs of voxels of which the second lies above the first in the room."""
    every = torch.arange(len(places))
    cells = Partition("fast", *RADII).around(places)(every, every)
    above = points.coord[None, :, 2] > points.coord[:, None, 2]
    return cells[above & (cells >= 0)]


def test_a_tilted_view_does_not_contaminate_what_is_above():
    """Cells are cut in the world: the tilt of a view, exaggerated here, changes none of them."""
    view = singles(1, recipe={"base": "none", "tilt": 40.0}).views[0]
    points = view.to_point_set({})
    assert bool((cells_above(view, points.coord, points) % 2 == 0).all())
    faulty = cells_above(view, places_in_view(view), points)  # the published default
    assert (faulty % 2 == 1).float().mean() > 0.05


def test_the_space_that_is_cut_is_chosen():
    batch, seen = singles(2), []
    for world in (True, False):
        method = build(world_space=world)
        forward(method, batch)
        seen.append(forward(method, batch).losses["partition"].item())
    assert seen[0] != pytest.approx(seen[1], rel=1e-3)


def test_the_instances_of_a_view_are_its_own():
    batch = singles(2)
    first, second, _ = build().positives(batch)
    dataset = Rough(2, count=400)

    def right(points, instance):
        truth = [
            int(dataset[b].instance[k])
            for b, k in zip(points.sample[::9].tolist(), points.index[::9].tolist(), strict=True)
        ]
        return instance[::9].tolist() == truth

    assert right(first, first.regions["instance"])
    assert right(second, second.regions["instance"])
    faulty = second.regions["instance"]  # the published collate gives them to the first view
    faulty = torch.cat([faulty, faulty])[: len(first)]
    assert not right(first, faulty)


def published_loss(method, batch, chosen, src, dst):
    """As published: the mask is a cost of 1e9, its own key forced in; sums over the batch."""
    total = torch.zeros(())
    for b in range(len(batch)):
        rows = src.sample[chosen.src] == b
        i, j = chosen.src[rows], chosen.dst[rows]
        cell = method.partition.around(src.coord[i])(*(torch.arange(len(i)),) * 2)
        scores = src.fields["loss"][i] @ dst.fields["loss"][j].T / method.temperature
        for p in range(method.partition.num_cells):
            keep = cell == p
            keep.fill_diagonal_(True)
            out = scores - 1e9 * (~keep).float()
            loss = torch.nn.functional.cross_entropy(out, torch.arange(len(i)))
            total = total + loss / (method.partition.num_cells * len(batch))
    return total


def test_the_loss_is_the_published_one():
    batch, method = singles(2), build()
    src, dst = rows_of(method, batch)
    _, _, chosen = chosen_pairs(method, batch)
    expected = published_loss(method, batch, chosen, src, dst)
    assert forward(method, batch).losses["partition"].item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_empty_cells_are_counted():
    coord = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, 1.2]])
    around = Partition("fast", 0.5, 5.0).around(coord)
    # cells with a negative: above for the first, below for the two others, none further away
    assert float(empty_cells(around)) == pytest.approx(1 - 3 / 12)


def test_both_views_go_through_the_one_network_that_is_handed_over():
    batch, method = singles(), build()
    before = rows_of(method, batch)
    with torch.no_grad():
        for parameter in method.backbone_for_export().parameters():
            parameter.mul_(1.3).add_(0.01)
    after = rows_of(method, batch)
    for a, b in zip(before, after, strict=True):
        assert not torch.allclose(a.fields["loss"], b.fields["loss"])
    assert method.export_branch == "online"
    assert {name.split(".")[1] for name in method.state_dict()} == {"backbone", "head"}


def test_gradient_reaches_both_views_and_every_weight():
    method, seen = build(), []
    embed = method.embed

    def watched(view):
        points = embed(view)
        points.fields["loss"].retain_grad()
        seen.append(points.fields["loss"])
        return points

    method.embed = watched
    method(singles()).losses["partition"].backward()
    assert all(rows.grad is not None and rows.grad.abs().sum() > 0 for rows in seen)
    assert all(p.grad is not None for p in method.parameters())


def test_gradcheck_of_one_scan_through_the_head():
    method = build(weight_inner=True).double()
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 9, 3, dtype=torch.float64, generator=draw)
    around = method.partition.around(4 * torch.rand(9, 3, dtype=torch.float64, generator=draw))
    weight = torch.randn(3, 4, dtype=torch.float64, generator=draw).requires_grad_()
    loss = lambda w: method.contrast(*(normalise(rows @ w) for rows in inputs), around)  # noqa: E731
    assert torch.autograd.gradcheck(loss, [weight])


def test_shuffled_pairs_are_other_pairs():
    batch = singles()
    plain = forward(build(), batch).telemetry["positive_similarity"]
    assert forward(build(shuffle_pairs=True), batch).telemetry["positive_similarity"] < plain


def test_it_has_the_pairs_of_point_contrast():
    batch = posed()
    torch.manual_seed(0)
    other = PointContrast(dict(UNET), dim=8)
    ours, theirs = build().positives(batch)[2], other.positives(batch)[2]
    assert torch.equal(ours.src, theirs.src)
    assert torch.equal(ours.dst, theirs.dst)


def test_a_view_of_a_grid_of_angles_has_no_axes():
    grid = VoxelGrid((0.25, 5.0, 0.25), "cylindrical")
    batch = singles(grid=grid)
    build(radius_metres=0.4)(batch)
    with pytest.raises(UsageError, match="world_space"):
        build(radius_metres=0.4, world_space=False)(batch)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("partition", "ring"),
        ("divisor", "batch"),
        ("radii_metres", (1.0, 0.5)),
        ("radii_metres", (1.0,)),
        ("sectors", (0, 2)),
        ("temperature", 0.0),
        ("max_pairs", -1),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(option, value):
    with pytest.raises(UsageError, match=option):
        build(**{option: value})


@dataclass(frozen=True)
class Case:
    """Options, scans of the first process, whether one of its scans has no pair."""

    options: tuple[tuple[str, object], ...]
    first: int = 2
    apart: bool = False


COMMON = (("radius_metres", 0.03), ("max_pairs", 10**6))
CASES = {
    "fast": Case(COMMON),
    "generic, uneven, inner twice": Case(
        (*COMMON, ("partition", "generic"), ("weight_inner", True)), first=1
    ),
    "a process without pairs": Case(COMMON, first=1, apart=True),
    "a process without pairs, by matched scans": Case(
        (*COMMON, ("divisor", "matched")), first=1, apart=True
    ),
}


def losses_and_gradients(case):
    torch.manual_seed(0)
    options = {"dim": 6, "radii_metres": RADII, **dict(case.options)}
    method = CSC({**UNET, "norm": "in"}, **options).double()
    shares = [list(range(case.first)), list(range(case.first, 4))]
    mine = shares[rank()] if is_distributed() else list(range(4))
    batch = batch_of(Rooms(4, count=250), mine, size=0.5)
    if case.apart and 0 in mine:
        emptied(batch, mine.index(0))
    for view in batch.views:
        tensor = view.voxels.tensor
        view.voxels = replace(view.voxels, tensor=tensor.with_features(tensor.features.double()))
    output = method(batch)
    output.losses["partition"].backward()
    gradients = {}
    for name, parameter in method.named_parameters():
        gradients[name] = parameter.grad.clone()
        if is_distributed():
            dist.all_reduce(gradients[name])
            gradients[name] /= dist.get_world_size()
    most = int(output.pairs.per_row().max()) if len(output.pairs) else 0
    return output.losses["partition"].detach(), gradients, len(output.pairs), most


def work(cases):
    return {name: losses_and_gradients(case) for name, case in cases.items()}


@pytest.fixture(scope="module")
def ranks():
    return on_ranks(work, CASES)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_gradient_of_one(ranks, name):
    loss, gradients, count, most = losses_and_gradients(CASES[name])
    assert most == 1, "a random choice of partners would differ between processes"
    assert sum(found[name][2] for found in ranks) == count > 40
    if CASES[name].apart:
        assert ranks[0][name][2] == 0
    # float64; sums in another order, amplified by norms of small variance.
    mean = sum(found[name][0] for found in ranks) / 2
    torch.testing.assert_close(mean, loss, rtol=1e-8, atol=1e-10)
    assert max(g.abs().max() for g in gradients.values()) > 1e-4
    for found in ranks:
        torch.testing.assert_close(found[name][1], gradients, rtol=1e-6, atol=1e-9)


def test_places_in_a_view_are_its_voxels():
    batch = singles(size=0.5)
    view = batch.views[0]
    places = places_in_view(view)
    points = view.cloud.points
    start = torch.tensor(np.cumsum([0, *view.cloud.counts])[:-1])
    own = points[view.voxels.representative + start[view.voxels.tensor.sample]]
    assert bool(((own - places) >= -1e-5).all())
    assert bool(((own - places) <= 0.5 + 1e-5).all())
