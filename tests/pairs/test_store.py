from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pytest
import torch

from densecl.errors import UsageError
from densecl.pairs import Pairs, match_by_index, match_from_file, save_pairs


def example() -> Pairs:
    return Pairs(
        torch.tensor([0, 2, 2]),
        torch.tensor([1, 0, 3]),
        torch.tensor([0.5, 1.0, 2.0]),
        num_src=3,
        num_dst=4,
    )


def as_list(pairs: Pairs) -> list:
    return list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


def test_load_returns_what_was_saved(tmp_path):
    for pairs in (example(), Pairs.empty(0, 5)):
        pairs.save(tmp_path / "pairs.pt")
        got = Pairs.load(tmp_path / "pairs.pt")
        assert torch.equal(got.src, pairs.src)
        assert torch.equal(got.dst, pairs.dst)
        assert (got.num_src, got.num_dst) == (pairs.num_src, pairs.num_dst)
        assert got.target is None
        assert (got.weight is None) == (pairs.weight is None)
    assert torch.equal(Pairs.load(_saved(tmp_path)).weight, example().weight)


def _saved(folder, name="pairs.pt"):
    example().save(folder / name)
    return folder / name


def test_a_part_of_a_large_batch_is_saved_alone(tmp_path):
    rows = torch.arange(200_000)
    pairs = Pairs(rows, rows, num_src=200_000, num_dst=200_000).filter(rows < 10)
    Pairs(pairs.src[:5], pairs.dst[:5], num_src=9, num_dst=9).save(tmp_path / "p.pt")
    assert (tmp_path / "p.pt").stat().st_size < 10_000


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = _saved(tmp_path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError, match="No space left"):
        Pairs.empty(1, 1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["pairs.pt"]


def test_unusable_files_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.pt"):
        Pairs.load(tmp_path / "absent.pt")
    with pytest.raises(UsageError, match="cannot write"):
        example().save(tmp_path / "absent" / "pairs.pt")
    good = _saved(tmp_path).read_bytes()
    for name, content in (
        ("cut.pt", good[: len(good) // 2]),
        ("text.pt", b"not pairs"),
        ("empty.pt", b""),
        ("pickle.pt", pickle.dumps(os.getcwd, protocol=2)),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=name):
            Pairs.load(tmp_path / name)
    torch.save({"src": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"other\.pt is no file of pairs"):
        Pairs.load(tmp_path / "other.pt")
    content = torch.load(_saved(tmp_path), weights_only=True)
    torch.save({**content, "num_src": 1}, tmp_path / "bounds.pt")
    with pytest.raises(UsageError, match=r"bounds\.pt holds damaged pairs: src must be < num_src"):
        Pairs.load(tmp_path / "bounds.pt")


def test_raw_ids_find_the_rows_of_other_views(ragged, shuffled, tmp_path):
    a, b = ragged(0), ragged(1)
    rows = [torch.unique(p.source * 100 + p.index, return_inverse=True)[1] for p in (a, b)]
    keep = [
        torch.tensor([i for i in range(40) if (ids[:i] != ids[i]).all() and p.index[i] >= 0])
        for ids, p in zip(rows, (a, b), strict=True)
    ]
    a, b = (replace(p.select(k), valid=None) for p, k in zip((a, b), keep, strict=True))
    pairs = match_by_index(a, b)
    pairs = replace(pairs, weight=torch.rand(len(pairs)))
    assert len(pairs) > 5
    save_pairs(pairs, tmp_path / "raw.pt", a, b)
    (la, place_a), (lb, place_b) = shuffled(a, 1), shuffled(b, 2)
    got = match_from_file(tmp_path / "raw.pt", la, lb)
    moved = replace(pairs, src=place_a[pairs.src], dst=place_b[pairs.dst]).sort()
    assert as_list(got) == as_list(moved)
    assert torch.equal(got.weight, moved.weight)
    # rows that an augmentation dropped take their pairs along
    half = la.select(torch.arange(len(la) // 2))
    got = match_from_file(tmp_path / "raw.pt", half, lb)
    assert as_list(got) == [p for p in as_list(moved) if p[0] < len(half)]


def test_pairs_of_different_images_are_kept_when_asked(make_map, tmp_path):
    a = replace(make_map([(0, 0, 8, 8)] * 2), index=torch.arange(98) % 49)
    crossing = Pairs(torch.tensor([3, 60]), torch.tensor([50, 61]), num_src=98, num_dst=98)
    crossing.save(tmp_path / "p.pt", a, a)
    assert as_list(match_from_file(tmp_path / "p.pt", a, a)) == [(60, 61)]
    assert as_list(match_from_file(tmp_path / "p.pt", a, a, within="batch")) == [(3, 50), (60, 61)]


def test_files_without_raw_ids_need_sets_of_their_size(make_map, tmp_path):
    a = make_map([(0, 0, 8, 8)], valid=torch.ones(1, 56, 56, dtype=torch.bool))
    Pairs.identity(49).save(tmp_path / "p.pt")
    assert as_list(match_from_file(tmp_path / "p.pt", a, a)) == [(i, i) for i in range(49)]
    a.valid[7] = False
    assert len(match_from_file(tmp_path / "p.pt", a, a)) == 48
    _saved(tmp_path)
    with pytest.raises(UsageError, match="raw ids"):
        match_from_file(tmp_path / "pairs.pt", a, a)
