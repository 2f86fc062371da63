from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from densecl.errors import UsageError
from densecl.transfer.retrieval.bank import MemoryRows
from densecl.transfer.retrieval.bank_file import PAGE, open_bank, write_bank
from densecl.transfer.retrieval.search import top_k


def parts(*sizes, dim=6, classes=3, dtype=torch.float16):
    return [(torch.randn(n, dim).to(dtype), torch.rand(n, classes).to(dtype)) for n in sizes]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_file_holds_what_was_written_in_blocks(tmp_path, dtype):
    written = parts(3, 0, 700, 1, dtype=dtype)
    bank = open_bank(write_bank(tmp_path / "new" / "bank", iter(written)))
    features, labels = (torch.cat(column) for column in zip(*written, strict=True))
    assert len(bank) == 704
    assert bank.features.tensor.dtype == dtype
    assert torch.equal(bank.features.tensor, features)
    assert torch.equal(bank.labels.tensor, labels)
    bounds = [(0, 5), (5, 600), (600, 704)]
    assert torch.equal(torch.cat([b.clone() for b in bank.features.blocks(bounds)]), features)
    index = torch.randint(704, (3, 900))
    assert torch.equal(bank.labels.take(index), labels[index])
    assert os.listdir(tmp_path / "new") == ["bank"]


def test_a_file_is_searched_like_memory(tmp_path):
    written = parts(4000, 3000, dim=16)
    bank = open_bank(write_bank(tmp_path / "bank", written))
    queries = torch.randn(30, 16)
    features = torch.cat([rows for rows, _ in written])
    for screen in ("on", "off"):
        one = top_k(queries, bank.features, 5, screen=screen, block=1000)
        two = top_k(queries, MemoryRows(features), 5, screen=screen, block=1000)
        assert torch.equal(one.index, two.index)
        assert torch.equal(one.score, two.score)


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_bank(tmp_path / "bank", parts(2))
    before = path.read_bytes()

    def broken():
        yield from parts(5)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_bank(path, broken())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["bank"]


def test_other_and_short_files_and_no_rows_are_refused(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    with pytest.raises(UsageError, match="no bank"):
        open_bank(other)
    path = write_bank(tmp_path / "bank", parts(900))
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UsageError, match="bytes"):
        open_bank(path)
    with pytest.raises(UsageError, match="no cell"):
        write_bank(tmp_path / "empty", parts(0, 0))
    assert not (tmp_path / "empty").exists()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no /proc/self/smaps")
def test_pages_that_were_read_are_given_back(tmp_path):
    path = write_bank(tmp_path / "bank", parts(*[10_000] * 30, dim=64))
    bank = open_bank(path)

    def resident():
        lines = Path("/proc/self/smaps").read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.endswith(str(path)))
        return next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))

    size = path.stat().st_size // 1024
    bank.features.tensor.sum()
    whole = resident()
    assert whole > 0.9 * size * 64 / 67
    for block in bank.features.blocks([(i, i + 10_000) for i in range(0, 300_000, 10_000)]):
        block.float().sum()
    # the system may map a few MiB around what is read
    assert resident() < 0.2 * whole
    bank.features.take(torch.randint(300_000, (3000,)))
    assert resident() < 0.2 * whole
    assert PAGE % os.sysconf("SC_PAGE_SIZE") == 0
