from itertools import islice

import numpy as np
import pytest
import torch

from densecl.data import ImageFolder, ViewDataset, build_loader, collate_views
from densecl.data.sample import Frame, Sample
from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.views.generator import ViewGenerator

GENERATOR = ViewGenerator("byol", 16, 2, seed=4)


class Noise:
    """Eleven images of noise."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        image = rng(9, index).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        return Sample((Frame(image),), source=index, name=self.name(index))

    def name(self, index):
        return f"noise{index}"


class Fragile(Noise):
    """One of them fails in a way nobody foresaw."""

    def __getitem__(self, index):
        if index == 5:
            raise ZeroDivisionError("no luck")
        return super().__getitem__(index)


def stream(count, workers=0, start=0, dataset=None):
    loader = build_loader(dataset or Noise(), GENERATOR, 3, workers, seed=1, start_batch=start)
    iterator = iter(loader)
    try:
        return list(islice(iterator, count))
    finally:
        # a traceback would keep the workers alive, and collecting them late takes 5 s each
        if workers:
            iterator._shutdown_workers()


def assert_same(a, b):
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        for u, v in zip(left, right, strict=True):
            assert torch.equal(u.image, v.image)
            assert torch.equal(u.geometry.matrix, v.geometry.matrix)
            assert torch.equal(u.source, v.source)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_stream_does_not_depend_on_the_workers(workers):
    assert_same(stream(7), stream(7, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restart_equals_the_tail_of_the_unbroken_stream(workers):
    assert_same(stream(9)[4:], stream(5, workers, start=4))


def test_epochs_give_new_views_of_the_same_images():
    batches = stream(6)
    first = {int(s): v for b in batches[:3] for s, v in zip(b[0].source, b[0].image, strict=True)}
    later = {int(s): v for b in batches[3:] for s, v in zip(b[0].source, b[0].image, strict=True)}
    common = first.keys() & later.keys()
    assert len(common) >= 7
    assert not any(torch.equal(first[s], later[s]) for s in common)


def test_batches_hold_one_slot_each():
    first, second = stream(1)[0]
    assert first.image.shape == second.image.shape == (3, 3, 16, 16)
    assert torch.equal(first.source, second.source)
    assert first.geometry.matrix.shape == (3, 2, 3)
    assert not torch.equal(first.image, second.image)


def test_batch_equals_its_samples():
    dataset = ViewDataset(Noise(), GENERATOR)
    (batch,) = stream(1)
    items = [dataset[0, int(source)] for source in batch[0].source]
    assert_same([batch], [collate_views(items)])


@pytest.mark.parametrize("workers", [0, 1])
def test_unforeseen_errors_name_the_sample(workers):
    with pytest.raises(RuntimeError, match=r"noise5(.|\n)*no luck"):
        stream(4, workers, dataset=Fragile())


@pytest.fixture
def broken(tmp_path, write_image):
    for i in range(6):
        write_image(tmp_path / f"{i}.png", 10 * i)
    (tmp_path / "2.png").write_bytes(b"broken")
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_files_are_named_through_workers(broken, workers):
    with pytest.raises(UsageError, match=r"2\.png: not an image"):
        stream(2, workers, dataset=ImageFolder(broken))


def test_skipped_files_of_workers_are_known_here(broken):
    plain, shared = (ImageFolder(broken, on_error="skip") for _ in range(2))
    assert_same(stream(4, 0, dataset=plain), stream(4, 2, dataset=shared))
    assert plain.skipped == shared.skipped == ["2.png"]


def test_batch_larger_than_the_data_is_refused():
    with pytest.raises(UsageError, match="batch"):
        build_loader(Noise(), GENERATOR, 12)
