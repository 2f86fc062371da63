from __future__ import annotations

import os

import pytest

from densecl.files import TEMPORARY, read_json, remove_leftovers, write_atomically, write_json


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


def test_another_name_of_the_old_file_keeps_its_content(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    os.link(path, tmp_path / "b.txt")
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert (path.read_text(), (tmp_path / "b.txt").read_text()) == ("new", "old")


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    (tmp_path / f"{TEMPORARY}77-step_00000003.pth").write_text("half")
    (tmp_path / "keep.txt").write_text("x")
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]


def test_folders_are_made_and_permissions_are_the_usual_ones(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    path = tmp_path / "a" / "b" / "c.txt"
    write_atomically(path, lambda temporary: temporary.write_text("x"))
    assert path.stat().st_mode == plain.stat().st_mode


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, 1)

    def interrupted(partial):
        partial.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert read_json(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_nan_never_enters_a_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"miou": float("nan")})


def test_missing_and_broken_json_is_none(tmp_path):
    assert read_json(tmp_path / "x.json") is None
    (tmp_path / "x.json").write_text('{"a": ')
    assert read_json(tmp_path / "x.json") is None
