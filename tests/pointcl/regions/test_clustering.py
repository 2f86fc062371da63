from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pointcl.regions import clustering
from pointcl.regions.clustering import LEVEL, dbscan


def slow(points, eps, min_points, growth=0.0):
    """By the definition: cores, clusters of cores, and which cores each other point can reach."""
    points = points.astype(np.float64)
    apart = cdist(points, points)
    wanted = np.maximum(growth * np.linalg.norm(points, axis=1) / eps, 1)
    reach = eps * LEVEL ** np.floor(np.log(wanted) / np.log(LEVEL) + 1e-9)
    near = apart <= np.minimum(reach[:, None], reach)
    core = near.sum(1) >= min_points
    cluster = np.full(len(points), -1)
    count = 0
    for row in np.flatnonzero(core):
        if cluster[row] >= 0:
            continue
        stack = [row]
        while stack:
            here = stack.pop()
            if cluster[here] < 0:
                cluster[here] = count
                stack += np.flatnonzero(near[here] & core & (cluster < 0)).tolist()
        count += 1
    for row in np.flatnonzero(~core):
        options = np.flatnonzero(near[row] & core)
        if len(options):
            cluster[row] = cluster[options[np.argmin(apart[row, options])]]
    return cluster


def partition(ids):
    return sorted(tuple(np.flatnonzero(ids == k)) for k in range(ids.max(initial=-1) + 1))


CLOUDS = {
    "thin": lambda r: r.uniform(0, 3, (700, 3)) * [1, 1, 0.2],
    "dense": lambda r: r.normal(size=(700, 3)) * 0.15 + r.integers(0, 3, (700, 1)) * 0.6,
    "grid": lambda r: r.permutation(np.argwhere(np.ones((9, 9, 5))) * 0.25),
    "doubled": lambda r: np.repeat(r.uniform(0, 2, (150, 3)), 4, axis=0),
    "lines": lambda r: np.column_stack(
        [r.uniform(0, 9, 600), r.integers(0, 4, 600) * 0.26, np.zeros(600)]
    ),
    "one place": lambda r: np.zeros((40, 3)),
}


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("min_points", [1, 4, 10])
def test_clusters_are_those_of_the_definition(name, min_points, random):
    points = CLOUDS[name](random)
    found = dbscan(points, 0.25, min_points)
    if name == "grid":
        # of cores equally near either cluster is right; there is one
        assert (found < 0).all() == (slow(points, 0.25, min_points) < 0).all()
        return
    assert partition(found) == partition(slow(points, 0.25, min_points))


@pytest.mark.parametrize("min_points", [1, 5, 12])
@pytest.mark.parametrize("growth", [0.02, 0.1])
def test_a_reach_that_grows_with_range_is_that_of_the_definition(min_points, growth, random):
    direction = random.normal(size=(900, 3))
    points = direction * random.exponential(3, (900, 1)) * [1, 1, 0.2]
    found = dbscan(points, 0.2, min_points, eps_per_metre=growth)
    assert partition(found) == partition(slow(points, 0.2, min_points, growth))


def test_two_points_are_within_reach_if_each_is_within_that_of_the_other():
    # the reach is 1 at x = 1 and 1.25**3 = 1.95 at x = 2.2
    points = np.array([[1.0, 0, 0], [1, 0.01, 0], [1, 0.02, 0], [2.2, 0, 0]])
    assert dbscan(points, 1.0, 3, eps_per_metre=1.0).tolist() == [0, 0, 0, -1]
    points[3, 0] = 1.9
    assert dbscan(points, 1.0, 3, eps_per_metre=1.0).tolist() == [0, 0, 0, 0]


def test_small_blocks_change_nothing(random, monkeypatch):
    points = np.concatenate([CLOUDS["dense"](random), CLOUDS["lines"](random)])
    whole = dbscan(points, 0.25, 6, eps_per_metre=0.05)
    monkeypatch.setattr(clustering, "_BLOCK", 7)
    assert (dbscan(points, 0.25, 6, eps_per_metre=0.05) == whole).all()


def test_scikit_learn_finds_the_same_cores_noise_and_clusters(random):
    cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
    points = CLOUDS["dense"](random) + random.integers(0, 40, (700, 1)) * 0.2
    points = np.concatenate([points, random.uniform(0, 8, (3000, 3)) * [1, 1, 0.3]])
    theirs = cluster.DBSCAN(eps=0.25, min_samples=6).fit(points)
    ours = dbscan(points, 0.25, 6)
    assert ((ours < 0) == (theirs.labels_ < 0)).all()
    core = theirs.core_sample_indices_
    pairs = np.unique(np.stack([ours[core], theirs.labels_[core]]), axis=1)
    assert pairs.shape[1] == ours.max() + 1 == theirs.labels_.max() + 1
    # where the border points differ, theirs can reach both clusters
    for row in np.flatnonzero(ours != pairs[0][np.argsort(pairs[1])][theirs.labels_]):
        if ours[row] >= 0:
            near = core[np.linalg.norm(points[core] - points[row], axis=1) <= 0.25]
            assert len(np.unique(ours[near])) > 1


def test_two_blobs_are_two_clusters_until_the_reach_spans_the_gap(random):
    blobs = random.uniform(-0.1, 0.1, (60, 3)) + np.repeat([[0, 0, 0], [1, 0, 0]], 30, axis=0)
    apart = cdist(blobs[:30], blobs[30:]).min()
    assert dbscan(blobs, 0.99 * apart, 3).tolist() == [0] * 30 + [1] * 30
    assert dbscan(blobs, 1.01 * apart, 3).max() == 0


def test_dense_groups_that_touch_at_one_point_are_one_cluster(random):
    # so many points that the nearest ones of each are of its own group
    left = random.uniform(0, 1, (800, 3)) * [1, 0.02, 0.02]
    right = left + np.array([1.2, 0, 0])
    left[0], right[0] = (1.0, 0.01, 0.01), (1.2, 0.01, 0.01)
    assert dbscan(np.concatenate([left, right]), 0.21, 5).max() == 0
    right[:, 0] += 0.02
    assert dbscan(np.concatenate([left, right]), 0.21, 5).max() == 1


def test_the_order_of_the_points_only_renames_the_clusters(random):
    points = np.concatenate([CLOUDS["thin"](random), CLOUDS["doubled"](random)])
    order = random.permutation(len(points))
    for growth in (0.0, 0.1):
        whole = dbscan(points, 0.25, 5, eps_per_metre=growth)
        mixed = dbscan(points[order], 0.25, 5, eps_per_metre=growth)
        back = np.empty_like(mixed)
        back[order] = mixed
        assert partition(back) == partition(whole)


def test_nothing_little_and_not_a_number():
    assert dbscan(np.zeros((0, 3))).shape == (0,)
    assert dbscan(np.full((3, 3), np.nan)).tolist() == [-1] * 3
    assert dbscan(np.zeros((1, 3))).tolist() == [-1]
    assert dbscan(np.zeros((1, 3)), min_points=1).tolist() == [0]
    mixed = np.array([[0, 0, 0], [np.nan, 0, 0], [0, 0, 0.1], [np.inf, 0, 0]])
    assert dbscan(mixed, min_points=2).tolist() == [0, -1, 0, -1]
    assert dbscan(mixed, min_points=2).dtype == np.int64


@pytest.mark.parametrize("bad", [{"eps": 0}, {"min_points": 0}, {"eps_per_metre": -1}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="dbscan"):
        dbscan(np.zeros((3, 3)), **bad)
