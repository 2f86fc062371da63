from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from densecl.errors import UsageError
from densecl.regions import EntryError, Segments, SegmentStore
from densecl.regions import store as module

METHOD = {"type": "Toy", "parts": 3, "sizes": (1, 2), "version": 1}


@pytest.fixture
def store(tmp_path):
    return SegmentStore.create(tmp_path / "store", kind="image", method=METHOD)


def squares(count=4):
    return Segments(np.arange(count * 4).reshape(count, 4) // 4)


def tree_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_entry_comes_back_by_name_and_content(store):
    store.put("a.png", squares(), "content")
    assert (store.get("a.png", "content").ids == squares().ids).all()
    assert (store.get("a.png").ids == squares().ids).all()
    again = SegmentStore.open(store.folder)
    assert again.read("a.png").source == "content"
    assert (again.kind, again.key, again.method) == (store.kind, store.key, store.method)
    assert len(again) == 1
    assert list(again.names()) == ["a.png"]


def test_clouds_are_kept_like_images(tmp_path):
    store = SegmentStore.create(tmp_path / "c", kind="cloud", method=METHOD)
    store.put("scan", Segments(np.array([0, -1, 1]), {"size": np.array([1, 1])}), "s")
    found = store.get("scan", "s")
    assert found.ids.tolist() == [0, -1, 1]
    assert found.scores["size"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="in a cloud store"):
        store.put("image", squares(), "s")


@pytest.mark.parametrize("name", ["", "../../up.png", "a/b/c.png", "x" * 5000, "caf\udce9", "\0"])
def test_any_name_stays_in_the_folder(store, name):
    store.put(name, squares(), "s")
    assert store.state(name, "s") == "present"
    assert store.folder in store.path(name).parents


def test_missing_lists_what_is_not_there_in_order(store):
    store.put("b", squares(), "s")
    assert store.missing(["c", "b", "a"]) == ["c", "a"]
    assert SegmentStore.create(store.folder.parent / "e", kind="image", method={}).missing(
        "ab"
    ) == [
        "a",
        "b",
    ]
    with pytest.raises(EntryError, match="has no segments of a"):
        store.get("a")


def test_another_content_under_the_name_is_refused(store):
    store.put("a", squares(), "old")
    assert store.state("a", "new") == "changed"
    with pytest.raises(EntryError, match="is not what it was") as error:
        store.get("a", "new")
    assert error.value.state == "changed"
    assert f"densecl segments build ... --out {store.folder}" in str(error.value)
    store.put("a", squares(2), "new")
    assert store.get("a", "new").num_regions == 2


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "other name", "other store"])
def test_damage_is_found_named_and_repaired(store, tmp_path, harm):
    store.put("a", squares(), "s")
    store.put("b", squares(2), "s")
    path = store.path("a")
    data = path.read_bytes()
    if harm == "flip":
        path.write_bytes(data[:30] + bytes([data[30] ^ 4]) + data[31:])
    elif harm == "cut":
        path.write_bytes(data[:-9])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "other name":
        path.write_bytes(store.path("b").read_bytes())
    else:
        other = SegmentStore.create(tmp_path / "o", kind="image", method={**METHOD, "parts": 4})
        other.put("a", squares(), "s")
        path.write_bytes(other.path("a").read_bytes())
    assert store.state("a", "s") == "damaged"
    with pytest.raises(EntryError, match="the segments of a"):
        store.get("a")
    check = store.verify()
    assert list(check.damaged) == [path]
    assert check.whole == 1
    assert check.num_bytes == store.path("b").stat().st_size
    store.verify(repair=True)
    assert store.missing("ab") == ["a"]
    assert not store.verify().damaged


def test_other_settings_have_another_key_and_are_refused(store):
    with pytest.raises(UsageError, match="parts = 3, asked for 4"):
        SegmentStore.create(store.folder, kind="image", method={**METHOD, "parts": 4})
    with pytest.raises(UsageError, match="kind = 'image', asked for 'cloud'"):
        SegmentStore.create(store.folder, kind="cloud", method=METHOD)
    with pytest.raises(UsageError, match="version = 1, asked for 2"):
        SegmentStore.create(store.folder, kind="image", method={**METHOD, "version": 2})
    with pytest.raises(UsageError, match="parts = 3, now unknown"):
        SegmentStore.create(
            store.folder, kind="image", method={k: METHOD[k] for k in METHOD if k != "parts"}
        )
    same = SegmentStore.create(store.folder, kind="image", method=dict(reversed(METHOD.items())))
    assert same.key == store.key
    keys = {
        SegmentStore(store.folder, kind, method).key
        for kind in ("image", "cloud")
        for method in ({"a": 1}, {"a": 2}, {"a": 1, "b": 1}, {"b": 1})
    }
    assert len(keys) == 8


def test_a_reader_may_insist_on_settings(store):
    assert SegmentStore.open(store.folder, {"type": "Toy", "sizes": (1, 2)}).key == store.key
    with pytest.raises(UsageError, match=r"parts = 3, asked for 5.*\n.*densecl segments build"):
        SegmentStore.open(store.folder, {"parts": 5})
    with pytest.raises(UsageError, match="colour = None, asked for 1"):
        SegmentStore.open(store.folder, {"colour": 1})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        json.dumps({"format": "other", "key": "x", "kind": "image", "method": {}}),
        json.dumps({"format": module.FORMAT, "key": "x", "kind": "image", "method": {}}),
    ],
)
def test_a_damaged_header_is_refused(store, text):
    (store.folder / "store.json").write_text(text)
    with pytest.raises(UsageError, match=r"store"):
        SegmentStore.open(store.folder)


def test_folders_that_are_no_store_are_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="exists and is no segment store"):
        SegmentStore.create(tmp_path, kind="image", method=METHOD)
    with pytest.raises(UsageError, match="exists and is no segment store"):
        SegmentStore.create(tmp_path / "photo.jpg", kind="image", method=METHOD)
    with pytest.raises(UsageError, match="is no segment store"):
        SegmentStore.open(tmp_path)
    with pytest.raises(ValueError, match="kind must be"):
        SegmentStore.create(tmp_path / "n", kind="volume", method=METHOD)
    with pytest.raises(ValueError, match="described by builtins"):
        SegmentStore.create(tmp_path / "n", kind="image", method={"f": print})


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_kept(store, monkeypatch):
    store.put("a", squares(), "s")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = module.socket.gethostname()
    folder = store.path("a").parent
    names = {
        "dead": folder / f".tmp-{host}-{dead.pid}-x",
        "dead header": store.folder / f".tmp-{host}-{dead.pid}-store.json",
        "alive": folder / f".tmp-{host}-{os.getpid()}-x",
        "elsewhere": folder / f".tmp-far{host}-{dead.pid}-x",
    }
    for path in names.values():
        path.write_bytes(b"half")
    assert sorted(store.verify().leftovers) == sorted([names["dead"], names["dead header"]])
    store.remove_leftovers()
    assert {key for key, path in names.items() if path.exists()} == {"alive", "elsewhere"}
    assert len(store) == 1


def test_a_failed_write_leaves_the_old_entry_and_nothing_else(store, monkeypatch):
    store.put("a", squares(), "s")
    before = tree_of(store.folder)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(module.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.put("a", squares(2), "t")
    assert tree_of(store.folder) == before


def test_the_bytes_do_not_depend_on_order_or_time(tmp_path):
    trees = []
    for order in ("abc", "cab"):
        store = SegmentStore.create(tmp_path / order, kind="image", method=METHOD)
        for name in order:
            store.put(name, squares(ord(name) - 90), name)
        trees.append(tree_of(store.folder))
    assert trees[0] == trees[1]


def test_a_store_travels_into_workers(store):
    store.put("a", squares(), "s")
    copy = pickle.loads(pickle.dumps(store))
    assert (copy.get("a").ids == squares().ids).all()
    assert copy.key == store.key


def test_writers_in_one_process_have_files_of_their_own(store, monkeypatch):
    both, rename = threading.Barrier(2, timeout=60), os.replace

    def together(source, target):
        both.wait()
        rename(source, target)

    monkeypatch.setattr(module.os, "replace", together)
    with ThreadPoolExecutor(2) as pool:
        writes = [pool.submit(store.put, "a", squares(), "s") for _ in range(2)]
        assert [write.result() for write in writes] == [None, None]
    assert store.state("a", "s") == "present"
    assert len(tree_of(store.folder)) == 2


def write_often(folder, turns):
    store = SegmentStore.create(folder, kind="image", method=METHOD)
    for _ in range(turns):
        for name in "abcd":
            store.put(name, Segments(np.arange(9000).reshape(90, 100) // (ord(name) - 95)), name)


def test_two_writers_of_the_same_entries_do_no_harm(tmp_path):
    both, alone = tmp_path / "both", tmp_path / "alone"
    writers = [multiprocessing.Process(target=write_often, args=(both, 25)) for _ in range(2)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        if not (both / "store.json").exists():
            continue
        store = SegmentStore.open(both)
        for name in set("abcd") - set(store.missing("abcd")):
            assert store.get(name, name).ids.shape == (90, 100)
            reads += 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reads > 0
    write_often(alone, 1)
    assert tree_of(both) == tree_of(alone)
