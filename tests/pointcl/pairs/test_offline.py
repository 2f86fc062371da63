from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from densecl.errors import UsageError
from pointcl.data.posed_pairs import PosedPairs
from pointcl.pairs import (
    PairFolder,
    ScanPair,
    candidate_pairs,
    match_rigid,
    measure_overlap,
    overlap_ratio,
    scan_overlap,
)
from pointcl.pairs import folder as module
from pointcl.views import CloudBatch, CloudViewGenerator, collate_clouds


def ends(pairs) -> list:
    return [(pair.first, pair.second) for pair in pairs]


def test_overlap_is_the_share_of_voxels_with_a_neighbour():
    random = np.random.default_rng(0)
    a = random.uniform(0, 4, (400, 3))
    b = np.concatenate([a[:150] + 0.01, random.uniform(20, 24, (50, 3))])

    def thinned(points):
        cell = np.floor(points / 0.2)
        return np.array([points[(cell == c).all(1)].mean(0) for c in np.unique(cell, axis=0)])

    ours = overlap_ratio(torch.from_numpy(a), torch.from_numpy(b), voxel=0.2)
    thin = thinned(a), thinned(b)
    for share, src, dst in zip(ours, thin, thin[::-1], strict=True):
        expected = (cKDTree(dst).query(src)[0] < 0.3).mean()
        assert share == pytest.approx(expected, abs=1e-9)
    assert ours[0] < 0.6 < ours[1]
    assert overlap_ratio(torch.from_numpy(a), torch.from_numpy(a)) == (1, 1)
    assert overlap_ratio(torch.from_numpy(a), torch.from_numpy(a[:0])) == (0, 0)


def test_overlap_of_scans_falls_with_the_distance(drive):
    scans = drive()
    shares = [max(scan_overlap(scans[0], scans[n], voxel=0.2)) for n in range(4)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert 0.05 < shares[3] < 0.4
    with pytest.raises(UsageError, match="drive0/001 has no pose"):
        scan_overlap(scans[0], replace(scans[1], ego_to_world=None))


def test_candidates_stay_within_their_sequence():
    names = ["a", "b", "a", "a", "", "b", ""]
    assert ends(candidate_pairs(names)) == [(0, 2), (0, 3), (1, 5), (2, 3)]
    assert ends(candidate_pairs(names, max_gap=1)) == [(0, 2), (1, 5), (2, 3)]
    assert ends(candidate_pairs(names, min_gap=2)) == [(0, 3)]
    assert ends(candidate_pairs(["a"] * 6, stride=2, max_gap=1)) == [(0, 2), (2, 4)]
    for wrong in ({"min_gap": 0}, {"stride": 0}, {"min_gap": 3, "max_gap": 2}):
        with pytest.raises(UsageError, match="pairs: min_gap"):
            candidate_pairs(names, **wrong)


def test_measuring_reads_each_first_scan_once(drive):
    data = drive()
    found = measure_overlap(data, candidate_pairs(data.sequences), voxel=0.2)
    assert len(found) == 12
    assert all(0 < pair.overlap < 1 for pair in found)
    assert data.read[:4] == [0, 1, 2, 3]
    assert len(data.read) == 12 + 6


@pytest.fixture
def settings():
    return {"min_overlap": 0.5, "voxel": 0.2, "radius": 0.05}


def test_a_folder_holds_what_overlaps_whatever_the_number_of_workers(drive, tmp_path, settings):
    data = drive()
    candidates = candidate_pairs(data.sequences)
    kept = PairFolder(tmp_path / "a").write(data, candidates, **settings)
    measured = measure_overlap(data, candidates, voxel=0.2)
    assert kept == [pair for pair in measured if pair.overlap >= 0.5]
    assert 0 < len(kept) < len(measured)
    assert PairFolder(tmp_path / "b").write(data, candidates, workers=2, **settings) == kept
    assert PairFolder(tmp_path / "b").pairs() == kept
    assert PairFolder(tmp_path / "a").pairs(0.7) == [pair for pair in kept if pair.overlap >= 0.7]
    files = [sorted(p.name for p in (tmp_path / x / "points").iterdir()) for x in "ab"]
    assert files[0] == files[1]
    assert len(files[0]) == len(kept)


def test_a_stopped_run_goes_on_where_it_was(drive, tmp_path, settings, monkeypatch):
    data = drive()
    candidates = candidate_pairs(data.sequences)
    expected = PairFolder(tmp_path / "whole").write(data, candidates, **settings)
    folder = PairFolder(tmp_path / "parts")
    read = drive.__getitem__

    def fails(self, index):
        if index == 6:
            raise RuntimeError("pulled the plug")
        return read(self, index)

    monkeypatch.setattr(drive, "__getitem__", fails)
    with pytest.raises(RuntimeError, match="plug"):
        folder.write(data, candidates, **settings)
    with pytest.raises(UsageError, match="of 6 scans are missing"):
        folder.pairs()
    monkeypatch.setattr(drive, "__getitem__", read)
    data.read.clear()
    (folder.root / "points" / ".tmp-1-x").write_text("half a file")
    assert folder.write(data, candidates, **settings) == expected
    assert 0 not in data.read
    assert not list(folder.root.rglob(".tmp*"))
    data.read.clear()
    assert folder.write(data, candidates, **settings) == expected
    assert data.read == []


def test_other_data_or_settings_are_refused(drive, tmp_path, settings):
    data = drive()
    candidates = candidate_pairs(data.sequences)
    folder = PairFolder(tmp_path)
    folder.write(data, candidates, **settings)
    with pytest.raises(UsageError, match="other voxel"):
        folder.write(data, candidates, **{**settings, "voxel": 0.3})
    with pytest.raises(UsageError, match="other data"):
        folder.write(drive(points=500), candidates, **settings)
    with pytest.raises(UsageError, match="other candidates"):
        folder.write(data, candidates[1:], **settings)
    with pytest.raises(UsageError, match="no folder of pairs"):
        PairFolder(tmp_path / "none").pairs()
    with pytest.raises(UsageError, match="min_overlap"):
        folder.write(data, candidates, min_overlap=2.0)


def test_prepared_pairs_survive_augmentation(drive, tmp_path, settings):
    data = drive()
    folder = PairFolder(tmp_path)
    kept = folder.write(data, candidate_pairs(data.sequences), **settings)
    # forwards, backwards, and two scans that were not paired
    chosen = [ends(kept)[0], ends(kept)[-1][::-1], (0, 3)]
    assert (0, 3) not in ends(kept)
    recipe = {"base": "pointcontrast", "point_dropout": (0.2, 0.3), "jitter": 0.02}
    generator = CloudViewGenerator(recipe)
    items = [generator([data[i], data[j]], 0) for i, j in chosen]
    a, b = (batch.to_point_set() for batch in collate_clouds(items))
    pairs = folder.match(a, b)
    assert pairs.per_sample(a).tolist()[2] == 0
    assert pairs.per_sample(a)[:2].min() > 20
    # the label of a point of this drive is the place that it shows
    assert torch.equal(a.label[pairs.src], b.label[pairs.dst])
    both = [
        (i, j)
        for i, j in zip(*(p.tolist() for p in (pairs.src, pairs.dst)), strict=True)
        if a.sample[i] == b.sample[j]
    ]
    assert len(both) == len(pairs)
    now = match_rigid(a, b, radius=0.04, nearest=True)
    now = now.filter(a.sample[now.src] < 2)
    assert set(now.key().tolist()) <= set(pairs.key().tolist())


def test_a_sample_of_several_scans_is_refused(drive, tmp_path, settings):
    data = drive()
    folder = PairFolder(tmp_path)
    folder.write(data, candidate_pairs(data.sequences), **settings)
    points = CloudBatch.collate(CloudViewGenerator("none")([data[0], data[1]], 0)).to_point_set()
    mixed = replace(points, sample=torch.zeros_like(points.sample))
    with pytest.raises(ValueError, match="several scans"):
        folder.match(mixed, mixed)


def test_a_data_set_of_pairs_within_the_gap(drive):
    data = PosedPairs(drive(), max_gap=2)
    assert len(data) == 2 * (3 + 2)
    a, b = data[1]
    assert (a.source, b.source) == (100, 102)
    assert data.name(1) == "drive0/000 + drive0/002"
    assert data.sequences == ["drive0"] * 5 + ["drive1"] * 5
    assert data.fingerprint() == PosedPairs(drive(), max_gap=2).fingerprint()
    assert data.fingerprint() != PosedPairs(drive(), max_gap=1).fingerprint()
    assert data.fingerprint() != PosedPairs(drive(points=500), max_gap=2).fingerprint()


def test_a_data_set_of_pairs_that_overlap(drive, tmp_path, settings):
    data = drive()
    kept = PairFolder(tmp_path).write(data, candidate_pairs(data.sequences), **settings)
    assert PosedPairs(data, pairs=tmp_path).pairs == kept
    measured = PosedPairs(data, max_gap=None, min_overlap=0.5, voxel=0.2)
    assert measured.pairs == kept
    few = PosedPairs(data, pairs=tmp_path, min_overlap=0.7)
    assert few.pairs == [pair for pair in kept if pair.overlap >= 0.7]
    listed = PosedPairs(data, pairs=[(2, 0), [1, 3, 0.4]])
    assert listed.pairs == [ScanPair(2, 0), ScanPair(1, 3, 0.4)]


def test_a_data_set_may_bring_its_own_pairs(drive):
    class Paired(drive):
        def pairs(self, min_overlap):
            return [(0, 1, min_overlap), (4, 6, 0.9)]

    data = PosedPairs(Paired(), pairs={"min_overlap": 0.3})
    assert data.pairs == [ScanPair(0, 1, 0.3), ScanPair(4, 6, 0.9)]
    with pytest.raises(UsageError, match="Drive makes no pairs of its own"):
        PosedPairs(drive(), pairs={"min_overlap": 0.3})


def test_a_data_set_without_pairs_or_poses_says_so(drive):
    with pytest.raises(UsageError, match="no two of the 8 scans"):
        PosedPairs(drive(), min_gap=5, max_gap=6)
    with pytest.raises(UsageError, match="scans 0 and 9"):
        PosedPairs(drive(), pairs=[(0, 9)])
    with pytest.raises(UsageError, match="first, second"):
        PosedPairs(drive(), pairs=[(0,)])
    with pytest.raises(UsageError, match="min_overlap"):
        PosedPairs(drive(), min_overlap=3)
    with pytest.raises(UsageError, match="drive0/000 has no pose"):
        PosedPairs(drive(posed=False))[0]


def test_pairs_become_views_in_one_frame(drive):
    data = PosedPairs(drive())
    views = CloudViewGenerator("pointcontrast")(data[0], 0)
    a, b = (CloudBatch.collate([view]).to_point_set() for view in views)
    pairs = match_rigid(a, b, radius=0.01, mutual=True)
    assert len(pairs) > 50
    assert torch.equal(a.label[pairs.src], b.label[pairs.dst])


def test_pairs_are_written_by_the_smaller_source(drive, tmp_path):
    assert module.PairFolder(tmp_path).points_file(1, 2).name == "00000001-00000002.pt"
