from __future__ import annotations

import io
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from densecl.regions import Items, Segmentation, Segments, SegmentStore, build, digest, relabel


@dataclass
class Cloud:
    name: str
    points: np.ndarray


class Clouds:
    """Scans made from their number; ``salt`` changes what some of them hold."""

    def __init__(self, length, salt=(), bad=()):
        self.length, self.salt, self.bad = length, salt, bad

    def __len__(self):
        return self.length

    def name(self, index):
        return f"scan/{index}"

    def __getitem__(self, index):
        if index in self.bad:
            raise UnreadableFileError(f"{index}.bin", "torn")
        random = np.random.default_rng(index + 1000 * (index in self.salt))
        return Cloud(self.name(index), random.normal(size=(200, 3)).astype(np.float32))


@dataclass(frozen=True)
class Slabs(Segmentation[Cloud]):
    """Cuts along x; slow enough to be killed."""

    kind: ClassVar[str] = "cloud"

    thickness: float = 0.1
    pause: float = 0.0
    trouble: str = ""

    def __call__(self, item: Cloud) -> Segments:
        time.sleep(self.pause)
        if item.name == "scan/3":
            if self.trouble == "usage":
                raise UsageError("no points", fix="use another")
            if self.trouble == "bug":
                raise ZeroDivisionError("a bug")
            if self.trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        ids = relabel(np.floor(item.points[:, 0] / self.thickness).astype(np.int64) + 100)
        return Segments(ids, {"size": np.bincount(ids).astype(np.float32)})

    def identify(self, item: Cloud) -> str:
        return digest(item.points)


@pytest.fixture
def fill(tmp_path):
    """Build into a named store; returns it with the report."""

    def run(folder, source, method=None, **options):
        method = method or Slabs()
        store = SegmentStore.create(tmp_path / folder, kind="cloud", method=method.describe())
        options.setdefault("stream", io.StringIO())
        return store, build(store, Items(source), method, **options)

    return run


def tree_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_input_gets_its_segments(fill):
    store, report = fill("a", Clouds(5))
    assert (report.computed, report.present, report.remaining) == (5, 0, 0)
    found = [store.get(f"scan/{i}", digest(Clouds(5)[i].points)) for i in range(5)]
    assert report.regions == sum(segments.num_regions for segments in found)
    for i, segments in enumerate(found):
        assert (segments.ids == Slabs()(Clouds(5)[i]).ids).all()


def test_a_second_build_computes_nothing_and_changes_nothing(fill, monkeypatch):
    store, _ = fill("a", Clouds(4))
    monkeypatch.setattr(Slabs, "__call__", lambda *_: pytest.fail("computed again"))
    before = tree_of(store.folder)
    stream = io.StringIO()
    _, report = fill("a", Clouds(4), stream=stream)
    assert (report.computed, report.present, report.regions) == (0, 4, 0)
    assert tree_of(store.folder) == before
    assert stream.getvalue() == "segments: 4/4 (100 %)\n"


@pytest.mark.parametrize("workers", [2, 3, 20])
def test_the_bytes_do_not_depend_on_the_number_of_workers(fill, workers):
    one, _ = fill("one", Clouds(7))
    many, report = fill("many", Clouds(7), workers=workers)
    assert report.computed == 7
    assert tree_of(many.folder) == tree_of(one.folder)


def test_a_changed_input_is_computed_again(fill):
    store, _ = fill("a", Clouds(4))
    _, report = fill("a", Clouds(4, salt=(2,)))
    assert (report.computed, report.present, report.replaced) == (1, 3, ["scan/2"])
    fresh, _ = fill("b", Clouds(4, salt=(2,)))
    assert tree_of(store.folder) == tree_of(fresh.folder)


def test_a_damaged_entry_is_computed_again(fill):
    store, _ = fill("a", Clouds(3))
    before = tree_of(store.folder)
    path = store.path("scan/1")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    _, report = fill("a", Clouds(3))
    assert (report.computed, report.replaced) == (1, ["scan/1"])
    assert tree_of(store.folder) == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_stops_and_the_next_build_goes_on(fill, workers):
    store, report = fill("a", Clouds(9), limit=4, workers=workers)
    assert 4 <= report.computed < 4 + workers
    assert report.remaining == 9 - report.computed
    assert len(store) == report.computed
    _, rest = fill("a", Clouds(9), workers=workers)
    assert (rest.computed, rest.present) == (report.remaining, report.computed)
    whole, _ = fill("b", Clouds(9))
    assert tree_of(store.folder) == tree_of(whole.folder)


def test_chosen_inputs_alone_are_looked_at(fill):
    store, report = fill("a", Clouds(6), indices=[4, 1])
    assert report.computed == 2
    assert sorted(store.names()) == ["scan/1", "scan/4"]


@pytest.mark.parametrize("workers", [1, 2])
def test_unreadable_inputs_are_listed_and_stepped_over(fill, workers):
    store, report = fill("a", Clouds(5, bad=(1, 3)), workers=workers)
    assert report.computed == 3
    assert report.unreadable == {"scan/1": "torn", "scan/3": "torn"}
    assert store.missing([f"scan/{i}" for i in range(5)]) == ["scan/1", "scan/3"]


def test_a_replacement_for_a_skipped_input_is_not_stored_twice(fill):
    class Skipping(Clouds):
        def __getitem__(self, index):
            return super().__getitem__(index + (index == 1))

    store, report = fill("a", Skipping(3))
    assert report.unreadable == {"scan/1": "skipped by the data set"}
    assert sorted(store.names()) == ["scan/0", "scan/2"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_input_that_cannot_be_cut_is_named(fill, workers):
    with pytest.raises(UsageError, match=r"scan/3: no points\n  to fix: use another"):
        fill("a", Clouds(5), Slabs(trouble="usage"), workers=workers)


def test_a_bug_in_a_worker_shows_its_traceback(fill):
    with pytest.raises(RuntimeError, match=r"(?s)item 3: a bug.*ZeroDivisionError"):
        fill("a", Clouds(5), Slabs(trouble="bug"), workers=2)


def test_a_killed_worker_is_noticed(fill):
    with pytest.raises(RuntimeError, match=r"exit code -9.*go on with fewer workers"):
        fill("a", Clouds(5), Slabs(trouble="kill"), workers=2)


def test_no_workers_are_refused(fill):
    with pytest.raises(UsageError, match="0 workers"):
        fill("a", Clouds(5), workers=0)


def build_apart(folder, pipe, workers, method):
    store = SegmentStore.create(folder, kind="cloud", method=method.describe())
    pipe.send("begun")
    build(store, Items(Clouds(40)), method, workers=workers, stream=io.StringIO())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_build_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path, fill, workers):
    method = Slabs(pause=0.004)
    whole, _ = fill("whole", Clouds(40), method)
    for length in (5, 15, 30):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(
            target=build_apart, args=(tmp_path / "killed", there, workers, method)
        )
        process.start()
        there.close()
        assert here.recv() == "begun"
        store = SegmentStore.open(tmp_path / "killed")
        while len(store) < length:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        # the workers hold the other end: it closes when the last of them has noticed and gone
        assert here.poll(60)
        with pytest.raises(EOFError):
            here.recv()
        assert length <= len(store) < 40
        assert not store.verify().damaged
    (store.path("scan/0").parent / f".tmp-{os.uname().nodename}-{process.pid}-1-x").write_text("x")
    _, report = fill("killed", Clouds(40), method, workers=workers)
    assert report.present >= 30
    assert report.computed + report.present == 40
    assert tree_of(tmp_path / "killed") == tree_of(whole.folder)
