from __future__ import annotations

from collections import namedtuple

import pytest

from densecl.engine import disk
from densecl.engine.disk import remove_leftovers, require_space, write_atomically
from densecl.errors import UsageError

Usage = namedtuple("Usage", "total used free")


def test_a_failed_write_leaves_the_old_file_and_no_leftovers(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "a.txt"

    def write(temporary):
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent

    write_atomically(path, write)
    assert path.read_text() == "new"


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    (tmp_path / f"{disk.TEMPORARY}77-step_00000003.pth").write_text("half")
    (tmp_path / "keep.txt").write_text("x")
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]


def test_too_little_space_is_refused_with_both_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(0, 0, 3 * 2**20))
    require_space(tmp_path, 3 * 2**20, "x")
    with pytest.raises(UsageError, match="3 MiB free") as caught:
        require_space(tmp_path, 5 * 2**20, "the next checkpoint")
    assert "5 MiB for the next checkpoint" in caught.value.needed
